//! Purges that policies ask for.

use std::rc::Rc;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use portcullis_model::{Isolation, PurgeGrant, Version};
use portcullis_policy::cache_purger::{CachePurger, PurgeError, PurgeRequest, Purged, Purging};
use portcullis_policy::recorder::{Effects, Recorder};
use portcullis_policy::{Exchange, Hook, Policy, PolicyFactory};
use portcullis_test_guests::PURGES;

use super::calls::until;
use super::recorder::call as recorded;
use super::{both, config, exchange, run_in_time};
use crate::{ConfigureError, Sandbox, SandboxOptions};

/// Notes what it is asked for, and answers 7 after a while, or with an error by name.
#[derive(Debug, Default)]
struct Noted(Mutex<Vec<PurgeRequest>>);

impl CachePurger for Noted {
    fn purge(&self, request: PurgeRequest) -> Purging {
        let answer = match &request.what {
            Purged::Tag(tag) if tag == "crowded" => Err(PurgeError::Busy),
            Purged::Tag(tag) if tag == "broken" => Err(PurgeError::NotLasting),
            Purged::Url(url) if url == "nowhere" => Err(PurgeError::Invalid("it names no host".to_owned())),
            _ => Ok(7),
        };
        self.0.lock().unwrap().push(request);
        let mut waits = true;
        let mut answer = Some(answer);
        Box::pin(std::future::poll_fn(move |cx| {
            if std::mem::take(&mut waits) {
                cx.waker().wake_by_ref();
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(answer.take().unwrap())
        }))
    }
}

/// A sandbox of its own, whose purges go here.
static PURGER: LazyLock<Arc<Noted>> = LazyLock::new(Arc::default);
static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| {
    let sandbox = Sandbox::new(SandboxOptions::default()).unwrap();
    sandbox.purge_by(PURGER.clone());
    sandbox
});

fn made(config: &portcullis_model::PolicyConfig) -> Result<Arc<dyn PolicyFactory>, ConfigureError> {
    let component = SANDBOX.compile(PURGES, config.isolation).unwrap().component;
    SANDBOX.configure(&component, config, &std::collections::BTreeMap::new())
}

/// What was asked for in the name of a policy.
fn noted(policy: &str) -> Vec<PurgeRequest> {
    PURGER.0.lock().unwrap().iter().filter(|request| &*request.policy == policy).cloned().collect()
}

/// Has a policy purge in both heads. Returns what came of it.
fn purged(policy: &Rc<dyn Policy>, now: &str, later: &str) -> String {
    let mut exchange = exchange();
    exchange.request.fields.append(b"x-purge", now.as_bytes()).unwrap();
    exchange.request.fields.append(b"x-purge-later", later.as_bytes()).unwrap();
    let (exchange, result) = run_in_time(&**policy, || Hook::RequestHead, exchange);
    assert!(result.is_ok(), "{now}: {result:?}");
    told(run_in_time(&**policy, || Hook::ResponseHead, exchange).0)
}

fn told(exchange: Box<Exchange>) -> String {
    String::from_utf8_lossy(exchange.response.fields.get(b"x-purged").unwrap_or_default()).into_owned()
}

#[test]
pub(super) fn a_purge_goes_to_the_caches_that_were_granted_and_is_waited_for() {
    both(|| {
        let mut config = config("purges", "{}");
        config.name = format!("purges {:?}", config.isolation).into();
        let caches = vec!["a".into(), "b".into()];
        config.grants.cache_purge = Some(PurgeGrant { caches: caches.clone(), per_second: 100 });
        let policy = made(&config).unwrap().worker();
        let told = purged(
            &policy,
            "tag news;soft-url a.test/x;prefix a.test/*;url nowhere;tag",
            "soft-tag late;tag crowded;tag broken;tag-size 8193",
        );
        let empty = "it is empty or has more than 8 KiB";
        assert_eq!(
            told,
            format!(
                "7; 7; 7; Error::Invalid(\"it names no host\"); Error::Invalid(\"{empty}\")\
                 7; Error::Busy; Error::NotLasting; Error::Invalid(\"{empty}\")"
            )
        );
        let asked = noted(&config.name);
        let expected = [
            (Purged::Tag("news".to_owned()), false),
            (Purged::Url("a.test/x".to_owned()), true),
            (Purged::Prefix("a.test/*".to_owned()), false),
            (Purged::Url("nowhere".to_owned()), false),
            (Purged::Tag("late".to_owned()), true),
            (Purged::Tag("crowded".to_owned()), false),
            (Purged::Tag("broken".to_owned()), false),
        ];
        let what: Vec<_> = asked.iter().map(|request| (request.what.clone(), request.soft)).collect();
        assert_eq!(what, expected);
        assert!(asked.iter().all(|request| request.caches == caches));
    });
}

