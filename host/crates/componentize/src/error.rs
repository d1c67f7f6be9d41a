//! What keeps a module from becoming a component.

use thiserror::Error;

/// Why there is no component.
#[derive(Debug, Error)]
pub enum Error {
    /// It is no module.
    #[error("this is no WebAssembly module: {0}")]
    Malformed(String),
    /// Nothing provides what it imports: in C, a function that is declared and not defined.
    #[error("the code calls `{name}` of `{module}`, which is defined nowhere")]
    Undefined {
        /// The module that it names.
        module: String,
        /// The function.
        name: String,
    },
    /// It exports nothing that the gateway calls.
    #[error("it has no hook")]
    NoHook,
    /// Its bindings are not of this contract, or a hook has another form.
    #[error("{0}")]
    Refused(String),
}
