//! Secrets that the operator named under `[secrets]`. Grant: `secrets = ["name"]`.

use crate::host;

/// The secret's bytes. `None` for a name that was not granted, whether or not there is such a secret.
///
/// ```
/// use portcullis_sdk::{secrets, testing::MockGateway};
///
/// let gateway = MockGateway::new().secret("token", "hunter2");
/// assert_eq!(gateway.run(|| secrets::get("token")).as_deref(), Some(b"hunter2".as_slice()));
/// assert_eq!(gateway.run(|| secrets::get("other")), None);
/// ```
#[must_use]
pub fn get(name: &str) -> Option<Vec<u8>> {
    host::secrets_get(name)
}
