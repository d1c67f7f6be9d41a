use super::{Registry, Sort, bound_of, bucket_of, clean_name};
use crate::GuestValue;

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
