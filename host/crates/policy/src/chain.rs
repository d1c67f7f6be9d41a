//! Runs the policies of a route: requests in the order of `use`, responses in reverse.

mod body;

use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use portcullis_model::{FailureMode, Name};

pub use body::{BodyOutcome, HeldBody};

use crate::decision::{BodyDecision, Decision, Fault, FaultKind, Reply};
use crate::exchange::{Exchange, PolicySlot};
use crate::fault_log::FaultLog;
use crate::hook::{BodySide, Hook, HookKind, Hooks, Outcome};
use crate::policy::{Called, Policy, Watch};
use crate::recorded_call::call_recorded;

/// The policies of one route on one worker.
pub struct PolicyChain {
    links: Vec<Rc<Link>>,
    /// The policies of each hook in the order in which they are called, themselves and not their positions: a hook
    /// that is due cannot be missing. A hook that no policy has costs one look at an empty list.
    by_hook: [Vec<Rc<Link>>; HookKind::COUNT],
    /// The policies that are only shown a body, by its hook. They alone do not make it a body that passes through
    /// policies.
    watching: [Vec<Rc<Link>>; HookKind::COUNT],
    /// Bytes that they may hold back of one body, all together.
    hold_bytes_max: usize,
}

/// A policy at its place in the chain.
struct Link {
    /// The position in `use`.
    at: usize,
    policy: Rc<dyn Policy>,
    fault_log: FaultLog,
}

/// Proof that every policy of the route let this through. Only [`PolicyChain::request_head`] makes one, and only a
/// permitted exchange can be forwarded.
#[derive(Debug)]
pub struct Permitted<T>(T);

/// How the request-head phase ended.
#[derive(Debug)]
pub enum HeadOutcome {
    /// Every policy let it through.
    Permitted(Permitted<Box<Exchange>>),
    /// A policy answered, or failed closed.
    Replied(Replied),
}

/// An answer made by the chain.
#[derive(Debug)]
pub struct Replied {
    /// The exchange.
    pub exchange: Box<Exchange>,
    /// What the client gets.
    pub reply: Reply,
    /// Position of the policy that answered. The response hooks of those before it run; its own do not.
    pub at: usize,
    /// Why, if it was a fault.
    pub fault: Option<Fault>,
}

impl<T> Permitted<T> {
    /// Returns what was permitted.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// Returns the permission with what `step` makes of what was permitted, for a step between the policies and the
    /// upstream that keeps the exchange in another place meanwhile.
    pub fn map<U>(self, step: impl FnOnce(T) -> U) -> Permitted<U> {
        Permitted(step(self.0))
    }

    /// Returns the permission to ask once more for what was permitted here. A cache needs it to renew an answer after
    /// it has answered its client, and to ask again in another way for what it cannot keep.
    pub fn again(&self) -> Permitted<()> {
        Permitted(())
    }
}

impl<T> Deref for Permitted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Permitted<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl std::fmt::Debug for PolicyChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl PolicyChain {
    /// Returns a chain of `policies` in the order of `use`, which all together may hold back `hold_bytes_max` bytes
    /// of one body.
    #[must_use]
    pub fn new(policies: Vec<Rc<dyn Policy>>, hold_bytes_max: usize) -> Self {
        let links = policies.into_iter().enumerate();
        let links = links.map(|(at, policy)| Rc::new(Link { at, policy, fault_log: FaultLog::default() }));
        let links: Vec<Rc<Link>> = links.collect();
        // Responses pass through the policies in reverse.
        let ordered = |kind: HookKind, mut links: Vec<Rc<Link>>| {
            if matches!(kind, HookKind::ResponseHead | HookKind::ResponseBody) {
                links.reverse();
            }
            links
        };
        let having = |kind: HookKind, hooks: fn(&Link) -> Hooks| -> Vec<Rc<Link>> {
            links.iter().filter(|link| hooks(link).has(kind)).cloned().collect()
        };
        // If a body passes through policies anyway, a policy that is only shown it stands among them, and sees what
        // those before it have made of it.
        let by_hook = HookKind::ALL.map(|kind| {
            let mut called = having(kind, Link::hooks);
            if !called.is_empty() {
                called.extend(having(kind, Link::watches));
                called.sort_unstable_by_key(|link| link.at);
            }
            ordered(kind, called)
        });
        let watching = HookKind::ALL.map(|kind| ordered(kind, having(kind, Link::watches)));
        Self { by_hook, watching, hold_bytes_max, links }
    }

