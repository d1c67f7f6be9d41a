//! A version that runs beside the active one.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{BodyDecision, BodyOutcome, BodySide, HeldBody, Phase};

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
                Phase::RequestHead => &mut exchange.request.fields,
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

fn nothing() -> Fake {
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
        let longest = |difference: &super::super::Difference| {
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
    let bodies = Hooks { request_body: true, response_body: true, ..HEADS };
    let active = named("one").with_hooks(Hooks::default());
    let factory = pair(active, named("two").with_hooks(bodies), &shadow(Share::ALL, 3));
    assert_eq!(factory.hooks(), HEADS, "no body passes through policies for a shadow's sake");
    let (exchange, _) = drive(&chain(&factory.clone().worker()), exchange("t"));
    run_spawned();
    assert_eq!(exchange.attributes.iter().count(), 0);
    assert_eq!(factory.rollout().report().differences, [("attribute", 3)]);
}

/// Takes an exchange through a chain in which no policy decides about bodies, and shows what it has of both. Gives for each
/// piece whether there was use in more.
fn show(chain: &PolicyChain, pieces: &[&[u8]]) -> Vec<bool> {
    let HeadOutcome::Permitted(permitted) = block_on(chain.request_head(exchange("t"))) else {
        panic!("replied")
    };
    let (mut exchange, mut wanted) = (permitted.into_inner(), Vec::new());
    for side in [BodySide::Request, BodySide::Response] {
        assert!(!chain.has_body_hook(side), "the body is left alone");
        let watching = chain.watch_body(side, &mut exchange, chain.len());
        for mut watch in watching {
            for (at, piece) in pieces.iter().enumerate() {
                wanted.push(watch.show(&Bytes::copy_from_slice(piece), at + 1 == pieces.len()));
            }
        }
        if side == BodySide::Request {
            (exchange, ..) = block_on(chain.response_head(exchange, chain.len()));
        }
    }
    block_on(chain.completed(exchange, &Outcome::default()));
    run_spawned();
    wanted
}

#[test]
fn it_is_shown_bodies_for_which_the_active_version_has_no_hook() {
    const PIECES: [&[u8]; 2] = [b"one", b"two"];
    let fails = || {
        version(|hook, _| match hook {
            Hook::RequestBody { .. } => Err(FaultKind::Trap),
            _ => Ok(Decision::Next),
        })
        .with_hooks(Hooks { request_body: true, response_body: true, ..HEADS })
    };
    let refuses = || {
        version(|hook, _| match hook {
            Hook::RequestBody { last: true, .. } => Ok(reply(422)),
            _ => Ok(Decision::Next),
        })
        .with_hooks(Hooks { request_body: true, ..HEADS })
    };
    // With how many hooks of it are compared: three, and a call for each piece.
    for (tried, differences, compared) in [
        (forwarding(), &[][..], 7),
        (forwarding().waiting(), &[], 7),
        (holding(|_| BodyDecision::Forward), &[], 7),
        (holding(|_| replaced("other")), &[("request-body", 1)], 7),
        (fails(), &[("decision", 1)], 2),
        (refuses(), &[("decision", 1)], 3),
    ] {
        let tried = Arc::new(tried);
        let factory = of_pair(Arc::new(nothing()), tried.clone(), &shadow(Share::ALL, 3));
        let chain = chain(&factory.clone().worker());
        assert_eq!(chain.has_body_watch(BodySide::Response), tried.hooks.response_body);
        show(&chain, &PIECES);
        let report = factory.rollout().report();
        assert_eq!((&report.differences[..], report.compared), (differences, compared));
        assert_eq!((report.versions[0].faulted, report.left_behind), (0, 0));
        // Aborted, there is nobody to be shown anything.
        factory.rollout().act(super::super::Act::Abort, "a test").unwrap();
        assert!(show(&chain, &PIECES).is_empty());
    }
}

#[test]
fn what_is_kept_of_such_a_body_for_a_shadow_is_bounded() {
    let half = vec![0; 1 << 19];
    // It has no turn meanwhile: its head waits as well, which has no bytes.
    for (pieces, wanted) in [
        (vec![&half[..], &half[..], b""], vec![true, true, false]),
        (vec![&half[..], &half[..], b"x", b"y"], vec![true, true, false, false]),
    ] {
        let tried = forwarding().with_hooks(Hooks { request_body: true, ..HEADS });
        let tried = Fake { body_bytes_max: 1 << 20, ..tried };
        let factory = pair(nothing(), tried, &shadow(Share::ALL, 3));
        let left_behind = pieces.len() > 3;
        assert_eq!(show(&chain(&factory.clone().worker()), &pieces), wanted);
        let report = factory.rollout().report();
        assert_eq!(report.left_behind, u64::from(left_behind));
        assert_eq!(report.compared, if left_behind { 0 } else { 6 });
    }
}

#[test]
fn among_policies_that_decide_it_is_shown_what_those_before_it_let_go() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let tried = at_body(move |chunk, last| {
        log.lock().unwrap().push((String::from_utf8(chunk.to_vec()).unwrap(), last));
        replaced("of no effect")
    });
    let factory = pair(nothing(), tried, &shadow(Share::ALL, 3));
    let before = holding(|chunk| BodyDecision::Replace(chunk.to_ascii_uppercase().into()));
    let behind = holding(|chunk| BodyDecision::Replace([chunk, &b"!"[..]].concat().into()));
    let policies = vec![before.into_policy(), factory.clone().worker(), behind.into_policy()];
    let chain = PolicyChain::new(policies, 1000);
    assert!(chain.has_body_hook(BodySide::Request));
    assert_eq!(send(&chain, PIECES, || ()), "ONETWOTHREE!");
    assert_eq!(*seen.lock().unwrap(), [("ONETWOTHREE".to_owned(), true)]);
    assert_eq!(factory.rollout().report().differences, [("request-body", 1)]);
}

