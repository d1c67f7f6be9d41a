//! Routes with a cache.

mod attacks;
mod changes;
mod clients;
mod collapsing;
mod disk;
mod freshness;
mod keys;
mod operating;
mod parts;
mod policies;
mod policy_purges;
mod purge;
mod suite;
mod tenants;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::edge::Edge;
use crate::harness::{Answer, Received, Reply, TestGateway, TestUpstream};

/// A gateway whose one route has a cache with `settings`, before an upstream that answers so.
struct Cached {
    gateway: TestGateway,
    upstream: TestUpstream,
}

impl Cached {
    async fn start(settings: &str, answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        let upstream = TestUpstream::h1(answer).await;
        let gateway = edge(&upstream, settings).start().await;
        Self { gateway, upstream }
    }

    /// How many requests the upstream got.
    fn asked(&self) -> usize {
        self.upstream.requests().len()
    }
}

/// A gateway before `upstream`; its route has a cache with `settings`.
fn edge(upstream: &TestUpstream, settings: &str) -> Edge {
    let settings = if settings.is_empty() { String::new() } else { format!(", {settings}") };
    Edge::to(upstream.address())
        .route(&format!("cache = {{ store = \"c\"{settings} }}"))
        .more("[caches.c]\nmemory = \"16MiB\"\nobject = \"1MiB\"")
}

/// Counts from 1, for answers that can be told apart.
fn counter() -> impl Fn() -> usize + Send + Sync + Clone {
    let count = Arc::new(AtomicUsize::new(0));
    move || count.fetch_add(1, Ordering::SeqCst) + 1
}

/// An answer that is fresh for a minute.
fn fresh(text: impl Into<String>) -> Answer {
    Answer::text(text).header("cache-control", "max-age=60")
}

/// What `Cache-Status` says first: `hit`, or why the upstream was asked.
fn status(reply: &Reply) -> String {
    let line = reply.header("cache-status");
    line.split(';').nth(1).unwrap_or_default().trim().to_owned()
}
