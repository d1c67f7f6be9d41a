//! What a hook takes of a core and of an exchange's time.

use std::future::poll_fn;
use std::time::Duration;

use crate::{Called, Decision, Exchange, Fault};

/// Where time is read. Only policies with a candidate are measured so: reading a thread's CPU time is a system call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    /// CPU time of the thread.
    pub cpu: fn() -> Duration,
    /// Time that passes, from any moment on.
    pub wall: fn() -> Duration,
}

/// What one call took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Spent {
    pub(crate) cpu_ns: u64,
    pub(crate) latency_ns: u64,
}

/// Calls a policy with an exchange, and tells `done` what came of it and what it took, at once or when it has ended.
pub(crate) fn timed(
    clocks: Clocks,
    mut exchange: Box<Exchange>,
    call: impl FnOnce(Box<Exchange>) -> Called,
    done: impl FnOnce(&mut Exchange, &mut Result<Decision, Fault>, Spent) + 'static,
) -> Called {
    let (began, cpu_before) = ((clocks.wall)(), (clocks.cpu)());
    let elsewhere_before = exchange.slot().cpu_elsewhere;
    let called = call(exchange);
    let mut cpu = (clocks.cpu)().saturating_sub(cpu_before);
    let spent = move |cpu: Duration, exchange: &mut Exchange| {
        let elsewhere = exchange.slot().cpu_elsewhere.saturating_sub(elsewhere_before);
        Spent { cpu_ns: nanos(cpu + elsewhere), latency_ns: nanos((clocks.wall)().saturating_sub(began)) }
    };
    match called {
        Called::Ready(mut exchange, mut result) => {
            let spent = spent(cpu, &mut exchange);
            done(&mut exchange, &mut result, spent);
            Called::Ready(exchange, result)
        }
        Called::Waiting(mut future) => Called::Waiting(Box::pin(async move {
            let (mut exchange, mut result) = poll_fn(|cx| {
                let before = (clocks.cpu)();
                let polled = future.as_mut().poll(cx);
                cpu += (clocks.cpu)().saturating_sub(before);
                polled
            })
            .await;
            let spent = spent(cpu, &mut exchange);
            done(&mut exchange, &mut result, spent);
            (exchange, result)
        })),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