    /// Returns how many policies there are; as a position, the one behind the last.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Returns their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.links.iter().map(|link| link.name())
    }

    /// Returns the names of those that are called for a hook, in the order of their calls.
    pub fn names_with(&self, kind: HookKind) -> impl Iterator<Item = &Name> {
        self.having(kind).iter().map(|link| link.name())
    }

    /// Returns whether there is no policy.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Returns the name of the policy at a position.
    #[must_use]
    pub fn name(&self, at: usize) -> Option<&Name> {
        self.links.get(at).map(|link| link.name())
    }

    /// Returns whether a policy has a hook of the response's head.
    #[must_use]
    pub fn has_response_head_hook(&self) -> bool {
        !self.having(HookKind::ResponseHead).is_empty()
    }

    /// Returns whether a policy decides about that body.
    #[must_use]
    pub fn has_body_hook(&self, side: BodySide) -> bool {
        !self.having(side.kind()).is_empty()
    }

    /// Returns whether a policy learns how the exchange ended.
    #[must_use]
    pub fn has_completed_hook(&self) -> bool {
        !self.having(HookKind::Completed).is_empty()
    }

    /// Returns the policies that are called for a hook, in the order of their calls.
    fn having(&self, kind: HookKind) -> &[Rc<Link>] {
        &self.by_hook[kind as usize]
    }

    /// Returns whether a policy is shown that body without deciding about it.
    #[must_use]
    pub fn has_body_watch(&self, side: BodySide) -> bool {
        !self.watching_links(side).is_empty()
    }

    fn watching_links(&self, side: BodySide) -> &[Rc<Link>] {
        &self.watching[side.kind() as usize]
    }

    /// Returns what is to be shown a body that is about to begin and that passes through no policy. `until` is as for
    /// [`Self::response_head`].
    pub fn watch_body(&self, side: BodySide, exchange: &mut Exchange, until: usize) -> Vec<Box<dyn Watch>> {
        let watching = self.watching_links(side).iter().filter(|link| link.at < until);
        let watches = watching.filter_map(|link| {
            exchange.policy_at = link.at;
            link.policy.as_watcher()?.watch(side, exchange)
        });
        watches.collect()
    }

    /// Runs the request-head hooks. Dropping the future drops the exchange.
    pub async fn request_head(&self, mut exchange: Box<Exchange>) -> HeadOutcome {
        exchange.phase = HookKind::RequestHead;
        if exchange.policies.len() < self.links.len() {
            exchange.policies.resize_with(self.links.len(), PolicySlot::default);
        }
        for link in self.having(HookKind::RequestHead) {
            let at = link.at;
            let (back, result) = link.call(Hook::RequestHead, exchange).await;
            exchange = back;
            match link.settle(&mut exchange, result) {
                Settled::Next | Settled::Body(_) => {}
                Settled::Reply(reply) => {
                    return HeadOutcome::Replied(Replied { exchange, reply, at, fault: None });
                }
                Settled::Denied(fault) => {
                    let reply = fault.reply();
                    return HeadOutcome::Replied(Replied { exchange, reply, at, fault: Some(fault) });
                }
            }
        }
        exchange.phase = HookKind::RequestBody;
        HeadOutcome::Permitted(Permitted(exchange))
    }

    /// Runs the response-head hooks of the policies before position `until`, the last first. A reply takes the
    /// response's place, and the policies before the one that made it see that. Returns the exchange and, if a policy
    /// replied or failed closed, the body that takes the place of the upstream's and the fault.
    pub async fn response_head(
        &self,
        mut exchange: Box<Exchange>,
        until: usize,
    ) -> (Box<Exchange>, Option<Bytes>, Option<Fault>) {
        exchange.phase = HookKind::ResponseHead;
        if let Some(recorder) = &mut exchange.recorder {
            recorder.note_response(&exchange.response);
        }
        let (mut body, mut denied) = (None, None);
        for link in self.having(HookKind::ResponseHead).iter().filter(|link| link.at < until) {
            let (back, result) = link.call(Hook::ResponseHead, exchange).await;
            exchange = back;
            let reply = match link.settle(&mut exchange, result) {
                Settled::Next | Settled::Body(_) => continue,
                Settled::Reply(reply) => reply,
                Settled::Denied(fault) => {
                    let reply = fault.reply();
                    denied = Some(fault);
                    reply
                }
            };
            exchange.response.status = reply.status;
            exchange.response.fields = reply.fields;
            body = Some(reply.body);
        }
        exchange.phase = HookKind::ResponseBody;
        (exchange, body, denied)
    }

    /// Runs the hooks that learn how the exchange ended.
    pub async fn completed(&self, mut exchange: Box<Exchange>, outcome: &Outcome) -> Box<Exchange> {
        exchange.phase = HookKind::Completed;
        for link in self.having(HookKind::Completed) {
            let (back, result) = link.call(Hook::Completed(outcome.clone()), exchange).await;
            exchange = back;
            link.settle(&mut exchange, result);
        }
        exchange
    }
}

