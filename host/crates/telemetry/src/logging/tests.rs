use proptest::prelude::*;

use super::{
    EVENT_MAX, InitError, LINE_MAX, LogFormat, cut_strings, directives, init, json, text, understood,
};
use portcullis_model::text::is_harmful;

#[test]
fn what_follows_the_first_line_is_indented() {
    let check = |line: &str, expected: &str| {
        assert_eq!(String::from_utf8(text(line.into())).unwrap(), expected);
    };
    check("one\n", "one\n");
    check("one", "one\n");
    check("one\ntwo\n\nthree\n", "one\n    two\n    \n    three\n");
    check("one\r\x1b[0mtwo\n", "one\\r\x1b[0mtwo\n");
    check("", "\n");
    check(
        "one\u{b}\u{c}\u{1c}\u{85}\u{2028}\u{9b}2J\u{202e}two\n",
        "one\\u000b\\u000c\\u001c\\u0085\\u2028\\u009b2J\\u202etwo\n",
    );
}

#[test]
fn a_long_line_of_text_is_cut_between_two_characters() {
    let line = String::from_utf8(text("ü".repeat(LINE_MAX).into())).unwrap();
    assert!(line.len() <= LINE_MAX + 1 && line.ends_with("ü\n"));
}

/// Reads a line as a log shipper does.
fn read(line: &[u8]) -> serde_json::Value {
    let line = std::str::from_utf8(line).expect("a line is UTF-8").strip_suffix('\n').expect("it has an end");
    assert!(line.len() <= LINE_MAX && !line.chars().any(is_harmful), "{} bytes: {line:.200}", line.len());
    serde_json::from_str(line)
        .unwrap_or_else(|error| panic!("{error} in {line:.200}…{}", &line[line.len() - 50..]))
}

#[test]
fn a_long_line_of_json_is_cut_within_its_strings() {
    let long = "\"\\\u{1b}\u{2028}ü\u{1f980}x".repeat(40_000);
    let event = serde_json::json!({ "level": "ERROR", "message": long, "policy": "keys", "n": 7 });
    let read = read(&json(event.to_string().into_bytes()));
    assert_eq!((&read["policy"], &read["n"], &read["level"]), (&"keys".into(), &7.into(), &"ERROR".into()));
    let message = read["message"].as_str().unwrap();
    let begin = message.strip_suffix("...").unwrap();
    assert!(begin.len() > 4096 && long.starts_with(begin));
}

#[test]
fn an_event_without_an_end_is_told_to_be_lost() {
    let event = format!("{{\"message\":\"{}", "x".repeat(EVENT_MAX));
    assert_eq!(read(&json(event.into_bytes()))["level"], "WARN");
    let many: Vec<String> = (0..100_000).map(|at| format!("\"{at}\":\"x\"")).collect();
    assert_eq!(read(&json(format!("{{{}}}", many.join(",")).into_bytes()))["level"], "WARN");
}

proptest! {
    #[test]
    fn whatever_is_logged_is_one_line_of_json(
        texts in proptest::collection::vec(("\\PC{0,40}|[\u{0}-\u{ff}]{0,40}|[\u{2020}-\u{2070}]{0,9}", 0..3000_usize), 1..5),
        ascii in any::<bool>(),
    ) {
        let mut event = serde_json::json!({ "level": "INFO", "number": 1.5 });
        for (at, (text, times)) in texts.iter().enumerate() {
            event[format!("field{at}{}", &text[..text.floor_char_boundary(9)])] = text.repeat(*times).into();
        }
        let mut line = event.to_string();
        if ascii {
            // As written by formatters that escape everything outside ASCII.
            let units = |letter: char| match letter {
                ' '..='~' => letter.to_string(),
                _ => letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            };
            line = line.chars().map(units).collect();
        }
        let read = read(&json(line.into_bytes()));
        for (name, value) in read.as_object().unwrap() {
            if name == "number" {
                continue;
            }
            let shown = value.as_str().unwrap();
            let logged = event[name].as_str().unwrap_or_else(|| panic!("no {name} in {event:.200}"));
            prop_assert!(shown == logged || logged.starts_with(shown.strip_suffix("...").unwrap()), "{name}");
        }
    }

    #[test]
    fn strings_are_cut_where_they_may_be(text in "\\PC{0,30}", max in 0..40_usize) {
        let json = serde_json::json!({ "a": text, "b": [text, 1] }).to_string();
        let cut = cut_strings(&json, max).unwrap();
        let read: serde_json::Value = serde_json::from_str(&cut).unwrap();
        prop_assert!(read.is_object(), "{cut}");
    }
}

#[test]
fn malformed_levels_are_named() {
    let error = init(LogFormat::Text, "info,=,").unwrap_err();
    assert!(matches!(error, InitError::Levels { ref levels } if levels == "info,=,"), "{error}");
}

#[test]
fn a_level_alone_is_the_gateways_and_libraries_log_errors() {
    for (levels, expected) in [
        ("info", "error,portcullis=INFO"),
        ("WARN", "error,portcullis=WARN"),
        ("error", "error"),
        ("debug", "debug"),
        ("trace", "trace"),
        ("info,h2=debug", "info,h2=debug"),
    ] {
        assert_eq!(directives(levels), expected);
    }
}

#[test]
fn a_word_that_is_no_level_is_refused_and_never_silence() {
    for (levels, expected) in [
        ("info", Some("info")),
        ("WARN", Some("warn")),
        ("warning", Some("warn")),
        ("info, portcullis_proxy=debug", Some("info,portcullis_proxy=debug")),
        ("portcullis_proxy=Debug", Some("error,portcullis_proxy=debug")),
        ("", Some("info")),
        (" ", Some("info")),
        ("off", Some("off")),
        ("verbose", None),
        ("notice", None),
        ("info,verbose", None),
        ("portcullis_proxy", None),
        ("portcullis_proxy=verbose", None),
        ("=debug", None),
        ("info portcullis_proxy=debug", None),
    ] {
        assert_eq!(understood(levels).as_deref(), expected, "{levels:?}");
    }
}
