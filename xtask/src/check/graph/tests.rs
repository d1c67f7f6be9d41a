use serde_json::json;

use super::Graph;

/// A workspace of `members`, and normal edges; a kind after `@` makes an edge another one.
fn graph(members: &[&str], edges: &[(&str, &str)]) -> Graph {
    let mut names: Vec<&str> = members.to_vec();
    names.extend(edges.iter().map(|(_, to)| to.split('@').next().unwrap()));
    let node = |name: &str| {
        let deps = edges.iter().filter(|(from, _)| *from == name).map(|(_, to)| {
            let (to, kind) = to.split_once('@').map_or((*to, None), |(to, kind)| (to, Some(kind)));
            json!({ "pkg": to, "dep_kinds": [{ "kind": kind }] })
        });
        json!({ "id": name, "deps": deps.collect::<Vec<_>>() })
    };
    Graph::read(&json!({
        "packages": names.iter().map(|name| json!({ "id": name, "name": name })).collect::<Vec<_>>(),
        "workspace_members": members,
        "resolve": { "nodes": names.iter().map(|name| node(name)).collect::<Vec<_>>() },
    }))
    .unwrap()
}

#[test]
fn an_edge_that_is_not_in_the_table_is_found() {
    let graph = graph(
        &["portcullis-net", "portcullis-model"],
        &[("portcullis-net", "portcullis-model"), ("portcullis-model", "portcullis-net")],
    );
    assert_eq!(graph.own_edges(), ["portcullis-model uses portcullis-net, which it may not"]);
}

#[test]
fn a_crate_that_nobody_placed_is_found() {
    let graph = graph(&["portcullis-extra", "portcullis-plugin-x", "portcullis"], &[]);
    assert_eq!(graph.own_edges(), ["portcullis-extra is not in the table: say what it may use"]);
}

#[test]
fn a_dependency_that_belongs_to_others_is_found_by_its_family() {
    let graph = graph(
        &["portcullis-proxy", "portcullis-sandbox"],
        &[
            ("portcullis-proxy", "wasmtime-environ"),
            ("portcullis-proxy", "wasmtimer"),
            ("portcullis-sandbox", "wasmtime"),
        ],
    );
    let findings = graph.restricted();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].starts_with("portcullis-proxy uses wasmtime-environ:"));
}

#[test]
fn a_runtime_is_found_behind_others_but_not_among_what_tests_use() {
    let edges = [("portcullis-http", "a"), ("a", "b"), ("b", "tokio"), ("portcullis-model", "tokio@dev")];
    let findings = graph(&["portcullis-http", "portcullis-model"], &edges).impure();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].starts_with("portcullis-http -> a -> b -> tokio:"));
}

#[test]
fn an_edge_that_is_allowed_and_not_used_is_found() {
    let with = graph(&["portcullis-net", "portcullis-model"], &[("portcullis-net", "portcullis-model")]);
    let unused = |graph: &super::Graph| -> Vec<String> {
        let findings = graph.unused_edges().into_iter();
        findings.filter(|finding| finding.starts_with("portcullis-net may use portcullis-model")).collect()
    };
    assert_eq!(unused(&with), Vec::<String>::new());
    assert_eq!(unused(&graph(&["portcullis-net", "portcullis-model"], &[])).len(), 1);
}

#[test]
fn a_crate_in_the_table_that_is_gone_is_found() {
    let findings = graph(&["portcullis-net"], &[]).unused_edges();
    assert!(
        findings.contains(&"portcullis-model is in the table, but not in the workspace".to_owned()),
        "{findings:?}"
    );
}

#[test]
fn a_dependency_that_no_source_names_is_found() {
    let graph = graph(
        &["portcullis-net", "portcullis-model"],
        &[("portcullis-net", "portcullis-model"), ("portcullis-net", "tokio")],
    );
    assert_eq!(graph.unnamed("portcullis-net", "use portcullis_model::Name;"), Vec::<String>::new());
    assert_eq!(
        graph.unnamed("portcullis-net", "use tokio::net;"),
        ["portcullis-net depends on portcullis-model and does not name it: take it out"]
    );
}
