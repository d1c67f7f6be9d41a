//! Whether a request that failed is sent again, and where.
//!
//! A request is sent again only if no endpoint can have acted on it, or if it may be acted on twice (RFC 9110,
//! 9.2.2), and only if all of its body is still at hand. It goes to another endpoint as often as its route and the
//! upstream's budget allow. Beside that, the same endpoint is asked again a few times if only a connection or an
//! address was at fault: that is not an attempt that counts, because connections do close.

use std::time::Duration;

use crate::{EndpointId, RetryBudget, Tried};

/// How often the same endpoint is asked again before another one is.
const SAME_ENDPOINT_MAX: u32 = 3;

/// How an endpoint failed a request, as far as it matters for sending it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The connection failed, but the request may be sent once more: it was not acted on, or may be acted on twice.
    Connection,
    /// Nothing of the request was sent.
    Unsent {
        /// The endpoint is a name that has another address, which has not failed.
        other_address: bool,
    },
    /// The request may have been acted on, and is to be sent again nevertheless.
    Repeatable {
        /// The upstream's budget was asked for the retry already.
        paid: bool,
    },
    /// The request may have been acted on, or cannot be sent again.
    Final,
}

impl Failure {
    /// Returns what it means that a connection closed before the head of a response. `unprocessed`: the endpoint
    /// said that it did not act on the request (RFC 9113, 8.7). `maybe_stale`: the connection had served before and
    /// nothing of a response had come, so the endpoint may have closed an idle connection.
    #[must_use]
    pub fn of_closed(unprocessed: bool, maybe_stale: bool, idempotent: bool) -> Self {
        if unprocessed || (maybe_stale && idempotent) { Self::Connection } else { Self::Final }
    }
}

/// Returns the pause before a retry, of which `retry` is the number from 1: a random part of `delay`, which doubles
/// with each up to `delay_max`. Random, so that requests that failed together do not come back together.
#[must_use]
pub fn backoff(delay: Duration, delay_max: Duration, retry: u32, chance: u64) -> Duration {
    let longest = delay.saturating_mul(1 << retry.saturating_sub(1).min(20)).min(delay_max);
    // 53 bits of chance: a part of 1, which is less than 1.
    longest.mul_f64((chance >> 11) as f64 / (1_u64 << 53) as f64)
}

/// What is done next with a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is sent to the same endpoint.
    SameEndpoint,
    /// It is sent to another endpoint, if one is left.
    OtherEndpoint,
    /// It is not sent again.
    Nothing,
}

/// Whether one more endpoint may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Begin {
    /// It may.
    Allowed,
    /// No attempt or no endpoint is left.
    NoneLeft,
    /// The upstream's retry budget is used up.
    OverBudget,
}

/// The attempts of one request.
#[derive(Debug)]
pub struct Retries {
    attempts: u32,
    attempts_max: u32,
    tried: Tried,
    /// How often the current endpoint may still be asked again.
    again: u32,
    new_connection: bool,
    /// Whether endpoints are tried again once all were.
    goes_round: bool,
    /// Whether a pause comes before the next attempt.
    pauses: bool,
    /// Whether the budget was asked for the next attempt.
    paid: bool,
}

impl Retries {
    /// A request that was not sent yet, and may be tried `attempts_max` times, at least once: each time on another
    /// endpoint, or if it `goes_round` on the same ones again once all were tried.
    #[must_use]
    pub fn new(attempts_max: u32, goes_round: bool) -> Self {
        Self {
            attempts: 0,
            attempts_max: attempts_max.max(1),
            tried: Tried::new(),
            again: 0,
            new_connection: false,
            goes_round,
            pauses: false,
            paid: false,
        }
    }

    /// Returns whether another attempt may follow the one that is under way even if it was sent.
    #[must_use]
    pub fn may_follow(&self) -> bool {
        self.goes_round && self.attempts < self.attempts_max
    }

    /// Returns which retry comes next, from 1, if there is to be a pause before it: after a request that was sent, or
    /// once all endpoints were tried. If none is `left`, the next attempt begins with all of them again.
    pub fn pause(&mut self, left: bool) -> Option<u32> {
        let is_round = !left && self.goes_round && self.attempts > 0 && self.attempts < self.attempts_max;
        if is_round {
            self.tried = Tried::new();
        }
        let pauses = std::mem::take(&mut self.pauses) || is_round;
        (pauses && self.attempts < self.attempts_max).then_some(self.attempts)
    }

    /// Begins an attempt on one more endpoint, if one is `left` that was not tried, the route allows so many, and the
    /// upstream's `budget` has a token for a retry.
    pub fn begin(&mut self, left: bool, budget: Option<&RetryBudget>, now: Duration) -> Begin {
        if !left || self.attempts >= self.attempts_max {
            return Begin::NoneLeft;
        }
        match budget {
            Some(budget) if self.attempts == 0 => budget.record_request(),
            Some(budget) if !std::mem::take(&mut self.paid) && !budget.take(now) => return Begin::OverBudget,
            Some(_) | None => {}
        }
        self.attempts += 1;
        (self.again, self.new_connection) = (SAME_ENDPOINT_MAX, false);
        Begin::Allowed
    }

    /// The number of endpoints that it was tried on.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Decides what follows the failure of an attempt on `endpoint`.
    pub fn after(&mut self, endpoint: EndpointId, failure: Failure) -> Next {
        match failure {
            Failure::Final => return Next::Nothing,
            Failure::Connection if self.again > 0 => self.new_connection = true,
            Failure::Unsent { other_address: true } if self.again > 0 => {}
            Failure::Connection | Failure::Unsent { .. } => {
                self.tried.insert(endpoint);
                return Next::OtherEndpoint;
            }
            Failure::Repeatable { paid } => {
                (self.paid, self.pauses) = (paid, true);
                self.tried.insert(endpoint);
                return Next::OtherEndpoint;
            }
        }
        self.again -= 1;
        Next::SameEndpoint
    }

    /// Returns whether the request needs a new connection that it does not share: one on which nothing came before it
    /// cannot fail for what came before.
    #[must_use]
    pub fn needs_new_connection(&self) -> bool {
        self.new_connection
    }

    /// The endpoints that it was tried on.
    #[must_use]
    pub fn tried(&self) -> &Tried {
        &self.tried
    }
}

#[cfg(test)]
mod tests;
