//! `secrets`: those that the policy was granted by name.

use serde_json::json;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use crate::component::bindings::portcullis::policy::secrets;
use crate::instance::state::State;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    secrets::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl secrets::Host for State {
    fn get(&mut self, name: String) -> Result<Option<Vec<u8>>> {
        // The context holds granted secrets only, so an ungranted one and one that does not exist look the same.
        let secret = self.policy.secrets.get(&*name).map(|secret| secret.expose().to_vec());
        if let Some(recorder) = self.recorder() {
            // What a secret is never gets into notes; a replay asks its own config.
            let told = secret.as_ref().map(|_| format!("[secret:{name}]"));
            recorder.note("secrets.get", json!({ "name": name }), json!(told), false);
        }
        Ok(secret)
    }
}
