//! Which version an exchange takes.

use std::hash::RandomState;
use std::sync::LazyLock;

use portcullis_model::FieldMatch;
use proptest::prelude::*;

use super::*;

/// Those of one process. They are drawn anew in each run, and what is asked of them holds for all.
static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

fn rollout(name: &str, selection: Selection, keys: &RandomState) -> Rollout {
    Rollout::new(name.into(), &canary(selection, None), Default::default(), keys.clone())
}

fn version_for(rollout: &Rollout, exchange: &Exchange) -> Version {
    rollout.version_of(rollout.side_for(exchange))
}

fn takes(rollout: &Rollout, trace_id: &str) -> bool {
    version_for(rollout, &exchange(trace_id)) == Version::Canary
}

/// Trace ids as they come: hexadecimal digits, here made of a counter.
fn trace_id(at: u64) -> String {
    format!("{:032x}", u128::from(at).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_share_takes_its_part(hundredths in 1_u32..=10_000, from: u32) {
        const EXCHANGES: u32 = 20_000;
        let rollout = rollout("p", Selection::Share(Share::of_hundredths(hundredths)), &KEYS);
        let taken = (0..EXCHANGES).filter(|at| takes(&rollout, &trace_id(u64::from(from) + u64::from(*at)))).count();
        let share = f64::from(hundredths) / 10_000.0;
        let expected = share * f64::from(EXCHANGES);
        // Seven standard deviations: chance alone goes so far once in 10^11 times.
        let bound = 7.0 * (f64::from(EXCHANGES) * share * (1.0 - share)).sqrt() + 1.0;
        let taken = u32::try_from(taken).map(f64::from).unwrap_or_default();
        prop_assert!((taken - expected).abs() <= bound, "{taken} of {EXCHANGES} at {share}");
    }

    #[test]
    fn the_same_trace_takes_the_same_version(hundredths in 1_u32..=10_000, at: u64) {
        let select = || Selection::Share(Share::of_hundredths(hundredths));
        let (one, other) = (rollout("p", select(), &KEYS), rollout("p", select(), &KEYS));
        prop_assert_eq!(takes(&one, &trace_id(at)), takes(&other, &trace_id(at)));
    }

    #[test]
    fn what_a_small_share_takes_a_larger_one_takes_too(small in 1_u32..=10_000, more in 0_u32..=10_000, at: u64) {
        let large = (small + more).min(10_000);
        let [small, large] = [small, large].map(|part| rollout("p", Selection::Share(Share::of_hundredths(part)), &KEYS));
        prop_assert!(!takes(&small, &trace_id(at)) || takes(&large, &trace_id(at)));
    }
}

#[test]
fn all_is_all() {
    let rollout = rollout("p", Selection::Share(Share::ALL), &KEYS);
    assert!((0..1000).all(|at| takes(&rollout, &trace_id(at))));
}

#[test]
fn a_client_cannot_know_the_version_of_a_trace_id_and_policies_draw_apart() {
    let half = || Selection::Share(Share::of_hundredths(5000));
    let same = |one: &Rollout, other: &Rollout| {
        (0..1000).filter(|at| takes(one, &trace_id(*at)) == takes(other, &trace_id(*at))).count()
    };
    let first = rollout("p", half(), &KEYS);
    for other in [rollout("p", half(), &RandomState::new()), rollout("q", half(), &KEYS)] {
        let agreed = same(&first, &other);
        assert!((400..600).contains(&agreed), "{agreed} of 1000 agree");
    }
}

#[test]
fn a_match_takes_those_whose_request_has_all_the_fields() {
    let field =
        |name: &str, value: Option<&str>| FieldMatch { name: name.into(), value: value.map(Into::into) };
    let rollout =
        rollout("p", Selection::Match(vec![field("x-beta", None), field("x-tenant", Some("a"))]), &KEYS);
    let check = |fields: &[(&str, &str)], expected: Version| {
        let mut exchange = exchange("t");
        for (name, value) in fields {
            exchange.request.fields.append(name.as_bytes(), value.as_bytes()).unwrap();
        }
        assert_eq!(version_for(&rollout, &exchange), expected, "{fields:?}");
    };
    check(&[("x-beta", "1"), ("x-tenant", "a")], Version::Canary);
    check(&[("x-beta", ""), ("x-tenant", "b"), ("x-tenant", "a")], Version::Canary);
    check(&[("x-tenant", "a")], Version::Active);
    check(&[("x-beta", "1"), ("x-tenant", "A")], Version::Active);
    check(&[("x-beta", "1"), ("x-tenant", "a, b")], Version::Active);
    check(&[], Version::Active);
}
