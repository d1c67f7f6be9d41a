use portcullis_model::Share;

use super::{EditError, RolloutEdit, edit_rollout};

fn share(hundredths: u32) -> RolloutEdit {
    RolloutEdit::Canary { share: Share::of_hundredths(hundredths) }
}

fn check(edit: RolloutEdit, before: &str, after: &str) {
    let edited = edit_rollout(before, "limit", edit, &[]).unwrap().text;
    assert_eq!(edited, after, "\n--- edited\n{edited}--- expected\n{after}");
}

#[test]
fn what_a_promoted_version_has_no_use_for_goes_with_what_it_replaces() {
    const CANARY: &str = "canary = { plugin = \"b\", share = \"5%\" }\n";
    let useless = ["grants.log", "grants.http", "limits.http-calls", "tick"].map(str::to_owned);
    for (before, after, removed) in [
        (
            "grants = { log = true, clock = true } # both\ntick = \"1s\"\n",
            "grants = { clock = true } # both\n",
            &["grants.log", "tick"][..],
        ),
        ("grants = { log = true, http = [\"http://a\"] }\n", "", &["grants.log", "grants.http"]),
        (
            "limits = { http-calls = 3, memory = \"8MiB\" }\n",
            "limits = { memory = \"8MiB\" }\n",
            &["limits.http-calls"],
        ),
        (
            "[policies.limit.grants]\n# for now\nlog = true\nclock = true\n",
            "[policies.limit.grants]\nclock = true\n",
            &["grants.log"],
        ),
        ("[policies.limit.grants]\nlog = true\n", "", &["grants.log"]),
        ("grants.log = true\ngrants.clock = true\n", "grants.clock = true\n", &["grants.log"]),
        ("grants = { clock = true }\n", "grants = { clock = true }\n", &[]),
    ] {
        let text = |plugin: &str, canary: &str, rest: &str| {
            format!("[policies.limit]\nplugin = \"{plugin}\"\n{canary}{rest}")
        };
        let edited =
            edit_rollout(&text("a", CANARY, before), "limit", RolloutEdit::Promote, &useless).unwrap();
        assert_eq!(edited.text, text("b", "", after));
        assert_eq!(edited.removed, removed, "{before}");
        // What is still in use stays.
        let edited = edit_rollout(&text("a", CANARY, before), "limit", RolloutEdit::Abort, &useless).unwrap();
        assert_eq!(edited.text, text("a", "", before));
        assert!(edited.removed.is_empty());
    }
}

/// Everything around the policy, which stays whatever is done.
fn around(policy: &str) -> String {
    format!(
        "# The gateway of the shop.\n[listeners.web]\naddress   = \"127.0.0.1:0\" # odd  blanks\n\n{policy}\n\
         # Behind it.\n[routes.all]\nuse = [\n  \"limit\", # first\n]\nto = \"app\"\n# the end\n"
    )
}

const TABLES: &str = r#"# Who may how often.
[policies.limit]
# The old one.
plugin = "old.wasm" # since May
config = { rate = "100/s" }
grants = { rate-limit = true }

# To be tried.
[policies.limit.canary]
plugin = "new.wasm"
config = { rate = "50/s" } # half
share = "5%"
"#;

#[test]
fn a_promotion_moves_what_the_version_says_and_nothing_else() {
    let after = r#"# Who may how often.
[policies.limit]
# The old one.
plugin = "new.wasm" # since May
config = { rate = "50/s" } # half
grants = { rate-limit = true }
"#;
    check(RolloutEdit::Promote, &around(TABLES), &around(after));
}

#[test]
fn an_abort_takes_the_version_away() {
    let after = r#"# Who may how often.
[policies.limit]
# The old one.
plugin = "old.wasm" # since May
config = { rate = "100/s" }
grants = { rate-limit = true }
"#;
    check(RolloutEdit::Abort, &around(TABLES), &around(after));
}

#[test]
fn a_share_makes_a_canary_of_either() {
    check(share(2000), &around(TABLES), &around(&TABLES.replace("share = \"5%\"", "share = \"20%\"")));
    let shadow = TABLES.replace("canary]", "shadow]").replace("share = \"5%\"", "samples = 3");
    check(share(500), &around(&shadow), &around(TABLES));
    let matching = TABLES.replace("share = \"5%\"", "match = { headers = { x-canary = true } }");
    check(share(500), &around(&matching), &around(TABLES));
    check(
        share(500),
        "[policies.limit]\nplugin = \"a\"\n# beside\nshadow = { plugin = \"b\", samples = 3 }\ntick = \"1s\"\n",
        "[policies.limit]\nplugin = \"a\"\ntick = \"1s\"\n# beside\ncanary = { plugin = \"b\", share = \"5%\" }\n",
    );
}

