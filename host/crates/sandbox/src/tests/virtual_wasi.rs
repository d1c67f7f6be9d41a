//! What a guest's standard library finds.

use portcullis_policy::{FaultKind, Hook};
use portcullis_test_guests::MISBEHAVE;

use super::{both, config, exchange, logged, policy, run};

fn does(deed: &str) -> Result<(), portcullis_policy::Fault> {
    let policy =
        policy(MISBEHAVE, &config(&format!("wasi {deed}"), &format!("{{\"request-head\":\"{deed}\"}}")));
    run(&*policy, Hook::RequestHead, exchange()).1.map(drop)
}

#[test]
fn has_no_files_no_environment_and_no_input() {
    both(|| {
        for deed in ["files", "environment", "stdin", "times", "random"] {
            does(deed).unwrap();
        }
    });
}

#[test]
fn has_no_network() {
    both(|| {
        let fault = does("network").unwrap_err();
        assert_eq!(fault.kind, FaultKind::Trap);
        assert!(fault.message.contains("wasi:sockets/"), "{fault}");
    });
}

#[test]
fn writes_output_to_the_log_line_by_line() {
    both(|| {
        let log = logged(|| does("print").unwrap());
        assert!(log.contains(r"out of request-head\u{1b}[31m"), "escaped: {log}");
        assert!(log.contains("err of request-head"), "joined to a line: {log}");
        assert!(log.contains(r#"policy="wasi print""#) && log.contains(r#"route="the-route""#), "{log}");
        assert!(log.contains("WARN") && log.contains("INFO"), "{log}");
    });
}

#[test]
fn drops_lines_of_a_flood() {
    both(|| {
        let log = logged(|| does("flood 1000").unwrap());
        let lines = log.lines().filter(|line| line.contains("line ")).count();
        // A second may end meanwhile.
        assert!((100..=500).contains(&lines), "{lines} lines");
    });
}
