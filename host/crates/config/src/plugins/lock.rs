//! `portcullis.lock`: which image each `oci://` reference of a configuration stands for.
//!
//! It lies beside the main config file, is written by `portcullis plugin lock` alone, and is meant to be committed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use portcullis_model::{ContentDigest, LockedPlugin};

use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::syntax::keys::{LOCK, LOCKED};
use crate::syntax::tree::{self, Value};
use crate::syntax::view::View;
use crate::syntax::{check, reference};

/// Its name.
pub(crate) const FILE_NAME: &str = "portcullis.lock";

/// The form of the file.
const VERSION: i64 = 1;

/// What is known of the lock file during a load.
#[derive(Debug, Default)]
pub(crate) struct Lock {
    /// Its path as the operator would name it, and the absolute one.
    pub(crate) path: (PathBuf, PathBuf),
    pub(crate) state: State,
}

#[derive(Debug, Default)]
pub(crate) enum State {
    /// It was not needed yet.
    #[default]
    Unread,
    /// There is no lock file.
    Absent,
    /// It has mistakes, which were reported.
    Broken,
    Read(Vec<LockedPlugin>),
}

impl Lock {
    /// The one beside the main config file, which the operator calls `name`.
    pub(crate) fn beside(name: &Path, absolute: &Path) -> Self {
        Self {
            path: (name.with_file_name(FILE_NAME), absolute.with_file_name(FILE_NAME)),
            state: State::Unread,
        }
    }

    /// Its entries, as far as it was read.
    pub(crate) fn entries(&self) -> &[LockedPlugin] {
        match &self.state {
            State::Read(entries) => entries,
            _ => &[],
        }
    }
}

/// Reads the text of a lock file. Everything that is not as `render` writes it is reported.
pub(crate) fn parse(file: u32, text: &str, reports: &mut Vec<Report>) -> Vec<LockedPlugin> {
    let before = reports.len();
    if let Some(report) = merge_conflict(file, text) {
        reports.push(report);
        return Vec::new();
    }
    let Some(root) = tree::parse(file, text, reports) else { return Vec::new() };
    let whole = Span { file, start: 0, end: 0 };
    if let Some(entry) = root.get("version")
        && let Value::Integer(version) = entry.value.value
        && version != VERSION
    {
        let message = format!("the lock file has the form {version}, which this version does not know");
        let help =
            "use the version of portcullis that wrote it, or remove it and run `portcullis plugin lock`";
        reports.push(Report::new(entry.value.span, message, format!("this one knows {VERSION}")).help(help));
        return Vec::new();
    }
    check::table(&root, &LOCK, "the lock file", whole, reports);
    let view = View::new(Some(&root), &LOCK, whole);
    if view.integer::<i64>("version").is_none() || reports.len() > before {
        return Vec::new();
    }
    let nodes = view.node("plugin").map_or(&[][..], |node| node.elements());
    let mut entries: Vec<LockedPlugin> = Vec::new();
    for node in nodes {
        let view = View::new(node.as_table(), &LOCKED, node.span);
        let Some(entry) = entry(view, reports) else { continue };
        if entries.iter().any(|other| other.reference == entry.reference) {
            let report =
                Report::new(node.span, format!("{} is locked twice", entry.reference), "locked before");
            reports.push(report.help(REPAIR));
        }
        entries.push(entry);
    }
    entries
}

/// Finds what git leaves in the file if two branches have pinned something.
fn merge_conflict(file: u32, text: &str) -> Option<Report> {
    // In two pieces, or this file would be taken for such a one.
    const MARK: &str = concat!("<<<", "<<<<");
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with(MARK) {
            let span = Span::new(file, &(start..start + line.trim_end().len()));
            let report =
                Report::new(span, "the lock file was merged and not resolved", "two branches differ here");
            let help = "take one side whole, and run `portcullis plugin lock`: it pins what the other side had added";
            return Some(report.help(help));
        }
        start += line.len();
    }
    None
}

/// What mends any lock file.
pub(crate) const REPAIR: &str = "the file is not edited by hand: take the last good one back, or remove it and run `portcullis plugin lock`";

