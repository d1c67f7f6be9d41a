//! Caches from the gateway's side: answers what they have of a URL, and purges them.

use std::sync::Arc;

use portcullis_admin::{
    Answers, CacheInspectAnswer, CacheInspectRequest, CacheListRequest, CacheNow, CachePurgeRequest,
    CachePurged, CacheStatus, CachedResponse, ExplainRequest, Refused,
};
use portcullis_inspect::explain_live;
use portcullis_model::text::escape as shown;
use portcullis_proxy::{CacheSummary, PurgeTarget, Purging, Snapshot, StoredView, TypedUrl, UrlError};
use serde_json::Value;

use crate::run::control::Control;
use crate::run::runtime::block_on;

/// How many similar URLs are named.
const SIMILAR_MAX: usize = 5;

impl Answers<CacheListRequest> for Control {
    async fn answer(&self, _: CacheListRequest) -> Result<Vec<CacheStatus>, Refused> {
        let snapshot = self.with_running(|running| running.snapshot()).await?;
        Ok(snapshot.caches().map(summary).collect())
    }
}

impl Answers<CachePurgeRequest> for Control {
    async fn answer(&self, request: CachePurgeRequest) -> Result<Vec<CachePurged>, Refused> {
        let snapshot = self.with_running(|running| running.snapshot()).await?;
        let caches = chosen(&snapshot, &request.caches)?;
        let targets = targets(&request)?;
        let soft = request.soft;
        let search = move || {
            let mut done = Vec::new();
            for (kind, text, target) in &targets {
                for cache in &caches {
                    done.push(purge(&snapshot, cache, (kind, text, target), soft)?);
                }
            }
            Ok::<_, Refused>(done)
        };
        let mut answer = Vec::new();
        for (mut purged, purging) in self.on_a_thread(self.purging(), search).await?? {
            purged.lasting = purging.written().await;
            let CachePurged { cache, kind, target, in_memory, on_disk, .. } = &purged;
            tracing::info!(
                event = "cache-purge",
                cache,
                kind,
                purged = target,
                in_memory,
                on_disk,
                soft,
                "cache `{cache}` purged by {kind} `{}`: {} met",
                shown(target),
                in_memory + on_disk
            );
            answer.push(purged);
        }
        Ok(answer)
    }
}

impl Answers<CacheInspectRequest> for Control {
    async fn answer(&self, request: CacheInspectRequest) -> Result<CacheInspectAnswer, Refused> {
        let snapshot = self.with_running(|running| running.snapshot()).await?;
        let caches = chosen(&snapshot, request.cache.as_slice())?;
        let url = TypedUrl::parse(&request.url).map_err(|error| wrong(&request.url, &error))?;
        let question = question(&snapshot, &request, &url)?;
        let asked = snapshot.clone();
        let explain = move || block_on(explain_live(&asked, question));
        let explained = self.on_a_thread(self.explaining(), explain).await?;
        let explained = explained.map_err(|error| Refused::new(format!("{error:#}")))?;
        let now = now(&explained.map_err(|error| Refused::new(error.to_string()))?);
        let mut answer = CacheInspectAnswer { now, ..CacheInspectAnswer::default() };
        for cache in &caches {
            let stored = answer.now.url.as_deref().filter(|_| answer.now.cache.as_ref() == Some(cache));
            if let Some(found) = snapshot.inspect(cache, &url, stored).await {
                let found = found.map_err(|error| wrong(&request.url, &error))?;
                answer.responses.extend(found.into_iter().map(|stored| response(cache, stored)));
            }
        }
        if answer.responses.is_empty() {
            let search = move || {
                let mut similar: Vec<String> =
                    caches.iter().flat_map(|cache| snapshot.similar_urls(cache, &url, SIMILAR_MAX)).collect();
                similar.sort();
                similar.dedup();
                similar
            };
            answer.similar = self.on_a_thread(self.purging(), search).await?;
        }
        Ok(answer)
    }
}

