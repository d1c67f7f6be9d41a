//! What can be known of a gateway, its requests and its plugins, as values that an API can return: explanations,
//! status, recordings, and the differences between two configurations or two plugins. The commands only print them.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod changes;
mod diff;
mod explain;
mod plugin;
mod recording;
mod status;
pub mod trace;

pub use changes::{Changes, newly_imported};
pub use diff::{ConfigDiff, NotAPlugin, PluginDiff, PluginFacts};
pub use explain::{HEAD_BYTES_MAX, QuestionError, check_listener, explain_live, explain_offline};
pub use plugin::PluginView;
pub use recording::{VERSION, VERSION_MEMBER, recording_to_json};
pub use status::{GatewayFacts, PolicyFacts, status, upstream_status};

/// Returns the first `max` characters of `text`, and how much was left out.
#[must_use]
pub fn abridged(text: &str, max: usize) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(max) {
        None => text.into(),
        Some((at, _)) => format!("{}… ({} bytes in all)", &text[..at], text.len()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::abridged;

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(abridged("üüü", 3), "üüü");
        assert_eq!(abridged("üüüü", 3), "üüü… (8 bytes in all)");
    }
}
