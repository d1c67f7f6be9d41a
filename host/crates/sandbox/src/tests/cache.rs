//! What policies say to the cache of their route.

use std::sync::Arc;

use portcullis_http::RequestHead;
use portcullis_policy::cache::{CacheKeyView, CacheKeys, CacheWishes};
use portcullis_policy::recorder::{Effects, Recorder};
use portcullis_policy::{Attributes, Exchange, Hook};
use portcullis_test_guests::{CACHES, EDITS, LATE_EDITS};

use super::recorder::call as recorded;
use super::{both, component, config, exchange, on_fibers, piece, policy, run_in_time};

/// A route whose keys show that they are asked for the request as it is.
#[derive(Debug)]
struct Keys;

impl CacheKeys for Keys {
    fn key(
        &self,
        request: &RequestHead,
        _: &str,
        _: &Attributes,
        wishes: &CacheWishes,
    ) -> Option<CacheKeyView> {
        let parts = wishes.parts().map(|(name, value)| format!("{name}={value}")).collect();
        Some(CacheKeyView { url: request.target().to_owned(), parts })
    }
}

/// Runs `test` with the policy called directly and by way of its component, in either isolation.
fn everywhere(name: &str, test: impl Fn(&dyn Fn(&str, &str) -> (Box<Exchange>, String))) {
    both(|| {
        let plain = config(name, "{}");
        for config in [on_fibers(plain.clone()), plain] {
            let policy = policy(CACHES, &config);
            test(&|say, later| {
                let mut exchange = exchange();
                exchange.cache.keys = Some(Arc::new(Keys));
                exchange.request.fields.append(b"x-say", say.as_bytes()).unwrap();
                exchange.request.fields.append(b"x-say-later", later.as_bytes()).unwrap();
                let (exchange, result) = run_in_time(&*policy, || Hook::RequestHead, exchange);
                assert!(result.is_ok(), "{say}: {result:?}");
                let (exchange, result) = run_in_time(&*policy, || Hook::ResponseHead, exchange);
                assert!(result.is_ok(), "{later}: {result:?}");
                let said = exchange.response.fields.get(b"x-said").unwrap_or_default().to_vec();
                (exchange, String::from_utf8(said).unwrap())
            });
        }
    });
}

#[test]
pub(super) fn what_a_policy_says_is_in_the_exchange_in_its_hook_alone() {
    everywhere("says", |said| {
        let (exchange, told) = said("vary plan gold;vary plan;tag news;tag news;url;key;path /c;url", "");
        assert_eq!(told, "ok; ok; ok; ok; /a/b?q=1; plan=gold, plan=; ok; /c");
        let cache = &exchange.cache;
        assert!(cache.parts().eq([("plan", "gold"), ("plan", "")]) && cache.tags().eq(["news"]));
        assert!(!cache.is_bypassed());
        let (exchange, told) = said("bypass;", "url;key;vary a b;tag t;bypass");
        let too_late = "Refused::ReadOnly; Refused::ReadOnly; Refused::ReadOnly";
        assert_eq!(told, format!("oknone; ; {too_late}"));
        let cache = &exchange.cache;
        assert!(cache.is_bypassed() && cache.parts().next().is_none() && cache.tags().next().is_none());
    });
}

