use portcullis_model::{FailureMode, Name, Version};
use portcullis_policy::FaultKind;
use portcullis_policy::recorder::{Decided, Edit, HookRecord, HostCall, Input};
use serde_json::json;

use super::hook_to_json;

pub(super) fn record(input: Input, decided: Decided, edits: Vec<Edit>, calls: Vec<HostCall>) -> HookRecord {
    HookRecord {
        policy: Name::from("keys"),
        version: Version::Canary,
        at: 1,
        hook: "on-request-head".to_owned(),
        input,
        trailers: None,
        decided,
        edits,
        calls,
        cpu: std::time::Duration::from_nanos(12_340),
        removed_reads: Vec::new(),
        quarantine: None,
    }
}

#[test]
fn a_hook_is_written_with_all_that_it_did() {
    let call = HostCall {
        function: "clock.now-ms".to_owned(),
        arguments: json!({}),
        result: json!(7),
        from_record: false,
    };
    let edit = Edit::Attribute { name: "user".to_owned(), value: "alice".to_owned() };
    let hook = hook_to_json(&record(Input::None, Decided::Next, vec![edit], vec![call]));
    assert_eq!(
        hook,
        json!({
            "policy": "keys", "version": "canary", "at": 1, "hook": "on-request-head", "decision": { "decision": "next" },
            "edits": [{ "edit": "attribute", "name": "user", "value": "alice" }],
            "calls": [{ "function": "clock.now-ms", "arguments": {}, "result": 7 }],
            "cpu-us": 12.3,
        })
    );
}

#[test]
fn a_fault_says_what_it_means() {
    let decided =
        Decided::Fault { kind: FaultKind::Trap, message: "unreachable".to_owned(), mode: FailureMode::Allow };
    let hook = hook_to_json(&record(Input::None, decided, Vec::new(), Vec::new()));
    let expected =
        json!({ "decision": "fault", "kind": "trap", "message": "unreachable", "on-error": "allow" });
    assert_eq!(hook["decision"], expected);
}
