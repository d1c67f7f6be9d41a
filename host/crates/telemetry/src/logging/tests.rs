use super::{InitError, LogFormat, directives, indent, init};

#[test]
fn what_follows_the_first_line_is_indented() {
    let check = |line: &str, expected: &str| {
        assert_eq!(String::from_utf8(indent(line.into())).unwrap(), expected);
    };
    check("one\n", "one\n");
    check("one", "one\n");
    check("one\ntwo\n\nthree\n", "one\n    two\n    \n    three\n");
    check("one\r\x1b[0mtwo\n", "one\\r\x1b[0mtwo\n");
    check("", "\n");
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
