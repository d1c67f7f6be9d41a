//! Edits of a config file that leave all else in it as it is typed: comments, order and blanks.

use std::fmt;

use portcullis_model::Share;
use toml_edit::{DocumentMut, InlineTable, Item, RawString, TableLike, Value};

/// What an operator has decided about the version of a policy that is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutEdit {
    /// It becomes the policy's own, and nothing is tried any more.
    Promote,
    /// Nothing is tried any more.
    Abort,
    /// It takes this share of the exchanges, as a canary, whatever it was.
    Canary {
        /// The share.
        share: Share,
    },
}

/// Why a file cannot be edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditError {
    /// It is not TOML.
    NoToml(String),
    /// The policy is not written in it.
    NoPolicy,
    /// Nothing of the policy is tried.
    NoCandidate,
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoToml(reason) => write!(f, "it is not TOML: {reason}"),
            Self::NoPolicy => f.write_str("the policy is not written in it"),
            Self::NoCandidate => f.write_str("its policy has neither a canary nor a shadow"),
        }
    }
}

impl std::error::Error for EditError {}

/// Keys of a version that take the place of the policy's own. Of `limits` each key does by itself.
const MOVED: [&str; 4] = ["plugin", "signed-by", "config", "grants"];

/// An edited config file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// All of it.
    pub text: String,
    /// Those of the useless keys that were there and are there no more.
    pub removed: Vec<String>,
}

/// The text of a config file with `edit` done to `policy`. `useless` are keys of the policy that its version has no
/// use for once it is promoted, each below the policy as in `grants.log`: they go with what the version replaces.
///
/// # Errors
/// If there is nothing to edit.
pub fn edit_rollout(
    text: &str,
    policy: &str,
    edit: RolloutEdit,
    useless: &[String],
) -> Result<Edited, EditError> {
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| EditError::NoToml(error.to_string()))?;
    let policies = document.get_mut("policies").and_then(Item::as_table_like_mut);
    let item = policies.and_then(|policies| policies.get_mut(policy)).ok_or(EditError::NoPolicy)?;
    let table = item.as_table_like_mut().ok_or(EditError::NoPolicy)?;
    let tried = ["canary", "shadow"].into_iter().find(|key| table.contains_key(key));
    let key = tried.ok_or(EditError::NoCandidate)?;
    let comments = table.key(key).map(|key| key.leaf_decor().clone());
    let tried = table.remove(key).ok_or(EditError::NoCandidate)?;
    let mut removed = Vec::new();
    match edit {
        RolloutEdit::Abort => {}
        RolloutEdit::Promote => {
            promote(table, &tried);
            removed.extend(useless.iter().filter(|key| remove(table, key)).cloned());
        }
        RolloutEdit::Canary { share } => {
            table.insert("canary", canary(tried, share));
            if let (Some(comments), Some(mut key)) = (comments, table.key_mut("canary")) {
                *key.leaf_decor_mut() = comments;
            }
        }
    }
    tidy(item);
    Ok(Edited { text: with_newlines_of(text, document.to_string()), removed })
}

/// Removes a key of the policy or of a table in it, and the table too if it was its last key. Returns whether it was
/// there.
fn remove(policy: &mut dyn TableLike, key: &str) -> bool {
    let Some((table, key)) = key.split_once('.') else { return policy.remove(key).is_some() };
    let Some(item) = policy.get_mut(table) else { return false };
    let Some(inner) = item.as_table_like_mut() else { return false };
    let was_there = inner.remove(key).is_some();
    if was_there && inner.is_empty() {
        policy.remove(table);
    } else if was_there {
        tidy(item);
    }
    was_there
}

fn promote(policy: &mut dyn TableLike, tried: &Item) {
    for name in MOVED {
        if let Some(item) = tried.get(name) {
            put(policy, name, item.clone());
        }
    }
    let Some(limits) = tried.get("limits") else { return };
    match (policy.get_mut("limits").and_then(Item::as_table_like_mut), limits.as_table_like()) {
        (Some(own), Some(limits)) => limits.iter().for_each(|(name, limit)| put(own, name, limit.clone())),
        _ => put(policy, "limits", limits.clone()),
    }
}

/// The version as a canary for that share of the exchanges.
fn canary(mut tried: Item, share: Share) -> Item {
    if let Some(table) = tried.as_table_like_mut() {
        let gone = ["samples", "match"].into_iter().filter(|key| table.remove(key).is_some()).count();
        put(table, "share", Item::Value(Value::from(share.to_string())));
        if gone > 0 {
            tidy(&mut tried);
        }
    }
    tried
}

/// Sets a key. A value that replaces another keeps its blanks, and the comment after it unless the new value has one.
fn put(table: &mut dyn TableLike, name: &str, mut item: Item) {
    if let Some(value) = item.as_value_mut() {
        let own = value.decor().suffix().and_then(RawString::as_str);
        let own = own.filter(|suffix| suffix.contains('#')).map(str::to_owned);
        let decor = value.decor_mut();
        match table.get(name).and_then(Item::as_value) {
            Some(before) => *decor = before.decor().clone(),
            None => decor.clear(),
        }
        if let Some(own) = own {
            decor.set_suffix(own);
        }
    }
    let Some(place) = table.get_mut(name) else {
        table.insert(name, item);
        return;
    };
    let was_value = place.is_value();
    let is_value = item.is_value();
    *place = item;
    // A key that stood in a header, or stands in one now, has blanks of another kind around it.
    if was_value != is_value
        && let Some(mut key) = table.key_mut(name)
    {
        key.leaf_decor_mut().clear();
    }
}

/// Corrects the blanks of an inline table from which something was removed, unless it has comments.
fn tidy(item: &mut Item) {
    let has_comment = |table: &InlineTable| table.to_string().contains('#');
    if let Some(table) = item.as_inline_table_mut().filter(|table| !has_comment(table)) {
        table.fmt();
    }
}

/// `written` with the line ends and the mark of the beginning that `text` has.
fn with_newlines_of(text: &str, written: String) -> String {
    const MARK: char = '\u{feff}';
    let lines = |text: &str, end: &str| text.matches(end).count();
    let windows = lines(text, "\n") > 0 && lines(text, "\n") == lines(text, "\r\n");
    let written = if windows { written.replace("\r\n", "\n").replace('\n', "\r\n") } else { written };
    match text.starts_with(MARK) && !written.starts_with(MARK) {
        true => format!("{MARK}{written}"),
        false => written,
    }
}

#[cfg(test)]
mod tests;
