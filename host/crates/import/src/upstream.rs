//! `upstream`, and the addresses of `proxy_pass`.

use crate::context::Import;
use crate::draft::Section;
use crate::report::Verdict;
use crate::scope::Scope;
use crate::syntax::Directive;
use crate::units;
use crate::value::Value;

/// What requests are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    /// The name of the table.
    pub(crate) name: String,
    /// How many servers it has.
    pub(crate) servers: usize,
}

impl<'a> Import<'a> {
    /// Makes the upstream of a host of `proxy_pass`: a group, or one server. `fields` are further keys of it.
    ///
    /// # Errors
    /// Why it was refused.
    pub(crate) fn upstream(
        &mut self,
        host: &str,
        port: u16,
        fields: Vec<(String, Value)>,
    ) -> Result<Destination, String> {
        let mut section = Section::default();
        let servers;
        if let Some(group) = self.groups.get(host).copied() {
            section.comment(format!("{} upstream {host}", self.place(group.place)));
            servers = self.group(group, &mut section)?;
        } else {
            let address = address(host, port).ok_or_else(|| format!("`{host}` is no host and port"))?;
            section.set("endpoints", Value::texts([address]));
            servers = 1;
        }
        for (key, value) in fields {
            match value {
                Value::Table(entries) if section.get(&key).is_some() => {
                    for (inner, value) in entries {
                        section.set_in(&key, &inner, value);
                    }
                }
                value => section.set(&key, value),
            }
        }
        // nginx does not pass it on either.
        section.set("hide-server", true);
        let name = self.draft.upstreams.add(host, section);
        Ok(Destination { name, servers })
    }

    fn group(&mut self, group: &'a Directive, section: &mut Section) -> Result<usize, String> {
        self.report.note(group, Verdict::Converted, "");
        let mut endpoints = Vec::new();
        let (mut failures, mut timeouts, mut connections) = (Vec::new(), Vec::new(), Vec::new());
        for server in group.inner().iter().filter(|inner| inner.name == "server") {
            let Some(address) = address(server.arg(0), 80) else {
                let note = "the gateway speaks with IP addresses and host names alone, and not with sockets of the \
                            file system";
                self.say(section, server, Verdict::Refused, note);
                continue;
            };
            self.report.note(server, Verdict::Converted, "");
            let mut endpoint = vec![("address".to_owned(), Value::from(address.clone()))];
            let mut down = false;
            for word in server.args.iter().skip(1) {
                match word.split_once('=').unwrap_or((word, "")) {
                    ("weight", number) => {
                        if let Ok(number) = number.parse::<u64>() {
                            endpoint.push(("weight".to_owned(), Value::Number(number)));
                        }
                    }
                    ("backup", _) => endpoint.push(("priority".to_owned(), Value::Number(1))),
                    ("down", _) => down = true,
                    ("max_fails", number) => failures.extend(number.parse::<u64>()),
                    ("fail_timeout", time) => timeouts.extend(units::milliseconds(time)),
                    ("max_conns", number) => connections.extend(number.parse::<u64>()),
                    // Names are looked up again anyway.
                    ("resolve", _) => (),
                    (other, _) => {
                        let note = format!("`{other}` has no counterpart");
                        self.say(section, server, Verdict::Refused, &note);
                    }
                }
            }
            if down {
                self.say(section, server, Verdict::Converted, &format!("{address} is down, and so left out"));
                continue;
            }
            endpoints.push(if endpoint.len() == 1 { Value::from(address) } else { Value::Table(endpoint) });
        }
        if endpoints.is_empty() {
            return Err("no server of the upstream can be used".to_owned());
        }
        let count = endpoints.len();
        section.set("endpoints", Value::List(endpoints));
        self.balance(group, section);
        if let Some(failures) = failures.iter().min() {
            section.set_in("ejection", "failures", *failures);
        }
        if let Some(time) = timeouts.iter().max().filter(|time| **time > 0) {
            section.set_in("ejection", "duration", units::duration(*time));
        }
        if let Some(connections) = connections.iter().min().filter(|number| **number > 0) {
            section.set_in("limits", "endpoint-requests", *connections);
        }
        let differ = |list: &[u64]| {
            list.iter().any(|one| Some(one) != list.first()) || !list.len().is_multiple_of(count)
        };
        if [&failures, &timeouts, &connections].into_iter().any(|list| differ(list)) {
            let note = "`max_fails`, `fail_timeout` and `max_conns` are the same for all servers of an upstream: the \
                        strictest is taken";
            self.say(section, group, Verdict::Approximated, note);
        }
        Ok(count)
    }

