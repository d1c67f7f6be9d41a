//! What an instance may have, beside memory and time.

use crate::policy::policy_services::PolicyServices;

/// Handles that a guest may hold. Only WASI's streams and the like are handles at all.
pub(crate) const HANDLES_MAX: usize = 1000;

/// Beside a body, a guest hands over at most this much at once: attributes, a head, a value for the store.
const HANDED_OVER_BYTES_MAX: usize = 2 << 20;

/// Bytes that a guest may hand over in one call, or be given.
pub(crate) fn handed_over_max(policy: &PolicyServices) -> usize {
    policy.limits.body_bytes.saturating_add(HANDED_OVER_BYTES_MAX)
}
