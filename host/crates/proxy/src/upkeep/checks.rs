//! Repeats the health checks of all endpoints.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use portcullis_model::HealthCheck;
use portcullis_net::Connector;
use portcullis_traffic::{Endpoint, EndpointId};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::probe::probe;
use crate::random;
use crate::snapshot::Snapshot;
use crate::upstream::SharedUpstream;

/// Checks that are under way at once, each with a connection. Others wait for their turn, which does not count as time
/// of theirs.
const AT_ONCE_MAX: usize = 256;

/// The checks of all endpoints, a task for each.
pub(super) struct Checks {
    tasks: HashMap<EndpointId, Vec<Task>>,
    connector: Connector,
    turns: Rc<Semaphore>,
}

impl Default for Checks {
    fn default() -> Self {
        let turns = Rc::new(Semaphore::new(AT_ONCE_MAX));
        Self { tasks: HashMap::new(), connector: Connector::new(), turns }
    }
}

/// A check of one endpoint. Dropping it ends it.
struct Task {
    check: Arc<HealthCheck>,
    /// As the newest generation has it.
    upstream: Rc<RefCell<Arc<SharedUpstream>>>,
    running: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Checks {
    /// Makes the checks of this snapshot from now on. Those that it does not change continue, with their times.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) {
        let mut before = std::mem::take(&mut self.tasks);
        for upstream in snapshot.upstreams.values() {
            for member in upstream.endpoints.current().members() {
                let endpoint = &member.endpoint;
                upstream.retain_checks(endpoint);
                let mut old = before.remove(&endpoint.id()).unwrap_or_default();
                let tasks = upstream.config.health_checks.iter().map(|check| {
                    match old.iter().position(|task| task.check == *check) {
                        Some(at) => {
                            let same = old.swap_remove(at);
                            same.upstream.replace(Arc::clone(upstream));
                            same
                        }
                        None => self.start(upstream, endpoint, check),
                    }
                });
                let tasks: Vec<Task> = tasks.collect();
                if !tasks.is_empty() {
                    self.tasks.insert(endpoint.id(), tasks);
                }
            }
        }
    }

    fn start(
        &self,
        upstream: &Arc<SharedUpstream>,
        endpoint: &Arc<Endpoint>,
        check: &Arc<HealthCheck>,
    ) -> Task {
        let (check, upstream) = (Arc::clone(check), Rc::new(RefCell::new(Arc::clone(upstream))));
        let repeated = repeat(
            Arc::clone(&check),
            Rc::clone(&upstream),
            Arc::clone(endpoint),
            self.connector.clone(),
            Rc::clone(&self.turns),
        );
        Task { check, upstream, running: tokio::task::spawn_local(repeated) }
    }
}

async fn repeat(
    check: Arc<HealthCheck>,
    upstream: Rc<RefCell<Arc<SharedUpstream>>>,
    endpoint: Arc<Endpoint>,
    connector: Connector,
    turns: Rc<Semaphore>,
) {
    loop {
        // It is never closed.
        let turn = turns.acquire().await;
        let asked = Arc::clone(&upstream.borrow());
        let error = probe(&asked, &connector, endpoint.address(), &check).await.err();
        drop(turn);
        asked.record_check(&endpoint, &check, error);
        drop(asked);
        tokio::time::sleep(pause(&check, random::next())).await;
    }
}

/// Returns how long to wait before the next check, between `interval` less its jitter and `interval` with it.
fn pause(check: &HealthCheck, chance: u64) -> Duration {
    let interval = u64::try_from(check.interval.as_nanos()).unwrap_or(u64::MAX);
    let jitter = check.jitter.of(interval).min(interval);
    let shortest = interval - jitter;
    Duration::from_nanos(shortest.saturating_add(chance % (2 * jitter + 1)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_model::{HealthCheck, HealthProbe, Share};

    #[test]
    fn a_pause_is_the_interval_give_or_take_its_jitter() {
        let mut check = HealthCheck {
            probe: HealthProbe::Tcp,
            port: None,
            interval: Duration::from_secs(10),
            jitter: Share::of_hundredths(1000),
            timeout: Duration::from_secs(1),
            rise: 1,
            fall: 1,
        };
        let ends = [(0, 9_000_000_000), (2_000_000_000, 11_000_000_000), (2_000_000_001, 9_000_000_000)];
        for (chance, nanos) in ends {
            assert_eq!(super::pause(&check, chance), Duration::from_nanos(nanos));
        }
        check.jitter = Share::of_hundredths(0);
        assert_eq!(super::pause(&check, u64::MAX), check.interval);
    }
}
