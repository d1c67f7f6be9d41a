//! `log`, and what a guest writes to stdout and stderr: bounded, escaped, and marked with the policy.

use std::fmt::Write as _;

use portcullis_model::text::{cut, escape};
use portcullis_model::{Capability, Version};
use portcullis_services::clock;
use serde_json::json;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use crate::component::bindings::portcullis::policy::log::{self, Level};
use crate::instance::state::State;

/// Longer messages are cut.
const MESSAGE_BYTES_MAX: usize = 8 << 10;
/// Later fields are dropped.
const FIELDS_MAX: usize = 16;
/// Longer names and values of fields are cut.
const FIELD_BYTES_MAX: usize = 1 << 10;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    log::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl log::Host for State {
    fn log(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> Result<()> {
        self.require(Capability::Log)?;
        let describe = |(level, message, fields): &(Level, String, Vec<(String, String)>)| {
            let fields: Vec<_> =
                fields.iter().take(FIELDS_MAX).map(|(name, value)| json!([name, value])).collect();
            json!({ "level": level_name(*level), "message": cut(message, MESSAGE_BYTES_MAX), "fields": fields })
        };
        self.recorded("log.log", (level, message, fields), describe, |state, (level, message, fields)| {
            state.log_line(level, &message, &fields)
        })
    }

    fn enabled(&mut self, level: Level) -> Result<bool> {
        self.require(Capability::Log)?;
        let describe = |level: &Level| json!({ "level": level_name(*level) });
        self.recorded("log.enabled", level, describe, |state, level| {
            // What a test looks at is what is noted, and that is every line.
            Ok(state.simulated_time().is_some() || is_enabled(level))
        })
    }
}

/// Whether a line of a policy with that level goes anywhere.
fn is_enabled(level: Level) -> bool {
    // The level is part of a static description here as well.
    macro_rules! enabled {
        ($level:ident) => {
            tracing::enabled!(target: "portcullis::policy", tracing::Level::$level)
        };
    }
    match level {
        Level::Trace => enabled!(TRACE),
        Level::Debug => enabled!(DEBUG),
        Level::Info => enabled!(INFO),
        Level::Warn => enabled!(WARN),
        Level::Error => enabled!(ERROR),
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

impl State {
    fn log_line(&self, level: Level, message: &str, fields: &[(String, String)]) -> Result<()> {
        let mut text = String::new();
        for (name, value) in fields.iter().take(FIELDS_MAX) {
            let (name, value) = (escape(cut(name, FIELD_BYTES_MAX)), escape(cut(value, FIELD_BYTES_MAX)));
            let space = if text.is_empty() { "" } else { " " };
            // Quoted, so that a value with a space does not look like two fields.
            write!(text, "{space}{name}=\"{}\"", value.replace('"', "\\\""))?;
        }
        self.write_log(level, message, &text);
        Ok(())
    }

    /// Writes one line, if the policy may still write one in this second. An exchange that shall have no effects has it
    /// in its notes alone.
    pub(crate) fn write_log(&self, level: Level, message: &str, fields: &str) {
        if !self.has_effects() {
            return;
        }
        // What is counted is what is written: an escape is longer than what it stands for.
        let message = escape(cut(message, MESSAGE_BYTES_MAX));
        let bytes = message.len() + fields.len();
        let Some(dropped) = self.policy.log_window.admit(clock::monotonic().as_secs(), bytes) else { return };
        let policy = &*self.policy.name;
        // Only if it is not the active one, which is what a reader expects.
        let version = (self.policy.version != Version::Active).then(|| self.policy.version.name());
        if dropped > 0 {
            tracing::warn!(
                target: "portcullis::policy",
                policy, version, dropped, "the policy wrote more than its `log-lines` or `log-bytes` of a second"
            );
        }
        let (route, trace_id) = match &self.exchange {
            Some(exchange) => (Some(&*exchange.route), Some(exchange.trace_id.as_str())),
            None => (None, None),
        };
        let fields = (!fields.is_empty()).then(|| tracing::field::display(fields));
        // The level of an event is part of its static description.
        macro_rules! event {
            ($level:ident) => {
                tracing::event!(
                    target: "portcullis::policy",
                    tracing::Level::$level,
                    policy, version, route, trace_id, fields, "{message}"
                )
            };
        }
        match level {
            Level::Trace => event!(TRACE),
            Level::Debug => event!(DEBUG),
            Level::Info => event!(INFO),
            Level::Warn => event!(WARN),
            Level::Error => event!(ERROR),
        }
    }
}
