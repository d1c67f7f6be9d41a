//! The bodies of an exchange, piece by piece.

use bytes::Bytes;

use super::{Link, PolicyChain, Settled};
use crate::decision::{Again, BodyDecision, BodySplit, Decision, Fault, Reply};
use crate::exchange::Exchange;
use crate::holding::{Holding, Passed};
use crate::hook::BodySide;
use crate::policy::Called;

/// What the chain made of a piece of a body.
#[derive(Debug)]
pub enum BodyOutcome {
    /// This goes on; empty if all of it was held back.
    Pass(Bytes),
    /// A policy wants this answered in place of the message.
    Reply {
        /// What the client gets, if its response has not begun.
        reply: Reply,
        /// Position of the policy.
        at: usize,
    },
    /// A policy holds back a body that is larger than may be held back. The policy has not failed: how large a body is
    /// its sender says.
    TooLarge {
        /// Which policy, and what the bound is.
        reason: String,
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
    /// By position.
    held: Vec<Holding>,
    /// Whether policies are to be shown now what they have not seen.
    hurried: bool,
}

impl HeldBody {
    /// Bytes held back, over all policies.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.iter().map(Holding::held).sum()
    }

    /// Whether nothing is held back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether something waits for more to come before the policy that holds back is shown it.
    #[must_use]
    pub fn has_fresh(&self) -> bool {
        self.held.iter().any(Holding::has_fresh)
    }

    /// What the policy at position `at` holds back.
    fn of(&mut self, at: usize) -> &mut Holding {
        if self.held.len() <= at {
            self.held.resize_with(at + 1, Holding::default);
        }
        &mut self.held[at]
    }

    /// With the next piece, which may be empty, policies are shown what they have not seen.
    pub fn hurry(&mut self) {
        self.hurried = true;
    }
}

impl PolicyChain {
    /// Passes a piece of a body through the policies that want it. `held` belongs to this body of this exchange.
    /// `until` is as for [`Self::response_head`]. Nothing is passed on before a policy has let it go, so the caller
    /// can keep the head back until the first piece comes through. A policy that holds back is not asked again for
    /// each piece ([`Holding`]); who waits for more pieces in vain lets it be asked with [`HeldBody::hurry`].
    pub async fn body(
        &self,
        side: BodySide,
        held: &mut HeldBody,
        mut exchange: Box<Exchange>,
        mut piece: Bytes,
        last: bool,
        until: usize,
    ) -> (Box<Exchange>, BodyOutcome) {
        let hurried = std::mem::take(&mut held.hurried);
        for link in self.having(side.kind()).iter().filter(|link| link.at < until) {
            let own = held.of(link.at);
            let hurried = hurried && own.has_fresh();
            if own.again() == Again::Never || piece.is_empty() && !last && !hurried {
                continue;
            }
            exchange.body_begun = own.has_begun();
            if self.watching_links(side).iter().any(|watching| watching.at == link.at) {
                own.let_go(&piece);
                exchange = link.show(side, exchange, &piece, last).await;
                continue;
            }
            let (back, outcome) =
                self.body_of(link, side, held, exchange, Piece { bytes: piece, last, hurried }).await;
            exchange = back;
            match outcome {
                BodyOutcome::Pass(passed) => piece = passed,
                stopped => return (exchange, stopped),
            }
        }
        (exchange, BodyOutcome::Pass(piece))
    }

