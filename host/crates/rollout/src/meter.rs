//! What a hook costs: CPU time, and time of its exchange.

use std::time::Duration;

use portcullis_policy::{Called, Decision, Exchange, Fault};

/// The cost of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Spent {
    pub(crate) cpu_ns: u64,
    pub(crate) latency_ns: u64,
}

/// Calls a policy with an exchange, and hands `done` the result and the cost, at once or when the call has ended. The
/// CPU time comes from the policy's slot, the time that passes from `wall`.
pub(crate) fn timed(
    wall: fn() -> Duration,
    mut exchange: Box<Exchange>,
    call: impl FnOnce(Box<Exchange>) -> Called,
    done: impl FnOnce(&mut Exchange, &mut Result<Decision, Fault>, Spent) + 'static,
) -> Called {
    let (began, before) = (wall(), exchange.slot().cost.cpu);
    let spent = move |exchange: &mut Exchange| Spent {
        cpu_ns: nanos(exchange.slot().cost.cpu.saturating_sub(before)),
        latency_ns: nanos(wall().saturating_sub(began)),
    };
    match call(exchange) {
        Called::Ready(mut exchange, mut result) => {
            let spent = spent(&mut exchange);
            done(&mut exchange, &mut result, spent);
            Called::Ready(exchange, result)
        }
        Called::Waiting(future) => Called::Waiting(Box::pin(async move {
            let (mut exchange, mut result) = future.await;
            let spent = spent(&mut exchange);
            done(&mut exchange, &mut result, spent);
            (exchange, result)
        })),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
