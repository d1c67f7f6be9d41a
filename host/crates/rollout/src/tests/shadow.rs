//! A version that runs beside the active one.

use std::sync::atomic::AtomicU64;

use proptest::prelude::*;

use super::*;

/// What a version of the property below does in one hook.
#[derive(Debug, Clone)]
enum Step {
    Set(u8, u8),
    Remove(u8),
    Status(u16),
    Method,
    Path,
    Attribute(u8),
    State(u8),
    Reply(u16),
    Fail,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..4, 0_u8..4).prop_map(|(name, value)| Step::Set(name, value)),
        (0_u8..4).prop_map(Step::Remove),
        (200_u16..210).prop_map(Step::Status),
        Just(Step::Method),
        Just(Step::Path),
        (0_u8..4).prop_map(Step::Attribute),
        (0_u8..4).prop_map(Step::State),
        (400_u16..410).prop_map(Step::Reply),
        Just(Step::Fail),
    ]
}

fn stepping(steps: Vec<Vec<Step>>, waits: bool) -> Fake {
    let fake = version(move |hook, exchange| {
        let at = match hook {
            Hook::RequestHead => 0,
            Hook::ResponseHead => 1,
            _ => 2,
        };
        for step in &steps[at] {
            let fields = match exchange.phase {
                HookKind::RequestHead => &mut exchange.request.fields,
                _ => &mut exchange.response.fields,
            };
            match step {
                Step::Set(name, value) => {
                    fields.set(format!("x-{name}").as_bytes(), format!("{value}").as_bytes()).unwrap();
                }
                Step::Remove(name) => drop(fields.remove(format!("x-{name}").as_bytes())),
                Step::Status(status) => exchange.response.status = *status,
                Step::Method => exchange.request.method.push('X'),
                Step::Path => exchange.request.set_target("/b", None),
                Step::Attribute(value) => assert!(exchange.attributes.set("a", &value.to_string())),
                Step::State(value) => exchange.slot().state.push(*value),
                Step::Reply(status) => return Ok(reply(*status)),
                Step::Fail => return Err(FaultKind::Trap),
            }
        }
        Ok(Decision::Next)
    });
    if waits { fake.waiting() } else { fake }
}

/// All that a client, an upstream, a later policy or the access log can see.
fn seen(exchange: &Exchange, status: Option<u16>) -> String {
    let fields = |fields: &portcullis_http::Fields| -> Vec<(String, Vec<u8>)> {
        fields.iter().map(|(_, name, value)| (name.to_owned(), value.to_vec())).collect()
    };
    let attributes: Vec<_> = exchange.attributes.iter().collect();
    format!(
        "{status:?} {} {} {:?} {} {:?} {attributes:?} {:?}",
        exchange.request.method,
        exchange.request.target(),
        fields(&exchange.request.fields),
        exchange.response.status,
        fields(&exchange.response.fields),
        exchange.policies[0].state,
    )
}

proptest! {
    #[test]
    fn a_shadow_never_changes_anything(
        active in prop::collection::vec(prop::collection::vec(step(), 0..4), 3),
        shadowed in prop::collection::vec(prop::collection::vec(step(), 0..4), 3),
        waits: [bool; 2],
        // Whether the shadow has its turn at once, or only when all is over.
        prompt: bool,
    ) {
        let alone: Arc<dyn PolicyFactory> = Arc::new(stepping(active.clone(), waits[0]));
        let (exchange_alone, status_alone) = drive(&chain(&alone.worker()), exchange("t"));
        let factory = pair(
            stepping(active.clone(), waits[0]),
            stepping(shadowed.clone(), waits[1]),
            &shadow(Share::ALL, 10),
        );
        let chain = chain(&factory.clone().worker());
        let turn = || if prompt { run_spawned() };
        let (exchange, status) = match block_on(chain.request_head(exchange("t"))) {
            HeadOutcome::Permitted(permitted) => {
                turn();
                (block_on(chain.response_head(permitted.into_inner(), 1)).0, None)
            }
            HeadOutcome::Replied(replied) => (replied.exchange, Some(replied.reply.status)),
        };
        turn();
        let exchange = block_on(chain.completed(exchange, &Outcome::default()));
        run_spawned();
        prop_assert_eq!(seen(&exchange, status), seen(&exchange_alone, status_alone));
        let report = factory.rollout().report();
        prop_assert_eq!(report.versions[0].exchanges, 1);
        prop_assert_eq!(report.versions[1].exchanges, 1);
        prop_assert!(report.compared >= 1);
        if format!("{active:?}") == format!("{shadowed:?}") {
            prop_assert_eq!(report.differing, 0, "{:?}", report.samples);
        }
    }
}

