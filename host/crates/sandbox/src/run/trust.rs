//! Whether a policy is trusted with the worker's thread, judged by how long its calls take.
//!
//! One that was seen to run long is called on the thread beside the worker ([`Background`](super::background)), until
//! [`SHORT_CALLS`] calls in a row were short. A call that ran long but for one stretch is no proof: on a virtual
//! machine the hypervisor may have taken the core for that long (see `budget.rs`). It takes a second one, among the
//! [`SHORT_CALLS`] calls after it.

use std::cell::Cell;

use crate::instance::budget::Length;

/// So many calls in a row have to be short until a policy that has run long is called on the worker's thread again.
pub(crate) const SHORT_CALLS: u32 = 1000;

/// What the calls of a policy on one worker have shown.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    /// Short calls that it still has to make until what was seen of it is forgotten; 0 if nothing was.
    short_calls_due: Cell<u32>,
    /// Whether that was enough to call it beside the worker.
    lost: Cell<bool>,
}

impl Trust {
    /// Returns whether the policy is to be called beside the worker.
    pub(crate) fn is_lost(&self) -> bool {
        self.short_calls_due.get() > 0 && self.lost.get()
    }

    /// Judges a call, and returns whether trust was lost by it. In the usual case this reads one number and changes
    /// nothing.
    pub(crate) fn judge(&self, length: Length) -> bool {
        let due = self.short_calls_due.get();
        match length {
            Length::Short if due == 0 => false,
            Length::Short => {
                self.short_calls_due.set(due - 1);
                false
            }
            Length::Doubtful | Length::Long => {
                let was_lost = self.is_lost();
                self.lost.set(due > 0 || length == Length::Long);
                self.short_calls_due.set(SHORT_CALLS);
                !was_lost && self.is_lost()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SHORT_CALLS, Trust};
    use crate::instance::budget::Length::{self, Doubtful, Long, Short};

    fn after(calls: &[Length]) -> Trust {
        let trust = Trust::default();
        for length in calls {
            trust.judge(*length);
        }
        trust
    }

    #[test]
    fn one_long_call_loses_it_and_enough_short_ones_win_it_back() {
        let trust = after(&[Short, Long]);
        for _ in 0..SHORT_CALLS {
            assert!(trust.is_lost());
            assert!(!trust.judge(Short));
        }
        assert!(!trust.is_lost());
        assert!(trust.judge(Long) && !trust.judge(Long), "it is lost once");
    }

    #[test]
    fn one_stretch_of_stolen_time_does_not_lose_it() {
        let trust = after(&[Short, Doubtful]);
        for _ in 0..SHORT_CALLS {
            assert!(!trust.judge(Short) && !trust.is_lost());
        }
        // That one is forgotten, and this is the first again.
        assert!(!trust.judge(Doubtful) && !trust.is_lost());
    }

    #[test]
    fn a_second_one_soon_after_does() {
        for between in [0, SHORT_CALLS as usize - 1] {
            let trust = after(&[Doubtful]);
            (0..between).for_each(|_| assert!(!trust.judge(Short)));
            assert!(trust.judge(Doubtful) && trust.is_lost(), "after {between}");
        }
    }

    #[test]
    fn a_doubtful_call_does_not_win_it_back() {
        let trust = after(&[Long, Doubtful, Short]);
        assert!(trust.is_lost());
    }
}
