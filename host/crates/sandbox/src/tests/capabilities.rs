//! The capabilities as a guest sees them.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use portcullis_model::{Name, PolicyConfig, RateQuota, Secret};
use portcullis_policy::{Fault, Hook, Policy, PolicyFactory};
use portcullis_test_guests::{CAPABILITIES, RENEWS};

use super::calls::until;
use super::{SANDBOX, both, component, config, exchange, in_time, logged, run};
use crate::{GuestValue, PolicyReport};

fn configured(config: &PolicyConfig) -> Arc<dyn PolicyFactory> {
    let mut config = config.clone();
    config.grants.secrets.extend(["key".into(), "long".into()]);
    let secret = |text: &str| Secret::new(text.as_bytes());
    let secrets: BTreeMap<Name, Secret> = BTreeMap::from([
        ("key".into(), secret("hush")),
        ("long".into(), secret(&"x".repeat(32))),
        ("other".into(), secret("never")),
    ]);
    SANDBOX.configure(&component(CAPABILITIES), &config, &secrets).unwrap()
}

pub(super) fn capable(name: &str) -> Rc<dyn Policy> {
    capable_with(name, "{}")
}

pub(super) fn capable_with(name: &str, json: &str) -> Rc<dyn Policy> {
    configured(&config(name, json)).worker()
}

fn attempt(policy: &Rc<dyn Policy>, deed: &str) -> Result<String, Fault> {
    let mut exchange = exchange();
    exchange.request.fields.append(b"x-do", deed.as_bytes()).unwrap();
    let (exchange, result) = run(&**policy, Hook::RequestHead, exchange);
    result.map(|_| exchange.attributes.get("result").unwrap().to_owned())
}

pub(super) fn does(policy: &Rc<dyn Policy>, deed: &str) -> String {
    attempt(policy, deed).unwrap()
}

pub(super) fn report(name: &str) -> PolicyReport {
    SANDBOX.metrics().policies.into_iter().find(|report| &*report.policy == name).unwrap()
}

#[test]
fn gives_granted_secrets_only() {
    both(|| {
        let policy = capable("with a secret");
        assert_eq!(does(&policy, "secret key"), "hush");
        assert_eq!(does(&policy, "secret other"), "none", "there is one, but it was not granted");
        assert_eq!(does(&policy, "secret nothing"), "none");
    });
}

#[test]
fn gives_random_bytes_up_to_a_bound() {
    both(|| {
        let policy = capable("random");
        assert_eq!(does(&policy, "random 4096"), "4096 true");
        assert_eq!(does(&policy, "random 0"), "0 false");
        assert_eq!(does(&policy, "random 4097"), "Error::TooMany", "a value, not a trap");
    });
}

#[test]
fn tells_the_time() {
    both(|| {
        let policy = capable("with a clock");
        let read = || {
            let told = does(&policy, "clock");
            let (wall, monotonic) = told.split_once(' ').unwrap();
            (wall.parse::<u64>().unwrap(), monotonic.parse::<u64>().unwrap())
        };
        let (first, second) = (read(), read());
        assert!(first.0 > 1_700_000_000_000 && second.1 >= first.1);
    });
}

