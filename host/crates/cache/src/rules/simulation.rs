//! A whole cache in simulated time, before an origin whose page changes: the rules together, as the proxy calls them.
//! Each answer has to be what the origin had at a time that the response and the request allow.

use std::ops::Range;

use portcullis_http::{Fields, RequestHead, ResponseHead};
use proptest::prelude::*;

use super::answer::Answer;
use super::request::Request;
use super::reuse::{Verdict, is_failure, select};
use super::settings::Settings;
use super::stored::StoredHead;
use super::storing::storable;
use super::testing::{after, at, at_once, fields, request_head, response, value};

/// What the origin says of its page.
const POLICIES: [&str; 7] = [
    "max-age=10",
    "max-age=10, must-revalidate",
    "max-age=10, stale-while-revalidate=5",
    "max-age=10, stale-if-error=20",
    "no-cache, max-age=60",
    "no-store",
    "s-maxage=3, max-age=10",
];
/// How old, in seconds, what a client gets may be by each, if the client does not accept more, and if the origin fails.
const OLD_MAX: [(u64, u64); 7] = [(10, 10), (10, 10), (15, 15), (10, 30), (0, 0), (0, 0), (3, 3)];

/// One step: time passes, the page may change, a client asks.
#[derive(Debug, Clone)]
struct Step {
    seconds: u64,
    changes: bool,
    fails: bool,
    language: &'static str,
    /// A Cache-Control of the client.
    asks: &'static str,
    /// The client has the version of so many changes before, and sends its tag.
    has_version: Option<u64>,
    range: Option<(u64, u64)>,
}

fn step() -> impl Strategy<Value = Step> {
    let asks = prop::sample::select(vec![
        "",
        "",
        "",
        "no-cache",
        "max-age=2",
        "max-stale=4",
        "min-fresh=3",
        "no-store",
    ]);
    let range = prop::option::of((0..12_u64, 1..12_u64));
    let language = prop::sample::select(vec!["de", "en"]);
    (
        0..9_u64,
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.1),
        language,
        asks,
        prop::option::of(0..3_u64),
        range,
    )
        .prop_map(|(seconds, changes, fails, language, asks, has_version, range)| Step {
            seconds,
            changes,
            fails,
            language,
            asks,
            has_version,
            range,
        })
}

struct Origin {
    policy: &'static str,
    version: u64,
    /// When each version was replaced.
    ends: Vec<u64>,
}

impl Origin {
    fn etag(version: u64, language: &str) -> String {
        format!("\"{version}-{language}\"")
    }

    fn body(version: u64, language: &str) -> Vec<u8> {
        format!("{language} {version:08}").into_bytes()
    }

    fn answer(&self, request: &Fields, now: u64) -> (ResponseHead, Vec<u8>) {
        let language = value(request, "accept-language").unwrap_or_default();
        let etag = Self::etag(self.version, language);
        let lines = [
            ("cache-control", self.policy),
            ("vary", "accept-language"),
            ("etag", &etag),
            ("date", &at(super::testing::DATE + now)),
        ];
        if value(request, "if-none-match") == Some(&etag) {
            return (response(304, &lines), Vec::new());
        }
        (response(200, &lines), Self::body(self.version, language))
    }
}

struct Cache {
    settings: Settings,
    entries: Vec<(StoredHead, Vec<u8>)>,
}

/// What a client got: the head, the bytes, and whether the origin failed for it.
struct Got {
    head: ResponseHead,
    bytes: Vec<u8>,
    failed: bool,
}

impl Cache {
    fn ask(&mut self, origin: &Origin, head: &RequestHead, fails: bool, now: u64) -> Option<Got> {
        let request = Request::read(&self.settings, head, false);
        let found = select(self.entries.iter().map(|(stored, _)| stored), &request, after(now));
        let is_bypass = !matches!(request.access(), super::request::Access::Lookup);
        let found = found.filter(|_| !is_bypass).map(|at| self.entries[at].clone());
        if let Some((stored, body)) = &found
            && !matches!(stored.verdict(&request, after(now), None), Verdict::Validate(_))
        {
            return Some(Self::made(stored, body, &request, false, now));
        }
        let mut sent = head.fields.clone();
        match &found {
            Some((stored, _)) => stored.write_conditions(&mut sent),
            None => super::validation::remove_conditions(&mut sent),
        }
        let (answered, bytes) =
            if fails { (response(503, &[]), Vec::new()) } else { origin.answer(&sent, now) };
        if let Some((stored, body)) = &found
            && is_failure(answered.status)
            && stored.usable_on_error(&request, after(now), None)
        {
            return Some(Got { failed: true, ..Self::made(stored, body, &request, false, now) });
        }
        if is_failure(answered.status) {
            return None;
        }
        let (stored, body) = match (&found, answered.status) {
            (Some((stored, body)), 304) => {
                let freshened = stored.freshen(&self.settings, &request, &answered, true, at_once(now));
                let freshened = freshened.expect("the origin names what it was asked about");
                (freshened.keep.map(|()| freshened.head), body.clone())
            }
            _ => {
                (storable(&self.settings, &request, &answered, Some(bytes.len() as u64), at_once(now)), bytes)
            }
        };
        let Ok(stored) = stored else { return Some(Got { head: answered, bytes: body, failed: false }) };
        self.entries.retain(|(other, _)| other.variant() != stored.variant());
        self.entries.push((stored.clone(), body.clone()));
        Some(Self::made(&stored, &body, &request, true, now))
    }

