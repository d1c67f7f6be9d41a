//! The limit of open files: raised as far as the system lets us, and shared between clients and upstreams.

use portcullis_model::{Listener, Protocol};
use portcullis_net::DescriptorShares;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Beside what is open once the gateway runs: files of a reload, connections of metrics and of the control socket.
const SPARE: u64 = 64;

/// At most this part of few descriptors is kept for that.
const SPARE_PART: u64 = 8;

/// Raises the soft limit to the hard one. 1024, the soft limit of shells and systemd, is there for programs that use
/// select(2), which has no room for more; this one does not.
pub(crate) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::debug!(before = current, now = maximum, "the limit of open files is raised"),
        Err(error) => tracing::warn!(limit = current, "the limit of open files cannot be raised: {error}"),
    }
}

/// Shares what the limit allows between clients and upstreams; called when everything is open that stays so.
pub(crate) fn share() -> DescriptorShares {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let open = std::fs::read_dir("/proc/self/fd").map_or(SPARE, |entries| entries.count() as u64);
    let shares = DescriptorShares::of(files, open + SPARE.min(files / SPARE_PART));
    shares.heed();
    shares
}

/// Says so if `listeners` may have more connections than `shares` are for: as a warning if they would not fit even
/// without their upstreams.
pub(crate) fn warn(shares: DescriptorShares, listeners: &[Listener]) {
    let wanted: u64 = listeners.iter().map(|listener| u64::from(listener.limits.connections)).sum();
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let clients = shares.clients;
    let message = format!(
        "listeners may have {wanted} connections (`limits.connections`), and {limit} open files suffice for {clients} with \
         their upstreams; more wait to be accepted. Raise the limit (LimitNOFILE= of a systemd unit, ulimit -n), or lower \
         `limits.connections`"
    );
    // Most clients of a gateway that is full are idle, and idle clients need no upstream.
    if wanted / 2 > u64::from(clients) {
        tracing::warn!(event = "open-files", limit, clients, "{message}");
    } else if wanted > u64::from(clients) {
        tracing::info!(event = "open-files", limit, clients, "{message}");
    }
    let streams = listeners
        .iter()
        .filter(|listener| listener.protocols.contains(Protocol::Http2))
        .map(|listener| listener.limits.streams)
        .max();
    if let Some(streams) = streams.filter(|streams| *streams > shares.streams) {
        tracing::warn!(
            event = "open-files",
            limit,
            "connections of HTTP/2 get {} streams, not {streams} (`limits.streams`): one client shall not take all of the \
             {limit} open files for its upstreams",
            shares.streams
        );
    }
}