/// A version that does this with each piece of a request's body, whose hooks are all there are.
fn at_body(deed: impl Fn(&Bytes, bool) -> BodyDecision + Send + Sync + 'static) -> Fake {
    version(move |hook, _| {
        Ok(match hook {
            Hook::RequestBody { chunk, last } => Decision::Body(deed(chunk, *last)),
            _ => Decision::Next,
        })
    })
    .with_hooks(Hooks { request_body: true, response_body: true, ..HEADS })
}

fn forwarding() -> Fake {
    at_body(|_, _| BodyDecision::Forward)
}

/// Holds the body back to its end, and then lets it go as `end` makes it.
fn holding(end: impl Fn(&Bytes) -> BodyDecision + Send + Sync + 'static) -> Fake {
    at_body(move |chunk, last| if last { end(chunk) } else { BodyDecision::Hold })
}

fn replaced(with: &'static str) -> BodyDecision {
    BodyDecision::Replace(Bytes::from_static(with.as_bytes()))
}

/// Takes an exchange with a body through the chain, with `turn` after each piece; gives what goes on of the body.
fn send(chain: &PolicyChain, pieces: &[&str], turn: impl Fn()) -> String {
    let HeadOutcome::Permitted(permitted) = block_on(chain.request_head(exchange("t"))) else {
        panic!("replied")
    };
    let (mut exchange, mut held, mut passed) = (permitted.into_inner(), HeldBody::default(), String::new());
    for (at, piece) in pieces.iter().enumerate() {
        let (piece, last) = (Bytes::from((*piece).to_owned()), at + 1 == pieces.len());
        let outcome;
        (exchange, outcome) =
            block_on(chain.body(BodySide::Request, &mut held, exchange, piece, last, chain.len()));
        let BodyOutcome::Pass(bytes) = outcome else { panic!("{outcome:?}") };
        passed.push_str(std::str::from_utf8(&bytes).unwrap());
        turn();
    }
    let (exchange, ..) = block_on(chain.response_head(exchange, chain.len()));
    block_on(chain.completed(exchange, &Outcome::default()));
    run_spawned();
    passed
}

const PIECES: &[&str] = &["one", "two", "", "three"];

