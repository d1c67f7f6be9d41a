use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use portcullis_model::{Action, Forward, Gateway, Name, PathRules, Route, RouteMatch};
use portcullis_policy::recorder::{Effects, Recorder};

use super::{Ending, Explainer, Question};

#[tokio::test]
async fn a_policy_that_is_missing_denies() {
    let route = Route {
        name: Name::from("api"),
        matches: RouteMatch::default(),
        policies: vec![Name::from("keys")],
        action: Action::Forward(Forward {
            upstreams: vec![Name::from("u")],
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
        listeners: Vec::new(),
        tls_required: false,
        path_rules: PathRules::default(),
        origin: portcullis_model::Origin::default(),
    };
    let gateway = Gateway { routes: vec![route], ..Gateway::default() };
    let question = Question {
        head: b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n".to_vec(),
        tls: false,
        server_name: None,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        listener: None,
    };
    let none = HashMap::new();
    let explainer = Explainer::offline(&gateway, &none);
    let explanation = explainer.explain(&question, Some(Recorder::new(Effects::None))).await;
    let Ending::Refused { status, reason, .. } = explanation.ending else { panic!("{explanation:?}") };
    assert_eq!((status, &*reason), (500, "policy `keys` is not loaded"));
}
