//! Who may ask: `allow`, `deny`, `auth_basic`, `auth_request` and the like, and how often: `limit_req`.

use crate::context::Import;
use crate::draft::Section;
use crate::report::Verdict;
use crate::scope::Scope;
use crate::syntax::Directive;
use crate::value::Value;

impl<'a> Import<'a> {
    /// Returns the policies that guard a route, in their order.
    pub(crate) fn guards(&mut self, section: &mut Section, scope: &Scope<'a>) -> Vec<String> {
        let mut policies = self.rates(section, scope);
        self.closing(section, scope);
        if let Some(filter) = self.networks(section, scope) {
            policies.push(filter);
        }
        for limit in scope.all("limit_conn") {
            let note = "there is no limit of connections by address; a listener and an upstream have limits";
            self.say(section, limit, Verdict::Refused, note);
        }
        policies
    }

    /// What guards a route and has no counterpart closes it.
    fn closing(&mut self, section: &mut Section, scope: &Scope<'a>) {
        if let Some(basic) = scope.one("auth_basic") {
            if basic.arg(0) == "off" {
                self.report.note(basic, Verdict::Converted, "");
            } else {
                let note = "there are no passwords of browsers here: use `builtin:api-key`, `builtin:jwt`, or \
                            `builtin:external-auth` with a server that asks for them";
                self.close(section, basic, note);
                for file in scope.all("auth_basic_user_file") {
                    self.report.note(file, Verdict::Refused, "see `auth_basic`");
                }
            }
        }
        if let Some(request) = scope.one("auth_request").filter(|request| request.arg(0) != "off") {
            let note = "use `builtin:external-auth` with the URL of the service that the location asks";
            self.close(section, request, note);
        }
        for name in ["auth_jwt", "secure_link", "auth_digest", "auth_pam", "auth_ldap"] {
            if let Some(found) = scope.one(name).filter(|found| found.arg(0) != "off") {
                self.close(
                    section,
                    found,
                    "no policy that ships does this: see `builtin:jwt` and the guide for your own",
                );
            }
        }
        if let Some(verify) = scope.one("ssl_verify_client").filter(|verify| verify.arg(0) == "on") {
            self.close(section, verify, "a listener does not ask for certificates of clients");
        }
        if let Some(any) = scope.one("satisfy").filter(|any| any.arg(0) == "any") {
            self.close(section, any, "each policy of a route must let a request pass, not one of them");
        }
    }

    fn networks(&mut self, section: &mut Section, scope: &Scope<'a>) -> Option<String> {
        let rules = scope.all_of(&["allow", "deny"]);
        if rules.is_empty() {
            return None;
        }
        let mut allow: Vec<String> = Vec::new();
        let mut deny: Vec<String> = Vec::new();
        let mut rest_denied = false;
        let mut rest: Option<&Directive> = None;
        for rule in rules {
            if let Some(rest) = rest {
                let note = format!("`{} all` stands before it", rest.name);
                self.report.note(rule, Verdict::Unneeded, &note);
                continue;
            }
            self.report.note(rule, Verdict::Converted, "");
            let (permits, network) = (rule.name == "allow", rule.arg(0));
            if network == "all" {
                rest = Some(rule);
                rest_denied = !permits;
                continue;
            }
            let Some(network) = network_of(network) else {
                self.close(section, rule, "only networks and addresses can be told apart");
                return None;
            };
            if permits {
                allow.push(network);
            } else if allow.is_empty()
                || allow.iter().all(|other| other.contains(':') != network.contains(':'))
            {
                deny.push(network);
            } else {
                // Here what is denied is denied, in whichever network; there the first rule that fits decides.
                self.close(
                    section,
                    rule,
                    "a network that is denied behind one that is allowed has no counterpart",
                );
                return None;
            }
        }
        let mut config = Vec::new();
        if rest_denied {
            if allow.is_empty() {
                section.refuses = true;
                return None;
            }
            config.push(("allow".to_owned(), Value::texts(allow)));
        } else if deny.is_empty() {
            return None;
        } else if !allow.is_empty() {
            section.comment("what is allowed here is not denied by anything else");
        }
        if !deny.is_empty() {
            config.push(("deny".to_owned(), Value::texts(deny)));
        }
        let mut policy = Section::default();
        policy.set("plugin", "builtin:ip-filter");
        policy.set("config", Value::Table(config));
        Some(self.draft.policies.add("networks", policy))
    }