#[test]
fn bodies_are_compared_by_what_was_passed_on_in_the_end() {
    for (active, tried, passed, expected) in [
        (forwarding(), forwarding(), "onetwothree", None),
        // However it is cut into pieces on the way.
        (forwarding(), holding(|_| BodyDecision::Forward), "onetwothree", None),
        (holding(|_| BodyDecision::Forward), forwarding(), "onetwothree", None),
        (holding(|_| BodyDecision::Forward).waiting(), holding(|_| BodyDecision::Hold), "onetwothree", None),
        (holding(|_| replaced("same")), holding(|_| replaced("same")).waiting(), "same", None),
        (forwarding(), holding(|_| replaced("short")), "onetwothree", Some(("11 bytes", "5 bytes"))),
        (holding(|_| replaced("other")), forwarding(), "other", Some(("5 bytes", "11 bytes"))),
        (
            forwarding(),
            holding(|_| replaced("eleven more")),
            "onetwothree",
            Some(("11 bytes", "11 bytes, but other ones")),
        ),
    ] {
        let (active, tried) = (Arc::new(active), Arc::new(tried));
        for prompt in [false, true] {
            let factory = of_pair(active.clone(), tried.clone(), &shadow(Share::ALL, 3));
            let chain = chain(&factory.clone().worker());
            let turn = || {
                if prompt {
                    run_spawned()
                }
            };
            assert_eq!(send(&chain, PIECES, turn), passed);
            let report = factory.rollout().report();
            let found: Vec<_> = report.samples.iter().flat_map(|sample| &sample.differences).collect();
            let found: Vec<_> = found
                .iter()
                .map(|found| (found.kind, found.active.as_str(), found.candidate.as_str()))
                .collect();
            let expected: Vec<_> =
                expected.iter().map(|(active, candidate)| ("request-body", *active, *candidate)).collect();
            assert_eq!(found, expected);
            assert_eq!((report.versions[1].faulted, report.left_behind), (0, 0));
        }
    }
}

#[test]
fn a_shadow_sees_each_byte_of_a_body_once_and_no_more_at_a_time_than_it_may() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let seeing = at_body(move |chunk, last| {
        log.lock().unwrap().push((chunk.len(), last));
        BodyDecision::Forward
    });
    let active = Fake { body_bytes_max: 1000, ..holding(|_| BodyDecision::Forward) };
    let factory = pair(active, seeing, &shadow(Share::ALL, 3));
    let long = "x".repeat(250);
    send(&chain(&factory.clone().worker()), &["abc", &long, "de"], || ());
    // It may be given 100 bytes at once.
    assert_eq!(*seen.lock().unwrap(), [(3, false), (100, false), (100, false), (50, false), (2, true)]);
    assert_eq!(factory.rollout().report().differing, 0);
}

#[test]
fn a_shadow_that_holds_too_much_back_fails_alone() {
    let active = Fake { body_bytes_max: 1000, ..forwarding() };
    let factory = pair(active, holding(|_| BodyDecision::Forward), &shadow(Share::ALL, 3));
    let long = "x".repeat(101);
    assert_eq!(send(&chain(&factory.clone().worker()), &[&long, "y"], || ()).len(), 102);
    let report = factory.rollout().report();
    assert_eq!(report.versions[1].faults, [("too-large", 1)]);
    assert_eq!(report.differences, [("decision", 1)]);
    assert_eq!(report.versions[0].faulted, 0);
}

#[test]
fn a_shadow_that_does_not_keep_up_is_left_behind() {
    let large = "x".repeat(100 << 10);
    // By the number of pieces, and by their bytes; of either the last that it is given time for, and the first of which not.
    for (piece, fits) in [("x", 31), (large.as_str(), 10)] {
        for (count, behind) in [(fits, 0), (fits + 1, 1)] {
            let active = Fake { body_bytes_max: 1 << 20, ..forwarding() };
            let tried = Fake { body_bytes_max: 1 << 20, ..forwarding() };
            // Nothing before and nothing after the body, so that nothing else waits.
            let only = Hooks { request_head: true, request_body: true, ..Hooks::default() };
            let factory = pair(active.with_hooks(only), tried.with_hooks(only), &shadow(Share::ALL, 3));
            let chain = chain(&factory.clone().worker());
            let pieces = vec![piece; count];
            assert_eq!(send(&chain, &pieces, || ()).len(), piece.len() * count, "nobody waits for it");
            let report = factory.rollout().report();
            assert_eq!((report.left_behind, report.differing), (behind, 0), "{count} pieces");
            // The next exchange has its turn again.
            send(&chain, &[piece], run_spawned);
            assert_eq!(factory.rollout().report().versions[1].exchanges, 2);
        }
    }
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
    let only = Hooks { request_head: true, ..Hooks::default() };
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
    factory.rollout().act(super::super::Act::Abort, "enough").unwrap();
    drive(&chain, exchange("t"));
    run_spawned();
    assert_eq!(factory.rollout().report().compared, 0);
}
