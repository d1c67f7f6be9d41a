//! What a request's number decides, so that both sides know what the other should have sent.

use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_http::RequestHead;

/// The largest body: more than the buffers on its way, and than what a policy may hold back.
const BODY_MAX: u64 = 150_000;

/// What the policy does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Permitted,
    Denied,
    Faulted,
}

/// Returns the number of a request, and what becomes of it.
pub(super) fn of(request: &RequestHead) -> (u64, Fate) {
    let id = request.fields.get(b"x-id").and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
    let id = id.expect("every request has a number");
    let fate = match Random::new(id).below(10) {
        0 => Fate::Denied,
        1 => Fate::Faulted,
        _ => Fate::Permitted,
    };
    (id, fate)
}

/// Returns the body of request `id`.
pub(super) fn request_body(id: u64) -> Vec<u8> {
    body(id, 1)
}

/// Returns the body of the response to request `id`.
pub(super) fn response_body(id: u64) -> Vec<u8> {
    body(id, 2)
}

fn body(id: u64, side: u64) -> Vec<u8> {
    let mut random = Random::new(id.wrapping_mul(4).wrapping_add(side));
    let length = match random.below(4) {
        0 => 0,
        1 => random.below(100),
        2 => random.below(20_000),
        _ => random.below(BODY_MAX),
    };
    let start = random.next();
    (0..length).map(|at| (start.wrapping_add(at.wrapping_mul(7)) % 251) as u8).collect()
}

/// Chance from a seed (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn from_the_clock() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(now.as_nanos() as u64)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number under `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Returns true once in `times`.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}
