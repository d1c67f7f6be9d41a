//! Whatever component a plugin is: the module that is found in it has what is said of it, and can be made to look at
//! the time, or there is none.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../host/crates/rewrite/src/invariants.rs"]
#[allow(dead_code, reason = "each target checks one of them")]
mod invariants;

fuzz_target!(|input: &[u8]| {
    // That it is refused, and why, is nothing to check.
    let (Ok(()) | Err(_)) = invariants::check_single(input);
});
