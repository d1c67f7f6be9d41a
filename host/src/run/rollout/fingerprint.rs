//! A digest of everything that is written of a policy. The command that edits a config compares the policy on disk with
//! the one that the gateway runs by it, and the two may be different versions of the binary.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use portcullis_model::text::hex;
use portcullis_model::{
    AbortRules, Candidate, CostRule, FailureMode, FaultRule, FieldMatch, Grants, HttpGrant, PluginSource,
    PolicyConfig, PurgeGrant, QuarantineRule, ResourceLimits, Selection, Share,
};
use sha2::{Digest as _, Sha256};

/// Returns the fingerprint of `policy`: the same for two that differ only in their place, or in the folder of the
/// plugin.
pub(crate) fn fingerprint(policy: &PolicyConfig) -> String {
    let mut fields = Fields::default();
    fields.version(policy);
    if let Some(candidate) = policy.candidate.as_deref() {
        fields.candidate(candidate);
    }
    hex(&Sha256::digest(fields.0))
}

/// Names and values, one a line. The names and their order must stay as they are; a value that is added later is left
/// out if it is the default, so that the fingerprints of policies that do not use it stay the same.
#[derive(Default)]
struct Fields(String);

impl Fields {
    /// Adds a value. Its length goes before it, so that no value can pass for several.
    fn put(&mut self, name: &str, value: impl Display) {
        let value = value.to_string();
        let written = writeln!(self.0, "{name} {} {value}", value.len());
        debug_assert!(written.is_ok(), "a string takes everything that is written");
    }

    fn duration(&mut self, name: &str, value: Duration) {
        self.put(name, value.as_nanos());
    }

    fn share(&mut self, name: &str, value: Share) {
        self.put(name, value.hundredths());
    }

    fn version(&mut self, version: &PolicyConfig) {
        let PolicyConfig {
            name,
            version,
            plugin,
            digest,
            grants,
            isolation,
            limits,
            on_error,
            quarantine,
            tick,
            config_json,
            candidate: _apart,
            origin: _any,
        } = version;
        self.put("name", name);
        self.put("version", version.name());
        match plugin {
            // The digest says what is in the file.
            PluginSource::File(path) => {
                self.put("file", path.file_name().unwrap_or_default().to_string_lossy());
            }
            PluginSource::Builtin(_) | PluginSource::Oci(_) => self.put("plugin", plugin),
        }
        self.put("digest", hex(digest));
        self.grants(grants);
        self.put("isolation", isolation.name());
        self.limits(limits);
        let on_error = match on_error {
            FailureMode::Deny => "deny",
            FailureMode::Allow => "allow",
        };
        self.put("on-error", on_error);
        if let Some(QuarantineRule { faults, window, backoff, backoff_max }) = quarantine {
            self.put("quarantine.faults", faults);
            self.duration("quarantine.window", *window);
            self.duration("quarantine.backoff", *backoff);
            self.duration("quarantine.backoff-max", *backoff_max);
        }
        self.duration("tick", *tick);
        self.put("config", config_json);
    }

    fn grants(&mut self, grants: &Grants) {
        let Grants {
            log,
            clock,
            random,
            rate_limit,
            metrics,
            store,
            secrets,
            crypto,
            matchers,
            http,
            cache_purge,
        } = grants;
        let granted = [
            ("log", log),
            ("clock", clock),
            ("random", random),
            ("metrics", metrics),
            ("crypto", crypto),
            ("matchers", matchers),
        ];
        for (name, _) in granted.iter().filter(|(_, granted)| **granted) {
            self.put("grant", name);
        }
        if let Some(quota) = rate_limit {
            self.put("rate-limit.buckets", quota.buckets_max);
        }
        if let Some(store) = store {
            self.put("store.entries", store.entries_max);
            self.put("store.bytes", store.bytes_max);
        }
        for secret in secrets {
            self.put("secret", secret);
        }
        for HttpGrant { tls, host, port, path, private, ca } in http {
            self.put("http.tls", tls);
            self.put("http.host", host);
            self.put("http.port", port);
            self.put("http.path", path);
            self.put("http.private", private);
            if let Some(ca) = ca {
                self.put("http.ca", ca.digest);
            }
        }
        if let Some(PurgeGrant { caches, per_second }) = cache_purge {
            caches.iter().for_each(|cache| self.put("cache-purge", cache));
            self.put("cache-purge.per-second", per_second);
        }
    }

