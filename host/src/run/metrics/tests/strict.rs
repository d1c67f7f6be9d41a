//! A reader of the text format (version 0.0.4) that takes nothing that any of the usual readers refuses: neither a name
//! that is none, nor a family, a label or a series twice, nor a sample outside its family.

use std::collections::{BTreeMap, HashSet};

type Labels = Vec<(String, String)>;

/// A family as it was read.
pub(super) struct Family {
    pub(super) kind: String,
    pub(super) samples: Vec<(String, Labels, f64)>,
}

/// Reads a page, or says what is wrong with which line.
pub(super) fn read(page: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut current, mut helped) = (String::new(), None);
    let mut series = HashSet::new();
    let body = page.strip_suffix('\n').ok_or("it does not end with a line")?;
    for line in body.split('\n') {
        let wrong = |why: &str| format!("{why}: {line}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, _) = rest.split_once(' ').ok_or_else(|| wrong("no help"))?;
            helped = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("no type"))?;
            if helped.take().as_deref() != Some(name) || !is_name(name) {
                return Err(wrong("a type of something else"));
            }
            if !["counter", "gauge", "histogram"].contains(&kind) {
                return Err(wrong("no such type"));
            }
            current = name.to_owned();
            let family = Family { kind: kind.to_owned(), samples: Vec::new() };
            if families.insert(current.clone(), family).is_some() {
                return Err(wrong("a family twice"));
            }
        } else {
            let (name, labels, value) = sample(line).map_err(|why| wrong(&why))?;
            let family = families.get_mut(&current).ok_or_else(|| wrong("a sample of no family"))?;
            let suffix = name.strip_prefix(&current).ok_or_else(|| wrong("a sample of another family"))?;
            let suffixes: &[&str] = match family.kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            if !suffixes.contains(&suffix) {
                return Err(wrong("a sample of another family"));
            }
            let mut sorted = labels.clone();
            sorted.sort();
            if !series.insert((name.clone(), sorted)) {
                return Err(wrong("a series twice"));
            }
            family.samples.push((name, labels, value));
        }
    }
    check_names(&families)?;
    families.iter().filter(|(_, family)| family.kind == "histogram").try_for_each(histogram)?;
    Ok(families)
}

/// No family is called as the samples of another, also if a reader puts `_total` behind the names of counters.
fn check_names(families: &BTreeMap<String, Family>) -> Result<(), String> {
    let mut names = HashSet::new();
    for (name, family) in families {
        let suffixes: &[&str] = match family.kind.as_str() {
            "counter" => &["", "_total"],
            "histogram" => &["", "_bucket", "_sum", "_count"],
            _ => &[""],
        };
        for suffix in suffixes {
            // A counter that ends with it already stays as it is.
            let name = match (name.strip_suffix("_total"), *suffix) {
                (Some(_), "_total") => continue,
                _ => format!("{name}{suffix}"),
            };
            if !names.insert(name.clone()) {
                return Err(format!("two families have samples called {name}"));
            }
        }
    }
    Ok(())
}

/// The buckets of each series grow up to the one without a bound, which has as many as are counted.
fn histogram((name, family): (&String, &Family)) -> Result<(), String> {
    #[derive(Default)]
    struct Read {
        buckets: Vec<(f64, f64)>,
        count: Option<f64>,
        has_sum: bool,
    }
    let mut read: BTreeMap<Labels, Read> = BTreeMap::new();
    for (sample, labels, value) in &family.samples {
        let mut labels = labels.clone();
        let bound = labels.iter().position(|(label, _)| label == "le").map(|at| labels.remove(at).1);
        labels.sort();
        let read = read.entry(labels).or_default();
        match (sample.strip_prefix(name), bound) {
            (Some("_bucket"), Some(bound)) => {
                read.buckets.push((float(&bound).ok_or("a bound that is no number")?, *value));
            }
            (Some("_sum"), None) => read.has_sum = true,
            (Some("_count"), None) => read.count = Some(*value),
            _ => return Err(format!("{sample} has a bound, or none")),
        }
    }
    for (labels, Read { buckets, count, has_sum }) in read {
        let grows = buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
        let all = buckets.last().filter(|(bound, _)| *bound == f64::INFINITY).map(|(_, samples)| *samples);
        if !grows || all.is_none() || all != count || !has_sum {
            return Err(format!("{name} {labels:?} is no histogram: {buckets:?}, {count:?}"));
        }
    }
    Ok(())
}

fn sample(line: &str) -> Result<(String, Labels, f64), String> {
    let name_end =
        line.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'));
    let (name, mut rest) = line.split_at(name_end.ok_or("no value")?);
    if !is_name(name) {
        return Err("no name".to_owned());
    }
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"").ok_or("a label without a value")?;
            if !is_name(label) || label.contains(':') || label.starts_with("__") {
                return Err(format!("`{label}` is no label"));
            }
            if labels.iter().any(|(taken, _)| taken == label) {
                return Err(format!("the label {label} twice"));
            }
            let (value, after) = quoted(value)?;
            labels.push((label.to_owned(), value));
            match after.split_at_checked(1) {
                Some((",", after)) => rest = after,
                Some(("}", after)) => {
                    rest = after;
                    break;
                }
                _ => return Err("labels without an end".to_owned()),
            }
        }
    }
    let value = rest.strip_prefix(' ').and_then(float).ok_or("no value")?;
    Ok((name.to_owned(), labels, value))
}

/// A value up to its quote, and what follows.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match letters.next() {
                Some((_, '\\')) => value.push('\\'),
                Some((_, '"')) => value.push('"'),
                Some((_, 'n')) => value.push('\n'),
                _ => return Err("an escape that is none".to_owned()),
            },
            letter => value.push(letter),
        }
    }
    Err("a value without an end".to_owned())
}

fn float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ if text.starts_with(|first: char| first.is_ascii_digit() || first == '-') => text.parse().ok(),
        _ => None,
    }
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':';
    name.bytes().next().is_some_and(is_letter)
        && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

#[test]
fn refuses_what_any_reader_refuses() {
    let family = "# HELP a A.\n# TYPE a counter\n";
    assert!(read(&format!("{family}a{{x=\"1\"}} 3\na 4\n")).is_ok());
    for samples in [
        "a{=\"x\"} 1\n",
        "a{x=\"1\",x=\"2\"} 1\n",
        "a{x=\"1\"} 1\na{x=\"1\"} 2\n",
        "a{__name__=\"b\"} 1\n",
        "a{x=\"\\q\"} 1\n",
        "a{x=\"1\" 1\n",
        "a{} 1\n",
        "a x\n",
        "a inf\n",
        "b 1\n",
        "a 1",
        "# HELP a A.\n# TYPE a gauge\n",
        "# TYPE b gauge\n",
        "# HELP a_total B.\n# TYPE a_total counter\n",
        "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_sum 1\nh_count 2\n",
        "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 3\n",
        "# HELP h H.\n# TYPE h histogram\n# HELP h_sum H.\n# TYPE h_sum gauge\n",
    ] {
        assert!(read(&format!("{family}{samples}")).is_err(), "{samples}");
    }
}
