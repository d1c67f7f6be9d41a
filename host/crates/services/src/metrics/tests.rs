use std::collections::HashSet;

use proptest::prelude::*;

use super::{
    GuestValue, Registry, SERIES_MAX, Sort, TEXT_BYTES_ALL_MAX, bound_of, bucket_of, clean_label, clean_name,
};

#[test]
fn puts_samples_into_buckets_of_powers_of_two() {
    for (value, bound) in
        [(1.0, 1.0), (1.5, 2.0), (2.0, 2.0), (2.1, 4.0), (0.25, 0.25), (0.3, 0.5), (1e6, 1_048_576.0)]
    {
        assert_eq!(bound_of(bucket_of(value)), bound, "{value}");
    }
    assert_eq!(bucket_of(0.0), 0);
    assert_eq!(bucket_of(-5.0), 0);
    assert_eq!(bucket_of(f64::NEG_INFINITY), 0);
    assert_eq!(bound_of(bucket_of(f64::INFINITY)), f64::INFINITY);
    assert_eq!(bound_of(bucket_of(1e300)), f64::INFINITY);
    assert_eq!(bucket_of(1e-300), 0);
}

#[test]
fn refuses_one_name_for_two_sorts() {
    let registry = Registry::default();
    let counter = registry.number(Sort::Counter, "a", &[]);
    assert_eq!(registry.number(Sort::Gauge, "a", &[]), 0);
    assert_eq!(registry.number(Sort::Gauge, "a", &[("l".to_owned(), "v".to_owned())]), 0);
    assert_eq!(registry.number(Sort::Counter, "a", &[]), counter);
    assert_eq!(registry.number(Sort::Counter, "", &[]), 0);
    registry.set(counter, 5.0);
    registry.observe(counter, 5.0);
    registry.add(0, 5);
    registry.add(999, 5);
    registry.add(counter, 5);
    assert_eq!(registry.read()[0].value, GuestValue::Counter(5));
}

#[test]
fn labels_are_the_same_in_any_order() {
    let registry = Registry::default();
    let label = |name: &str| (name.to_owned(), "v".to_owned());
    let first = registry.number(Sort::Counter, "a", &[label("x"), label("y")]);
    assert_eq!(registry.number(Sort::Counter, "a", &[label("y"), label("x"), label("x")]), first);
}

#[test]
fn counts_exactly_across_threads() {
    let registry = Registry::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    registry.add(registry.number(Sort::Counter, "a", &[]), 1);
                    registry.observe(registry.number(Sort::Histogram, "h", &[]), 1.0);
                }
            });
        }
    });
    let values: Vec<_> = registry.read().into_iter().map(|metric| metric.value).collect();
    assert!(values.contains(&GuestValue::Counter(40_000)));
    assert!(values.contains(&GuestValue::Histogram {
        buckets: vec![(1.0, 40_000)],
        sum: 40_000.0,
        count: 40_000
    }));
}

#[test]
fn cleans_names() {
    for (name, clean) in [("ab_C9", "ab_C9"), ("a-b c", "a_b_c"), ("9lives", "_9lives"), ("ü", "_")] {
        assert_eq!(clean_name(name), clean);
    }
}

#[test]
fn labels_that_mean_something_to_others_are_called_differently() {
    for (name, clean) in [
        ("", "_"),
        ("le", "_le"),
        ("policy", "_policy"),
        ("quantile", "_quantile"),
        ("__name__", "_name__"),
        ("__", "_"),
        ("_x", "_x"),
        ("üü", "_"),
        ("1", "_1"),
    ] {
        assert_eq!(clean_label(name), clean, "{name}");
    }
    // They stay two series.
    let registry = Registry::default();
    let number = |label: &str, value: &str| {
        registry.number(Sort::Counter, "a", &[(label.to_owned(), value.to_owned())])
    };
    assert_ne!(number("le", "1"), number("le", "2"));
    assert_ne!(number("", "1"), number("", "2"));
}

#[test]
fn all_that_a_policy_names_has_a_bound() {
    let registry = Registry::default();
    let long = |prefix: usize| format!("{prefix}{}", "x".repeat(500));
    let labels: Vec<_> = (0..16).map(|at| (long(at), long(at))).collect();
    let made = (0..SERIES_MAX).filter(|at| registry.number(Sort::Histogram, &long(*at), &labels) > 0).count();
    assert!((5..20).contains(&made), "{made} histograms with the longest names");
    let read = registry.read();
    let lines = read.iter().map(|metric| {
        64 * (metric.name.len()
            + metric.labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>())
    });
    assert!(lines.sum::<usize>() <= TEXT_BYTES_ALL_MAX);
    assert!(registry.number(Sort::Counter, "short", &[]) > 0, "there is place for another");
}

proptest! {
    #[test]
    fn whatever_a_policy_names_is_a_name_and_no_two_series_are_one(
        metrics in proptest::collection::vec(
            ("\\PC{0,12}|le|policy|__name__", proptest::collection::vec(("\\PC{0,4}|le|_le|__le|policy", "[ab]?"), 0..4), 0..3_u8),
            1..40,
        ),
    ) {
        let registry = Registry::default();
        for (name, labels, sort) in metrics {
            let sort = [Sort::Counter, Sort::Gauge, Sort::Histogram][usize::from(sort)];
            let number = registry.number(sort, &name, &labels);
            prop_assert_eq!(number == 0, name.is_empty() || registry.known(sort, &name, &labels) == 0);
        }
        let is_name = |name: &str| {
            !name.is_empty()
                && !name.starts_with(|first: char| first.is_ascii_digit())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let mut series = HashSet::new();
        for metric in registry.read() {
            prop_assert!(is_name(&metric.name), "{}", metric.name);
            let names: HashSet<_> = metric.labels.iter().map(|(name, _)| name).collect();
            prop_assert_eq!(names.len(), metric.labels.len());
            for (name, _) in &metric.labels {
                prop_assert!(is_name(name) && !name.starts_with("__") && name != "le" && name != "policy", "{name}");
            }
            prop_assert!(series.insert((metric.name.clone(), metric.labels.clone())));
        }
    }
}
