//! `gzip` and `brotli`.

use crate::context::Import;
use crate::report::Verdict;
use crate::scope::Scope;
use crate::units;
use crate::value::Value;

impl<'a> Import<'a> {
    /// Returns `compress` of a scope.
    pub(crate) fn compression(&mut self, scope: &Scope<'a>) -> Value {
        let mut codings = Vec::new();
        for (name, coding) in [("zstd", "zstd"), ("brotli", "br"), ("gzip", "gzip")] {
            let Some(switch) = scope.one(name) else { continue };
            if switch.arg(0) == "on" {
                codings.push(coding);
                let note = "responses that may hold a secret (cookies, credentials) are sent as they are unless the \
                            site's own page has asked: see `credentials`";
                self.report.note(switch, Verdict::Approximated, note);
            } else {
                self.report.note(switch, Verdict::Converted, "");
            }
        }
        if codings.is_empty() {
            return Value::from(false);
        }
        let mut types = vec!["text/html".to_owned()];
        for directive in
            ["gzip_types", "brotli_types", "zstd_types"].into_iter().filter_map(|name| scope.one(name))
        {
            self.report.note(directive, Verdict::Converted, "");
            for media in directive.args.iter().map(|word| word.to_ascii_lowercase()) {
                if media == "*" {
                    types = vec![media];
                } else if !types.contains(&media) && types != ["*"] {
                    types.push(media);
                }
            }
        }
        let mut table =
            vec![("codings".to_owned(), Value::texts(codings)), ("types".to_owned(), Value::texts(types))];
        let length = scope.one("gzip_min_length");
        if let Some(length) = length {
            self.report.note(length, Verdict::Converted, "");
        }
        let length = length.and_then(|length| units::bytes(length.arg(0))).unwrap_or(20);
        table.push(("min-size".to_owned(), Value::from(units::size(length))));
        if let Some(level) = scope.one("gzip_comp_level") {
            self.report.note(level, Verdict::Approximated, "as one of three grades of `effort`");
            match level.arg(0).parse::<u64>() {
                Ok(0..=3) => table.push(("effort".to_owned(), Value::from("low"))),
                Ok(7..) => table.push(("effort".to_owned(), Value::from("high"))),
                _ => (),
            }
        }
        Value::Table(table)
    }
}
