//! `root`, `alias`, `index` and `try_files`: files of a folder.

use crate::context::Import;
use crate::draft::Section;
use crate::location::{Kind, Spot};
use crate::report::Verdict;
use crate::syntax::Directive;
use crate::template::is_literal;
use crate::value::Value;

impl<'a> Import<'a> {
    /// Makes a route serve files. `path` is its `match.path`.
    pub(crate) fn files(&mut self, section: &mut Section, spot: &Spot<'a>, path: &str) {
        let folder = spot.scope.all_of(&["root", "alias"]).into_iter().last();
        let Some(folder) = folder else {
            section.comment("nginx serves the files of its own `html` folder here");
            section.set("respond", Value::table([("status", Value::Number(404))]));
            return;
        };
        if !is_literal(folder.arg(0)) {
            self.say(section, folder, Verdict::Refused, "a folder is named, without variables");
            section.closed = true;
            return;
        }
        self.report.note(folder, Verdict::Converted, "");
        let root = self.path(folder.arg(0).trim_end_matches('/'));
        let mut files =
            vec![("root".to_owned(), Value::from(if root.is_empty() { "/".to_owned() } else { root }))];
        if let Some(index) = spot.scope.one("index") {
            if index.args.len() > 1 {
                self.say(
                    section,
                    index,
                    Verdict::Approximated,
                    "one file stands for a folder: the first is taken",
                );
            } else {
                self.report.note(index, Verdict::Converted, "");
            }
            if index.arg(0) != "index.html" && is_literal(index.arg(0)) && !index.arg(0).contains('/') {
                files.push(("index".to_owned(), Value::from(index.arg(0))));
            }
        }
        if let Some(listing) = spot.scope.one("autoindex") {
            if listing.arg(0) == "on" {
                self.say(section, listing, Verdict::Refused, "folders are not listed");
            } else {
                self.report.note(listing, Verdict::Converted, "");
            }
        }
        if let Some(encoded) = spot.scope.all_of(&["gzip_static", "brotli_static"]).into_iter().last() {
            self.report.note(encoded, Verdict::Converted, "");
            if encoded.arg(0) != "off" {
                files.push(("precompressed".to_owned(), Value::from(true)));
            }
        }
        if let Some(links) = spot.scope.one("disable_symlinks") {
            self.report.note(links, Verdict::Converted, "");
            if links.arg(0) != "off" {
                files.push(("symlinks".to_owned(), Value::from("refuse")));
            }
        }
        section.set("files", Value::Table(files));
        if folder.name == "alias" {
            self.alias(section, spot, folder, path);
        }
        if let Some(tried) = spot.scope.own_one("try_files") {
            self.tried(section, tried);
        }
    }

    fn alias(&mut self, section: &mut Section, spot: &Spot<'a>, alias: &Directive, path: &str) {
        match &spot.kind {
            Kind::Prefix { path: prefix, .. } if path.ends_with("/*") => {
                if prefix.ends_with('/') != alias.arg(0).ends_with('/') {
                    let note = "`alias` and the location should both end in a slash: what nginx makes of it is \
                                another file";
                    self.say(section, alias, Verdict::Approximated, note);
                }
                section.set_in("rewrite", "path", "{rest}");
            }
            Kind::Exact(_) => {
                let (folder, file) = alias.arg(0).rsplit_once('/').unwrap_or(("", alias.arg(0)));
                let root = Value::from(if folder.is_empty() { "/".to_owned() } else { self.path(folder) });
                section.set_in("files", "root", root);
                section.set_in("rewrite", "path", format!("/{file}"));
            }
            _ => {
                self.say(section, alias, Verdict::Refused, "only of a prefix or an exact path");
                section.closed = true;
            }
        }
    }

    fn tried(&mut self, section: &mut Section, tried: &Directive) {
        let Some((last, before)) = tried.args.split_last() else { return };
        let usual = before.iter().all(|word| matches!(word.as_str(), "$uri" | "$uri/"));
        if usual && last == "=404" {
            self.report.note(tried, Verdict::Converted, "");
            return;
        }
        let note = "what is not there is 404: it is not asked for elsewhere";
        self.say(section, tried, Verdict::Refused, note);
    }
}
