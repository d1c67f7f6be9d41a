//! Whatever component a plugin is: what wiping takes is added to it without a change, or it is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../host/crates/rewrite/src/invariants.rs"]
#[allow(dead_code, reason = "each target checks one of them")]
mod invariants;

fuzz_target!(|input: &[u8]| {
    // That it is refused, and why, is nothing to check.
    let (Ok(()) | Err(_)) = invariants::check_wipe(input);
});
