//! No text makes the reader panic, and each mistake has a place that is there.

use std::path::Path;

use portcullis_model::PathRules;
use proptest::prelude::*;

use super::cases::{cases, cases_folder};
use super::fake::FakePlugins;

/// Loads `text` from a file beside the cases, so that their files are found.
fn load(folder: &Path, text: &str) {
    let path = folder.join("main.toml");
    std::fs::write(&path, text).unwrap();
    if let Err(diagnostics) = crate::load(&path, &FakePlugins) {
        assert!(diagnostics.count() > 0);
        let lines = u32::try_from(text.matches('\n').count() + 1).unwrap();
        for diagnostic in &diagnostics {
            assert!(diagnostic.position().is_none_or(|(line, column)| line <= lines && column > 0));
        }
        assert!(diagnostics.to_string().lines().all(|line| line.chars().count() < 2000));
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("any-text").tempdir_in(cases_folder()).unwrap()
}

/// Pieces of which a config file is made.
fn piece() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "[server]\n",
        "[listeners.web]\n",
        "[upstreams.app]\n",
        "[policies.p]\n",
        "[routes.all]\n",
        "[[routes]]\n",
        "[secrets]\n",
        "address = ",
        "endpoints = ",
        "plugin = ",
        "config = ",
        "grants = ",
        "match = ",
        "to = ",
        "use = ",
        "include = ",
        "path = ",
        "host = ",
        "tls = ",
        "timeouts.idle = ",
        "limits = ",
        "token = ",
        "\"127.0.0.1:8080\"\n",
        "\"builtin:api-key\"\n",
        "\"builtin:rate-limit\"\n",
        "\"*.toml\"\n",
        "[\"app\"]\n",
        "{ a = 1 }\n",
        "{ keys = [] }\n",
        "true\n",
        "5\n",
        "-1\n",
        "1.5\n",
        "nan\n",
        "2026-01-01\n",
        "\"5s\"\n",
        "\"\"\n",
        "\"/a/{b}/*\"\n",
        "\"\\u0000\"\n",
        "\t",
        "é例",
        "'",
        "\"\"\"",
        "[",
        "]",
        "{",
        "}",
        "#",
        "\r\n",
        "\n",
    ]);
    prop_oneof![4 => fixed.prop_map(str::to_owned), 1 => "\\PC{0,12}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        load(folder().path(), &text);
    }

    #[test]
    fn text_of_toml_pieces_never_panics(pieces in prop::collection::vec(piece(), 0..40)) {
        load(folder().path(), &pieces.concat());
    }

    #[test]
    fn a_changed_right_config_never_panics(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), piece in piece(), cut in 0usize..20) {
        let right = cases("right");
        let mut text = std::fs::read_to_string(which.get(&right)).unwrap();
        let start = text.floor_char_boundary(at.index(text.len() + 1));
        let end = text.floor_char_boundary((start + cut).min(text.len()));
        text.replace_range(start..end, &piece);
        load(folder().path(), &text);
    }

    #[test]
    fn patterns_never_panic(text in "\\PC*") {
        let _host = crate::syntax::pattern::host(&text);
        if let Ok(pattern) = crate::syntax::pattern::path(&text, PathRules::default()) {
            // What is accepted is shown as it was typed.
            prop_assert_eq!(pattern.to_string(), text.clone());
        }
        let path = format!("/{}", text.replace(' ', "/"));
        if let Err((_, help)) = crate::syntax::pattern::path(&path, PathRules::default())
            && let Some(normal) = help.strip_prefix("write path = \"").and_then(|rest| rest.split_once("\": paths"))
        {
            // The form that is proposed is one that is accepted.
            prop_assert!(crate::syntax::pattern::path(normal.0, PathRules::default()).is_ok(), "{} for {}", normal.0, path);
        }
        let (_duration, _size) = (crate::syntax::units::duration(&text), crate::syntax::units::size(&text));
    }
}
