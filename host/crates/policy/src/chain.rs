//! Runs the policies of a route: requests in the order of `use`, responses in reverse.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use portcullis_model::{FailureMode, Name};

use crate::fault_log::FaultLog;
use crate::recorder::call_noted;
use crate::{
    BodyDecision, Called, Decision, Exchange, Fault, FaultKind, Hook, Hooks, Outcome, Phase, Policy,
    PolicyFactory, PolicySlot, Reply, Watch,
};

/// The policies of one route on one worker.
pub struct PolicyChain {
    policies: Vec<Rc<dyn Policy>>,
    // Positions of the policies that have each hook: a hook that no policy has costs one look at an empty list.
    request_head: Vec<usize>,
    request_body: Vec<usize>,
    response_head: Vec<usize>,
    response_body: Vec<usize>,
    completed: Vec<usize>,
    // Of those that are only shown a body, which alone makes it no body that passes through policies.
    request_body_watched: Vec<usize>,
    response_body_watched: Vec<usize>,
    /// Bytes that they may hold back of one body, all together.
    hold_bytes_max: usize,
    /// By position.
    fault_logs: Vec<FaultLog>,
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

/// What the chain made of a piece of a body.
#[derive(Debug)]
pub enum BodyOutcome {
    /// This goes on; empty where all of it was held back.
    Pass(Bytes),
    /// A policy wants this answered in place of the message.
    Reply {
        /// What the client gets, if its response has not begun.
        reply: Reply,
        /// Position of the policy.
        at: usize,
    },
    /// A policy failed closed.
    Fault {
        /// Why.
        fault: Fault,
        /// Position of the policy.
        at: usize,
    },
}

/// What the policies of a chain hold back of one body.
#[derive(Debug, Default)]
pub struct HeldBody {
    held: Vec<BytesMut>,
}

impl HeldBody {
    /// Bytes held back, over all policies.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.iter().map(BytesMut::len).sum()
    }

    /// Whether nothing is held back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.iter().all(BytesMut::is_empty)
    }

    fn take(&mut self, at: usize) -> BytesMut {
        self.held.get_mut(at).map(std::mem::take).unwrap_or_default()
    }

    fn put(&mut self, at: usize, bytes: BytesMut) {
        if let Some(held) = self.held.get_mut(at) {
            *held = bytes;
        }
    }
}

impl Default for PolicyChain {
    /// No policies.
    fn default() -> Self {
        Self::new(Vec::new(), 0)
    }
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
        f.debug_list().entries(self.policies.iter().map(|policy| policy.factory().name())).finish()
    }
}

impl PolicyChain {
    /// A chain of `policies` in the order of `use`, which all together may hold back `hold_bytes_max` bytes of one body.
    #[must_use]
    pub fn new(policies: Vec<Rc<dyn Policy>>, hold_bytes_max: usize) -> Self {
        let positions = |has: &dyn Fn(&dyn PolicyFactory) -> bool| -> Vec<usize> {
            let all = policies.iter().enumerate();
            all.filter(|(_, policy)| has(&**policy.factory())).map(|(at, _)| at).collect()
        };
        let having = |has: fn(Hooks) -> bool| positions(&|factory| has(factory.hooks()));
        let watching = |has: fn(Hooks) -> bool| positions(&|factory| has(factory.watches()));
        let reversed = |mut positions: Vec<usize>| {
            positions.reverse();
            positions
        };
        // Where a body passes through policies anyway, whoever is only shown it stands among them, and sees what those
        // before it have made of it.
        let with_watching = |deciding: Vec<usize>, watching: &[usize]| {
            let watching = if deciding.is_empty() { &[] } else { watching };
            let mut positions = [&deciding, watching].concat();
            positions.sort_unstable();
            positions
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
            fault_logs: policies.iter().map(|_| FaultLog::default()).collect(),
            policies,
        }
    }

