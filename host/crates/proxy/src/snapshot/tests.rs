use std::collections::HashMap;
use std::sync::Arc;

use portcullis_model::{Action, Files, Forward, Gateway, Name, PathRules, Route, RouteMatch, Symlinks};
use portcullis_net::SystemRoots;
use portcullis_telemetry::{AccessLog, Metrics};

use super::Snapshot;

/// The errors of a gateway with one route, `api`.
fn errors(policies: &[&str], action: Action) -> Vec<String> {
    let route = Route {
        name: Name::from("api"),
        matches: RouteMatch::default(),
        policies: policies.iter().map(|name| Name::from(*name)).collect(),
        action,
        response_edits: portcullis_model::ResponseEdits::default(),
        compress: None,
        decompress: None,
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
    built.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn a_route_without_its_policies_and_upstreams_is_refused() {
    let action = Action::Forward(Forward {
        upstreams: vec![Name::from("one"), Name::from("two")],
        tries: portcullis_model::Tries { attempts: 1, retry: None },
        host: None,
        filters: Vec::new(),
        cache: None,
    });
    assert_eq!(
        errors(&["keys", "limit"], action),
        [
            "route `api`: policy `keys` was not loaded",
            "route `api`: policy `limit` was not loaded",
            "route `api`: upstream `one` is not configured",
            "route `api`: upstream `two` is not configured",
        ]
    );
}

#[test]
fn a_route_without_its_folder_is_refused() {
    let files = |root: &str| {
        let (index, symlinks) = ("index.html".to_owned(), Symlinks::Inside);
        Action::Files(Files { root: root.into(), path: None, index, symlinks, precompressed: false })
    };
    assert_eq!(errors(&[], files("/")), [""; 0]);
    for root in ["/nowhere", "/etc/hostname"] {
        let errors = errors(&[], files(root));
        assert!(errors.concat().starts_with("route `api`: the folder cannot be opened: "), "{errors:?}");
    }
}
