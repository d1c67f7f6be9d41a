//! Why a component was not loaded. All of this reaches the operator, so each message names what it is about.

use std::path::PathBuf;

use portcullis_model::Name;

use crate::contract::VERSION;

/// A component is not one that this gateway can run, found out without compiling it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// The file is something else.
    #[error("not a WebAssembly component: it does not begin with `\\0asm`")]
    NotWasm,
    /// The file is a core module.
    #[error(
        "a core WebAssembly module, not a component: build it for the target wasm32-wasip2, or make a component of it \
         with `wasm-tools component new`"
    )]
    CoreModule,
    /// The file is cut off or broken.
    #[error("malformed component: {0}")]
    Malformed(String),
    /// More bytes, or more of something, than any plugin has.
    #[error("the component has more than {max} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        max: usize,
    },
    /// An import that the gateway does not have.
    #[error(
        "it imports `{0}`, which the gateway does not have; what it has is the package portcullis:policy@{VERSION} and \
         a virtual WASI 0.2"
    )]
    UnknownImport(String),
    /// An import or export of another version of the contract.
    #[error(
        "it was built for `{found}`, but this gateway speaks portcullis:policy@{wanted}: build it against that version"
    )]
    WrongVersion {
        /// The name in the component.
        found: String,
        /// The version that is wanted.
        wanted: &'static str,
    },
    /// An import or export of a version that adds to this gateway's.
    #[error(
        "it was built for `{found}`, which is newer than portcullis:policy@{wanted} of this gateway: take a newer \
         gateway, or build it against that version"
    )]
    NewerVersion {
        /// The name in the component.
        found: String,
        /// The newest version that loads.
        wanted: &'static str,
    },
    /// No hook at all.
    #[error(
        "it exports no hook, such as `portcullis:policy/request-head@{VERSION}`, so it would never be called"
    )]
    NoHook,
    /// The manifest cannot be read.
    #[error("its manifest (custom section `portcullis:manifest`) is not valid: {0}")]
    Manifest(String),
}

/// The sandbox could not be made, or a component not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The folder for compiled code cannot be used.
    #[error("cannot keep compiled plugins in {}: {reason}", path.display())]
    CacheDir {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The engine refused its settings on this machine.
    #[error("cannot start the WebAssembly engine: {0}")]
    Engine(String),
    /// A thread could not be started.
    #[error("cannot start a thread of the sandbox: {0}")]
    Thread(std::io::Error),
    /// The component is not one that can be run.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The component does not compile, or what it imports has other types than the gateway's.
    #[error("cannot compile it: {0}")]
    Compile(String),
}

/// A policy was not configured.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// It imports a capability that was not granted.
    #[error(
        "policy `{policy}`: the component imports `{capability}`, which was not granted; grant it with `{hint}`"
    )]
    NotGranted {
        /// The policy.
        policy: Name,
        /// What it wants.
        capability: &'static str,
        /// What to write under `grants`.
        hint: &'static str,
    },
    /// It is granted a secret that does not exist.
    #[error("policy `{policy}` is granted the secret `{secret}`, which is not under [secrets]")]
    NoSecret {
        /// The policy.
        policy: Name,
        /// The secret.
        secret: Name,
    },
    /// Its `configure` returned an error.
    #[error("policy `{policy}` refuses its configuration: {reason}")]
    Refused {
        /// The policy.
        policy: Name,
        /// What it said.
        reason: String,
    },
    /// It could not be instantiated, or its `configure` failed.
    #[error("policy `{policy}` failed while it was being configured: {kind}: {message}")]
    Failed {
        /// The policy.
        policy: Name,
        /// What sort of failure it was.
        kind: portcullis_policy::FaultKind,
        /// The reason, with the Wasm backtrace if there is one.
        message: String,
    },
}
