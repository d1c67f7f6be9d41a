//! Runs a hook and notes in the exchange's recorder what it decided, changed and asked for.

use crate::changes::Before;
use crate::exchange::Exchange;
use crate::hook::Hook;
use crate::policy::{Called, Policy, Returned};
use crate::recorder::{Decided, HookRecord, Input};

/// Runs a hook of an exchange that has a recorder, and notes it there. Without a recorder it only runs the hook.
pub async fn call_recorded(policy: &dyn Policy, hook: Hook, mut exchange: Box<Exchange>) -> Returned {
    let (name, input, at) = (hook.name(), Input::of(&hook, exchange.body_begun), exchange.policy_at);
    let (before, trailers) = (Before::of(&exchange), exchange.trailers.clone());
    let cpu_before = exchange.slot().cost.cpu;
    let (mut exchange, result) = match policy.call(hook, exchange) {
        Called::Ready(exchange, result) => (exchange, result),
        Called::Waiting(future) => future.await,
    };
    let cpu = exchange.slot().cost.cpu.saturating_sub(cpu_before);
    let edits = before.edits(&exchange);
    let factory = policy.factory();
    if let Some(recorder) = &mut exchange.recorder {
        let (calls, removed_reads, quarantine) = recorder.take_hook();
        let record = HookRecord {
            policy: factory.name().clone(),
            version: recorder.version(at),
            at,
            hook: name.to_owned(),
            input,
            trailers,
            decided: Decided::of(&result, factory.failure_mode()),
            edits,
            calls,
            cpu,
            removed_reads,
            quarantine,
        };
        recorder.note_hook(record);
    }
    (exchange, result)
}
