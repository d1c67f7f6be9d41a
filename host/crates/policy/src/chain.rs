//! Runs the policies of a route: requests in the order of `use`, responses in reverse.

mod body;
pub(crate) mod hold;

use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use portcullis_model::{FailureMode, Name};

pub use body::{BodyOutcome, HeldBody};

use crate::fault_log::FaultLog;
use crate::recorder::call_noted;
use crate::{
    BodyDecision, Called, Decision, Exchange, Fault, FaultKind, Hook, Hooks, Outcome, Phase, Policy,
    PolicySlot, Reply, Watch,
};

/// The policies of one route on one worker.
pub struct PolicyChain {
    links: Vec<Rc<Link>>,
    // The policies that have each hook, themselves and not their positions: a hook that is due cannot be missing. If no
    // policy has a hook, it costs one look at an empty list.
    request_head: Vec<Rc<Link>>,
    request_body: Vec<Rc<Link>>,
    response_head: Vec<Rc<Link>>,
    response_body: Vec<Rc<Link>>,
    completed: Vec<Rc<Link>>,
    // The policies that are only shown a body. They alone do not make it a body that passes through policies.
    request_body_watched: Vec<Rc<Link>>,
    response_body_watched: Vec<Rc<Link>>,
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
    /// Why, where it was a fault.
    pub fault: Option<Fault>,
}

/// The two bodies of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodySide {
    /// From the client.
    Request,
    /// To the client.
    Response,
}

impl<T> Permitted<T> {
    /// What was permitted.
    pub fn into_inner(self) -> T {
        self.0
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
    /// A chain of `policies` in the order of `use`, which all together may hold back `hold_bytes_max` bytes of one body.
    #[must_use]
    pub fn new(policies: Vec<Rc<dyn Policy>>, hold_bytes_max: usize) -> Self {
        let links = policies.into_iter().enumerate();
        let links = links.map(|(at, policy)| Rc::new(Link { at, policy, fault_log: FaultLog::default() }));
        let links: Vec<Rc<Link>> = links.collect();
        let having = |has: fn(Hooks) -> bool| -> Vec<Rc<Link>> {
            links.iter().filter(|link| has(link.policy.factory().hooks())).cloned().collect()
        };
        let watching = |has: fn(Hooks) -> bool| -> Vec<Rc<Link>> {
            links.iter().filter(|link| has(link.policy.factory().watches())).cloned().collect()
        };
        let reversed = |mut links: Vec<Rc<Link>>| {
            links.reverse();
            links
        };
        // If a body passes through policies anyway, a policy that is only shown it stands among them, and sees what those
        // before it have made of it.
        let with_watching = |deciding: Vec<Rc<Link>>, watching: &[Rc<Link>]| {
            let watching = if deciding.is_empty() { &[] } else { watching };
            let mut links = [&deciding, watching].concat();
            links.sort_unstable_by_key(|link| link.at);
            links
        };
        let request_body_watched = watching(|hooks| hooks.request_body);
        let response_body_watched = watching(|hooks| hooks.response_body);
        Self {
            request_head: having(|hooks| hooks.request_head),
            request_body: with_watching(having(|hooks| hooks.request_body), &request_body_watched),
            response_head: reversed(having(|hooks| hooks.response_head)),
            response_body: reversed(with_watching(
                having(|hooks| hooks.response_body),
                &response_body_watched,
            )),
            completed: having(|hooks| hooks.completed),
            request_body_watched,
            response_body_watched: reversed(response_body_watched),
            hold_bytes_max,
            links,
        }
    }

    /// How many policies there are; as a position, the one behind the last.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.links.iter().map(|link| link.name())
    }

    /// Whether there is no policy.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// The name of the policy at a position.
    #[must_use]
    pub fn name(&self, at: usize) -> Option<&Name> {
        self.links.get(at).map(|link| link.name())
    }

    /// Whether a policy wants to see the response's head.
    #[must_use]
    pub fn has_response_head_hook(&self) -> bool {
        !self.response_head.is_empty()
    }

    /// Whether a policy wants to see that body.
    #[must_use]
    pub fn has_body_hook(&self, side: BodySide) -> bool {
        !self.body_links(side).is_empty()
    }

    /// Whether a policy wants to hear of the end.
    #[must_use]
    pub fn has_completed_hook(&self) -> bool {
        !self.completed.is_empty()
    }

