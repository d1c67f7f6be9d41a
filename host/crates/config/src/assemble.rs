//! From the tables of all files to one model: what each section gives, and what has to fit together over several of
//! them.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{Gateway, Name, PolicyConfig, Secret, Server};

use crate::diagnostic::Report;
use crate::files::include::Document;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::plugins::{PluginSources, pins};
use crate::references::{Nameable, Named, Section, Used, is_wrong, report_unused};
use crate::sections::route::{self, Names};
use crate::sections::{
    cache, covered_hosts, listener, listening, policy, registry, secret, server, signer, upstream,
};
use crate::syntax::check;
use crate::syntax::keys::{ROOT, SERVER};
use crate::syntax::shape::{Kind, Shape};
use crate::syntax::suggest::shown;
use crate::syntax::view::View;

/// The named tables of all files.
pub(crate) struct Sections<'a> {
    pub(crate) listeners: Section<'a>,
    pub(crate) upstreams: Section<'a>,
    pub(crate) caches: Section<'a>,
    pub(crate) policies: Section<'a>,
    pub(crate) routes: Section<'a>,
    pub(crate) secrets: Section<'a>,
    pub(crate) registries: Section<'a>,
    pub(crate) signers: Section<'a>,
}

impl<'a> Sections<'a> {
    pub(crate) fn gather(loader: &mut Loader<'_>, documents: &'a [Document]) -> Self {
        let mut gather = |key: &'static str| gather(loader, documents, key);
        Self {
            listeners: gather("listeners"),
            upstreams: gather("upstreams"),
            caches: gather("caches"),
            policies: gather("policies"),
            routes: gather("routes"),
            secrets: gather("secrets"),
            registries: gather("registries"),
            signers: gather("signers"),
        }
    }
}

/// Makes the server, the secrets, the sources of plugins, and the policies that use them.
pub(crate) fn server_and_policies(
    loader: &mut Loader<'_>,
    documents: &[Document],
    sections: &Sections<'_>,
) -> (Server, BTreeMap<Name, Secret>, Vec<PolicyConfig>) {
    let Sections { policies, secrets, registries, signers, caches, .. } = sections;
    let broken = broken_sections(documents);
    let used_by = |section: &Section<'_>, key: &str| Used {
        uncertain: section.is_empty() && broken.contains(key),
        ..Used::default()
    };
    let mut names = Nameable {
        secrets,
        secrets_used: used_by(policies, "policies"),
        signers,
        signers_used: used_by(policies, "policies"),
        caches: Some(caches),
    };
    let view = single_server(loader, documents);
    let server = server::server(loader, view);
    loader.has_trusted_proxies =
        !server.trusted_proxies.is_empty() || view.key_span("trusted-proxies").is_some();
    let values = secret::secrets(loader, secrets);
    names.signers_used.uncertain |= is_wrong(view, "plugins-signed-by");
    let default_signers = view.texts("plugins-signed-by");
    loader.plugin_sources = PluginSources {
        registries: registry::registries(loader, registries, secrets, &values, &mut names.secrets_used),
        signers: signer::signers(loader, signers),
        signed_by: signer::named_signers(
            loader,
            signers,
            &default_signers,
            "`server`",
            &mut names.signers_used,
        ),
        cache_dir: server.cache_dir.clone(),
        store_max: server.plugin_store_max,
    };
    let policy_list = policy::policies(loader, policies, &mut names);
    report_unused(loader, "secret", secrets, &names.secrets_used);
    report_unused(loader, "signer", signers, &names.signers_used);
    if !names.secrets_used.uncertain {
        registry::report_unused_registries(loader, registries);
    }
    if !loader.pins.is_empty() {
        loader.plugins.images_done(&loader.plugin_sources, &pins::in_use(loader));
    }
    (server, values, policy_list)
}