#[test]
fn every_way_to_write_tables_is_kept() {
    for (before, after) in [
        // Braces in a table.
        (
            "[policies.limit]\nplugin = \"a\"\ncanary = { plugin = \"b\", share = \"5%\" }\ntick = \"1s\"\n",
            "[policies.limit]\nplugin = \"b\"\ntick = \"1s\"\n",
        ),
        // Braces in braces.
        (
            "[policies]\nlimit = { plugin = \"a\", canary = { plugin = \"b\", share = \"5%\" } }\n",
            "[policies]\nlimit = { plugin = \"b\" }\n",
        ),
        // Points.
        (
            "policies.limit.plugin = \"a\"\npolicies.limit.canary.plugin = \"b\"\npolicies.limit.canary.share = \"5%\"\n",
            "policies.limit.plugin = \"b\"\n",
        ),
        (
            "[policies.limit]\nplugin = \"a\"\ncanary.plugin = \"b\"\ncanary.config.rate = \"5/s\"\ncanary.share = \"5%\"\n",
            "[policies.limit]\nplugin = \"b\"\nconfig.rate = \"5/s\"\n",
        ),
        // A table of its own for what is in braces, and the other way round.
        (
            "[policies.limit]\nplugin = \"a\"\nconfig = { rate = \"1/s\" }\n\n[policies.limit.canary]\nplugin = \"b\"\nshare = \"5%\"\n\n[policies.limit.canary.config]\nrate = \"5/s\"\n\n[routes.all]\n",
            "[policies.limit]\nplugin = \"b\"\n\n[policies.limit.config]\nrate = \"5/s\"\n\n[routes.all]\n",
        ),
        (
            "[policies.limit]\nplugin = \"a\"\ncanary = { plugin = \"b\", config = { rate = \"5/s\" }, share = \"5%\" }\n\n[policies.limit.config]\nrate = \"1/s\"\n\n[routes.all]\n",
            "[policies.limit]\nplugin = \"b\"\nconfig = { rate = \"5/s\" }\n\n[routes.all]\n",
        ),
        // The version before its policy.
        (
            "[policies.limit.canary]\nplugin = \"b\"\nshare = \"5%\"\n\n[policies.limit]\nplugin = \"a\"\n",
            "\n[policies.limit]\nplugin = \"b\"\n",
        ),
    ] {
        check(RolloutEdit::Promote, before, after);
    }
}

#[test]
fn limits_are_moved_one_by_one() {
    check(
        RolloutEdit::Promote,
        "[policies.limit]\nplugin = \"a\"\nlimits = { deadline = \"1ms\", memory = \"4MiB\" }\n[policies.limit.canary]\nplugin = \"b\"\nlimits = { memory = \"8MiB\", body = \"1MiB\" }\nshare = \"5%\"\n",
        "[policies.limit]\nplugin = \"b\"\nlimits = { deadline = \"1ms\", memory = \"8MiB\" , body = \"1MiB\" }\n",
    );
    check(
        RolloutEdit::Promote,
        "[policies.limit]\nplugin = \"a\"\n[policies.limit.canary]\nplugin = \"b\"\nlimits = { memory = \"8MiB\" }\nshare = \"5%\"\n",
        "[policies.limit]\nplugin = \"b\"\nlimits = { memory = \"8MiB\" }\n",
    );
}

#[test]
fn line_ends_stay_as_they_are() {
    let windows = |text: &str| text.replace('\n', "\r\n");
    let edited = edit_rollout(&windows(&around(TABLES)), "limit", RolloutEdit::Abort, &[]).unwrap().text;
    let expected = edit_rollout(&around(TABLES), "limit", RolloutEdit::Abort, &[]).unwrap().text;
    assert_eq!(edited, windows(&expected));
}

#[test]
fn what_is_not_there_is_said() {
    for (text, error) in [
        ("[policies.other]\nplugin = \"a\"\n", EditError::NoPolicy),
        ("policies = 1\n", EditError::NoPolicy),
        ("[policies]\nlimit = 1\n", EditError::NoPolicy),
        ("[policies.limit]\nplugin = \"a\"\n", EditError::NoCandidate),
    ] {
        assert_eq!(edit_rollout(text, "limit", RolloutEdit::Promote, &[]), Err(error), "{text}");
    }
    let error = edit_rollout("[policies", "limit", RolloutEdit::Promote, &[]);
    assert!(matches!(error, Err(EditError::NoToml(_))), "{error:?}");
}
