//! `metrics`: counters, gauges and histograms under plain numbers, shared by all workers through atomics.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_model::text::cut;
use portcullis_model::{Capability, Lock};
use serde_json::{Value, json};
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use super::noted::Answer;
use crate::bindings::portcullis::policy::metrics;
use crate::state::State;
use crate::{GuestMetric, GuestValue};

/// Series of a policy.
const SERIES_MAX: usize = 256;
/// Labels of a series.
const LABELS_MAX: usize = 16;
/// Bytes of a name or of a label's value; longer ones are cut.
const TEXT_BYTES_MAX: usize = 200;
/// Bytes of names and labels of all series of a policy, as often as they stand on the page: once for a counter or gauge, and for
/// each bucket of a histogram.
const TEXT_BYTES_ALL_MAX: usize = 4 << 20;
/// Buckets of a histogram; the upper bound of bucket `n` is 2^(n - 31), so they reach from half a thousand-millionth to
/// four thousand million, and the last has no bound.
const BUCKETS: usize = 64;
const BUCKET_OF_ONE: i32 = 31;

type Labels = Vec<(String, String)>;

/// The metrics of a policy. A number is the place in `series` plus one; 0 counts nothing.
pub(crate) struct Registry {
    numbers: Lock<Numbers>,
    series: Box<[OnceLock<Series>]>,
}

#[derive(Default)]
struct Numbers {
    of: HashMap<(String, Labels), u32>,
    /// What of [`TEXT_BYTES_ALL_MAX`] is used.
    text_bytes: usize,
}

struct Series {
    name: String,
    labels: Labels,
    value: Kept,
}

enum Kept {
    Counter(AtomicU64),
    /// The bits of an f64.
    Gauge(AtomicU64),
    Histogram(Box<Histogram>),
}

struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    /// The bits of an f64.
    sum: AtomicU64,
}

/// What sort of metric is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Counter,
    Gauge,
    Histogram,
}

impl Default for Registry {
    fn default() -> Self {
        Self { numbers: Lock::default(), series: (0..SERIES_MAX).map(|_| OnceLock::new()).collect() }
    }
}

impl Registry {
    /// The number of that metric, which is made where there is none. 0 where there are too many or their names are too long
    /// together, and where the name is empty or already that of another sort of metric, which no exporter could show.
    pub(crate) fn number(&self, sort: Sort, name: &str, labels: &[(String, String)]) -> u32 {
        if name.is_empty() || labels.len() > LABELS_MAX {
            return 0;
        }
        let key = Self::key(name, labels);
        let mut numbers = self.numbers.lock();
        if let Some(number) = numbers.of.get(&key) {
            let same = self.get(*number).is_some_and(|series| series.value.sort() == sort);
            return if same { *number } else { 0 };
        }
        let clashes = |series: &Series| series.name == key.0 && series.value.sort() != sort;
        let at = numbers.of.len();
        let text_bytes = numbers.text_bytes + text_bytes(sort, &key);
        if at >= SERIES_MAX
            || text_bytes > TEXT_BYTES_ALL_MAX
            || self.series.iter().filter_map(OnceLock::get).any(clashes)
        {
            return 0;
        }
        let Some((slot, number)) = self.series.get(at).zip(u32::try_from(at + 1).ok()) else { return 0 };
        let (name, labels) = key.clone();
        slot.get_or_init(|| Series { name, labels, value: Kept::new(sort) });
        numbers.of.insert(key, number);
        numbers.text_bytes = text_bytes;
        number
    }

    /// The number of that metric where it is there already, else 0.
    pub(crate) fn known(&self, sort: Sort, name: &str, labels: &[(String, String)]) -> u32 {
        if labels.len() > LABELS_MAX {
            return 0;
        }
        let numbers = self.numbers.lock();
        let number = numbers.of.get(&Self::key(name, labels)).copied().unwrap_or_default();
        if self.get(number).is_some_and(|series| series.value.sort() == sort) { number } else { 0 }
    }