    fn rates(&mut self, section: &mut Section, scope: &Scope<'a>) -> Vec<String> {
        let mut policies = Vec::new();
        for limit in scope.all("limit_req") {
            let word = |key: &str| limit.args.iter().find_map(|word| word.strip_prefix(key));
            let zone = word("zone=").unwrap_or_default();
            let Some(directive) = self.zones.get(&format!("limit_req_zone {zone}")).copied() else {
                self.say(section, limit, Verdict::Refused, "its zone is not there");
                continue;
            };
            let Some((rate, key)) = rate_of(directive) else {
                let note =
                    "its key has no counterpart: the client's address, a header or the server can be counted";
                self.say(section, limit, Verdict::Refused, note);
                self.report.note(directive, Verdict::Refused, note);
                continue;
            };
            let burst = word("burst=").and_then(|burst| burst.parse::<u64>().ok()).unwrap_or(0);
            let at_once = burst == 0 || limit.args.iter().any(|word| word == "nodelay");
            let status = scope.value("limit_req_status").unwrap_or("503");
            let mut notes = Vec::new();
            if !at_once {
                notes.push("requests within the burst are not delayed");
            }
            if status != "429" {
                notes.push("what is too much is answered 429");
            }
            if notes.is_empty() {
                self.report.note(limit, Verdict::Converted, "");
            } else {
                self.say(section, limit, Verdict::Approximated, &notes.join("; "));
            }
            for found in scope.all("limit_req_status") {
                let verdict = if status == "429" { Verdict::Converted } else { Verdict::Approximated };
                self.report.note(found, verdict, "429 is the answer");
            }
            self.report.note(directive, Verdict::Converted, "");
            let mut policy = Section::default();
            policy.comment(format!("{} zone {zone}", self.place(directive.place)));
            policy.set("plugin", "builtin:rate-limit");
            policy.set("grants", Value::table([("rate-limit", Value::from(true))]));
            let config = [
                ("rate", Value::from(rate)),
                ("burst", Value::Number(burst)),
                ("key", key),
                ("fields", Value::from(false)),
            ];
            policy.set("config", Value::table(config));
            let name = self.draft.policies.add(&format!("limit-{zone}"), policy);
            if !policies.contains(&name) {
                policies.push(name);
            }
        }
        policies
    }
}

/// Returns the rate and the key of a `limit_req_zone`.
fn rate_of(zone: &Directive) -> Option<(String, Value)> {
    let rate = zone.args.iter().find_map(|word| word.strip_prefix("rate="))?;
    let rate = rate
        .strip_suffix("r/s")
        .map(|number| format!("{number}/s"))
        .or_else(|| rate.strip_suffix("r/m").map(|number| format!("{number}/m")))?;
    let key = match zone.arg(0) {
        "$binary_remote_addr" | "$remote_addr" => Value::from("client-address"),
        "$server_name" | "$host" => Value::from("route"),
        other => Value::table([("header", Value::from(other.strip_prefix("$http_")?.replace('_', "-")))]),
    };
    Some((rate, key))
}

/// Returns a network without bits beyond its prefix, which `builtin:ip-filter` refuses and nginx drops.
pub(crate) fn network_of(text: &str) -> Option<String> {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let Some(prefix) = prefix else { return Some(address.to_string()) };
    let network = match address {
        IpAddr::V4(address) if prefix <= 32 => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(address) & mask))
        }
        IpAddr::V6(address) if prefix <= 128 => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(address) & mask))
        }
        _ => return None,
    };
    Some(format!("{network}/{prefix}"))
}
