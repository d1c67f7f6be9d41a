//! The guests of `tests/guests/examples`, built to components: a constant for each.
//!
//! A test module names all of them with [`every_guest!`]. So a guest that is added does not compile before a test is
//! named for it:
//!
//! ```text
//! portcullis_test_guests::every_guest! { plain => loads_a_plain_component, … }
//! ```

include!(concat!(env!("OUT_DIR"), "/guests.rs"));