    /// What a metric is called, for notes; null where there is none of that number.
    fn name(&self, number: u32) -> Value {
        match self.get(number) {
            Some(Series { name, labels, .. }) if labels.is_empty() => json!(name),
            Some(Series { name, labels, .. }) => {
                let label = |(key, value): &(String, String)| format!("{key}={value:?}");
                json!(format!("{name}{{{}}}", labels.iter().map(label).collect::<Vec<_>>().join(",")))
            }
            None => Value::Null,
        }
    }

    /// What a metric is known by.
    fn key(name: &str, labels: &[(String, String)]) -> (String, Labels) {
        let clean =
            |(key, value): &(String, String)| (clean_label(key), cut(value, TEXT_BYTES_MAX).to_owned());
        let mut key = (clean_name(name), labels.iter().map(clean).collect::<Labels>());
        // The order of labels means nothing, and a label that is named twice would be refused by who reads it.
        key.1.sort();
        key.1.dedup_by(|later, first| later.0 == first.0);
        key
    }

    fn get(&self, number: u32) -> Option<&Series> {
        self.series.get((number as usize).checked_sub(1)?)?.get()
    }

    pub(crate) fn add(&self, number: u32, value: u64) {
        if let Some(Series { value: Kept::Counter(count), .. }) = self.get(number) {
            count.fetch_add(value, Ordering::Relaxed);
        }
    }

    pub(crate) fn set(&self, number: u32, value: f64) {
        if let Some(Series { value: Kept::Gauge(gauge), .. }) = self.get(number) {
            gauge.store(value.to_bits(), Ordering::Relaxed);
        }
    }

    pub(crate) fn observe(&self, number: u32, value: f64) {
        if let Some(Series { value: Kept::Histogram(histogram), .. }) = self.get(number)
            && !value.is_nan()
        {
            histogram.observe(value);
        }
    }

    /// All metrics, in the order in which they were made.
    pub(crate) fn read(&self) -> Vec<GuestMetric> {
        let made = self.series.iter().map_while(OnceLock::get);
        made.map(|series| GuestMetric {
            name: series.name.clone(),
            labels: series.labels.clone(),
            value: series.value.read(),
        })
        .collect()
    }
}

impl Kept {
    fn new(sort: Sort) -> Self {
        match sort {
            Sort::Counter => Self::Counter(AtomicU64::new(0)),
            Sort::Gauge => Self::Gauge(AtomicU64::new(0)),
            Sort::Histogram => {
                let buckets = std::array::from_fn(|_| AtomicU64::new(0));
                Self::Histogram(Box::new(Histogram { buckets, sum: AtomicU64::new(0) }))
            }
        }
    }

    fn sort(&self) -> Sort {
        match self {
            Self::Counter(_) => Sort::Counter,
            Self::Gauge(_) => Sort::Gauge,
            Self::Histogram(_) => Sort::Histogram,
        }
    }

    fn read(&self) -> GuestValue {
        match self {
            Self::Counter(count) => GuestValue::Counter(count.load(Ordering::Relaxed)),
            Self::Gauge(gauge) => GuestValue::Gauge(f64::from_bits(gauge.load(Ordering::Relaxed))),
            Self::Histogram(histogram) => histogram.read(),
        }
    }
}

impl Histogram {
    fn observe(&self, value: f64) {
        if let Some(bucket) = self.buckets.get(bucket_of(value)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let mut sum = self.sum.load(Ordering::Relaxed);
        while let Err(now) = self.sum.compare_exchange_weak(
            sum,
            (f64::from_bits(sum) + value).to_bits(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            sum = now;
        }
    }

    fn read(&self) -> GuestValue {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).enumerate();
        let buckets: Vec<_> =
            counts.filter(|(_, count)| *count > 0).map(|(at, count)| (bound_of(at), count)).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        GuestValue::Histogram { buckets, sum: f64::from_bits(self.sum.load(Ordering::Relaxed)), count }
    }
}

/// The bucket whose upper bound is the least power of two that is no less than `value`.
fn bucket_of(value: f64) -> usize {
    if value <= bound_of(0) {
        return 0;
    }
    // The exponent's field is biased by 1023; at a power of two itself the mantissa is zero.
    let bits = value.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or_default() - 1023;
    let above = i32::from(bits & ((1 << 52) - 1) != 0);
    usize::try_from(exponent + above + BUCKET_OF_ONE).unwrap_or_default().min(BUCKETS - 1)
}

fn bound_of(bucket: usize) -> f64 {
    if bucket + 1 >= BUCKETS {
        return f64::INFINITY;
    }
    2_f64.powi(i32::try_from(bucket).unwrap_or_default() - BUCKET_OF_ONE)
}

/// A name that Prometheus takes: other characters become `_`, and a digit does not come first.
fn clean_name(name: &str) -> String {
    let mut clean: String = cut(name, TEXT_BYTES_MAX)
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() { char } else { '_' })
        .collect();
    if clean.starts_with(|char: char| char.is_ascii_digit()) {
        clean.insert(0, '_');
    }
    clean
}