/// A shadow for all exchanges, whose differences are all kept.
fn compare(active: Fake, tried: Fake) -> Vec<(String, String, String)> {
    let factory = pair(active, tried, &shadow(Share::ALL, 10));
    let (_, _) = drive(&chain(&factory.clone().worker()), exchange("t"));
    run_spawned();
    let report = factory.rollout().report();
    let found = report.samples.into_iter().flat_map(|sample| sample.differences);
    found
        .map(|found| {
            let kind = match found.name {
                Some(name) => format!("{} {name}", found.kind),
                None => found.kind.to_owned(),
            };
            (kind, found.active, found.candidate)
        })
        .collect()
}

fn at_request(edit: impl Fn(&mut Exchange) -> Result<Decision, FaultKind> + Send + Sync + 'static) -> Fake {
    version(move |hook, exchange| match hook {
        Hook::RequestHead => edit(exchange),
        _ => Ok(Decision::Next),
    })
}

pub(super) fn nothing() -> Fake {
    version(|_, _| Ok(Decision::Next))
}

#[test]
fn each_thing_that_differs_is_told() {
    let edits = at_request(|exchange| {
        exchange.request.method = "POST".into();
        exchange.request.authority = "b.test".into();
        exchange.request.set_target("/b", Some("token=s3cret"));
        exchange.request.fields.set(b"x-tenant", b"b\xff").unwrap();
        exchange.request.fields.set(b"x-api-key", b"s3cret").unwrap();
        assert!(exchange.attributes.set("user", "bob"));
        let cache = &mut exchange.cache;
        cache.bypass();
        assert_eq!((cache.vary_by("plan", "gold"), cache.vary_by("token", "s3cret")), (Ok(()), Ok(())));
        assert_eq!(cache.add_tag("news"), Ok(()));
        Ok(Decision::Next)
    });
    let found = compare(nothing(), edits);
    let expected = [
        ("method", "GET", "POST"),
        ("authority", "", "b.test"),
        ("path", "/a", "/b"),
        ("query", "(not kept)", "(not kept)"),
        ("request-field x-api-key", "absent", "(not kept)"),
        ("request-field x-tenant", "absent", "\"b\u{fffd}\""),
        ("cache-bypass", "no bypass", "bypass"),
        ("cache-key", "", "plan=\"gold\" token=(not kept)"),
        ("cache-tags", "", "news"),
        ("attribute user", "absent", "\"bob\""),
    ]
    .map(|(kind, active, candidate)| (kind.to_owned(), active.to_owned(), candidate.to_owned()));
    assert_eq!(found, expected);

    let denies = |status, body: &'static str| {
        at_request(move |_| {
            let mut reply = Reply { status, body: body.into(), ..Reply::default() };
            reply.fields.append(b"x-why", body.as_bytes()).unwrap();
            Ok(Decision::Reply(reply))
        })
    };
    let check = |active, tried, expected: &[(&str, &str, &str)]| {
        let found = compare(active, tried);
        let found: Vec<_> =
            found.iter().map(|(kind, a, b)| (kind.as_str(), a.as_str(), b.as_str())).collect();
        assert_eq!(found, expected);
    };
    check(denies(401, "no"), denies(401, "no"), &[]);
    check(nothing(), denies(401, "no"), &[("decision", "next", "reply 401")]);
    check(
        denies(401, "no"),
        at_request(|_| Err(FaultKind::Memory)),
        &[("decision", "reply 401", "fault: memory")],
    );
    check(
        denies(401, "no"),
        denies(403, "never"),
        &[
            ("reply-status", "401", "403"),
            ("reply-field x-why", "\"no\"", "\"never\""),
            ("reply-body", "2 bytes", "5 bytes"),
        ],
    );
    let response = |status| {
        version(move |hook, exchange| {
            if matches!(hook, Hook::ResponseHead) {
                exchange.response.status = status;
                exchange.response.fields.set(b"set-cookie", status.to_string().as_bytes()).unwrap();
            }
            Ok(Decision::Next)
        })
    };
    check(
        response(200),
        response(201),
        &[("response-status", "200", "201"), ("response-field set-cookie", "(not kept)", "(not kept)")],
    );
}

