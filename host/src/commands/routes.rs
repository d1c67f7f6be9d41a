//! `portcullis routes`: the routes of a configuration, in the order in which they are tried.

use std::cmp::Reverse;
use std::process::ExitCode;

use portcullis_model::{Action, HostPattern, Route, RouteMatch};
use serde_json::json;

use crate::cli::RoutesArguments;
use crate::output::print;
use crate::plugins::Catalog;
use crate::refusal::Refusal;
use crate::table::table;

/// Prints them, as a table or as JSON.
///
/// # Errors
/// All that is wrong with the configuration.
pub(crate) fn run(arguments: &RoutesArguments) -> anyhow::Result<ExitCode> {
    let config = arguments.config.find_or_read()?;
    let gateway = portcullis_config::load(config.main_file(), &Catalog).map_err(Refusal::Config)?.gateway;
    if arguments.json {
        let list: Vec<_> = gateway.routes.iter().map(as_json).collect();
        return print(&format!("{:#}\n", serde_json::Value::from(list)));
    }
    let header = [
        "ROUTE",
        "HOST",
        "PATH",
        "METHODS",
        "CONDITIONS",
        "LISTENERS",
        "TLS",
        "POLICIES",
        "ACTION",
        "ORIGIN",
    ];
    print(&table(header, rows(&gateway.routes)))
}

fn as_json(route: &Route) -> serde_json::Value {
    let RouteMatch { priority, path, path_regex, methods, conditions, clients, .. } = &route.matches;
    json!({
        "name": &*route.name,
        "hosts": route.matches.hosts().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "priority": priority,
        "path": path.to_string(),
        "path-regex": path_regex.as_ref().map(ToString::to_string),
        "methods": methods,
        "conditions": conditions.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "clients": clients.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "listeners": route.listeners.iter().map(|name| &**name).collect::<Vec<_>>(),
        "tls": if route.tls_required { "required" } else { "any" },
        "policies": route.policies.iter().map(|name| &**name).collect::<Vec<_>>(),
        "action": match route.action {
            Action::Forward(_) => "forward",
            Action::Redirect(_) => "redirect",
            Action::Respond(_) => "respond",
            Action::Files(_) => "files",
        },
        "upstreams": route.upstreams().iter().map(|name| &**name).collect::<Vec<_>>(),
        "file": &*route.origin.file,
        "line": route.origin.line,
    })
}

/// A row for each host of each route, in the order in which they are tried.
fn rows(routes: &[Route]) -> impl Iterator<Item = [String; 10]> {
    let hosts = routes.iter().flat_map(|route| route.matches.hosts().iter().map(move |host| (route, host)));
    let mut hosts: Vec<(&Route, &HostPattern)> = hosts.collect();
    hosts.sort_by_cached_key(|(route, host)| {
        (Reverse(route.matches.specificity_by(host)), route.name.clone())
    });
    hosts.into_iter().map(|(route, host)| row(route, host))
}

fn row(route: &Route, host: &HostPattern) -> [String; 10] {
    let RouteMatch { priority, path, path_regex, methods, conditions, clients, .. } = &route.matches;
    let mut shown: Vec<String> = conditions.iter().map(ToString::to_string).collect();
    if !clients.is_empty() {
        let clients: Vec<String> = clients.iter().map(ToString::to_string).collect();
        shown.push(format!("client={}", clients.join("|")));
    }
    if *priority != 0 {
        shown.push(format!("priority={priority}"));
    }
    let or = |text: String, absent: &str| if text.is_empty() { absent.to_owned() } else { text };
    [
        route.name.to_string(),
        host.to_string(),
        path_regex.as_ref().map_or_else(|| path.to_string(), |regex| format!("{path} ~{regex}")),
        or(methods.join(","), "*"),
        or(shown.join(","), "-"),
        or(route.listeners.join(","), "*"),
        if route.tls_required { "required" } else { "*" }.to_owned(),
        or(route.policies.join(" > "), "-"),
        route.action.summary(),
        format!("{}:{}", route.origin.file, route.origin.line),
    ]
}
