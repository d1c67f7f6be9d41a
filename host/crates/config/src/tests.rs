//! Tests of the whole: the files in tests/cases, and what must hold for every key and every text.

mod cases;
mod fake;
mod keys;

pub(crate) use keys::asked;