    fn limits(&mut self, limits: &ResourceLimits) {
        let ResourceLimits {
            deadline,
            configure_deadline,
            memory_bytes,
            body_bytes,
            wall,
            instances,
            hook_calls,
            http_calls,
            log_lines,
            log_bytes,
        } = limits;
        self.duration("deadline", *deadline);
        self.duration("configure-deadline", *configure_deadline);
        self.put("memory", memory_bytes);
        self.put("body", body_bytes);
        self.duration("wall", *wall);
        if let Some(instances) = instances {
            self.put("instances", instances);
        }
        self.put("hook-calls", hook_calls);
        self.put("http-calls", http_calls);
        self.put("log-lines", log_lines);
        self.put("log-bytes", log_bytes);
    }

    fn candidate(&mut self, candidate: &Candidate) {
        self.version(candidate.version());
        match candidate {
            Candidate::Shadow(shadow) => {
                self.share("share", shadow.share);
                self.put("samples", shadow.samples);
            }
            Candidate::Canary(canary) => {
                match &canary.selection {
                    Selection::Share(share) => self.share("share", *share),
                    Selection::Match(conditions) => {
                        for FieldMatch { name, value } in conditions {
                            self.put("field", name);
                            if let Some(value) = value {
                                self.put("value", value);
                            }
                        }
                    }
                }
                if let Some(rules) = &canary.abort {
                    self.abort(rules);
                }
            }
        }
    }

    fn abort(&mut self, rules: &AbortRules) {
        let AbortRules { faults, cpu, latency, window } = rules;
        match faults {
            FaultRule::Share(share) => self.share("abort.faults.share", *share),
            FaultRule::Count(count) => self.put("abort.faults", count),
        }
        for (name, rule) in [("cpu", cpu), ("latency", latency)] {
            match rule {
                CostRule::Ratio(share) => self.share(&format!("abort.{name}.ratio"), *share),
                CostRule::Mean(mean) => self.duration(&format!("abort.{name}.mean"), *mean),
            }
        }
        self.put("abort.window", window);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use portcullis_model::{
        Canary, Candidate, FailureMode, FieldMatch, Grants, Isolation, Origin, PluginSource, PolicyConfig,
        QuarantineRule, RateQuota, ResourceLimits, Selection, Version,
    };

    use super::fingerprint;

    fn policy() -> PolicyConfig {
        let version = PolicyConfig {
            name: "tenant".into(),
            version: Version::Active,
            plugin: PluginSource::File(PathBuf::from("/etc/portcullis/tenant.wasm")),
            digest: [7; 32],
            grants: Grants {
                log: true,
                rate_limit: Some(RateQuota::default()),
                secrets: vec!["key".into()],
                ..Grants::default()
            },
            isolation: Isolation::Exchange,
            limits: ResourceLimits::default(),
            on_error: FailureMode::Deny,
            quarantine: Some(QuarantineRule::default()),
            tick: std::time::Duration::from_secs(10),
            config_json: "{}".to_owned(),
            candidate: None,
            origin: Origin { file: "edge.toml".into(), line: 3 },
        };
        let fields = vec![FieldMatch { name: "x-canary".to_owned(), value: Some("1".to_owned()) }];
        let canary = Canary {
            version: PolicyConfig { version: Version::Canary, digest: [8; 32], ..version.clone() },
            selection: Selection::Match(fields),
            abort: Some(portcullis_model::AbortRules::default()),
        };
        PolicyConfig { candidate: Some(Box::new(Candidate::Canary(canary))), ..version }
    }

    #[test]
    fn stays_as_it_was_in_earlier_versions() {
        assert_eq!(
            fingerprint(&policy()),
            "bcc8bba7f35e51121f77833fa3056153dc0a0c79db1803805838d05e49ddaa15"
        );
    }

    #[test]
    fn differs_with_what_is_written_and_not_with_where() {
        let policy = policy();
        let changed = |change: fn(&mut PolicyConfig)| {
            let mut other = policy.clone();
            change(&mut other);
            fingerprint(&other) != fingerprint(&policy)
        };
        assert!(!changed(|policy| policy.origin.line = 30));
        assert!(!changed(|policy| policy.plugin = PluginSource::File(PathBuf::from("/srv/tenant.wasm"))));
        assert!(changed(|policy| policy.plugin = PluginSource::File(PathBuf::from("/srv/other.wasm"))));
        assert!(changed(|policy| policy.config_json = "{ }".to_owned()));
        assert!(changed(|policy| policy.quarantine = None));
        assert!(changed(|policy| policy.grants.clock = true));
        assert!(changed(|policy| policy.limits.hook_calls += 1));
        assert!(changed(|policy| policy.candidate = None));
        assert!(changed(|policy| {
            if let Some(candidate) = &mut policy.candidate {
                candidate.version_mut().limits.log_lines += 1;
            }
        }));
    }
}