    fn body_links(&self, side: BodySide) -> &[Rc<Link>] {
        match side {
            BodySide::Request => &self.request_body,
            BodySide::Response => &self.response_body,
        }
    }

    /// Whether somebody wants to be shown that body, whoever decides about it.
    #[must_use]
    pub fn has_body_watch(&self, side: BodySide) -> bool {
        !self.watching_links(side).is_empty()
    }

    fn watching_links(&self, side: BodySide) -> &[Rc<Link>] {
        match side {
            BodySide::Request => &self.request_body_watched,
            BodySide::Response => &self.response_body_watched,
        }
    }

    /// Those who are to be shown a body that is about to begin and that passes through no policy. `until` is as for
    /// [`Self::response_head`].
    pub fn watch_body(&self, side: BodySide, exchange: &mut Exchange, until: usize) -> Vec<Box<dyn Watch>> {
        let watching = self.watching_links(side).iter().filter(|link| link.at < until);
        let watches = watching.filter_map(|link| {
            exchange.policy_at = link.at;
            link.policy.watch(side, exchange)
        });
        watches.collect()
    }

    /// Runs the request-head hooks. Dropping the future drops the exchange.
    pub async fn request_head(&self, mut exchange: Box<Exchange>) -> HeadOutcome {
        exchange.phase = Phase::RequestHead;
        if exchange.policies.len() < self.links.len() {
            exchange.policies.resize_with(self.links.len(), PolicySlot::default);
        }
        for link in &self.request_head {
            let at = link.at;
            let (back, result) = link.call(Hook::RequestHead, exchange).await;
            exchange = back;
            match link.settle(&mut exchange, result) {
                Settled::Next => {}
                Settled::Body(_) => {}
                Settled::Reply(reply) => {
                    return HeadOutcome::Replied(Replied { exchange, reply, at, fault: None });
                }
                Settled::Denied(fault) => {
                    let reply = fault.reply();
                    return HeadOutcome::Replied(Replied { exchange, reply, at, fault: Some(fault) });
                }
            }
        }
        exchange.phase = Phase::RequestBody;
        HeadOutcome::Permitted(Permitted(exchange))
    }

    /// Runs the response-head hooks of the policies before position `until`, the last first. A reply takes the
    /// response's place, and the policies before the one that made it see that. Gives back the exchange and, where a
    /// policy replied or failed closed, the body that takes the place of the upstream's and the fault.
    pub async fn response_head(
        &self,
        mut exchange: Box<Exchange>,
        until: usize,
    ) -> (Box<Exchange>, Option<Bytes>, Option<Fault>) {
        exchange.phase = Phase::ResponseHead;
        if let Some(recorder) = &mut exchange.recorder {
            recorder.note_response(&exchange.response);
        }
        let (mut body, mut denied) = (None, None);
        for link in self.response_head.iter().filter(|link| link.at < until) {
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
        exchange.phase = Phase::ResponseBody;
        (exchange, body, denied)
    }

    /// Tells the policies how the exchange ended.
    pub async fn completed(&self, mut exchange: Box<Exchange>, outcome: &Outcome) -> Box<Exchange> {
        exchange.phase = Phase::Completed;
        for link in &self.completed {
            let (back, result) = link.call(Hook::Completed(outcome.clone()), exchange).await;
            exchange = back;
            link.settle(&mut exchange, result);
        }
        exchange
    }
}

impl Link {
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
            return Box::pin(call_noted(&*self.policy, hook, exchange)).await;
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
            FailureMode::Allow => Settled::Next,
        }
    }

    /// Logs a fault, except that a policy is in quarantine, which was logged when that began, and the faults of an exchange
    /// without effects, which are in its notes.
    fn log_fault(&self, exchange: &Exchange, fault: &Fault, mode: FailureMode) {
        if fault.kind == FaultKind::Quarantined || !exchange.has_effects() {
            return;
        }
        let Some(untold) = self.fault_log.admit(Instant::now()) else { return };
        let message = match self.policy.factory().may_tell(fault.message.len()) {
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

impl BodySide {
    pub(crate) fn hook(self, chunk: Bytes, last: bool) -> Hook {
        match self {
            Self::Request => Hook::RequestBody { chunk, last },
            Self::Response => Hook::ResponseBody { chunk, last },
        }
    }
}

#[cfg(test)]
mod tests;
