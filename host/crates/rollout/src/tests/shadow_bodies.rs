//! Bodies that a version beside the active one sees.

use std::sync::Mutex;

use bytes::Bytes;

use super::shadow::nothing;
use super::*;
use portcullis_policy::{BodyDecision, BodyOutcome, BodySide, HeldBody};

/// Takes an exchange through a chain in which no policy decides about bodies, and shows what it has of both. Gives
/// for each piece whether there was use in more.
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
        .with_hooks(HEADS.or(Hooks::BODIES))
    };
    let refuses = || {
        version(|hook, _| match hook {
            Hook::RequestBody { last: true, .. } => Ok(reply(422)),
            _ => Ok(Decision::Next),
        })
        .with_hooks(HEADS.with(HookKind::RequestBody))
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
        assert_eq!(chain.has_body_watch(BodySide::Response), tried.hooks.has(HookKind::ResponseBody));
        show(&chain, &PIECES);
        let report = factory.rollout().report();
        assert_eq!((&report.differences[..], report.compared), (differences, compared));
        assert_eq!((report.versions[0].faulted, report.left_behind), (0, 0));
        // An aborted shadow is shown nothing.
        factory.rollout().act(crate::Act::Abort, "a test").unwrap();
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
        let tried = forwarding().with_hooks(HEADS.with(HookKind::RequestBody));
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
    .with_hooks(HEADS.or(Hooks::BODIES))
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
    // By the number of pieces, and by their bytes; of either the last that it is given time for, and the first of
    // which not.
    for (piece, fits) in [("x", 31), (large.as_str(), 10)] {
        for (count, behind) in [(fits, 0), (fits + 1, 1)] {
            let active = Fake { body_bytes_max: 1 << 20, ..forwarding() };
            let tried = Fake { body_bytes_max: 1 << 20, ..forwarding() };
            // Nothing before and nothing after the body, so that nothing else waits.
            let only = Hooks::of(&[HookKind::RequestHead, HookKind::RequestBody]);
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
