//! What must hold for every key.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::Gateway;
use serde_json::Value as Json;

use super::cases::{cases, cases_folder};
use super::fake::FakePlugins;
use crate::files::source::Span;
use crate::syntax::keys::ROOT;
use crate::syntax::shape::{Kind, Presence, Shape};

thread_local! {
    /// Keys that were asked for on this thread, by the address of their table.
    static ASKED: RefCell<BTreeSet<(usize, String)>> = const { RefCell::new(BTreeSet::new()) };
}

/// Hears which keys are asked for.
pub(crate) fn asked(shape: &'static Shape, key: &str) {
    ASKED.with_borrow_mut(|asked| asked.insert((address(shape), key.to_owned())));
}

fn address(shape: &'static Shape) -> usize {
    std::ptr::from_ref(shape) as usize
}

/// Every table of keys, by its path, such as `listeners.NAME.tls`.
pub(crate) fn shapes() -> BTreeMap<String, &'static Shape> {
    let mut found = BTreeMap::new();
    collect("", &ROOT, &mut found);
    found
}

fn collect(path: &str, shape: &'static Shape, found: &mut BTreeMap<String, &'static Shape>) {
    found.insert(path.to_owned(), shape);
    for key in shape.keys {
        let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        collect_kind(&path, &key.kind, found);
    }
}

fn collect_kind(path: &str, kind: &'static Kind, found: &mut BTreeMap<String, &'static Shape>) {
    match kind {
        Kind::Table(shape) => collect(path, shape, found),
        Kind::Named(shape) => collect(&format!("{path}.NAME"), shape, found),
        Kind::Fields(kind) => collect_kind(&format!("{path}.NAME"), kind, found),
        Kind::List(kind) => collect_kind(&format!("{path}[]"), kind, found),
        Kind::Either(kinds) => kinds.iter().for_each(|kind| collect_kind(path, kind, found)),
        _ => {}
    }
}

#[test]
fn every_key_is_read() {
    for path in cases("right") {
        assert!(crate::load(&path, &FakePlugins).is_ok());
    }
    let sections: Vec<&str> =
        ROOT.keys.iter().map(|key| key.name).filter(|name| *name != "include").collect();
    for (path, shape) in shapes() {
        for key in shape.keys {
            let read = ASKED.with_borrow(|asked| asked.contains(&(address(shape), key.name.to_owned())));
            // Sections are gathered over all files instead.
            let section = path.is_empty() && sections.contains(&key.name);
            assert!(read || section, "nothing reads `{}` of `{path}`", key.name);
        }
    }
}

