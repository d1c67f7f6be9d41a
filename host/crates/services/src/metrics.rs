//! Counters, gauges and histograms under plain numbers, shared by all workers through atomics.

#[cfg(test)]
mod tests;

use portcullis_model::Lock;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_model::text::cut;

/// Series of a policy.
const SERIES_MAX: usize = 256;
/// Labels of a series.
const LABELS_MAX: usize = 16;
/// Bytes of a name or of a label's value; longer ones are cut.
const TEXT_BYTES_MAX: usize = 200;
/// Bytes of names and labels of all series of a policy, as often as they stand on the page: once for a counter or
/// gauge, and for each bucket of a histogram.
const TEXT_BYTES_ALL_MAX: usize = 4 << 20;
/// Buckets of a histogram; the upper bound of bucket `n` is 2^(n - 31), so they reach from half a thousand-millionth to
/// four thousand million, and the last has no bound.
const BUCKETS: usize = 64;
const BUCKET_OF_ONE: i32 = 31;

/// Names and values of labels.
pub type Labels = Vec<(String, String)>;

/// A metric that a policy made.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestMetric {
    /// Its name, of `[a-zA-Z0-9_]`.
    pub name: String,
    /// Its labels; names as above, values any text.
    pub labels: Vec<(String, String)>,
    /// What it has come to.
    pub value: GuestValue,
}

/// What a metric has come to.
#[derive(Debug, Clone, PartialEq)]
pub enum GuestValue {
    /// Of a counter.
    Counter(u64),
    /// Of a gauge.
    Gauge(f64),
    /// Of a histogram.
    Histogram {
        /// Upper bound (inclusive, a power of two; the last is infinite) and samples in that bucket alone. Only buckets
        /// with samples.
        buckets: Vec<(f64, u64)>,
        /// All samples together.
        sum: f64,
        /// How many samples there were.
        count: u64,
    },
}

/// The metrics of a policy. A number is the place in `series` plus one; 0 counts nothing.
pub struct Registry {
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
pub enum Sort {
    /// A sum that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Samples, counted in buckets.
    Histogram,
}

impl Default for Registry {
    fn default() -> Self {
        Self { numbers: Lock::default(), series: (0..SERIES_MAX).map(|_| OnceLock::new()).collect() }
    }
}

impl Registry {
    /// Returns the number of that metric, which is made if there is none. Returns 0 if there are too many or their
    /// names are too long together, and if the name is empty or that of another sort of metric, which no exporter could
    /// show.
    #[must_use]
    pub fn number(&self, sort: Sort, name: &str, labels: &[(String, String)]) -> u32 {
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

    /// Returns the number of that metric, or 0 if it was not made.
    #[must_use]
    pub fn known(&self, sort: Sort, name: &str, labels: &[(String, String)]) -> u32 {
        if labels.len() > LABELS_MAX {
            return 0;
        }
        let numbers = self.numbers.lock();
        let number = numbers.of.get(&Self::key(name, labels)).copied().unwrap_or_default();
        if self.get(number).is_some_and(|series| series.value.sort() == sort) { number } else { 0 }
    }

    /// Returns how a metric is written in records, or `None` if there is none of that number.
    #[must_use]
    pub fn display_name(&self, number: u32) -> Option<String> {
        let Series { name, labels, .. } = self.get(number)?;
        if labels.is_empty() {
            return Some(name.clone());
        }
        let label = |(key, value): &(String, String)| format!("{key}={value:?}");
        Some(format!("{name}{{{}}}", labels.iter().map(label).collect::<Vec<_>>().join(",")))
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

    /// Adds to a counter. Does nothing for a metric of another sort, or for a number without one.
    pub fn add(&self, number: u32, value: u64) {
        if let Some(Series { value: Kept::Counter(count), .. }) = self.get(number) {
            count.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// Sets a gauge. Does nothing for a metric of another sort, or for a number without one.
    pub fn set(&self, number: u32, value: f64) {
        if let Some(Series { value: Kept::Gauge(gauge), .. }) = self.get(number) {
            gauge.store(value.to_bits(), Ordering::Relaxed);
        }
    }

    /// Counts a sample in a histogram. Does nothing for a metric of another sort, or for a number without one.
    pub fn observe(&self, number: u32, value: f64) {
        if let Some(Series { value: Kept::Histogram(histogram), .. }) = self.get(number)
            && !value.is_nan()
        {
            histogram.observe(value);
        }
    }

    /// All metrics, in the order in which they were made.
    #[must_use]
    pub fn read(&self) -> Vec<GuestMetric> {
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

/// The same for the name of a label: one that Prometheus or the gateway has a use for (`le`, `policy`, those that begin
/// with two underscores) gets one underscore in front, so that it is shown and its series stay apart.
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

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let series = self.series.iter().map_while(OnceLock::get).count();
        f.debug_struct("Registry").field("series", &series).finish_non_exhaustive()
    }
}