    fn made(stored: &StoredHead, body: &[u8], request: &Request<'_>, validated: bool, now: u64) -> Got {
        let answer = stored.answer(request, Some(body.len() as u64));
        let mut head = ResponseHead::default();
        stored.write(&answer, validated, after(now), &mut head);
        let bytes = match answer {
            Answer::Full => body.to_vec(),
            Answer::Part(part) => slice(body, &part.stored).to_vec(),
            Answer::NotModified | Answer::Unsatisfiable { .. } => Vec::new(),
        };
        Got { head, bytes, failed: false }
    }
}

fn slice<'b>(body: &'b [u8], range: &Range<u64>) -> &'b [u8] {
    &body[range.start as usize..range.end as usize]
}

/// Checks what a client got against the history of the origin.
fn check(origin: &Origin, policy: usize, step: &Step, now: u64, got: &Got) -> Result<(), TestCaseError> {
    if got.head.status == 416 {
        prop_assert!(step.range.is_some_and(|(start, _)| start >= 11));
        return Ok(());
    }
    let etag = value(&got.head.fields, "etag").unwrap_or_default().trim_matches('"').to_owned();
    let (version, language) = etag.split_once('-').unwrap_or_default();
    let version: u64 = version.parse().unwrap_or(u64::MAX);
    prop_assert_eq!(language, step.language, "the variant that was asked for");
    // What is still current is never too old.
    let ended = origin.ends.get(version as usize).copied();
    let allowed = if got.failed { OLD_MAX[policy].1 } else { OLD_MAX[policy].0 };
    let is_strict = origin.policy.contains("must-revalidate") || origin.policy.contains("s-maxage");
    let accepted = if step.asks == "max-stale=4" && !is_strict && policy < 4 { 4 } else { 0 };
    let wanted = match step.asks {
        "no-cache" if !got.failed => 0,
        "max-age=2" if !got.failed => 2,
        _ => allowed.max(10_u64.min(allowed) + accepted),
    };
    prop_assert!(
        ended.is_none_or(|ended| now - ended <= wanted),
        "version {version} ended at {ended:?}, it is {now}"
    );
    let body = Origin::body(version, language);
    match got.head.status {
        200 => prop_assert_eq!(&got.bytes, &body),
        206 => {
            let (start, length) = step.range.unwrap_or_default();
            let end = (start + length).min(body.len() as u64);
            prop_assert_eq!(&got.bytes[..], slice(&body, &(start..end)));
        }
        304 => {
            let known = step.has_version.map(|back| origin.version.saturating_sub(back));
            prop_assert_eq!(known, Some(version), "the client has this version");
        }
        status => prop_assert!(false, "status {status}"),
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_answer_is_one_that_the_origin_allows(policy in 0..POLICIES.len(), steps in prop::collection::vec(step(), 1..60)) {
        let mut origin = Origin { policy: POLICIES[policy], version: 0, ends: Vec::new() };
        let mut cache = Cache { settings: Settings::default(), entries: Vec::new() };
        let mut now = 0;
        for step in steps {
            now += step.seconds;
            if step.changes {
                origin.version += 1;
                origin.ends.push(now);
            }
            let mut head = request_head("GET", &[]);
            head.fields = fields(&[("accept-language", step.language)]);
            if !step.asks.is_empty() {
                head.fields.append(b"cache-control", step.asks.as_bytes()).unwrap();
            }
            if let Some(back) = step.has_version {
                let tag = Origin::etag(origin.version.saturating_sub(back), step.language);
                head.fields.append(b"if-none-match", tag.as_bytes()).unwrap();
            }
            if let Some((start, length)) = step.range {
                head.fields.append(b"range", format!("bytes={start}-{}", start + length - 1).as_bytes()).unwrap();
            }
            if let Some(got) = cache.ask(&origin, &head, step.fails, now) {
                check(&origin, policy, &step, now, &got)?;
            }
            prop_assert!(cache.entries.len() <= 2, "one for each language");
        }
    }
}
