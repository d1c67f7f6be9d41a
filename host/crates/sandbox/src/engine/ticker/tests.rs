use super::{BUSY, HURRIED, HURRIED_TICKS, LONG_TICK, Pace, QUIET, QUIET_TICKS_MAX, STOPPED, TICK, Ticker};

impl Ticker {
    /// One without a thread, whose ticks are a test's.
    pub(crate) fn by_hand() -> Self {
        Self::new()
    }

    /// Ends a tick and begins the next. Returns whether a long call was seen in it.
    pub(crate) fn tick_by_hand(&self) -> bool {
        self.tick(&[]);
        self.begin() == HURRIED
    }
}

#[test]
fn ticks_are_long_until_a_call_is_and_short_for_a_while_after_it() {
    let mut pace = Pace::default();
    assert!(!pace.begin(BUSY) && pace.length() == LONG_TICK);
    assert!(!pace.begin(HURRIED) && pace.length() == TICK);
    for _ in 1..HURRIED_TICKS {
        assert!(!pace.begin(BUSY) && pace.length() == TICK);
    }
    assert!(!pace.begin(BUSY) && pace.length() == LONG_TICK);
}

#[test]
fn there_are_no_ticks_once_nothing_was_called_in_a_hundred() {
    let mut pace = Pace::default();
    for _ in 0..QUIET_TICKS_MAX {
        assert!(!pace.begin(QUIET));
    }
    assert!(pace.begin(QUIET));
    assert!(!pace.begin(BUSY));
}

#[test]
fn a_long_call_is_seen_beside_short_ones_in_any_order_and_a_stopped_one_stays_stopped() {
    let ticker = Ticker::by_hand();
    for (calls, seen) in [("", QUIET), ("t", BUSY), ("th", HURRIED), ("ht", HURRIED), ("tt", BUSY)] {
        for call in calls.chars() {
            if call == 'h' { ticker.hurry() } else { ticker.touch() }
        }
        assert_eq!(ticker.begin(), seen, "{calls}");
    }
    ticker.state.store(STOPPED, std::sync::atomic::Ordering::Release);
    ticker.touch();
    ticker.hurry();
    assert_eq!(ticker.begin(), STOPPED);
}
