//! Files below a folder that a route serves: which file a path names, opening it without a way out of the folder, what
//! a client gets of it, and reading it on threads of their own.
//!
//! A file is opened once, and everything that is said of it or read from it comes from that descriptor: what takes its
//! name meanwhile does not mix with it. The functions here block. A worker calls them through a [`FilePool`].

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod error;
mod find;
mod open;
mod path;
mod pool;
mod rest;

pub use error::FileError;
pub use find::{Found, FoundFile, Wanted, conditions_of, find};
pub use open::check_root;
pub use path::FilePath;
pub use pool::{FilePool, Pending};
pub use rest::{PIECE_BYTES, Rest};