#[test]
fn a_policy_that_may_read_secrets_keeps_no_values() {
    let edits = at_request(|exchange| {
        exchange.request.fields.set(b"x-tenant", b"s3cret").unwrap();
        Ok(Decision::Next)
    });
    let candidate = shadow(Share::ALL, 10);
    let rollout = Arc::new(Rollout::new("p".into(), &candidate, Default::default(), Default::default()));
    let factory = Arc::new(RolloutFactory::new(
        Arc::new(nothing()),
        Arc::new(edits),
        rollout.clone(),
        ENVIRONMENT,
        false,
    ));
    drive(&chain(&factory.worker()), exchange("t"));
    run_spawned();
    let report = rollout.report();
    assert_eq!(report.differences, [("request-field", 1)]);
    assert!(!format!("{report:?}").contains("s3cret"), "{report:?}");
}

#[test]
fn samples_are_bounded_in_number_and_in_size() {
    let edits = at_request(|exchange| {
        for at in 0..100 {
            let name = format!("x-{at}{}", "y".repeat(500));
            exchange.request.fields.set(name.as_bytes(), "v".repeat(1000).as_bytes()).unwrap();
        }
        Ok(Decision::Next)
    });
    let factory = pair(nothing(), edits, &shadow(Share::ALL, 3));
    let chain = chain(&factory.clone().worker());
    for at in 0..10 {
        drive(&chain, exchange(&at.to_string()));
        run_spawned();
    }
    let report = factory.rollout().report();
    assert_eq!((report.compared, report.differing), (30, 10));
    let of: Vec<_> = report.samples.iter().map(|sample| sample.trace_id.as_str()).collect();
    assert_eq!(of, ["7", "8", "9"], "the newest are kept");
    for sample in report.samples {
        assert_eq!(sample.differences.len(), 16);
        let longest = |difference: &crate::Difference| {
            difference.name.as_ref().map_or(0, String::len).max(difference.candidate.len())
        };
        assert!(sample.differences.iter().all(|difference| longest(difference) <= 130));
    }
}

#[test]
fn it_keeps_its_state_from_hook_to_hook_apart_from_the_active_version() {
    let keeping = |byte: u8| {
        version(move |hook, exchange| {
            exchange.slot().state.push(byte);
            if matches!(hook, Hook::Completed(_)) {
                let state = format!("{:?}", exchange.slot().state);
                assert!(exchange.attributes.set("state", &state));
            }
            Ok(Decision::Next)
        })
    };
    for prompt in [false, true] {
        let factory = pair(keeping(1), keeping(2).waiting(), &shadow(Share::ALL, 3));
        let chain = chain(&factory.clone().worker());
        let turn = || {
            if prompt {
                run_spawned()
            }
        };
        let HeadOutcome::Permitted(permitted) = block_on(chain.request_head(exchange("t"))) else {
            panic!("replied")
        };
        turn();
        let (exchange, ..) = block_on(chain.response_head(permitted.into_inner(), 1));
        turn();
        block_on(chain.completed(exchange, &Outcome::default()));
        run_spawned();
        let report = factory.rollout().report();
        let [sample] = &report.samples[..] else { panic!("{report:?}") };
        let difference = &sample.differences[0];
        assert_eq!(
            (difference.active.as_str(), difference.candidate.as_str()),
            ("\"[1, 1, 1]\"", "\"[2, 2, 2]\"")
        );
    }
}

#[test]
fn it_stops_where_the_two_go_different_ways() {
    let denies = at_request(|_| Ok(reply(403)));
    let factory = pair(nothing(), denies, &shadow(Share::ALL, 3));
    let chain = chain(&factory.clone().worker());
    let HeadOutcome::Permitted(permitted) = block_on(chain.request_head(exchange("t"))) else {
        panic!("replied")
    };
    run_spawned();
    let (exchange, ..) = block_on(chain.response_head(permitted.into_inner(), 1));
    block_on(chain.completed(exchange, &Outcome::default()));
    run_spawned();
    let report = factory.rollout().report();
    assert_eq!((report.compared, report.differing), (1, 1));
    assert_eq!((report.versions[1].calls, report.versions[1].replies), (1, 1));
    assert_eq!(report.versions[0].calls, 3);
}

