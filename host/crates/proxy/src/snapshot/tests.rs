use std::collections::HashMap;
use std::sync::Arc;

use portcullis_model::{Action, Forward, Gateway, Name, PathRules, Route, RouteMatch};
use portcullis_net::SystemRoots;
use portcullis_telemetry::{AccessLog, Metrics};

use super::Snapshot;

#[test]
fn a_route_without_its_policies_and_upstreams_is_refused() {
    let route = Route {
        name: Name::from("api"),
        matches: RouteMatch::default(),
        policies: vec![Name::from("keys"), Name::from("limit")],
        action: Action::Forward(Forward {
            upstreams: vec![Name::from("one"), Name::from("two")],
            attempts: 1,
            host: None,
            filters: Vec::new(),
        }),
        response_edits: portcullis_model::ResponseEdits::default(),
        timeout: None,
        body_bytes_max: None,
        hold_bytes_max: 0,
        listeners: Vec::new(),
        tls_required: false,
        path_rules: PathRules::default(),
        origin: portcullis_model::Origin::default(),
    };
    let gateway = Gateway { routes: vec![route], ..Gateway::default() };
    let access_log = AccessLog::open(&gateway.server.access_log).unwrap();
    let metrics = Arc::new(Metrics::new(1));
    let built = Snapshot::build(gateway, &HashMap::new(), access_log, metrics, None, 1, &SystemRoots::new());
    let errors: Vec<String> = built.unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "route `api`: policy `keys` was not loaded",
            "route `api`: policy `limit` was not loaded",
            "route `api`: upstream `one` is not configured",
            "route `api`: upstream `two` is not configured",
        ]
    );
}