#[test]
fn a_purge_is_refused_without_a_grant_and_while_a_policy_is_configured() {
    both(|| {
        let mut without = config("purges without a grant", "{}");
        without.grants.cache_purge = None;
        let error = made(&without).unwrap_err().to_string();
        assert!(error.contains("cache-purge") && error.contains("cache-purge = [\"CACHE\"]"), "{error}");
        let error = made(&config("purges at once", r#"{"configure":"tag news"}"#)).unwrap_err().to_string();
        assert!(error.contains("`configure` must not wait"), "{error}");
        assert!(noted("purges at once").is_empty());
    });
}

#[test]
fn on_tick_may_purge() {
    let mut config = config("purges by the clock", r#"{"tick":"tag news"}"#);
    config.tick = Duration::from_millis(100);
    let policy = made(&config).unwrap().worker();
    until(|| !noted("purges by the clock").is_empty());
    drop(policy);
}

#[test]
fn a_storm_of_purges_is_bounded_in_rate() {
    both(|| {
        let mut config = config("purges too often", "{}");
        config.name = format!("purges too often {:?}", config.isolation).into();
        config.limits.deadline = Duration::from_secs(5);
        config.grants.cache_purge = Some(PurgeGrant { caches: vec!["c".into()], per_second: 5 });
        let policy = made(&config).unwrap().worker();
        let busy: usize = purged(&policy, "storm 50 news", "").trim_end_matches(" busy").parse().unwrap();
        let asked = noted(&config.name).len();
        // It may have taken some seconds.
        assert!(busy > 0 && busy + asked == 50 && asked >= 5, "{busy} busy, {asked} asked");
    });
}

#[test]
fn a_shadow_and_an_explanation_purge_nothing() {
    both(|| {
        let mut shadow = config("purges in the shadow", "{}");
        shadow.version = Version::Shadow;
        assert_eq!(purged(&made(&shadow).unwrap().worker(), "tag news", "url a.test/"), "00");
        let explained = made(&config("purges in words", "{}")).unwrap().detached();
        let mut exchange = exchange();
        exchange.recorder = Some(Box::new(Recorder::new(Effects::None)));
        exchange.request.fields.append(b"x-purge", b"tag news;soft-url a.test/").unwrap();
        let mut exchange = recorded(&explained, exchange);
        let hooks = exchange.recorder.take().unwrap().into_hooks();
        let calls: Vec<String> = hooks
            .iter()
            .flat_map(|hook| &hook.calls)
            .map(|call| format!("{} {} {}", call.function, call.arguments, call.result))
            .collect();
        assert_eq!(
            calls,
            [
                r#"cache-purge.tag {"soft":false,"tag":"news"} {"ok":0}"#,
                r#"cache-purge.url {"soft":true,"url":"a.test/"} {"ok":0}"#
            ]
        );
        assert!(noted("purges in the shadow").is_empty() && noted("purges in words").is_empty());
    });
}

#[test]
fn without_caches_it_is_an_error() {
    let config = config("purges nowhere", "{}");
    assert_eq!(config.isolation, Isolation::Worker);
    let policy = super::policy(PURGES, &config);
    assert_eq!(purged(&policy, "tag news", ""), "Error::Other(\"there are no caches here\")");
}
