//! `portcullis cache`: what the running gateway has stored, and what it removed.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::process::ExitCode;

use portcullis_admin::{
    CacheInspectAnswer, CacheInspectRequest, CacheListRequest, CacheNow, CachePurgeRequest, CachePurged,
    CacheStatus, CachedResponse,
};
use portcullis_inspect::abridged;
use portcullis_model::text::escape;

use crate::cli::{CacheCommand, CacheInspectArguments, CacheListArguments, CachePurgeArguments};
use crate::commands::ask::ask;
use crate::output::print;
use crate::table::table;
use crate::words::{age, counted, size};

/// Characters of a text from elsewhere that are shown; all of it is in the JSON.
const CHARS_MAX: usize = 200;

/// Carries out the command.
///
/// # Errors
/// If no gateway answers, or if it refuses.
pub(crate) fn run(command: &CacheCommand) -> anyhow::Result<ExitCode> {
    match command {
        CacheCommand::List(arguments) => show(arguments),
        CacheCommand::Inspect(arguments) => inspect(arguments),
        CacheCommand::Purge(arguments) => purge(arguments),
    }
}

fn show(CacheListArguments { gateway, json }: &CacheListArguments) -> anyhow::Result<ExitCode> {
    let caches = ask(gateway, &CacheListRequest {})?;
    match json {
        true => print(&format!("{:#}\n", serde_json::to_value(&caches)?)),
        false => print(&list(&caches)),
    }
}

fn inspect(arguments: &CacheInspectArguments) -> anyhow::Result<ExitCode> {
    let CacheInspectArguments { url, headers, method, cache, gateway, json } = arguments;
    let (url, method, headers, cache) = (url.clone(), method.clone(), headers.clone(), cache.clone());
    let answer = ask(gateway, &CacheInspectRequest { url, method, headers, cache })?;
    match json {
        true => print(&format!("{:#}\n", serde_json::to_value(&answer)?)),
        false => print(&inspection(&answer)),
    }
}

fn purge(arguments: &CachePurgeArguments) -> anyhow::Result<ExitCode> {
    let CachePurgeArguments { what, caches, soft, gateway, json } = arguments;
    let request = CachePurgeRequest {
        caches: caches.clone(),
        urls: what.urls.clone(),
        prefixes: what.prefixes.clone(),
        tags: what.tags.clone(),
        all: what.all,
        soft: *soft,
    };
    let purged = ask(gateway, &request)?;
    match json {
        true => print(&format!("{:#}\n", serde_json::to_value(&purged)?)),
        false => print(&purges(&purged, *soft)),
    }
}

fn shown(text: &str) -> String {
    escape(&abridged(text, CHARS_MAX)).into_owned()
}

/// The caches as people read them.
fn list(caches: &[CacheStatus]) -> String {
    if caches.is_empty() {
        return "no cache runs\n".to_owned();
    }
    let rows = caches.iter().map(|cache| {
        let disk = match (cache.disk_files, cache.disk_bytes) {
            (Some(files), Some(bytes)) => format!("{files} ({})", size(bytes)),
            _ => "-".to_owned(),
        };
        let routes = if cache.routes.is_empty() { "-".to_owned() } else { cache.routes.join(", ") };
        [
            cache.cache.clone(),
            cache.entries.to_string(),
            format!("{} of {}", size(cache.bytes), size(cache.bytes_max)),
            cache.evictions.to_string(),
            disk,
            routes,
        ]
    });
    table(["CACHE", "RESPONSES", "MEMORY", "EVICTIONS", "ON DISK", "ROUTES"], rows)
}