#[test]
fn logs_escaped_and_not_without_end() {
    both(|| {
        let policy = capable("logging");
        let log = logged(|| drop(does(&policy, "log 250")));
        assert!(log.contains(r"line 0\u{7}") && log.contains(r#"fields=key="a\nvalue""#), "{log}");
        assert!(
            log.contains(r#"policy="logging""#) && log.contains("0123456789abcdef0123456789abcdef"),
            "{log}"
        );
        let lines = log.lines().filter(|line| line.contains("line ")).count();
        // A second may end meanwhile.
        assert!((100..=200).contains(&lines), "{lines} lines");
    });
}

#[test]
fn knows_which_lines_would_be_written() {
    both(|| {
        let policy = capable("asking the log");
        // The subscriber of these tests writes lines from `info` on.
        logged(|| assert_eq!(does(&policy, "enabled"), "[false, true, true]"));
    });
}

#[test]
pub(super) fn counts_a_rate_limit_exactly_across_threads() {
    both(|| {
        let factory = configured(&config("limiting", "{}"));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let factory = factory.clone();
                // 100 at once, and the next one in a day.
                thread::spawn(move || {
                    let policy = factory.worker();
                    (0..50).filter(|_| does(&policy, "rate key 1 86400000 99 1").starts_with("true")).count()
                })
            })
            .collect();
        let allowed: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(allowed, 100);
        let policy = factory.worker();
        let told = does(&policy, "rate key 1 86400000 99 1");
        assert!(told.starts_with("false 0 8"), "and the wait is told: {told}");
        assert!(does(&policy, "rate other 1 86400000 99 1").starts_with("true 99"), "another bucket");
        assert_eq!(
            does(&policy, "rate key 0 1000 5 1"),
            "false 0 18446744073709551615",
            "nothing is allowed"
        );
    });
}

#[test]
fn keeps_buckets_over_a_reload_that_changes_their_number() {
    both(|| {
        let mut config = config("reloaded", "{}");
        let old = configured(&config).worker();
        assert!(does(&old, "rate key 1 86400000 0 1").starts_with("true"));
        assert!(does(&old, "rate key 1 86400000 0 1").starts_with("false"));
        for buckets_max in [16, 1000, 65_536] {
            config.grants.rate_limit = Some(RateQuota { buckets_max });
            let new = configured(&config).worker();
            assert!(does(&new, "rate key 1 86400000 0 1").starts_with("false"), "{buckets_max}");
        }
        let other = capable("another policy");
        assert!(does(&other, "rate key 1 86400000 0 1").starts_with("true"), "whose buckets are its own");
    });
}

#[test]
fn a_reload_keeps_the_table_of_buckets_and_moves_only_one_of_another_size() {
    let mut config = config("kept", "{}");
    // No multiple of what stands together in a table.
    for buckets_max in [1, 8, 10, 16, 1001, 65_536] {
        config.grants.rate_limit = Some(RateQuota { buckets_max });
        let policies = [configured(&config), configured(&config)];
        let table = || SANDBOX.buckets(&config.name).unwrap();
        let _first = policies[0].clone().worker();
        // It is replaced beside the workers, if it was of another size.
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while !table().fits(buckets_max) || table().is_moving() {
            assert!(std::time::Instant::now() < end, "{buckets_max}: {:?}", table());
            thread::yield_now();
        }
        let before = Arc::as_ptr(&table());
        let _second = policies[1].clone().worker();
        assert_eq!(Arc::as_ptr(&table()), before, "{buckets_max}");
    }
}

#[test]
fn stores_counts_and_compares() {
    both(|| {
        let factory = configured(&config("storing", "{}"));
        let (one, two) = (factory.clone().worker(), factory.worker());
        assert_eq!(does(&one, "get a"), "none");
        assert_eq!(does(&one, "set a first"), "Ok(())");
        assert_eq!(does(&two, "get a"), "first", "workers share it");
        assert_eq!(does(&two, "swap a wrong second"), "Ok(false)");
        assert_eq!(does(&two, "swap a first second"), "Ok(true)");
        assert_eq!(does(&one, "get a"), "second");
        assert_eq!(does(&one, "increment n 5"), "Ok(5)");
        assert_eq!(does(&two, "increment n -7"), "Ok(-2)");
        assert_eq!(does(&one, "get n"), "-2");
        assert_eq!(does(&one, "increment a 1"), "Err(Error::NotANumber)");
        assert_eq!(does(&one, "set-size b 65537"), "Err(Error::TooLarge)");
        assert_eq!(does(&two, "list"), r#"Ok(["a", "n"])"#);
        assert_eq!(does(&two, "list n"), r#"Ok(["n"])"#);
        assert_eq!(does(&one, "delete a"), "Ok(())");
        assert_eq!(does(&two, "get a"), "none");
        assert_eq!(does(&capable("not storing"), "get n"), "none", "a policy's store is its own");
    });
}

#[test]
fn exports_metrics_under_the_policys_name() {
    both(|| {
        let factory = configured(&config("measuring", "{}"));
        let (one, two) = (factory.clone().worker(), factory.worker());
        assert_eq!(does(&one, "count requests a 2"), does(&two, "count requests a 3"), "the same number");
        does(&one, "gauge load/now 7");
        does(&one, "observe size 3");
        does(&one, "observe size 4");
        let guest = report("measuring").guest;
        assert_eq!((guest[0].name.as_str(), &guest[0].value), ("requests", &GuestValue::Counter(5)));
        assert_eq!(guest[0].labels, [("label".to_owned(), "a".to_owned())]);
        assert_eq!((guest[1].name.as_str(), &guest[1].value), ("load_now", &GuestValue::Gauge(7.0)));
        let histogram = GuestValue::Histogram { buckets: vec![(4.0, 2)], sum: 7.0, count: 2 };
        assert_eq!(guest[2].value, histogram);
    });
}

#[test]
fn keys_are_the_policys_and_valid_in_all_its_instances() {
    in_time(|| {
        let factory = configured(&config("with keys", "{}"));
        let (one, two) = (factory.clone().worker(), factory.worker());
        assert_eq!(does(&one, "import-secret long"), "Ok(1)");
        assert_eq!(does(&two, "mac 1 message"), "32 Ok(true) true", "another instance");
        assert_eq!(does(&two, "import-secret long"), "Ok(1)", "the same key has the same number");
        let other = capable("with other keys");
        assert_eq!(does(&other, "mac 1 message"), "Error::NoKey", "a policy's keys are its own");
    });
}

#[test]
fn finds_the_client_of_the_exchange() {
    both(|| {
        let policy = capable_with("finding", "sets");
        let mut exchange = exchange();
        exchange.client.address = "::ffff:10.1.2.3".parse().unwrap();
        exchange.request.fields.append(b"x-do", b"client 1").unwrap();
        let (exchange, result) = run(&*policy, Hook::RequestHead, exchange);
        result.unwrap();
        assert_eq!(exchange.attributes.get("result"), Some("Ok(Some(1))"));
    });
}

#[test]
fn a_key_that_is_forgotten_is_of_no_use_in_any_instance() {
    in_time(|| {
        let factory = configured(&config("forgetting", "{}"));
        let (one, two) = (factory.clone().worker(), factory.worker());
        assert_eq!(does(&one, "import-secret long"), "Ok(1)");
        does(&two, "forget-key 1");
        does(&two, "forget-key 1");
        does(&two, "forget-key 99");
        assert_eq!(does(&one, "mac 1 message"), "Error::NoKey");
        assert_eq!(does(&one, "import-secret long"), "Ok(2)", "a number that no other key had");
        assert_eq!(does(&two, "mac 2 message"), "32 Ok(true) true");
    });
}

#[test]
fn algorithms_have_the_names_of_their_registry_and_no_others() {
    in_time(|| {
        let policy = capable("naming");
        assert_eq!(does(&policy, "import-secret long HS256"), "Ok(1)");
        for unknown in ["hs256", "none", "ES256K"] {
            let refused = format!(r#"Err(KeyError::Unsupported("the algorithm `{unknown}`"))"#);
            assert_eq!(does(&policy, &format!("import-secret long {unknown}")), refused);
            assert_eq!(does(&policy, &format!("import-jwk-for {{}} {unknown}")), refused);
        }
        let wrong = does(&policy, "import-secret long RS256");
        assert!(wrong.starts_with("Err(KeyError::WrongAlgorithm("), "{wrong}");
    });
}

#[test]
pub(super) fn on_tick_renews_sets_and_keys_and_releases_old_ones() {
    both(|| {
        let mut config = config("renewing", "{}");
        config.tick = Duration::from_millis(5);
        // So much more than a round takes that no machine meets it.
        config.limits.deadline = Duration::from_secs(10);
        let factory = SANDBOX.configure(&component(RENEWS), &config, &BTreeMap::new()).unwrap();
        let (one, two) = (factory.clone().worker(), factory.clone().worker());
        let look = |policy: &Rc<dyn Policy>| {
            let (exchange, result) = run(&**policy, Hook::RequestHead, exchange());
            result.unwrap();
            let get = |name: &str| exchange.attributes.get(name).unwrap().to_owned();
            assert_eq!(get("error"), "");
            (get("round").parse::<u32>().unwrap(), ["found", "first", "key", "first-key"].map(get))
        };
        // By then more sets and keys were made than a policy may have at once.
        for policy in [&one, &two] {
            until(|| look(policy).0 >= 12);
        }
        // An instance that is configured now makes the sets of the beginning, and finds what is in their place.
        for policy in [&one, &two, &factory.worker()] {
            until(|| {
                let (round, [found, first, key, first_key]) = look(policy);
                assert_eq!((&*first, &*first_key), ("Ok(false)", "Err(Error::NoKey)"), "they are gone");
                assert!(key.parse::<u32>().unwrap() >= 1200, "{key}");
                // Unless a tick came between.
                found == format!("[{round}]")
            });
        }
    });
}

#[test]
fn imports_granted_secrets_only() {
    in_time(|| {
        let policy = capable("importing");
        assert_eq!(does(&policy, "import-secret other"), "Err(KeyError::NoSecret)", "not granted");
        assert_eq!(does(&policy, "import-secret nothing"), "Err(KeyError::NoSecret)");
        assert!(does(&policy, "import-secret key").starts_with("Err(KeyError::Weak("), "four bytes");
    });
}

#[test]
fn checks_tokens_with_imported_keys() {
    in_time(|| {
        let policy = capable("checking tokens");
        let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        assert_eq!(does(&policy, &format!("import-jwk {jwk}")), "Ok(1)");
        assert_eq!(does(&policy, &format!(r#"import-jwks {{"keys":[{jwk}]}}"#)), "Ok([1])");
        // RFC 8037, A.4.
        let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(does(&policy, &format!("jws 1 {token}")), r#"{"alg":"EdDSA"} Example of Ed25519 signing"#);
        assert_eq!(does(&policy, &format!("jws 2 {token}")), "JwsError::NoKey");
        assert_eq!(
            does(&policy, &format!("jws 1 {}", token.replace("RXhh", "RXhi"))),
            "JwsError::WrongSignature"
        );
    });
}

#[test]
fn computes_for_a_bounded_time() {
    in_time(|| {
        // How much of it there may be is the question, not how fast this machine is.
        let mut config = config("computing", "{}");
        config.limits.deadline = std::time::Duration::from_secs(5);
        let policy = configured(&config).worker();
        assert_eq!(does(&policy, "digest 1048576"), "32");
        assert_eq!(does(&policy, "digest 1048577"), "Error::TooLarge");
        assert_eq!(does(&policy, "digest 1 sha-384"), "48");
        assert_eq!(does(&policy, "digest 1 sha-512"), "64");
        for unknown in ["sha256", "SHA-256", "md5"] {
            let told = does(&policy, &format!("digest 1 {unknown}"));
            assert_eq!(told, format!(r#"Error::Unsupported("the hash `{unknown}`")"#), "a value, not a trap");
        }
    });
}

#[test]
fn matches_with_sets_that_were_made_while_it_was_configured() {
    in_time(|| {
        let factory = configured(&config("matching", "sets"));
        let (one, two) = (factory.clone().worker(), factory.worker());
        for policy in [&one, &two] {
            assert_eq!(does(policy, "match 1 ab"), "[0, 1] Ok(true)");
            assert_eq!(does(policy, "match 1 x"), "[] Ok(false)");
            assert_eq!(does(policy, "match 2 x"), "Error::NoSet");
            assert_eq!(does(policy, "network 1 10.0.0.1"), "Some(0)");
            assert_eq!(does(policy, "network 1 10.1.0.1"), "Some(1)");
            assert_eq!(does(policy, "network 1 ::ffff:10.1.0.1"), "Some(1)");
            assert_eq!(does(policy, "network 1 2001:db8::1"), "None");
            for wrong in ["10.1", "[::1]", "10.0.0.1:80", "a.test"] {
                let told = does(policy, &format!("network 1 {wrong}"));
                assert_eq!(told, "Error::InvalidAddress", "{wrong:?}");
            }
            assert_eq!(does(policy, "client 2"), "Err(Error::NoSet)");
        }
        assert_eq!(does(&one, "make x"), "Err(MakeError::NotNow)", "an exchange would wait");
        assert_eq!(does(&one, "replace 1 x"), "Err(MakeError::NotNow) Err(MakeError::NotNow)");
        let other = capable("not matching");
        assert_eq!(does(&other, "match 1 x"), "Error::NoSet", "a policy's sets are its own");
        does(&one, "forget-sets 1");
        assert_eq!(does(&two, "match 1 ab"), "Error::NoSet", "forgotten in all instances");
        assert_eq!(does(&two, "network 1 10.0.0.1"), "Error::NoSet");
        does(&one, "forget-sets 1");
    });
}

#[test]
fn reads_json() {
    in_time(|| {
        let policy = capable("reading");
        assert_eq!(does(&policy, r#"json {"a":[1,"x"]} /a/1"#), r#"Ok([Some(JsonValue::Text("x"))])"#);
        assert_eq!(does(&policy, r#"json {"a":[1,"x"]} /b"#), "Ok([None])");
        assert!(does(&policy, r#"json {"a":[1,"x"} /b"#).starts_with("Err(JsonError::Malformed("));
    });
}

#[test]
fn bounds_the_series() {
    both(|| {
        let policy = capable("boundless");
        assert_eq!(does(&policy, "series 300"), "256");
        assert_eq!(does(&policy, "count another x 1"), "0");
        assert_eq!(does(&policy, "series 10"), "10", "those that there are can be had again");
    });
}