    /// Passes a piece through one policy, in parts that are no larger than it may be given: how large the pieces
    /// are that come from the network is nothing that a policy can be blamed for.
    async fn body_of(
        &self,
        link: &Link,
        side: BodySide,
        held: &mut HeldBody,
        mut exchange: Box<Exchange>,
        piece: Piece,
    ) -> (Box<Exchange>, BodyOutcome) {
        let Piece { bytes: mut piece, last, hurried } = piece;
        let at = link.at;
        exchange.policy_at = at;
        let bound = link.policy.body_bytes_max(&exchange);
        let mut passed = Passed::default();
        loop {
            let others = held.len();
            let own = held.of(at);
            let part = piece.split_to(piece.len().min(bound.saturating_sub(own.held())));
            if part.is_empty() && !piece.is_empty() {
                let reason = link.too_large(side, "`limits.body`", bound);
                return (exchange, BodyOutcome::TooLarge { reason });
            }
            let last = last && piece.is_empty();
            // At a bound it has to decide: no more can be put behind. One that wants all of it has decided already.
            let beyond = others + part.len() > self.hold_bytes_max;
            let full = match own.again() {
                Again::WithMore => own.held() + part.len() >= bound || beyond,
                Again::AtEnd | Again::Never => false,
            };
            if beyond && !full && !last {
                let reason = link.too_large(side, "the route's `limits.hold`", self.hold_bytes_max);
                return (exchange, BodyOutcome::TooLarge { reason });
            }
            let Some(chunk) = own.offer(part, last || hurried || full) else {
                if piece.is_empty() {
                    return (exchange, BodyOutcome::Pass(passed.into_bytes()));
                }
                continue;
            };
            exchange.body_begun = own.has_begun();
            let (back, result) = link.call(side.hook(chunk.clone(), last), exchange).await;
            exchange = back;
            let result = match result {
                // There is no next piece to hold the last one for.
                Ok(Decision::Body(BodyDecision::Hold)) if last => Ok(Decision::Next),
                Ok(Decision::Body(decision))
                    if !last && held.len() + decision.kept_of(chunk.len()) > self.hold_bytes_max =>
                {
                    let reason = link.too_large(side, "the route's `limits.hold`", self.hold_bytes_max);
                    return (exchange, BodyOutcome::TooLarge { reason });
                }
                result => result,
            };
            let own = held.of(at);
            let mut pass = |own: &mut Holding, bytes: Bytes| {
                own.let_go(&bytes);
                passed.push(bytes);
            };
            match link.settle(&mut exchange, result) {
                // Failing open, what it was given goes on as it was.
                Settled::Next | Settled::Body(BodyDecision::Forward) => pass(own, chunk),
                Settled::Body(BodyDecision::Replace(bytes)) => pass(own, bytes),
                Settled::Body(BodyDecision::Hold) => own.keep(chunk),
                Settled::Body(BodyDecision::Split(BodySplit { passed: bytes, kept, again })) => {
                    pass(own, bytes);
                    let rest = chunk.slice(chunk.len().saturating_sub(kept)..);
                    drop(chunk);
                    own.ask(again);
                    match last || again == Again::Never {
                        true => pass(own, rest),
                        false if rest.is_empty() => {}
                        false => own.keep(rest),
                    }
                    if again == Again::Never {
                        passed.push(std::mem::take(&mut piece));
                    }
                }
                Settled::Reply(reply) => return (exchange, BodyOutcome::Reply { reply, at }),
                Settled::Denied(fault) => return (exchange, BodyOutcome::Fault { fault, at }),
            }
            if piece.is_empty() {
                return (exchange, BodyOutcome::Pass(passed.into_bytes()));
            }
        }
    }
}

impl Link {
    /// Shows a piece to a policy that does not decide about it. The outcome of the call is ignored, and nothing waits
    /// for another side in it.
    async fn show(
        &self,
        side: BodySide,
        mut exchange: Box<Exchange>,
        piece: &Bytes,
        last: bool,
    ) -> Box<Exchange> {
        exchange.policy_at = self.at;
        match self.policy.call(side.hook(piece.clone(), last), exchange) {
            Called::Ready(exchange, _) => exchange,
            Called::Waiting(future) => future.await.0,
        }
    }

    #[cold]
    fn too_large(&self, side: BodySide, limit: &str, bytes: usize) -> String {
        let whose = match side {
            BodySide::Request => "request",
            BodySide::Response => "response",
        };
        let policy = self.name();
        format!(
            "the {whose} body is larger than policy `{policy}`, which holds it back, may hold: {bytes} bytes ({limit})"
        )
    }
}

/// A piece of a body on its way through one policy.
struct Piece {
    bytes: Bytes,
    last: bool,
    /// Whether the policy is to be asked now, whatever it holds back.
    hurried: bool,
}
