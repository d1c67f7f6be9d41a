use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{HealthCheck, HealthProbe, Share};
use proptest::prelude::*;

use super::{CheckChange, Checks};

fn check(rise: u32, fall: u32) -> Arc<HealthCheck> {
    Arc::new(HealthCheck {
        probe: HealthProbe::Tcp,
        port: None,
        interval: Duration::from_secs(1),
        jitter: Share::of_hundredths(0),
        timeout: Duration::from_secs(1),
        rise,
        fall,
    })
}

fn refused(passed: bool) -> Option<String> {
    (!passed).then(|| "connection refused".to_owned())
}

#[test]
fn the_first_result_decides_alone_and_then_rise_and_fall_do() {
    let (check, mut checks) = (check(2, 3), Checks::default());
    let results = [
        (false, Some(CheckChange::Fails)),
        (true, None),
        (false, None),
        (true, None),
        (true, Some(CheckChange::Passes)),
        (false, None),
        (false, None),
        (true, None),
        (false, None),
        (false, None),
        (false, Some(CheckChange::Fails)),
        (false, None),
    ];
    for (at, (passed, expected)) in results.into_iter().enumerate() {
        let now = Duration::from_secs(at as u64);
        assert_eq!(checks.record(&check, refused(passed), now), expected, "result {at}");
    }
    let failing = checks.first_failing().unwrap();
    assert_eq!(
        (failing.since, failing.error.as_deref()),
        (Duration::from_secs(10), Some("connection refused"))
    );
    let mut passing = Checks::default();
    assert_eq!(passing.record(&check, None, Duration::ZERO), None);
    assert_eq!((passing.failing(), passing.states().len()), (0, 1));
}

#[test]
fn a_check_that_is_not_made_any_more_leaves_nothing_out() {
    let (one, other, mut checks) = (check(1, 1), check(1, 2), Checks::default());
    checks.record(&one, refused(false), Duration::ZERO);
    checks.record(&other, refused(true), Duration::ZERO);
    assert_eq!(checks.failing(), 1);
    checks.retain(&[Arc::clone(&one)]);
    assert_eq!((checks.failing(), checks.states().len()), (1, 1));
    checks.retain(&[other]);
    assert_eq!((checks.failing(), checks.states().len()), (0, 0));
}

proptest! {
    /// It changes exactly if the last `rise` or `fall` results were all against it.
    #[test]
    fn it_takes_as_many_in_a_row_as_were_asked_for(
        rise in 1..4_u32,
        fall in 1..4_u32,
        results in proptest::collection::vec(any::<bool>(), 1..60),
    ) {
        let (check, mut checks) = (check(rise, fall), Checks::default());
        let mut passes = results[0];
        let mut since = 0;
        for (at, passed) in results.iter().enumerate() {
            checks.record(&check, refused(*passed), Duration::ZERO);
            let needed = if passes { fall } else { rise } as usize;
            let row = results[since.max(1)..=at.max(since)].iter().rev().take_while(|result| **result != passes).count();
            if at > 0 && row >= needed {
                (passes, since) = (!passes, at + 1);
            }
            prop_assert_eq!(checks.states()[0].passes, passes, "after result {}", at);
        }
    }
}
