//! The results as JUnit XML, which CI systems read.

use std::fmt::Write as _;

use portcullis_model::text::is_harmful;

use super::TestedFile;

/// Returns the report: a suite for each file, a case for each case and isolation.
pub(super) fn report(files: &[TestedFile]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all = || files.iter().flat_map(|file| &file.results);
    let failures = all().filter(|result| !result.wrong.is_empty()).count();
    let errors = files.iter().filter(|file| file.trouble.is_some()).count();
    let mut line = |line: std::fmt::Arguments<'_>| {
        let _infallible = writeln!(text, "{line}");
    };
    line(format_args!(
        "<testsuites name=\"portcullis plugin test\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\">",
        all().count() + errors
    ));
    for file in files {
        let name = escaped(&file.name);
        let failures = file.results.iter().filter(|result| !result.wrong.is_empty()).count();
        let errors = usize::from(file.trouble.is_some());
        let seconds: f64 = file.results.iter().map(|result| result.took.as_secs_f64()).sum();
        line(format_args!(
            "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{seconds:.3}\">",
            file.results.len() + errors
        ));
        if let Some(trouble) = &file.trouble {
            line(format_args!("    <testcase name=\"(the file)\" classname=\"{name}\">"));
            let first = trouble.lines().next().unwrap_or_default();
            line(format_args!("      <error message=\"{}\">{}</error>", escaped(first), escaped(trouble)));
            line(format_args!("    </testcase>"));
        }
        for result in &file.results {
            let case = format!("{} [{}]", result.name, result.isolation.name());
            let seconds = result.took.as_secs_f64();
            let open = format!(
                "    <testcase name=\"{}\" classname=\"{name}\" file=\"{name}\" line=\"{}\" time=\"{seconds:.3}\"",
                escaped(&case),
                result.line
            );
            if result.wrong.is_empty() {
                line(format_args!("{open}/>"));
                continue;
            }
            line(format_args!("{open}>"));
            let first = result.wrong.first().and_then(|wrong| wrong.lines().next()).unwrap_or_default();
            let all = result.wrong.join("\n");
            line(format_args!("      <failure message=\"{}\">{}</failure>", escaped(first), escaped(&all)));
            line(format_args!("    </testcase>"));
        }
        line(format_args!("  </testsuite>"));
    }
    line(format_args!("</testsuites>"));
    text
}

/// Text for XML, as a value in quotes or between tags. XML 1.0 has no control characters at all.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            character if is_harmful(character) || matches!(character, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}');
            }
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_model::Isolation;

    use super::{escaped, report};
    use crate::commands::plugin::test::{CaseResult, TestedFile};

    #[test]
    fn every_run_has_its_place_in_the_report() {
        let result = |isolation, wrong: &[&str]| CaseResult {
            name: "a < b & \"c\"".to_owned(),
            line: 7,
            isolation,
            took: Duration::from_millis(12),
            wrong: wrong.iter().map(|text| (*text).to_owned()).collect(),
        };
        let results =
            vec![result(Isolation::Exchange, &[]), result(Isolation::Worker, &["error: no\n --> a:1:1\n"])];
        let files = [
            TestedFile { name: "a.cases.toml".to_owned(), results, trouble: None },
            TestedFile {
                name: "b".to_owned(),
                results: Vec::new(),
                trouble: Some("error: what\n".to_owned()),
            },
        ];
        let text = report(&files);
        for part in [
            "tests=\"3\" failures=\"1\" errors=\"1\"",
            "<testcase name=\"a &lt; b &amp; &quot;c&quot; [exchange]\" classname=\"a.cases.toml\" file=\"a.cases.toml\" \
             line=\"7\" time=\"0.012\"/>",
            "<failure message=\"error: no\">error: no&#10; --&gt; a:1:1&#10;</failure>",
            "<error message=\"error: what\">error: what&#10;</error>",
        ] {
            assert!(text.contains(part), "no {part} in:\n{text}");
        }
        assert!(text.ends_with("</testsuites>\n"), "{text}");
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(escaped("a\u{1b}[1m\u{0}\u{ffff}ü"), "a\u{fffd}[1m\u{fffd}\u{fffd}ü");
    }
}
