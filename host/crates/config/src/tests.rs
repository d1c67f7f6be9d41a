//! Tests of the whole: the files in tests/cases, and what must hold for every key and every text.

mod any_text;
mod cases;
mod docs;
mod fake;
mod keys;
mod model;

pub(crate) use keys::asked;
