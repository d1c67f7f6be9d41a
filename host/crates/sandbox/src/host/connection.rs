//! `connection`: what the gateway knows of the client's connection.

use wasmtime::Result;

use crate::component::bindings::portcullis::policy::connection::Host;
use crate::instance::state::State;

impl Host for State {
    fn tls_server_name(&mut self) -> Result<Option<String>> {
        Ok(self.exchange()?.client.tls_server_name.as_deref().map(str::to_owned))
    }

    fn client_certificate(&mut self) -> Result<Option<Vec<u8>>> {
        self.note_read("client.certificate", "");
        Ok(self.exchange()?.client.certificate.as_deref().map(<[u8]>::to_vec))
    }
}