fn summary(cache: CacheSummary) -> CacheStatus {
    let CacheSummary { name, routes, entries, bytes, bytes_max, evictions, disk } = cache;
    CacheStatus {
        cache: name.to_string(),
        routes: routes.iter().map(ToString::to_string).collect(),
        entries: entries as u64,
        bytes,
        bytes_max,
        evictions,
        disk_files: disk.map(|(files, _)| files as u64),
        disk_bytes: disk.map(|(_, bytes)| bytes),
    }
}

/// The caches that are meant.
fn chosen(snapshot: &Snapshot, names: &[String]) -> Result<Vec<String>, Refused> {
    let all: Vec<String> = snapshot.caches().map(|cache| cache.name.to_string()).collect();
    if all.is_empty() {
        return Err(Refused::new("no cache runs").help("docs/cache.md shows how a route gets one"));
    }
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        let refused = Refused::new(format!("there is no cache `{}`", shown(unknown)));
        return Err(refused.help(format!("the caches are {}", all.join(", "))));
    }
    Ok(if names.is_empty() { all } else { names.to_vec() })
}

fn wrong(text: &str, error: &UrlError) -> Refused {
    Refused::new(format!("`{}` cannot be stored: {error}", shown(&portcullis_inspect::abridged(text, 200))))
}

type Target = (&'static str, String, PurgeTarget);

/// What a request names.
fn targets(request: &CachePurgeRequest) -> Result<Vec<Target>, Refused> {
    let CachePurgeRequest { urls, prefixes, tags, all, .. } = request;
    let count = urls.len() + prefixes.len() + tags.len();
    if count > CachePurgeRequest::TARGETS_MAX || prefixes.len() > CachePurgeRequest::PREFIXES_MAX {
        return Err(Refused::new(format!(
            "{count} things to purge, {} of them prefixes, are more than {} and {} at once",
            prefixes.len(),
            CachePurgeRequest::TARGETS_MAX,
            CachePurgeRequest::PREFIXES_MAX
        )));
    }
    if count == 0 && !all {
        return Err(Refused::new("nothing to purge is named").help("name URLs, prefixes or tags, or all"));
    }
    let mut targets: Vec<Target> = Vec::new();
    for (kind, texts, parse) in [
        ("url", urls, TypedUrl::parse as fn(&str) -> Result<TypedUrl, UrlError>),
        ("prefix", prefixes, TypedUrl::parse_prefix),
    ] {
        for text in texts {
            let url = parse(text).map_err(|error| wrong(text, &error))?;
            targets.push((kind, text.clone(), PurgeTarget::Url(url)));
        }
    }
    for tag in tags {
        if tag.is_empty()
            || tag.len() > 4096
            || tag.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t')
        {
            let tag = portcullis_inspect::abridged(tag, 200);
            return Err(Refused::new(format!("`{}` is no tag that a response could have", shown(&tag))));
        }
        targets.push(("tag", tag.clone(), PurgeTarget::Tag(tag.clone().into_bytes())));
    }
    if *all {
        targets.push(("all", "everything".to_owned(), PurgeTarget::All));
    }
    Ok(targets)
}

fn purge(
    snapshot: &Snapshot,
    cache: &str,
    (kind, text, target): (&str, &str, &PurgeTarget),
    soft: bool,
) -> Result<(CachePurged, Purging), Refused> {
    let gone = || Refused::new(format!("there is no cache `{}`", shown(cache)));
    let purging = snapshot.purge(cache, target, soft).ok_or_else(gone)?;
    let purging = purging.map_err(|error| wrong(text, &error))?;
    let mut purged = CachePurged {
        cache: cache.to_owned(),
        kind: kind.to_owned(),
        target: text.to_owned(),
        in_memory: purging.in_memory as u64,
        on_disk: purging.on_disk as u64,
        urls: purging.urls.clone(),
        lasting: true,
        notes: Vec::new(),
    };
    if purging.in_memory + purging.on_disk == 0 {
        purged.notes = notes(snapshot, cache, target);
    }
    Ok((purged, purging))
}

/// Why a purge may have met nothing.
fn notes(snapshot: &Snapshot, cache: &str, target: &PurgeTarget) -> Vec<String> {
    match target {
        PurgeTarget::Url(url) => {
            let similar = snapshot.similar_urls(cache, url, SIMILAR_MAX);
            if similar.is_empty() {
                return Vec::new();
            }
            let similar: Vec<_> = similar.iter().map(|url| shown(url)).collect();
            vec![format!("stored with the same path: {}", similar.join(", "))]
        }
        PurgeTarget::Tag(tag) if tag.iter().any(|byte| matches!(byte, b' ' | b',')) => vec![
            "the text is one tag; `Surrogate-Key` divides tags by spaces and `Cache-Tag` by commas: name each by \
             itself"
                .to_owned(),
        ],
        PurgeTarget::Tag(_) | PurgeTarget::All => Vec::new(),
    }
}

/// The request that a URL and fields make.
fn question(
    snapshot: &Arc<Snapshot>,
    request: &CacheInspectRequest,
    url: &TypedUrl,
) -> Result<ExplainRequest, Refused> {
    let method = if request.method.is_empty() { "GET" } else { &request.method };
    let lines = request.headers.iter().map(String::as_str).chain([method]);
    if let Some(line) = lines.clone().find(|line| line.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)))
    {
        return Err(Refused::new(format!("`{}` is not one line of a request", shown(line))));
    }
    let with_tls = snapshot.gateway().listeners.iter().any(|listener| listener.tls.is_some());
    let tls = url.is_https().unwrap_or(with_tls);
    let mut head = format!("{method} {} HTTP/1.1\r\n", url.target());
    let has_host = request
        .headers
        .iter()
        .any(|line| line.split_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case("host")));
    if !has_host {
        head.push_str(&format!("host: {}\r\n", url.authority()));
    }
    for line in &request.headers {
        head.push_str(&format!("{line}\r\n"));
    }
    head.push_str("\r\n");
    let server_name = tls.then(|| url.host().to_owned());
    Ok(ExplainRequest { head, tls, server_name, ..ExplainRequest::default() })
}