/// The same for the name of a label: one that Prometheus or the gateway has a use for (`le`, `policy`, those that begin with
/// two underscores) gets one underscore in front, so that it is shown and its series stay apart.
fn clean_label(name: &str) -> String {
    let clean = clean_name(name);
    match clean.as_str() {
        "" | "le" | "policy" | "quantile" => format!("_{clean}"),
        _ if clean.starts_with("__") => format!("_{}", clean.trim_start_matches('_')),
        _ => clean,
    }
}

/// Bytes that the name and labels of a series have on the page.
fn text_bytes(sort: Sort, (name, labels): &(String, Labels)) -> usize {
    let once = name.len() + labels.iter().map(|(label, value)| label.len() + value.len()).sum::<usize>();
    match sort {
        Sort::Counter | Sort::Gauge => once,
        Sort::Histogram => once * BUCKETS,
    }
}

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    metrics::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl State {
    fn registry(&self) -> Result<&Registry> {
        self.require(Capability::Metrics)?;
        Ok(&self.policy.shared.metrics)
    }

    fn metric(&mut self, function: &'static str, sort: Sort, name: String, labels: Labels) -> Result<u32> {
        self.registry()?;
        let describe = |(name, labels): &(String, Labels)| json!({ "name": name, "labels": labels });
        // Its number is another in each process, so a replay makes it anew.
        self.observed(function, (name, labels), describe, u32::to_json, |state, (name, labels)| {
            let replay = state.recorder().is_some_and(|recorder| recorder.is_replay());
            let effects = state.has_effects() || replay;
            let registry = state.registry()?;
            // Without effects a metric that is not there yet is not made, and counting in it counts nothing.
            Ok(if effects {
                registry.number(sort, &name, &labels)
            } else {
                registry.known(sort, &name, &labels)
            })
        })
    }

    fn count<T: Copy + Into<Value>>(
        &mut self,
        function: &'static str,
        metric: u32,
        value: T,
        count: fn(&Registry, u32, T),
    ) -> Result<()> {
        self.registry()?;
        if self.recorder().is_none() {
            count(self.registry()?, metric, value);
            return Ok(());
        }
        let name = self.registry()?.name(metric);
        let describe = |(name, value): &(Value, T)| json!({ "metric": name, "value": (*value).into() });
        self.observed(function, (name, value), describe, <()>::to_json, |state, (_, value)| {
            if state.has_effects() {
                count(state.registry()?, metric, value);
            }
            Ok(())
        })
    }
}

impl metrics::Host for State {
    fn counter(&mut self, name: String, labels: Labels) -> Result<u32> {
        self.metric("metrics.counter", Sort::Counter, name, labels)
    }

    fn gauge(&mut self, name: String, labels: Labels) -> Result<u32> {
        self.metric("metrics.gauge", Sort::Gauge, name, labels)
    }

    fn histogram(&mut self, name: String, labels: Labels) -> Result<u32> {
        self.metric("metrics.histogram", Sort::Histogram, name, labels)
    }

    fn add(&mut self, metric: u32, value: u64) -> Result<()> {
        self.count("metrics.add", metric, value, Registry::add)
    }

    fn set(&mut self, metric: u32, value: f64) -> Result<()> {
        self.count("metrics.set", metric, value, Registry::set)
    }

    fn observe(&mut self, metric: u32, value: f64) -> Result<()> {
        self.count("metrics.observe", metric, value, Registry::observe)
    }
}