/// Makes the model of all files together.
pub(crate) fn assemble(loader: &mut Loader<'_>, documents: &[Document]) -> Gateway {
    let sections = Sections::gather(loader, documents);
    let Sections { listeners, upstreams, caches, policies, routes, .. } = &sections;
    let broken = broken_sections(documents);
    if listeners.is_empty() && !broken.contains("listeners") {
        let report = Report::of_file(0, "there is no listener, so no client could connect");
        loader.report(report.help("add [listeners.web] with address = \"0.0.0.0:8080\""));
    }
    if routes.is_empty() && !broken.contains("routes") {
        let report = Report::of_file(0, "there is no route, so every request would be answered 404");
        loader.report(
            report.help("add [routes.all] with to = \"NAME\", where [upstreams.NAME] names the servers"),
        );
    }
    let listener_list = listener::listeners(loader, listeners);
    let upstream_list = upstream::upstreams(loader, upstreams);
    let (server, secrets, policy_list) = server_and_policies(loader, documents, &sections);
    let used = Used { uncertain: routes.is_empty(), ..Used::default() };
    let mut names = Names {
        policies,
        upstreams,
        caches,
        listeners,
        policies_used: used.clone(),
        upstreams_used: used.clone(),
        caches_used: used.clone(),
        listeners_used: used,
    };
    let route_list = route::routes(loader, routes, &mut names, &upstream_list, server.compress.as_ref());
    let Names { policies_used, upstreams_used, caches_used, listeners_used, .. } = names;
    report_unused(loader, "policy", policies, &policies_used);
    report_unused(loader, "upstream", upstreams, &upstreams_used);
    report_unused(loader, "cache", caches, &caches_used);
    report_unused(loader, "listener", listeners, &listeners_used);
    let gateway = Gateway {
        server,
        listeners: listener_list,
        upstreams: upstream_list,
        caches: cache::caches(loader, caches),
        policies: policy_list,
        routes: route_list,
        secrets,
        ..Gateway::default()
    };
    route::effect::check(loader, routes, &gateway);
    let metrics = single_server_view(documents).and_then(|view| view.text("metrics").map(|(_, span)| span));
    covered_hosts::check(loader, &gateway, routes);
    listening::check(loader, &gateway, metrics, (listeners, upstreams));
    gateway
}

/// The first `[server]` of all files.
fn single_server_view(documents: &[Document]) -> Option<View<'_>> {
    let entry = documents.iter().find_map(|document| document.root.get("server"))?;
    Some(View::new(entry.value.as_table(), &SERVER, entry.key_span))
}

/// Sections that are misspelt or are not tables, which was reported: that they are empty is not reported again.
fn broken_sections(documents: &[Document]) -> BTreeSet<&'static str> {
    let entries = documents.iter().flat_map(|document| &document.root.entries);
    let broken = entries.filter_map(|entry| match ROOT.key(&entry.key) {
        Some(key) => (entry.value.as_table().is_none()).then_some(key.name),
        None => check::meant_key(&entry.key, &ROOT),
    });
    broken.collect()
}

/// The one `[server]` of all files.
pub(crate) fn single_server<'a>(loader: &mut Loader<'_>, documents: &'a [Document]) -> View<'a> {
    let mut found: Option<View<'a>> = None;
    for document in documents {
        let Some(entry) = document.root.get("server") else { continue };
        match found {
            Some(first) => loader.report(
                Report::new(entry.key_span, "`server` is set in two files", "set before")
                    .note("first set", first.span)
                    .help("put all of it into one file"),
            ),
            None => found = Some(View::new(entry.value.as_table(), &SERVER, entry.key_span)),
        }
    }
    found.unwrap_or(View::new(None, &SERVER, Span { file: 0, start: 0, end: 0 }))
}

/// The named tables of one section over all files; a name that is there twice is reported.
fn gather<'a>(loader: &mut Loader<'_>, documents: &'a [Document], key: &'static str) -> Section<'a> {
    let mut section: Section<'a> = BTreeMap::new();
    let noun = ROOT.key(key).map_or(key, |key| match &key.kind {
        Kind::Named(Shape { noun, .. }) => noun,
        _ => key.name,
    });
    let tables = documents.iter().filter_map(|document| document.root.get(key)?.value.as_table());
    for entry in tables.flat_map(|table| &table.entries) {
        let named = Named { name: &entry.key, span: entry.key_span, table: entry.value.as_table() };
        match section.get(named.name) {
            Some(first) => loader.reports.push(
                Report::new(
                    named.span,
                    format!("there are two {} `{}`", plural(noun), shown(named.name)),
                    "defined before",
                )
                .note("first defined", first.span)
                .help("give one of them another name; names are unique over all included files"),
            ),
            None => {
                section.insert(named.name, named);
            }
        }
    }
    section
}

fn plural(noun: &str) -> String {
    if noun == "policy" { "policies".into() } else { format!("{noun}s") }
}
