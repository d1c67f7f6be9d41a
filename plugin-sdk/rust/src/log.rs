//! Writes to the gateway's log. Grant: `log = true`.
//!
//! Each line is marked by the gateway with the policy, the route and the trace id. A message over 8 KiB is cut, fields
//! after the 16th are dropped, and past 100 lines a second for each policy and worker lines are dropped and counted.
//!
//! ```
//! use portcullis_sdk::log::{self, Level};
//! use portcullis_sdk::testing::MockGateway;
//!
//! let gateway = MockGateway::new();
//! gateway.run(|| log::write(Level::Info, "let in", &[("who", "alice")]));
//! assert_eq!(gateway.log_lines(), ["INFO let in who=alice"]);
//! ```

use crate::host;

/// How much a line matters.
///
/// ```
/// use portcullis_sdk::log::Level;
///
/// assert!(Level::Error > Level::Info);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// For finding faults.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something failed.
    Error,
}

/// Writes one line with named values.
///
/// ```
/// # use portcullis_sdk::{log::{self, Level}, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// log::write(Level::Debug, "looked up", &[("key", "a"), ("found", "no")]);
/// # });
/// ```
pub fn write(level: Level, message: &str, fields: &[(&str, &str)]) {
    host::log(level, message, fields);
}

/// Whether a line of that level would be written, so that one which is dear to make need not be made. The mock writes
/// all of them.
///
/// ```
/// # use portcullis_sdk::{log::{self, Level}, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// if log::enabled(Level::Debug) {
///     log::debug(format!("{:?}", [1, 2, 3]));
/// }
/// # });
/// ```
#[must_use]
pub fn enabled(level: Level) -> bool {
    host::log_enabled(level)
}

/// Writes a line that something failed.
///
/// ```
/// # use portcullis_sdk::{log, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// log::error("the list is empty");
/// # });
/// ```
pub fn error(message: impl AsRef<str>) {
    write(Level::Error, message.as_ref(), &[]);
}

/// Writes a line that something is not as it should be.
///
/// ```
/// # use portcullis_sdk::{log, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// log::warn(format!("{} keys left", 3));
/// # });
/// ```
pub fn warn(message: impl AsRef<str>) {
    write(Level::Warn, message.as_ref(), &[]);
}

/// Writes a line that is worth knowing.
///
/// ```
/// # use portcullis_sdk::{log, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// log::info("ready");
/// # });
/// ```
pub fn info(message: impl AsRef<str>) {
    write(Level::Info, message.as_ref(), &[]);
}

/// Writes a line for finding faults.
///
/// ```
/// # use portcullis_sdk::{log, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// log::debug("asked again");
/// # });
/// ```
pub fn debug(message: impl AsRef<str>) {
    write(Level::Debug, message.as_ref(), &[]);
}
