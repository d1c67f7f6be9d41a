use super::*;

const RECORDED: &str = "
    package a:b@0.1.0;
    interface types {
        enum refused { late, large }
        record reply { status: u16 }
        variant decision { next, reply(reply) }
    }
    interface request {
        use types.{refused};
        path: func() -> string;
        set: func(name: string, value: list<u8>) -> result<_, refused>;
    }
    interface hook {
        use types.{decision};
        on: func() -> decision;
    }
    world all { import request; export hook; }
";

fn read(text: &str) -> Contract {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.wit"), text).unwrap();
    Contract::read(folder.path()).unwrap()
}

/// What the check finds if `from` is replaced by `to` in the recorded contract.
fn after(from: &str, to: &str) -> Vec<String> {
    assert!(RECORDED.contains(from), "{from}");
    grown(&read(RECORDED), &read(&RECORDED.replace(from, to)))
}

#[test]
fn takes_what_old_components_do_not_see() {
    for (from, to) in [
        ("path: func", "/// The path.\n path: func"),
        ("path: func() -> string;", "path: func() -> string; query: func() -> string;"),
        ("interface hook", "interface tick { tick: func(); } interface hook"),
        ("export hook;", "export hook; import types;"),
        ("record reply", "record field { name: string } record reply"),
    ] {
        assert_eq!(after(from, to), [""; 0], "{from} to {to}");
    }
}

#[test]
fn finds_what_keeps_old_components_from_loading() {
    for (from, to, expected) in [
        (
            "late, large",
            "late, large, other",
            "types: type refused was `enum { late, large }` and is `enum { late, large, other }`",
        ),
        ("late, large", "large, late", "types: type refused was"),
        ("status: u16", "status: u32", "types: type reply was"),
        ("status: u16", "status: u16, body: string", "types: type reply was"),
        ("next, reply(reply)", "next, reply(reply), fail(string)", "types: type decision was"),
        ("path: func() -> string;", "", "request: function path is gone"),
        (
            "path: func() -> string",
            "path: func() -> option<string>",
            "request: function path was `func() -> string`",
        ),
        ("value: list<u8>", "text: list<u8>", "request: function set was"),
        ("value: list<u8>", "value: string", "request: function set was"),
        ("export hook;", "", "interface hook is now on the other side"),
        ("on: func() -> decision;", "on: func() -> decision; off: func();", "hook: function off is new"),
    ] {
        let found = after(from, to);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{from} to {to}: {found:?}");
    }
    let gone = RECORDED
        .replace("interface request {", "interface asked {")
        .replace("import request", "import asked");
    assert_eq!(grown(&read(RECORDED), &read(&gone)), ["interface request is gone"]);
}

#[test]
fn a_draft_is_bound_by_the_records_of_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let lost = |text: &str| read(text).lost(folder.path()).unwrap();
    let changed = RECORDED.replace("late, large", "late");
    assert_eq!(lost(&changed), [""; 0], "nothing is on record");
    let record = record_of(folder.path(), &read(RECORDED));
    fs::create_dir_all(&record).unwrap();
    fs::write(record.join("a.wit"), RECORDED).unwrap();
    let draft = |version: &str| lost(&changed.replace("0.1.0", version));
    for bound in ["0.1.0", "0.1.1"] {
        let found = draft(bound);
        assert!(
            found.len() == 1 && found[0].starts_with("0.1.0: types: type refused was"),
            "{bound}: {found:?}"
        );
    }
    assert_eq!(draft("0.2.0"), [""; 0], "another line");
    assert_eq!(lost(&RECORDED.replace("0.1.0", "0.1.1")), [""; 0]);
}

#[test]
fn a_line_is_what_only_grows() {
    assert_eq!((line("0.2.7"), line("1.4.2"), line("12.0.0")), ("0.2", "1", "12"));
    assert!(numbers("0.10.0").unwrap() > numbers("0.9.9").unwrap());
    assert!(numbers("1.0").is_ok() && numbers("1.0.0-rc").is_err());
}

#[test]
fn the_digest_is_of_what_is_linked() {
    let digest = |text: &str| read(text).digest();
    let commented = RECORDED.replace("path: func", "/// The path.\n path: func");
    assert_eq!(digest(RECORDED), digest(&commented));
    assert_ne!(digest(RECORDED), digest(&RECORDED.replace("u16", "u32")));
    assert_ne!(digest(RECORDED), digest(&RECORDED.replace("on: func()", "on: func(a: u8)")));
}
