//! Random bytes from the operating system's generator. Grant: `random = true`.

use crate::host;

/// `count` random bytes. At most 4,096 a call; more is a fault of the policy. The mock gives a fixed sequence.
///
/// ```
/// # use portcullis_sdk::{random, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// let nonce = random::bytes(16);
/// assert_eq!(nonce.len(), 16);
/// # });
/// ```
#[must_use]
pub fn bytes(count: u32) -> Vec<u8> {
    host::random_bytes(count)
}
