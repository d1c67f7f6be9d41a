//! The text of a configuration: no text makes the reader panic, and each mistake has a place that exists.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use portcullis_config::{
    Components, ImageRequest, Images, Keys, MainFile, PluginInfo, PluginSources, Problem, load,
};
use portcullis_model::{Capability, ContentDigest, Signer, SignerKey};

/// One plugin, `any`, that takes every table. There are no registries, and every key is accepted.
struct Plugins;

impl Components for Plugins {
    fn builtin(&self, name: &str) -> Option<&'static [u8]> {
        (name == "any").then_some(b"any")
    }

    fn builtin_names(&self) -> Vec<&'static str> {
        vec!["any"]
    }

    fn inspect(&self, _: &[u8]) -> Result<PluginInfo, String> {
        Ok(PluginInfo {
            name: "any".to_owned(),
            version: "1.0.0".to_owned(),
            config_schema: None,
            imports: vec![Capability::RateLimit, Capability::HttpClient],
            has_lifecycle: true,
            has_tick: true,
            chooses_upstream: true,
            attributes: None,
        })
    }
}

impl Images for Plugins {
    fn image(&self, _: &ImageRequest<'_>) -> Result<Vec<u8>, Problem> {
        Err(Problem { label: "no registry".to_owned(), help: "none".to_owned(), unsigned: false, away: true })
    }

    fn images_done(&self, _: &PluginSources, _: &BTreeSet<ContentDigest>) {}
}

impl Keys for Plugins {
    fn check_key(&self, _: &SignerKey) -> Result<(), Problem> {
        Ok(())
    }

    fn check_authorities(&self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn certificate_names(&self, _: &[u8]) -> Option<Vec<String>> {
        None
    }

    fn verify_file(&self, _: &Signer, _: &[u8], _: &[u8]) -> Result<(), Problem> {
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match load(MainFile::with_text("main.toml", text), &Plugins) {
        Ok(loaded) => drop(format!("{loaded:?}")),
        Err(diagnostics) => {
            assert!(diagnostics.count() > 0);
            let lines = text.matches('\n').count() + 1;
            for diagnostic in &diagnostics {
                let place = diagnostic.position();
                assert!(place.is_none_or(|(line, column)| line as usize <= lines && column > 0));
            }
            assert!(!diagnostics.to_string().is_empty());
        }
    }
});
