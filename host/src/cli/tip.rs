//! Wrong usage that is right for another gateway.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The error, with what was meant in place of words that are near by chance.
pub(super) fn with_tip(mut error: clap::Error) -> clap::Error {
    if let Some(tip) = tip(&error) {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
        error.remove(ContextKind::SuggestedSubcommand);
        error.remove(ContextKind::SuggestedArg);
    }
    error
}

/// What was meant by what other gateways call so.
fn tip(error: &clap::Error) -> Option<String> {
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.as_str()),
        _ => None,
    };
    let command = match error.kind() {
        ErrorKind::InvalidSubcommand => word(ContextKind::InvalidSubcommand)?,
        ErrorKind::UnknownArgument => word(ContextKind::InvalidArg)?,
        _ => return None,
    };
    Some(match command {
        "check" | "test" | "configtest" | "-t" | "-T" | "--check" | "--test" => {
            "`portcullis validate` checks a config and runs nothing".to_owned()
        }
        "start" | "serve" | "server" | "up" => "`portcullis run` runs the gateway".to_owned(),
        "stop" | "quit" | "-s" => {
            "send it SIGTERM to end it; `portcullis reload` has it load its config again".to_owned()
        }
        "restart" | "--reload" => {
            "`portcullis reload` has a running gateway load its config again".to_owned()
        }
        "adapt" | "config" => {
            "`portcullis validate` checks a config, `portcullis schema` describes it".to_owned()
        }
        word if word.ends_with(".toml") => format!("a config is named with `-c {word}`"),
        _ => return None,
    })
}