    /// How many policies there are; as a position, the one behind the last.
    #[must_use]
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.policies.iter().map(|policy| policy.factory().name())
    }

    /// Whether there is no policy.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The name of the policy at a position.
    #[must_use]
    pub fn name(&self, at: usize) -> Option<&Name> {
        self.policies.get(at).map(|policy| policy.factory().name())
    }

    /// Whether a policy wants to see the response's head.
    #[must_use]
    pub fn has_response_head_hook(&self) -> bool {
        !self.response_head.is_empty()
    }

    /// Whether a policy wants to see that body.
    #[must_use]
    pub fn has_body_hook(&self, side: BodySide) -> bool {
        !self.body_positions(side).is_empty()
    }

    /// Whether a policy wants to hear of the end.
    #[must_use]
    pub fn has_completed_hook(&self) -> bool {
        !self.completed.is_empty()
    }

    fn body_positions(&self, side: BodySide) -> &[usize] {
        match side {
            BodySide::Request => &self.request_body,
            BodySide::Response => &self.response_body,
        }
    }

    /// Whether somebody wants to be shown that body, whoever decides about it.
    #[must_use]
    pub fn has_body_watch(&self, side: BodySide) -> bool {
        !self.watched_positions(side).is_empty()
    }

    fn watched_positions(&self, side: BodySide) -> &[usize] {
        match side {
            BodySide::Request => &self.request_body_watched,
            BodySide::Response => &self.response_body_watched,
        }
    }

    /// Those who are to be shown a body that is about to begin and that passes through no policy. `until` is as for
    /// [`Self::response_head`].
    pub fn watch_body(&self, side: BodySide, exchange: &mut Exchange, until: usize) -> Vec<Box<dyn Watch>> {
        self.watched_positions(side)
            .iter()
            .filter(|at| **at < until)
            .filter_map(|&at| self.watch(at, side, exchange))
            .collect()
    }

    fn watch(&self, at: usize, side: BodySide, exchange: &mut Exchange) -> Option<Box<dyn Watch>> {
        let policy = self.policies.get(at)?;
        exchange.policy_at = at;
        policy.watch(side, exchange)
    }

    /// Runs the request-head hooks. Dropping the future drops the exchange.
    pub async fn request_head(&self, mut exchange: Box<Exchange>) -> HeadOutcome {
        exchange.phase = Phase::RequestHead;
        if exchange.policies.len() < self.policies.len() {
            exchange.policies.resize_with(self.policies.len(), PolicySlot::default);
        }
        for &at in &self.request_head {
            let (back, result) = self.call(at, Hook::RequestHead, exchange).await;
            exchange = back;
            match self.settle(at, &mut exchange, result) {
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
        for &at in self.response_head.iter().filter(|at| **at < until) {
            let (back, result) = self.call(at, Hook::ResponseHead, exchange).await;
            exchange = back;
            let reply = match self.settle(at, &mut exchange, result) {
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

    /// Passes a piece of a body through the policies that want it. `held` belongs to this body of this exchange.
    /// `until` is as for [`Self::response_head`]. Nothing is passed on before a policy has let it go, so the caller can
    /// keep the head back until the first piece comes through.
    pub async fn body(
        &self,
        side: BodySide,
        held: &mut HeldBody,
        mut exchange: Box<Exchange>,
        mut piece: Bytes,
        last: bool,
        until: usize,
    ) -> (Box<Exchange>, BodyOutcome) {
        held.held.resize_with(self.policies.len(), BytesMut::new);
        for &at in self.body_positions(side).iter().filter(|at| **at < until) {
            if piece.is_empty() && !last {
                break;
            }
            if self.watched_positions(side).contains(&at) {
                exchange = self.show(at, side, exchange, &piece, last).await;
                continue;
            }
            let (back, outcome) = self.body_of(at, side, held, exchange, piece, last).await;
            exchange = back;
            match outcome {
                BodyOutcome::Pass(passed) => piece = passed,
                stopped => return (exchange, stopped),
            }
        }
        (exchange, BodyOutcome::Pass(piece))
    }

    /// Shows a piece to a policy that does not decide about it: a call without an outcome, in which nobody is waited for.
    async fn show(
        &self,
        at: usize,
        side: BodySide,
        mut exchange: Box<Exchange>,
        piece: &Bytes,
        last: bool,
    ) -> Box<Exchange> {
        let Some(policy) = self.policies.get(at) else { return exchange };
        exchange.policy_at = at;
        match policy.call(side.hook(piece.clone(), last), exchange) {
            Called::Ready(exchange, _) => exchange,
            Called::Waiting(future) => future.await.0,
        }
    }

    /// Passes a piece through the policy at `at`, in parts that are no larger than it may be given: how large the pieces
    /// are that come from the network is nothing that a policy can be blamed for.
    async fn body_of(
        &self,
        at: usize,
        side: BodySide,
        held: &mut HeldBody,
        mut exchange: Box<Exchange>,
        mut piece: Bytes,
        last: bool,
    ) -> (Box<Exchange>, BodyOutcome) {
        let Some(policy) = self.policies.get(at) else { return (exchange, BodyOutcome::Pass(piece)) };
        exchange.policy_at = at;
        let bound = policy.body_bytes_max(&exchange);
        let mut passed = Passed::default();
        loop {
            let mut kept = held.take(at);
            let part = piece.split_to(piece.len().min(bound.saturating_sub(kept.len())));
            let (chunk, result) = if part.is_empty() && !piece.is_empty() {
                let message = format!("it held back more than its body limit of {bound} bytes");
                (kept.freeze(), Err(self.too_large(at, side, &mut exchange, message)))
            } else {
                let last = last && piece.is_empty();
                let chunk = if kept.is_empty() {
                    part
                } else {
                    kept.extend_from_slice(&part);
                    kept.freeze()
                };
                let (back, result) = self.call(at, side.hook(chunk.clone(), last), exchange).await;
                exchange = back;
                let result = match result {
                    // There is no next piece to hold the last one for.
                    Ok(Decision::Body(BodyDecision::Hold)) if last => Ok(Decision::Next),
                    Ok(Decision::Body(BodyDecision::Hold))
                        if held.len() + chunk.len() > self.hold_bytes_max =>
                    {
                        let limit = self.hold_bytes_max;
                        let message =
                            format!("with it the route's policies hold back more than {limit} bytes");
                        Err(self.too_large(at, side, &mut exchange, message))
                    }
                    result => result,
                };
                (chunk, result)
            };
            match self.settle(at, &mut exchange, result) {
                // Failing open, what it was given goes on as it was.
                Settled::Next | Settled::Body(BodyDecision::Forward) => passed.push(chunk),
                Settled::Body(BodyDecision::Replace(bytes)) => passed.push(bytes),
                Settled::Body(BodyDecision::Hold) => {
                    // A shadow may have a part in it, and then it is copied.
                    let own = |shared: Bytes| BytesMut::from(&*shared);
                    held.put(at, chunk.try_into_mut().unwrap_or_else(own));
                }
                Settled::Reply(reply) => return (exchange, BodyOutcome::Reply { reply, at }),
                Settled::Denied(fault) => return (exchange, BodyOutcome::Fault { fault, at }),
            }
            if piece.is_empty() {
                return (exchange, BodyOutcome::Pass(passed.into_bytes()));
            }
        }
    }

    fn too_large(&self, at: usize, side: BodySide, exchange: &mut Exchange, message: String) -> Fault {
        let (hook, kind) = (side.hook(Bytes::new(), false).name(), FaultKind::TooLarge);
        let Some(policy) = self.policies.get(at) else {
            return Fault { policy: "".into(), hook, kind, message };
        };
        let fault = Fault { policy: policy.factory().name().clone(), hook, kind, message };
        exchange.policy_at = at;
        policy.blame(exchange, &fault);
        fault
    }

    /// Tells the policies how the exchange ended.
    pub async fn completed(&self, mut exchange: Box<Exchange>, outcome: &Outcome) -> Box<Exchange> {
        exchange.phase = Phase::Completed;
        for &at in &self.completed {
            let (back, result) = self.call(at, Hook::Completed(outcome.clone()), exchange).await;
            exchange = back;
            self.settle(at, &mut exchange, result);
        }
        exchange
    }

    async fn call(
        &self,
        at: usize,
        hook: Hook,
        mut exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<Decision, Fault>) {
        let Some(policy) = self.policies.get(at) else { return (exchange, Ok(Decision::Next)) };
        exchange.policy_at = at;
        if exchange.recorder.is_some() {
            // Boxed, so that this rare way does not make the future of the usual one larger.
            return Box::pin(call_noted(&**policy, hook, exchange)).await;
        }
        match policy.call(hook, exchange) {
            Called::Ready(exchange, result) => (exchange, result),
            Called::Waiting(future) => future.await,
        }
    }

    /// Turns a fault into what the policy's failure mode says, and logs it.
    fn settle(&self, at: usize, exchange: &mut Exchange, result: Result<Decision, Fault>) -> Settled {
        let fault = match result {
            Ok(Decision::Next) => return Settled::Next,
            Ok(Decision::Reply(reply)) => return Settled::Reply(reply),
            Ok(Decision::Body(decision)) => return Settled::Body(decision),
            Err(fault) => fault,
        };
        let mode = self.policies.get(at).map_or(FailureMode::Deny, |policy| policy.factory().failure_mode());
        if let Some(slot) = exchange.policies.get_mut(at) {
            slot.cost.faults = slot.cost.faults.saturating_add(1);
        }
        self.tell(at, exchange, &fault, mode);
        match mode {
            FailureMode::Deny => Settled::Denied(fault),
            FailureMode::Allow => Settled::Next,
        }
    }

    /// Writes a fault to the log. That a policy is in quarantine was told once, when it began,
    /// and an exchange that shall have no effects has it in its notes.
    fn tell(&self, at: usize, exchange: &Exchange, fault: &Fault, mode: FailureMode) {
        if fault.kind == FaultKind::Quarantined || !exchange.has_effects() {
            return;
        }
        let Some(untold) = self.fault_logs.get(at).map_or(Some(0), |log| log.admit(Instant::now())) else {
            return;
        };
        let factory = self.policies.get(at).map(|policy| policy.factory());
        let message = match factory.is_none_or(|factory| factory.may_tell(fault.message.len())) {
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

/// What a policy let go of a piece. Nearly always that is one run of bytes, which is not copied.
#[derive(Default)]
struct Passed {
    first: Bytes,
    joined: BytesMut,
}

impl Passed {
    fn push(&mut self, bytes: Bytes) {
        if self.first.is_empty() && self.joined.is_empty() {
            self.first = bytes;
        } else if !bytes.is_empty() {
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
            self.joined.extend_from_slice(&bytes);
        }
    }

    fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
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
