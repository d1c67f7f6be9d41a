//! Tests of the whole: the files in tests/cases, and what must hold for every key and every text.

mod any_text;
pub(crate) mod cases;
pub(crate) mod docs;
pub(crate) mod fake;
mod keys;
mod model;

pub(crate) use keys::asked;
