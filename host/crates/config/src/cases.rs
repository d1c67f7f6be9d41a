//! Files of test cases for policies: from text to what is sent and what is expected, with every mistake shown at its
//! place. `portcullis plugin test` runs them.
//!
//! Everything that is expected knows its place in the file, so that what turns out otherwise is shown like a mistake in
//! a config: with the line and a caret.

mod keys;
mod load;
mod model;
mod read;

#[cfg(test)]
mod tests;

pub use load::load_cases;
pub use model::{
    At, CannedAnswer, Case, CaseExchange, CaseFile, CaseRequest, CaseResponse, Expected, ExpectedBody,
    ExpectedFault, ExpectedMessage, ExpectedValue, Place,
};
