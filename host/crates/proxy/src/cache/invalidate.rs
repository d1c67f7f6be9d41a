//! Removes what a request has changed at the upstream (RFC 9111, 4.4), whichever route it took.
//!
//! A change concerns a URL, and each route with a cache may write that URL differently into its keys: it counts other
//! parameters of the query, or rewrites the path. So a change is looked for in every cache under every such form.

use std::collections::BTreeSet;
use std::time::Duration;

use portcullis_cache::rules::{StoredHead, invalidated, invalidates};
use portcullis_cache::store::{Mode, Purge, Purged, Store};
use portcullis_http::{RequestHead, set_request_target};
use portcullis_model::{Action, Forward, QueryRule, RequestFilter, Route, RouteMatch};
use portcullis_policy::Exchange;

use super::key::write_url;
use super::{CachedRoute, Caches, now};
use crate::target::rewrite::rewrite_only_path;

/// Forms of earlier generations that are remembered. What older ones have stored is only found again if a route gets
/// the rules back that it had then.
const EARLIER_MAX: usize = 64;

/// How many times longer a change waits to be written down than a request waits to find something: what it would undo
/// if it did not is worth more.
pub(super) const PATIENCE: u32 = 10;

/// The forms that a URL may have in the caches of a generation, and in those that it took over.
#[derive(Debug, Default)]
pub(crate) struct Invalidation {
    forms: Vec<Form>,
}

/// How the keys of a route write a URL, and where they are.
#[derive(Debug, Clone)]
struct Form {
    store: Store<StoredHead>,
    /// How long its disk may take.
    timeout: Duration,
    query: QueryRule,
    /// What makes another path of the one that a client asks for.
    rewrite: Option<(Vec<RequestFilter>, RouteMatch)>,
}

impl Form {
    fn new(route: &Route, cached: &CachedRoute) -> Self {
        let filters = match &route.action {
            Action::Forward(Forward { filters, .. }) => &filters[..],
            _ => &[],
        };
        let paths: Vec<_> =
            filters.iter().filter(|filter| matches!(filter, RequestFilter::Path(_))).cloned().collect();
        let rewrite = (!paths.is_empty()).then(|| (paths, route.matches.clone()));
        let timeout = cached.open.config.disk.as_ref().map_or(Duration::ZERO, |disk| disk.timeout * PATIENCE);
        Self { store: cached.open.store.clone(), timeout, query: cached.config.key.query.clone(), rewrite }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.store.is_same(&other.store) && self.query == other.query && self.rewrite == other.rewrite
    }
}