impl Link {
    fn hooks(&self) -> Hooks {
        self.policy.factory().hooks()
    }

    fn watches(&self) -> Hooks {
        self.policy.as_watcher().map_or(Hooks::NONE, |watcher| watcher.watches())
    }

    fn name(&self) -> &Name {
        self.policy.factory().name()
    }

    async fn call(
        &self,
        hook: Hook,
        mut exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<Decision, Fault>) {
        exchange.policy_at = self.at;
        if exchange.recorder.is_some() {
            // Boxed, so that this rare way does not make the future of the usual one larger.
            return Box::pin(call_recorded(&*self.policy, hook, exchange)).await;
        }
        match self.policy.call(hook, exchange) {
            Called::Ready(exchange, result) => (exchange, result),
            Called::Waiting(future) => future.await,
        }
    }

    /// Turns a fault into what the policy's failure mode says, and logs it.
    fn settle(&self, exchange: &mut Exchange, result: Result<Decision, Fault>) -> Settled {
        let fault = match result {
            Ok(Decision::Next) => return Settled::Next,
            Ok(Decision::Reply(reply)) => return Settled::Reply(reply),
            Ok(Decision::Body(decision)) => return Settled::Body(decision),
            Err(fault) => fault,
        };
        let mode = self.policy.factory().failure_mode();
        if let Some(slot) = exchange.policies.get_mut(self.at) {
            slot.cost.faults = slot.cost.faults.saturating_add(1);
        }
        self.log_fault(exchange, &fault, mode);
        match mode {
            FailureMode::Deny => Settled::Denied(fault),
            FailureMode::Allow => {
                if matches!(exchange.phase, HookKind::RequestHead | HookKind::RequestBody)
                    && self.policy.factory().informs_cache()
                {
                    // It might have told this response apart from others.
                    exchange.cache.bypass();
                }
                Settled::Next
            }
        }
    }

    /// Logs a fault, except that a policy is in quarantine, which was logged when that began, and the faults of an
    /// exchange without effects, which are in its notes.
    fn log_fault(&self, exchange: &Exchange, fault: &Fault, mode: FailureMode) {
        if fault.kind == FaultKind::Quarantined || !exchange.has_effects() {
            return;
        }
        let Some(untold) = self.fault_log.admit(Instant::now()) else { return };
        let message = match self.policy.factory().may_log(fault.message.len()) {
            true => fault.message.as_str(),
            false => "(why is left out: its faults have said more than its `log-bytes` of this second)",
        };
        tracing::error!(
            policy = %fault.policy,
            hook = fault.hook,
            route = %exchange.route,
            trace_id = %exchange.trace_id,
            kind = %fault.kind,
            on_error = match mode { FailureMode::Deny => "deny", FailureMode::Allow => "allow" },
            untold = (untold > 0).then_some(untold),
            "policy fault: {message}",
        );
    }
}

/// A hook's result after the failure mode was applied.
enum Settled {
    Next,
    Body(BodyDecision),
    Reply(Reply),
    Denied(Fault),
}

#[cfg(test)]
mod tests;