    fn balance(&mut self, group: &Directive, section: &mut Section) {
        for inner in group.inner() {
            let balance = match (inner.name.as_str(), inner.arg(0)) {
                ("least_conn", _) => Value::from("least-requests"),
                ("ip_hash", _) => {
                    let note = "the whole address decides, and not its first three numbers";
                    self.say(section, inner, Verdict::Approximated, note);
                    section.set("balance", Value::table([("hash", Value::from("client"))]));
                    continue;
                }
                ("hash", key) => {
                    let key = match key.trim_start_matches('$') {
                        "remote_addr" | "binary_remote_addr" => Value::from("client"),
                        "request_uri" | "uri" => Value::from("path"),
                        name => match (name.strip_prefix("http_"), name.strip_prefix("cookie_")) {
                            (Some(field), _) => {
                                Value::table([("header", Value::from(field.replace('_', "-")))])
                            }
                            (_, Some(cookie)) => Value::table([("cookie", Value::from(cookie))]),
                            _ => {
                                let note = "a key is the client's address, the path, a header or a cookie";
                                self.say(section, inner, Verdict::Refused, note);
                                continue;
                            }
                        },
                    };
                    let note = "another endpoint may be chosen for a key than nginx chooses";
                    self.say(section, inner, Verdict::Approximated, note);
                    section.set("balance", Value::table([("hash", key)]));
                    continue;
                }
                ("random", "two") => Value::from("least-requests"),
                ("random", _) => Value::from("random"),
                ("least_time", _) => Value::from("peak-ewma"),
                ("keepalive", number) => {
                    self.report.note(inner, Verdict::Converted, "");
                    if let Ok(number) = number.parse::<u64>() {
                        section.set("idle-connections", number);
                    }
                    continue;
                }
                ("keepalive_timeout", time) => {
                    self.report.note(inner, Verdict::Converted, "");
                    if let Some(time) = units::milliseconds(time).filter(|time| *time > 0) {
                        section.set_in("timeouts", "pool-idle", units::duration(time));
                    }
                    continue;
                }
                _ => continue,
            };
            self.report.note(inner, Verdict::Converted, "");
            section.set("balance", balance);
        }
    }

    /// Returns the timeouts of an upstream that hold in a scope.
    pub(crate) fn timeouts(&mut self, scope: &Scope<'a>) -> Vec<(String, Value)> {
        let mut timeouts = Vec::new();
        let take = |directive: &Directive, report: &mut crate::report::Report| {
            let time = units::milliseconds(directive.arg(0)).filter(|time| *time > 0);
            let verdict = if time.is_some() { Verdict::Converted } else { Verdict::Refused };
            report.note(directive, verdict, if time.is_some() { "" } else { "this time cannot be read" });
            time
        };
        let one = |names: [&str; 2]| names.into_iter().find_map(|name| scope.one(name));
        if let Some(time) = one(["proxy_connect_timeout", "grpc_connect_timeout"])
            .and_then(|found| take(found, &mut self.report))
        {
            timeouts.push(("connect".to_owned(), Value::from(units::duration(time))));
        }
        let read =
            one(["proxy_read_timeout", "grpc_read_timeout"]).and_then(|found| take(found, &mut self.report));
        let send =
            one(["proxy_send_timeout", "grpc_send_timeout"]).and_then(|found| take(found, &mut self.report));
        if let Some(read) = read {
            timeouts.push(("response-head".to_owned(), Value::from(units::duration(read))));
        }
        if let Some(idle) = read.max(send) {
            timeouts.push(("idle".to_owned(), Value::from(units::duration(idle))));
        }
        timeouts
    }
}

/// Returns `host:port`, or `None` if the text has another form.
pub(crate) fn address(text: &str, port: u16) -> Option<String> {
    if text.starts_with("unix:") || text.is_empty() || text.contains(['/', '$', ' ']) {
        return None;
    }
    let has_port = match text.rsplit_once(':') {
        Some((_, port)) => {
            !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && !text.ends_with(']')
        }
        None => false,
    };
    Some(if has_port { text.to_owned() } else { format!("{text}:{port}") })
}