#[test]
fn it_sees_hooks_that_the_active_version_has_not() {
    let bodies = HEADS.or(Hooks::BODIES);
    let active = named("one").with_hooks(Hooks::default());
    let factory = pair(active, named("two").with_hooks(bodies), &shadow(Share::ALL, 3));
    assert_eq!(factory.hooks(), HEADS, "no body passes through policies for a shadow's sake");
    let (exchange, _) = drive(&chain(&factory.clone().worker()), exchange("t"));
    run_spawned();
    assert_eq!(exchange.attributes.iter().count(), 0);
    assert_eq!(factory.rollout().report().differences, [("attribute", 3)]);
}

#[test]
fn more_exchanges_than_it_may_be_with_are_left_out_and_counted() {
    let factory = pair(named("one"), named("two"), &shadow(Share::ALL, 3));
    let chain = chain(&factory.clone().worker());
    // Exchanges that are under way, after the first hook.
    let begin = || match block_on(chain.request_head(exchange("t"))) {
        HeadOutcome::Permitted(permitted) => permitted.into_inner(),
        HeadOutcome::Replied(_) => panic!("replied"),
    };
    let mut under_way: Vec<_> = (0..70).map(|_| begin()).collect();
    run_spawned();
    let report = factory.rollout().report();
    assert_eq!((report.versions[0].exchanges, report.versions[1].exchanges), (70, 64));
    assert_eq!((report.compared, report.skipped), (64, 6));
    // When one has ended, another can be seen.
    let first = under_way.remove(0);
    let (first, ..) = block_on(chain.response_head(first, 1));
    block_on(chain.completed(first, &Outcome::default()));
    run_spawned();
    under_way.push(begin());
    run_spawned();
    assert_eq!(factory.rollout().report().compared, 64 + 2 + 1);
    // Those that were cut off make place as well.
    under_way.clear();
    (0..64).for_each(|_| under_way.push(begin()));
    run_spawned();
    let report = factory.rollout().report();
    assert_eq!((report.compared, report.skipped), (67 + 64, 6));
}

#[test]
fn an_exchange_that_it_has_run_its_last_hook_of_keeps_no_place() {
    let only = Hooks::of(&[HookKind::RequestHead]);
    let factory = pair(named("one"), named("two").with_hooks(only), &shadow(Share::ALL, 3));
    let chain = chain(&factory.clone().worker());
    let mut under_way = Vec::new();
    for _ in 0..100 {
        under_way.push(block_on(chain.request_head(exchange("t"))));
        run_spawned();
    }
    assert_eq!(factory.rollout().report().skipped, 0);
}

#[test]
fn a_share_of_the_exchanges_is_seen() {
    let factory = pair(named("one"), named("one"), &shadow(Share::of_hundredths(5000), 3));
    let chain = chain(&factory.clone().worker());
    for at in 0..400 {
        drive(&chain, exchange(&at.to_string()));
        run_spawned();
    }
    let report = factory.rollout().report();
    assert_eq!(report.versions[0].exchanges, 400);
    assert!((130..270).contains(&report.versions[1].exchanges), "{}", report.versions[1].exchanges);
    assert_eq!((report.compared, report.differing), (3 * report.versions[1].exchanges, 0));
}

#[test]
fn requests_that_it_is_refused_are_counted_over_all_that_count_them() {
    let refusing = |count: u64| {
        let counter = Some(Arc::new(AtomicU64::new(count)));
        Arc::new(Fake { refused_requests: counter, ..named("two") })
    };
    let (first, second) = (refusing(3), refusing(4));
    let factory = of_pair(Arc::new(named("one")), first.clone(), &shadow(Share::ALL, 1));
    let rollout = factory.rollout().clone();
    let again = |tried: &Arc<Fake>| {
        let active = Arc::new(named("one"));
        drop(RolloutFactory::new(active, tried.clone(), rollout.clone(), ENVIRONMENT, true));
        rollout.report().refused_requests
    };
    assert_eq!(rollout.report().refused_requests, 3);
    assert_eq!(again(&first), 3, "the active version became another");
    first.refused_requests.as_ref().unwrap().fetch_add(2, Ordering::Relaxed);
    assert_eq!(rollout.report().refused_requests, 5);
    assert_eq!(again(&second), 9, "a secret of the shadow became another");
}

#[test]
fn an_aborted_shadow_sees_nothing() {
    let factory = pair(named("one"), named("two"), &shadow(Share::ALL, 3));
    let chain = chain(&factory.clone().worker());
    factory.rollout().act(crate::Act::Abort, "enough").unwrap();
    drive(&chain, exchange("t"));
    run_spawned();
    assert_eq!(factory.rollout().report().compared, 0);
}