#[test]
fn a_body_hook_may_say_something_until_it_lets_the_body_go() {
    both(|| {
        let plain = config("says late", r#"{"request-body":"vary a b","response-body":"vary c d"}"#);
        for config in [on_fibers(plain.clone()), plain] {
            let policy = policy(LATE_EDITS, &config);
            for (body_begun, told) in [(false, "vary: ok"), (true, "vary: Refused::ReadOnly")] {
                let before = Exchange { body_begun, ..*exchange() };
                let (exchange, result) = run_in_time(&*policy, || piece("x", true), Box::new(before));
                assert!(result.is_ok(), "{result:?}");
                assert_eq!(exchange.attributes.get("request-body"), Some(told));
                assert_eq!(exchange.cache.parts().count(), usize::from(!body_begun));
                let last = || Hook::ResponseBody { chunk: bytes::Bytes::from_static(b"x"), last: true };
                let (exchange, _) = run_in_time(&*policy, last, exchange);
                assert_eq!(exchange.attributes.get("response-body"), Some("vary: Refused::ReadOnly"));
            }
        }
    });
}

#[test]
fn what_a_policy_says_is_bounded() {
    everywhere("says too much", |said| {
        for (say, told) in [
            ("varies 16", "ok"),
            ("varies 17", "Refused::TooLarge"),
            ("vary-size 256 4096", "ok"),
            ("vary-size 257 0", "Refused::TooLarge"),
            ("vary-size 1 1048576", "Refused::TooLarge"),
            ("vary-size 0 1", "Refused::InvalidName"),
            ("vary a\tb", "Refused::InvalidName"),
            ("tags 300", "64"),
            ("tag-size 1024", "ok"),
            ("tag-size 1025", "Refused::TooLarge"),
            ("tag", "Refused::InvalidValue"),
            ("tag a\tb", "Refused::InvalidValue"),
        ] {
            assert_eq!(said(say, "").1, told, "{say}");
        }
        let (exchange, _) = said("vary-size 256 4096;varies 100;tag-size 1024;tags 300", "");
        let bytes: usize = exchange.cache.parts().map(|(name, value)| name.len() + value.len()).sum();
        assert!(exchange.cache.parts().count() == 16 && bytes < 5 << 10);
        assert_eq!(exchange.cache.tags().count(), 64);
    });
}

#[test]
fn without_a_cache_there_is_no_key_and_nothing_else_differs() {
    both(|| {
        let policy = policy(CACHES, &config("has no cache", "{}"));
        let mut exchange = exchange();
        exchange.request.fields.append(b"x-say", b"url;key;vary a b;bypass").unwrap();
        let (exchange, result) = run_in_time(&*policy, || Hook::RequestHead, exchange);
        assert!(result.is_ok());
        let (exchange, _) = run_in_time(&*policy, || Hook::ResponseHead, exchange);
        assert_eq!(exchange.response.fields.get(b"x-said"), Some(&b"none; ; ok; ok"[..]));
    });
}

#[test]
fn what_is_said_is_noted_and_holds_in_an_exchange_without_effects() {
    both(|| {
        let policy = policy(CACHES, &config("is noted", "{}"));
        let mut exchange = exchange();
        exchange.recorder = Some(Box::new(Recorder::new(Effects::None)));
        let say = "vary plan gold;vary session-token secret;tag;bypass";
        exchange.request.fields.append(b"x-say", say.as_bytes()).unwrap();
        let mut exchange = recorded(&policy, exchange);
        assert!(exchange.cache.is_bypassed());
        let hooks = exchange.recorder.take().unwrap().into_hooks();
        let calls = hooks.iter().flat_map(|hook| &hook.calls);
        let told: Vec<String> =
            calls.map(|call| format!("{} {} {}", call.function, call.arguments, call.result)).collect();
        assert_eq!(told[0], r#"cache.vary-by {"name":"plan","value":"gold"} {"ok":null}"#);
        assert!(!told[1].contains("secret"), "{}", told[1]);
        assert_eq!(told[2], r#"cache.add-tag {"tag":""} {"err":"invalid-value"}"#);
        assert_eq!(told[3], r#"cache.bypass {} {"ok":null}"#);
    });
}

#[test]
fn it_is_known_which_policies_may_say_something() {
    for (guest, informs) in [(CACHES, true), (EDITS, false)] {
        assert_eq!(component(guest).info.informs_cache, informs);
        assert_eq!(policy(guest, &config("known", "{}")).factory().informs_cache(), informs);
    }
}
