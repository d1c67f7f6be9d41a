//! Whatever lies beside a plugin is not its signature, unless somebody with the key made it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_model::{Origin, Signer, SignerKey};
use portcullis_registry::verify_file;

const COSIGN: &str = include_str!("../../host/crates/registry/src/signature/files/cosign.pub");
const MINISIGN: &str = include_str!("../../host/crates/registry/src/signature/files/minisign.pub");
/// What none of the files beside the keys is a signature of.
const CONTENT: &[u8] = b"signed by nobody";

fuzz_target!(|signature: &[u8]| {
    for key in [SignerKey::Cosign(COSIGN.into()), SignerKey::Minisign(MINISIGN.into())] {
        let signer = Signer { name: "us".into(), key, origin: Origin::default() };
        assert!(verify_file(&signer, CONTENT, signature).is_err());
    }
});