fn entry(view: View<'_>, reports: &mut Vec<Report>) -> Option<LockedPlugin> {
    let mut wrong = |span: Span, message: &str, label: String| {
        reports.push(Report::new(span, message, label).help(REPAIR));
    };
    let (text, span) = view.text("reference")?;
    let reference = match reference::parse(text) {
        Ok(reference) if reference.digest.is_none() => reference,
        Ok(_) => {
            wrong(span, "a locked reference is not valid", "it names a digest itself".to_owned());
            return None;
        }
        Err((label, _)) => {
            wrong(span, "a locked reference is not valid", label);
            return None;
        }
    };
    let mut digest = |key: &str| {
        let (text, span) = view.text(key)?;
        let digest = ContentDigest::parse(text);
        if digest.is_none() {
            wrong(
                span,
                "a locked digest is not valid",
                "expected sha256: and 64 digits of 0-9 and a-f".to_owned(),
            );
        }
        digest
    };
    Some(LockedPlugin {
        reference,
        manifest: digest("manifest")?,
        layer: digest("layer")?,
        format: view.word("format")?.into(),
        component: digest("component")?,
        size: view.integer("size")?,
    })
}

/// The text of a lock file with these entries, in the order of their references.
#[must_use]
pub fn render_lock(entries: &[LockedPlugin]) -> String {
    let mut text = String::from(
        "# Which image each oci:// plugin of the config stands for. Written by `portcullis plugin lock`: commit it, and do\n\
         # not edit it. `portcullis plugin lock --update` moves the pins to what the tags stand for by then.\n\
         version = 1\n",
    );
    let mut sorted: Vec<&LockedPlugin> = entries.iter().collect();
    sorted.sort_by_key(|entry| entry.reference.to_string());
    for LockedPlugin { reference, manifest, layer, format, component, size } in sorted {
        // No part of a reference needs an escape.
        let written = write!(
            text,
            "\n[[plugin]]\nreference = \"{reference}\"\nmanifest = \"{manifest}\"\nlayer = \"{layer}\"\nformat = \"{format}\"\n\
             component = \"{component}\"\nsize = {size}\n",
        );
        debug_assert!(written.is_ok(), "a string takes all that is written");
    }
    text
}

#[cfg(test)]
mod tests {
    use portcullis_model::{ContentDigest, LockedPlugin};
    use proptest::prelude::*;

    use super::{parse, render_lock};
    use crate::syntax::reference;

    fn locked(name: &str, byte: u8) -> LockedPlugin {
        LockedPlugin {
            reference: reference::parse(name).unwrap(),
            manifest: ContentDigest::new([byte; 32]),
            layer: ContentDigest::new([byte ^ 1; 32]),
            format: "tar+gzip".into(),
            component: ContentDigest::new([byte ^ 2; 32]),
            size: u64::from(byte),
        }
    }

    fn parsed(text: &str) -> Result<Vec<LockedPlugin>, usize> {
        let mut reports = Vec::new();
        let entries = parse(0, text, &mut reports);
        if reports.is_empty() { Ok(entries) } else { Err(reports.len()) }
    }

    #[test]
    fn what_is_written_is_read_alike_and_sorted() {
        let (a, b) =
            (locked("oci://registry.example/a:1", 7), locked("oci://registry.example:5000/b/c:2.0_x", 9));
        let text = render_lock(&[b.clone(), a.clone()]);
        assert_eq!(parsed(&text), Ok(vec![a.clone(), b.clone()]));
        assert_eq!(render_lock(&[a, b]), text);
        assert_eq!(parsed(&render_lock(&[])), Ok(Vec::new()));
    }

    #[test]
    fn a_file_that_was_tampered_with_or_merged_badly_is_refused() {
        let entry = locked("oci://registry.example/a:1", 7);
        let text = render_lock(std::slice::from_ref(&entry));
        assert!(parsed(&render_lock(&[entry.clone(), entry])).is_err());
        for (from, to) in [
            ("version = 1", "version = 2"),
            ("version = 1", ""),
            ("sha256:", "sha512:"),
            ("reference", "refrence"),
            (":1\"", "\""),
            ("tar+gzip", "zip"),
            ("size = 7", "size = -7"),
            ("size = 7", "size = \"7\""),
            ("size = 7", ""),
            ("size = 7", "<<<<"),
        ] {
            assert!(text.contains(from) && parsed(&text.replacen(from, to, 1)).is_err(), "{from} -> {to}");
        }
    }

    proptest! {
        #[test]
        fn takes_any_text(text in "\\PC{0,200}", lines in "(version = 1\n)?(\\[\\[plugin\\]\\]\n([a-z]{4,9} = [\"a-z0-9:/]{1,40}\n){0,7}){0,3}") {
            let _entries = (parsed(&text), parsed(&lines));
        }
    }
}
