//! The syntax of nginx's configuration, with the place of everything in it.

mod error;
mod glob;
mod include;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

pub use self::error::SyntaxError;
pub use self::glob::matches as glob_matches;
pub use self::include::{FILE_BYTES_MAX, Files, Tree, read};
pub use self::parser::{Directive, Place};