/// What was purged, as people read it.
fn purges(purged: &[CachePurged], soft: bool) -> String {
    let mut text = String::new();
    for one in purged {
        let CachePurged { cache, kind, target, in_memory, on_disk, urls, lasting, notes } = one;
        let what = match kind.as_str() {
            "all" => "in it".to_owned(),
            "tag" => format!("with tag `{}`", shown(target)),
            "prefix" => format!("below `{}`", shown(target)),
            _ => format!("of `{}`", shown(target)),
        };
        let done = if soft { "marked stale" } else { "removed" };
        let mut line = match (in_memory, on_disk) {
            (0, 0) => format!("{cache}: nothing is stored {what}"),
            (memory, 0) => format!("{cache}: {} {what} {done}", counted(*memory, "response")),
            (memory, disk) => format!(
                "{cache}: {} in memory and {disk} on the disk {what} {done}",
                counted(*memory, "response")
            ),
        };
        if in_memory + on_disk == 0 && !urls.is_empty() {
            let urls: Vec<String> = urls.iter().take(4).map(|url| shown(url)).collect();
            line.push_str(&format!("\n  looked for: {}", urls.join(", ")));
        }
        for note in notes {
            line.push_str(&format!("\n  {}", shown(note)));
        }
        if !lasting {
            line.push_str(
                "\n  the disk could not write it down: after a restart they may be there again, so repeat it",
            );
        }
        let _infallible = writeln!(text, "{line}");
    }
    text
}

/// What is stored, as people read it.
fn inspection(CacheInspectAnswer { now, responses, similar }: &CacheInspectAnswer) -> String {
    let mut text = String::new();
    let CacheNow { route, cache, result, status, why, url } = now;
    let _infallible = match (result, route, cache) {
        (Some(result), Some(route), Some(cache)) => {
            let status = status.as_deref().unwrap_or_default();
            writeln!(
                text,
                "now: {result}, for {}\n  route `{route}`, cache `{cache}`: {}",
                shown(why),
                shown(status)
            )
        }
        _ => writeln!(text, "now: the cache is not asked: {}", shown(why)),
    };
    if let Some(url) = url {
        let _infallible = writeln!(text, "  {}", shown(url));
    }
    if responses.is_empty() {
        text.push_str("\nnothing is stored of this URL\n");
        if !similar.is_empty() {
            let similar: Vec<String> = similar.iter().map(|url| shown(url)).collect();
            let _infallible = writeln!(text, "stored with the same path: {}", similar.join(", "));
        }
    }
    for stored in responses {
        text.push('\n');
        text.push_str(&response(stored));
    }
    text
}

fn response(stored: &CachedResponse) -> String {
    let mut text = format!("{} in `{}`, {}", stored.status, stored.cache, stored.tier);
    match stored.bytes {
        Some(bytes) => text.push_str(&format!(", {}", counted(bytes, "byte"))),
        None => text.push_str(", of unknown length"),
    }
    if stored.grows {
        text.push_str(", still being received");
    }
    let mut line = |words: String| {
        text.push_str("\n  ");
        text.push_str(&words);
    };
    line(shown(&stored.url));
    for part in &stored.key {
        line(shown(part));
    }
    for (name, value) in &stored.varies {
        let value = value.as_deref().map_or_else(|| "(absent)".to_owned(), shown);
        line(format!("varies by {}: {value}", shown(name)));
    }
    let until = |ttl: i64| age(ttl.unsigned_abs());
    let freshness = match stored.ttl_s {
        ttl if ttl >= 0 => format!("{} old, fresh for {}", age(stored.age_s), until(ttl)),
        ttl => format!("{} old, stale for {}", age(stored.age_s), until(ttl)),
    };
    line(freshness);
    if let Some(since) = stored.purged_s {
        line(format!("marked stale by a purge {} ago", age(since)));
    }
    if stored.always_validated {
        line("validated for each request: it says `no-cache`".to_owned());
    }
    for (seconds, when) in [
        (stored.stale_while_revalidate_s, "while it is renewed"),
        (stored.stale_if_error_s, "if the upstream fails"),
    ] {
        if seconds > 0 {
            line(format!("may be used stale for {} {when}", age(seconds)));
        }
    }
    match (&stored.etag, &stored.last_modified) {
        (None, None) => line("cannot be validated".to_owned()),
        (etag, modified) => {
            let named = [("etag", etag), ("last-modified", modified)];
            let named =
                named.iter().filter_map(|(name, value)| Some(format!("{name} {}", shown(value.as_ref()?))));
            line(format!("validated by {}", named.collect::<Vec<_>>().join(", ")));
        }
    }
    if !stored.tags.is_empty() {
        let tags: Vec<String> = stored.tags.iter().map(|tag| shown(tag)).collect();
        line(format!("tags: {}", tags.join(", ")));
    }
    text.push('\n');
    text
}
