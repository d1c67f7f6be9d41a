use std::time::Duration;

use portcullis_model::{Balance, Panic, Share, Upstream};

use super::{endpoint, fail, positions};
use crate::endpoints::testing::{chance, upstream};
use crate::{Choice, Endpoints, NoPick, Tried};

fn with_panic(panic: Panic, weights: &[u32]) -> Endpoints {
    let names: Vec<String> = (0..weights.len()).map(|at| at.to_string()).collect();
    let list: Vec<(&str, u32)> = names.iter().map(String::as_str).zip(weights.iter().copied()).collect();
    Endpoints::new(&Upstream { panic, ..upstream(Balance::RoundRobin, &list) })
}

#[test]
fn with_too_few_healthy_endpoints_all_are_chosen_from() {
    let now = Duration::from_secs(100);
    let state = with_panic(Panic::Below(Share::of_hundredths(5000)), &[1; 4]);
    fail(&state, 0, now);
    fail(&state, 1, now);
    assert!(!state.current().panics());
    assert!(positions(&state, now, 8).iter().all(|at| *at >= 2), "half of them are enough");
    fail(&state, 2, now);
    assert!(state.current().panics());
    let mut all = positions(&state, now, 8);
    all.sort_unstable();
    assert_eq!(all, [0, 0, 1, 1, 2, 2, 3, 3]);
    assert!(state.current().peek(now, None).is_some());
    endpoint(&state, 0).record_answer(now, || now);
    assert!(positions(&state, now, 8).iter().all(|at| [0, 3].contains(at)), "enough are back");
}

#[test]
fn without_panic_nothing_goes_to_what_is_left_out() {
    let now = Duration::from_secs(100);
    let state = with_panic(Panic::Off, &[1, 1]);
    fail(&state, 0, now);
    fail(&state, 1, now);
    let choice = Choice { now, tried: &Tried::new(), key: None, chance: &chance };
    assert_eq!(state.pick(&choice).unwrap_err(), NoPick::NoneLeft);
    assert!(!state.current().panics() && state.current().peek(now, None).is_none());
    // A probe is no panic.
    let later = now + Duration::from_secs(10);
    assert!(state.pick(&Choice { now: later, ..choice }).is_ok());
}

#[test]
fn a_drained_endpoint_is_never_chosen() {
    let now = Duration::from_secs(100);
    let hash = Balance::Hash { key: portcullis_model::HashKey::Path, load_max: None };
    for balance in [Balance::RoundRobin, Balance::LeastRequests, Balance::PeakEwma, Balance::Random, hash] {
        let state = Endpoints::new(&upstream(balance, &[("a", 0), ("b", 2), ("c", 1)]));
        fail(&state, 1, now);
        fail(&state, 2, now);
        for number in 0..50_u32 {
            let key = (number % 2 == 0).then(|| crate::Key::of(&number.to_be_bytes()));
            let choice = Choice { now, tried: &Tried::new(), key, chance: &chance };
            assert_ne!(&**state.pick(&choice).unwrap().endpoint().address(), "a");
            assert_ne!(state.current().peek(now, key), Some(0));
        }
        let drained = Endpoints::new(&upstream(Balance::Random, &[("a", 0)]));
        let choice = Choice { now, tried: &Tried::new(), key: None, chance: &chance };
        assert_eq!(drained.pick(&choice).unwrap_err(), NoPick::NoneLeft);
        assert!(!drained.has_untried(&Tried::new()) && !drained.current().panics());
    }
}
