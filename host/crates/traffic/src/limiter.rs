//! How many exchanges an upstream may have under way, and how many requests may wait for one of them to end.

use portcullis_model::Lock;

/// Counts the exchanges of an upstream that are under way, and the requests that wait. Endpoints are chosen under its
/// lock, so that neither the upstream nor an endpoint ever has more than it may.
#[derive(Debug, Default)]
pub struct Limiter(Lock<Counts>);

/// What a [`Limiter`] counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Exchanges under way.
    pub under_way: u32,
    /// Requests that wait.
    pub waiting: u32,
}

impl Limiter {
    /// Counts an exchange at what `pick` chooses, if there is room for it below `max`, if `pick` finds some, and if no
    /// other request waits. One that `waits` itself is not held up by others: they are woken one after the other.
    pub fn enter<T>(&self, max: Option<u32>, waits: bool, pick: impl FnOnce() -> Option<T>) -> Option<T> {
        // Nothing under the lock panics: `pick` only chooses.
        let mut counts = self.0.lock();
        let is_full = max.is_some_and(|max| counts.under_way >= max);
        if is_full || (counts.waiting > 0 && !waits) {
            return None;
        }
        let picked = pick()?;
        counts.under_way = counts.under_way.saturating_add(1);
        Some(picked)
    }

    /// Chooses another endpoint for an exchange that was counted.
    pub fn locked<T>(&self, pick: impl FnOnce() -> T) -> T {
        let _counts = self.0.lock();
        pick()
    }

    /// An exchange is over. Returns whether a request waits, which should then try to enter.
    pub fn leave(&self) -> bool {
        let mut counts = self.0.lock();
        counts.under_way = counts.under_way.saturating_sub(1);
        counts.waiting > 0
    }

    /// Counts a request that waits. Returns `false` if `max` do so already.
    pub fn begin_waiting(&self, max: u32) -> bool {
        let mut counts = self.0.lock();
        let has_room = counts.waiting < max;
        counts.waiting += u32::from(has_room);
        has_room
    }

    /// A request waits no more. Returns whether another one does, which should then try to enter.
    pub fn end_waiting(&self) -> bool {
        let mut counts = self.0.lock();
        counts.waiting = counts.waiting.saturating_sub(1);
        counts.waiting > 0
    }

    /// Returns what is counted now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, Limiter};

    #[test]
    fn no_more_enter_than_may_and_those_that_wait_come_first() {
        let limiter = Limiter::default();
        assert_eq!(limiter.enter(Some(2), false, || Some(1)), Some(1));
        assert_eq!(
            limiter.enter(Some(2), false, || None::<u8>),
            None,
            "what finds no endpoint counts for nothing"
        );
        assert_eq!(limiter.enter(Some(2), false, || Some(2)), Some(2));
        assert_eq!(limiter.enter(Some(2), false, || Some(3)), None);
        assert!(limiter.begin_waiting(1) && !limiter.begin_waiting(1));
        assert_eq!(limiter.counts(), Counts { under_way: 2, waiting: 1 });
        assert!(limiter.leave(), "one waits");
        assert_eq!(limiter.enter(Some(2), false, || Some(4)), None, "it does not push in");
        assert_eq!(limiter.enter(Some(2), true, || Some(5)), Some(5));
        assert!(!limiter.end_waiting());
        assert!(!limiter.leave() && !limiter.leave());
        assert_eq!(limiter.counts(), Counts::default());
    }

    #[test]
    fn without_a_limit_only_what_is_chosen_bounds_it() {
        let limiter = Limiter::default();
        assert!((0..1000).all(|at| limiter.enter(None, false, || Some(at)).is_some()));
        assert_eq!(limiter.counts().under_way, 1000);
    }

    #[test]
    fn threads_together_never_exceed_the_limit() {
        let limiter = Limiter::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        if limiter.enter(Some(3), false, || Some(())).is_some() {
                            assert!(limiter.counts().under_way <= 3);
                            limiter.leave();
                        }
                    }
                });
            }
        });
        assert_eq!(limiter.counts(), Counts::default());
    }
}