impl Invalidation {
    /// Returns the forms of `routes`, and of the generation before as far as its stores are among `caches`.
    pub(crate) fn new<'r>(
        routes: impl Iterator<Item = (&'r Route, &'r CachedRoute)>,
        caches: &Caches,
        previous: Option<&Self>,
    ) -> Self {
        let mut forms: Vec<Form> = Vec::new();
        let mut add = |form: Form| {
            if !forms.iter().any(|known| known.is_same(&form)) {
                forms.push(form);
            }
        };
        routes.map(|(route, cached)| Form::new(route, cached)).for_each(&mut add);
        let earlier = previous.map(|previous| &previous.forms[..]).unwrap_or_default();
        let is_open = |form: &&Form| caches.values().any(|cache| cache.store.is_same(&form.store));
        earlier.iter().filter(is_open).take(EARLIER_MAX).cloned().for_each(add);
        Self { forms }
    }

    /// Returns the URLs under which the responses for these requests of clients may be in `store`, as far as policies
    /// change neither host nor path.
    pub(super) fn stored_urls(&self, store: &Store<StoredHead>, asked: &[RequestHead]) -> BTreeSet<Vec<u8>> {
        let mut urls = BTreeSet::new();
        let mut add = |rule: &QueryRule, head: &RequestHead| {
            let mut url = Vec::new();
            write_url(rule, head, &mut url);
            urls.insert(url);
        };
        // Also without any route that is known.
        asked.iter().for_each(|head| add(&QueryRule::All, head));
        for form in self.forms.iter().filter(|form| form.store.is_same(store)) {
            asked.iter().for_each(|head| add(&form.query, head));
            if let Some((filters, matches)) = &form.rewrite {
                for head in asked.iter().filter(|head| matches.path.matches(head.path())) {
                    let mut rewritten = head.clone();
                    if rewrite_only_path(filters, matches, &mut rewritten).is_ok() {
                        add(&form.query, &rewritten);
                    }
                }
            }
        }
        urls
    }

    /// Returns what a request asks to change: `None` if its method is safe, or nothing is cached.
    pub(crate) fn asked(&self, request: &RequestHead) -> Option<Box<RequestHead>> {
        let counts = !self.forms.is_empty() && invalidates(&request.method, 200);
        counts.then(|| Box::new(bare(request)))
    }

    /// Whether `exchange` has changed something at its upstream.
    pub(crate) fn is_due(exchange: &Exchange) -> bool {
        invalidates(&exchange.request.method, exchange.response.status)
    }

    /// Removes from all caches what is stored of the URL of the request in `exchange`, which is due, and of those that
    /// its response names: from those of its own generation, and of the `newest`. `asked` is what its client asked to
    /// change, before policies and `rewrite`.
    pub(crate) fn after(&self, asked: Option<&RequestHead>, exchange: &Exchange, newest: &Self) -> Removed {
        let mut pending = Vec::new();
        self.remove(asked, exchange, &mut pending);
        if !std::ptr::eq(self, newest) {
            newest.remove(asked, exchange, &mut pending);
        }
        Removed(pending)
    }

    fn remove(
        &self,
        asked: Option<&RequestHead>,
        exchange: &Exchange,
        pending: &mut Vec<(Purged, Duration)>,
    ) {
        let Exchange { request, response, .. } = exchange;
        if self.forms.is_empty() {
            return;
        }
        let changed = |request: &RequestHead| {
            let named = invalidated(request, &response.fields).into_iter().filter_map(|target| {
                let mut other = bare(request);
                // One that no client could ask for is not stored either.
                set_request_target(&mut other, &target).ok().map(|()| other)
            });
            std::iter::once(bare(request)).chain(named).collect::<Vec<_>>()
        };
        let forwarded = changed(request);
        let is_other = |asked: &&RequestHead| {
            (&asked.authority, asked.target()) != (&request.authority, request.target())
        };
        let asked = asked.filter(is_other).map(changed);
        let by_client = asked.as_ref().unwrap_or(&forwarded);
        let mut removed: Vec<(usize, Vec<u8>)> = Vec::new();
        for (at, form) in self.forms.iter().enumerate() {
            let of_store = self.forms.iter().position(|first| first.store.is_same(&form.store)).unwrap_or(at);
            let mut remove = |head: &RequestHead| {
                let mut url = Vec::new();
                write_url(&form.query, head, &mut url);
                if !removed.iter().any(|known| known.0 == of_store && known.1 == url) {
                    let purged = form.store.purge(&Purge::Url(&url), Mode::Hard, now().seconds());
                    if purged.is_pending() {
                        pending.push((purged, form.timeout));
                    }
                    removed.push((of_store, url));
                }
            };
            forwarded.iter().for_each(&mut remove);
            match &form.rewrite {
                None => by_client.iter().for_each(&mut remove),
                Some((filters, matches)) => {
                    for head in by_client.iter().filter(|head| matches.path.matches(head.path())) {
                        let mut rewritten = head.clone();
                        if rewrite_only_path(filters, matches, &mut rewritten).is_ok() {
                            remove(&rewritten);
                        }
                    }
                }
            }
        }
    }
}

/// What was removed, and is being written down where it was on a disk.
#[must_use]
#[derive(Debug, Default)]
pub(crate) struct Removed(Vec<(Purged, Duration)>);

impl Removed {
    /// Whether something is not written down yet.
    pub(crate) fn is_pending(&self) -> bool {
        !self.0.is_empty()
    }

    /// Waits until it is written down, so that it does not come back even if the process is killed when its client has
    /// been answered. A disk that fails, or takes far longer than a request waits for it, is not waited for.
    pub(crate) async fn written(self) {
        for (purged, timeout) in self.0 {
            // Its failure is in the log of the disk.
            let _written = tokio::time::timeout(timeout, purged).await;
        }
    }
}

/// Returns a request for the same URL, without fields.
fn bare(request: &RequestHead) -> RequestHead {
    let mut bare = RequestHead::default();
    bare.scheme = request.scheme;
    bare.authority.push_str(&request.authority);
    bare.path_rules = request.path_rules;
    bare.set_target(request.path(), request.query());
    bare
}
