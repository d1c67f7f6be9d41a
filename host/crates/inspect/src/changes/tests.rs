use std::time::Duration;

use portcullis_model::{
    Action, FailureMode, Forward, Gateway, Grants, Isolation, Name, Origin, PluginSource, PolicyConfig,
    ResourceLimits, Route, RouteMatch, Secret, Version,
};

use super::Changes;

fn policy(name: &str, digest: u8, line: u32) -> PolicyConfig {
    PolicyConfig {
        name: Name::from(name),
        version: Version::Active,
        plugin: PluginSource::Builtin(Name::from("headers")),
        digest: [digest; 32],
        grants: Grants::default(),
        isolation: Isolation::Worker,
        limits: ResourceLimits::default(),
        on_error: FailureMode::Deny,
        quarantine: None,
        tick: Duration::from_secs(1),
        config_json: "{}".to_owned(),
        candidate: None,
        origin: Origin { file: "a.toml".into(), line },
    }
}

fn route(name: &str) -> Route {
    Route {
        name: Name::from(name),
        matches: RouteMatch::default(),
        policies: Vec::new(),
        action: Action::Forward(Forward {
            upstreams: vec![Name::from("app")],
            tries: portcullis_model::Tries { attempts: 1, retry: None },
            host: None,
            filters: Vec::new(),
            cache: None,
        }),
        response_edits: portcullis_model::ResponseEdits::default(),
        compress: None,
        decompress: None,
        timeout: None,
        body_bytes_max: None,
        hold_bytes_max: 0,
        path_rules: portcullis_model::PathRules::default(),
        listeners: Vec::new(),
        tls_required: false,
        origin: Origin::default(),
    }
}

fn with_policies(policies: Vec<PolicyConfig>) -> Gateway {
    Gateway { policies, ..Gateway::default() }
}

#[test]
fn another_place_in_the_file_is_no_change() {
    assert!(policy("a", 1, 3) == policy("a", 1, 30));
    let changes =
        Changes::between(&with_policies(vec![policy("a", 1, 3)]), &with_policies(vec![policy("a", 1, 30)]));
    assert!(changes.is_empty(), "{changes:?}");
    assert_eq!(changes.to_string(), "nothing changed");
}

#[test]
fn names_what_was_added_removed_and_changed() {
    let mut edited = policy("c", 1, 1);
    edited.config_json = "{\"a\":1}".to_owned();
    let old = with_policies(vec![policy("a", 1, 1), policy("b", 1, 1), policy("c", 1, 1)]);
    let mut new = with_policies(vec![policy("b", 2, 1), edited, policy("d", 1, 1)]);
    new.routes = vec![route("api")];
    assert_eq!(
        Changes::between(&old, &new).to_string(),
        "policy `a` removed, policy `b` runs another version of its plugin, policy `c` changed, policy `d` added, \
         route `api` added"
    );
}

#[test]
fn a_secret_changes_the_policies_that_were_granted_it() {
    let mut granted = policy("a", 1, 1);
    granted.grants.secrets = vec![Name::from("token")];
    let with_secret = |value: &str| Gateway {
        policies: vec![granted.clone(), policy("b", 1, 1)],
        secrets: [(Name::from("token"), Secret::new(value.as_bytes()))].into(),
        ..Gateway::default()
    };
    let changes = Changes::between(&with_secret("one"), &with_secret("two"));
    assert_eq!(changes.live, ["policy `a` got other secrets"]);
}

#[test]
fn settings_of_the_process_wait_for_a_restart() {
    let mut new = Gateway::default();
    new.server.workers = Some(3);
    new.server.drain_timeout = Duration::from_secs(1);
    let changes = Changes::between(&Gateway::default(), &new);
    assert_eq!(changes.live, ["server.drain-timeout changed"]);
    assert_eq!(changes.restart, ["server.workers"]);
}

#[test]
fn another_order_of_routes_is_a_change() {
    let routes = |names: [&str; 2]| Gateway { routes: names.map(route).into(), ..Gateway::default() };
    let changes = Changes::between(&routes(["a", "b"]), &routes(["b", "a"]));
    assert_eq!(changes.live, ["routes are tried in another order"]);
}
