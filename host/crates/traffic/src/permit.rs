//! A bounded number of permits, each of which returns by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A counter of what is under way, with a limit. Clones count together.
#[derive(Debug, Clone)]
pub struct Permits(Arc<Counter>);

#[derive(Debug)]
struct Counter {
    taken: AtomicU32,
    max: u32,
}

/// Leave to do one thing. Dropping it releases it for others.
#[derive(Debug)]
pub struct Permit(Arc<Counter>);

impl Permits {
    /// Returns a counter of which at most `max` permits are out at once.
    #[must_use]
    pub fn new(max: u32) -> Self {
        Self(Arc::new(Counter { taken: AtomicU32::new(0), max }))
    }

    /// Returns a permit, or `None` if all are out.
    #[must_use]
    pub fn acquire(&self) -> Option<Permit> {
        let more = |taken: u32| (taken < self.0.max).then_some(taken + 1);
        self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Permit(self.0.clone()))
    }

    /// Returns how many permits are out.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// Returns how many may be out at once.
    #[must_use]
    pub fn max(&self) -> u32 {
        self.0.max
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Permits;

    #[test]
    fn no_more_are_out_than_the_limit_and_dropped_ones_return() {
        let permits = Permits::new(2);
        let other = permits.clone();
        let (first, _second) = (permits.acquire().unwrap(), other.acquire().unwrap());
        assert!(permits.acquire().is_none() && other.acquire().is_none());
        drop(first);
        assert_eq!((permits.taken(), permits.max()), (1, 2));
        assert!(permits.acquire().is_some());
        assert!(Permits::new(0).acquire().is_none());
    }

    #[test]
    fn threads_together_never_exceed_the_limit() {
        let permits = Permits::new(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let permit = permits.acquire();
                        assert!(permits.taken() <= 3);
                        drop(permit);
                    }
                });
            }
        });
        assert_eq!(permits.taken(), 0);
    }
}