#[test]
fn the_json_schema_has_exactly_the_keys() {
    fn walk(schema: &Json, path: &str, found: &mut BTreeMap<String, BTreeSet<String>>) {
        if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
            assert_eq!(schema.get("additionalProperties"), Some(&Json::Bool(false)), "{path} is open");
            found.insert(path.to_owned(), properties.keys().cloned().collect());
            for (name, schema) in properties {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(schema, &path, found);
            }
        } else if let Some(schema) = schema.get("additionalProperties") {
            walk(schema, &format!("{path}.NAME"), found);
        }
        if let Some(schema) = schema.get("items") {
            walk(schema, &format!("{path}[]"), found);
        }
        for schema in schema.get("anyOf").and_then(Json::as_array).into_iter().flatten() {
            walk(schema, path, found);
        }
    }
    let mut found = BTreeMap::new();
    walk(&crate::schema(&FakePlugins), "", &mut found);
    let expected: BTreeMap<String, BTreeSet<String>> = shapes()
        .into_iter()
        .map(|(path, shape)| (path, shape.keys.iter().map(|key| key.name.to_owned()).collect()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn every_example_and_default_has_the_form_that_is_asked_for() {
    for (path, shape) in shapes() {
        for key in shape.keys {
            let default = match key.presence {
                Presence::Default(text) => Some(text),
                _ => None,
            };
            for text in std::iter::once(key.example).chain(default) {
                let mut reports = Vec::new();
                let table = crate::syntax::tree::parse(0, &format!("x = {text}"), &mut reports).unwrap();
                let node = &table.entries.first().unwrap().value;
                crate::syntax::check::value(node, &key.kind, key, "a test", &mut reports);
                assert!(reports.is_empty(), "{path}: {} = {text}: {reports:?}", key.name);
            }
        }
    }
}

/// What stands in each table beside the defaults.
fn base(path: &str) -> &'static str {
    match path {
        "listeners.web" => "address = \"127.0.0.1:8080\"\n",
        "listeners.web.tls" => {
            "certificates = [{ cert = \"../files/site.pem\", key = \"../files/site.key\" }]\n"
        }
        "listeners.web.proxy-protocol" => "from = [\"10.0.0.1\"]\n",
        "upstreams.app" => {
            // `http2` says something of this protocol alone.
            "endpoints = [\"10.0.0.1:80\", \"10.0.0.2:80\", \"10.0.0.3:80\"]\nprotocol = \"h2\"\n"
        }
        // A queue needs a limit, and without one there is no wait.
        "upstreams.app.ejection.outliers" => "failures = \"20%\"\n",
        "upstreams.app.limits" => "requests = 500\nwaiting = 10\n",
        "routes.all.retry" => "on = [\"reset\", \"timeout\"]\n",
        "policies.p" | "policies.q" => "plugin = \"../files/everything.wasm\"\n",
        "policies.p.canary" => {
            "plugin = \"../files/everything.wasm\"\nshare = \"5%\"\nconfig = { other = true }\n"
        }
        "policies.q.shadow" => "plugin = \"../files/everything.wasm\"\nconfig = { other = true }\n",
        path if path.ends_with(".grants") => {
            "log = true\nclock = true\nrandom = true\nmetrics = true\nsecrets = [\"s\"]\ncrypto = true\nmatchers = true\nhttp = [\"https://a.test\"]\nrate-limit = {}\nstore = {}\n"
        }
        "routes.all" => "to = \"app\"\nuse = [\"p\", \"q\"]\n",
        "routes.all.rewrite" | "routes.pages.rewrite" => "path = \"{path}\"\n",
        path if path.ends_with("-headers") => "remove = [\"x-a\"]\n",
        // Without policies `limits.hold` says nothing.
        "routes.moved" | "routes.fixed" | "routes.pages" => "use = [\"p\"]\n",
        "routes.moved.match" => "path = \"/moved\"\n",
        "routes.moved.redirect" => "to = \"/new\"\n",
        "routes.fixed.match" => "path = \"/fixed\"\n",
        "routes.pages.match" => "path = \"/pages/*\"\n",
        "routes.pages.files" => "root = \"../right\"\n",
        "secrets.s" => "file = \"../files/token\"\n",
        _ => "",
    }
}

/// A policy tries one version at a time and a route does one thing, so that each of these tables stands in a policy or
/// a route of its own.
fn is_left_out(path: &str) -> bool {
    let action = |route: &str| match route {
        "moved" => "redirect",
        "fixed" => "respond",
        "pages" => "files",
        _ => "to",
    };
    match path.split('.').collect::<Vec<_>>().as_slice() {
        ["routes", route, key @ ("redirect" | "respond" | "files")] => *key != action(route),
        ["routes", route, "request-headers" | "retry"] => action(route) != "to",
        ["routes", route, "rewrite"] => !["to", "files"].contains(&action(route)),
        // Its plugin purges no cache.
        [.., "grants", "cache-purge"] => true,
        _ => matches!(path, "policies.p.shadow" | "policies.q.canary"),
    }
}

/// Whether a key of a table says nothing there.
fn is_without_effect(path: &str, key: &str) -> bool {
    matches!((path, key), ("routes.moved" | "routes.fixed" | "routes.pages", "attempts" | "decompress"))
}

/// A table with its base, and with every default spelled out if wanted.
fn write(path: &str, shape: &'static Shape, spelled_out: bool, out: &mut String) {
    let base = base(path);
    out.push_str(&format!("\n[{path}]\n"));
    let mut inner: Vec<(String, &'static Shape)> = Vec::new();
    let has = |name: &str| base.lines().any(|line| line.starts_with(&format!("{name} =")));
    let grant = path.ends_with(".grants");
    for key in shape.keys {
        let table = match &key.kind {
            Kind::Table(shape) => Some(*shape),
            // Those that are on, or say how much, and the rules of a canary.
            Kind::Either([_, Kind::Table(shape)]) if grant || ["abort", "quarantine"].contains(&key.name) => {
                Some(*shape)
            }
            _ => None,
        };
        match (table, key.presence) {
            (Some(shape), _) => {
                let path = format!("{path}.{}", key.name);
                if !is_left_out(&path) && !(path.ends_with(".canary.match")) {
                    inner.push((path, shape));
                }
            }
            (None, Presence::Default(text))
                if spelled_out && !has(key.name) && !is_without_effect(path, key.name) =>
            {
                out.push_str(&format!("{} = {text}\n", key.name));
            }
            _ => {}
        }
    }
    out.extend(base.lines().filter(|line| !line.ends_with("{}")).map(|line| format!("{line}\n")));
    inner.iter().for_each(|(path, shape)| write(path, shape, spelled_out, out));
}

/// Makes a policy forget the source of its plugin.
fn strip(policy: &mut portcullis_model::PolicyConfig) {
    policy.plugin = portcullis_model::PluginSource::Builtin("p".into());
}

fn with_defaults(spelled_out: bool) -> Gateway {
    let mut text = String::new();
    let sections = [
        ("server", ""),
        ("listeners", "web"),
        ("upstreams", "app"),
        ("policies", "p"),
        ("policies", "q"),
        ("routes", "all"),
        ("routes", "moved"),
        ("routes", "fixed"),
        ("routes", "pages"),
        ("secrets", "s"),
    ];
    for (section, name) in sections {
        match &ROOT.key(section).unwrap().kind {
            Kind::Named(shape) => write(&format!("{section}.{name}"), shape, spelled_out, &mut text),
            Kind::Table(shape) => write(section, shape, spelled_out, &mut text),
            _ => {}
        }
    }
    let folder = tempfile::Builder::new().prefix("defaults").tempdir_in(cases_folder()).unwrap();
    let path = folder.path().join("main.toml");
    std::fs::write(&path, &text).unwrap();
    let mut gateway = match crate::load(&path, &FakePlugins) {
        Ok(loaded) => loaded.gateway,
        Err(diagnostics) => panic!("{text}\n{diagnostics}"),
    };
    gateway.files.clear();
    for route in &mut gateway.routes {
        if let portcullis_model::Action::Files(files) = &mut route.action {
            files.root.clear();
        }
    }
    let tls = gateway.listeners.iter_mut().filter_map(|listener| listener.tls.as_mut());
    tls.flat_map(|tls| &mut tls.certificates).for_each(|certificate| {
        certificate.cert_path.clear();
        certificate.key_path.clear();
    });
    gateway.policies.iter_mut().for_each(|policy| {
        strip(policy);
        if let Some(candidate) = &mut policy.candidate {
            strip(candidate.version_mut());
        }
    });
    gateway
}

#[test]
fn what_is_left_out_is_as_if_the_documented_default_were_typed() {
    assert_eq!(with_defaults(true), with_defaults(false));
}

#[test]
fn a_tables_place_is_found_again() {
    let source =
        crate::files::source::Source::new(std::path::Path::new("x"), "/".into(), "a\n\tbé\r\nc".into());
    let at = |offset| source.position(offset);
    assert_eq!((at(0).line, at(0).column), (1, 1));
    assert_eq!((at(3).line, at(3).column), (2, 2));
    assert_eq!(source.line(4).0, "\tbé");
    // Behind the end is the end.
    assert_eq!(at(1000).line, 3);
    assert_eq!(Span::new(0, &(0..usize::MAX)).end, u32::MAX);
}
