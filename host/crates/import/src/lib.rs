//! Configurations of nginx, read and said again as the gateway's own. Without I/O: the caller opens files.

mod access;
mod answer;
mod cached;
mod compressed;
mod condition;
mod context;
mod draft;
mod headers;
mod listen;
mod location;
mod proxy;
mod report;
mod scope;
mod served;
mod server;
pub mod syntax;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod translate;
mod units;
mod upstream;
mod value;

pub use self::report::{Finding, Report, Verdict};
pub use self::table::markdown;
pub use self::translate::{Translation, translate};