/// What an explanation says of the cache.
fn now(explained: &Value) -> CacheNow {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (ending, cache) = (&explained["ending"], &explained["ending"]["cache"]);
    let route = text(&explained["route"]);
    let named = route.as_deref().map_or_else(|| "no route".to_owned(), |route| format!("route `{route}`"));
    let why = match ending["kind"].as_str() {
        Some("forwarded") if cache.is_null() => format!("{named} has no cache"),
        Some("forwarded") => text(&cache["now"]["why"]).unwrap_or_default(),
        Some("replied") => format!(
            "policy `{}` answers {} before the cache is asked",
            ending["policy"].as_str().unwrap_or_default(),
            ending["response"]["status"]
        ),
        Some("answered") => format!("{named} answers without an upstream"),
        _ => format!(
            "the request is refused with {}: {}",
            ending["status"],
            ending["reason"].as_str().unwrap_or_default()
        ),
    };
    CacheNow {
        route,
        cache: text(&cache["store"]),
        result: text(&cache["now"]["result"]),
        status: text(&cache["now"]["status"]),
        why,
        url: text(&cache["url"]),
    }
}

fn response(cache: &str, stored: StoredView) -> CachedResponse {
    CachedResponse {
        cache: cache.to_owned(),
        tier: if stored.is_on_disk { "disk" } else { "memory" }.to_owned(),
        url: stored.url,
        key: stored.key,
        varies: stored.varies,
        status: stored.status,
        bytes: stored.bytes,
        grows: stored.grows,
        age_s: stored.age.into(),
        ttl_s: stored.ttl,
        fresh_until: stored.fresh_until,
        stale_while_revalidate_s: stored.stale_while_revalidate.into(),
        stale_if_error_s: stored.stale_if_error.into(),
        always_validated: stored.is_always_validated,
        purged_s: stored.purged,
        etag: stored.etag,
        last_modified: stored.last_modified,
        tags: stored.tags,
    }
}
