use bytes::Bytes;

use super::*;

/// Pieces on their way through one body of a chain.
struct Stream<'a> {
    chain: &'a PolicyChain,
    side: BodySide,
    held: HeldBody,
    exchange: Option<Box<Exchange>>,
    until: usize,
}

impl<'a> Stream<'a> {
    fn new(chain: &'a PolicyChain, side: BodySide) -> Self {
        let phase = match side {
            BodySide::Request => HookKind::RequestBody,
            BodySide::Response => HookKind::ResponseBody,
        };
        let exchange = Some(Box::new(Exchange { phase, ..Exchange::default() }));
        Self { chain, side, held: HeldBody::default(), exchange, until: chain.len() }
    }

    fn push(&mut self, piece: &str, last: bool) -> BodyOutcome {
        let exchange = self.exchange.take().unwrap();
        let piece = Bytes::from(piece.to_owned());
        let (exchange, outcome) =
            block_on(self.chain.body(self.side, &mut self.held, exchange, piece, last, self.until));
        self.exchange = Some(exchange);
        outcome
    }

    /// What goes on of a piece.
    fn pass(&mut self, piece: &str, last: bool) -> String {
        match self.push(piece, last) {
            BodyOutcome::Pass(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("{piece:?}: {other:?}"),
        }
    }
}

const HOOK: &str = "on-request-body";

fn hold() -> (&'static str, Step) {
    decides(HOOK, Decision::Body(BodyDecision::Hold))
}

fn replace(with: &'static str) -> (&'static str, Step) {
    decides(HOOK, Decision::Body(BodyDecision::Replace(Bytes::from_static(with.as_bytes()))))
}

#[test]
fn pieces_go_through_in_the_order_of_the_side() {
    let log = Log::default();
    let chain = chain(vec![Fake::new("a", &log, vec![]), Fake::new("b", &log, vec![]).waiting()]);
    assert_eq!(Stream::new(&chain, BodySide::Request).pass("xy", false), "xy");
    assert_eq!(Stream::new(&chain, BodySide::Response).pass("z", true), "z");
    let expected = [
        "a.on-request-body \"xy\"",
        "b.on-request-body \"xy\"",
        "b.on-response-body \"z\" last",
        "a.on-response-body \"z\" last",
    ];
    assert_eq!(*log.borrow(), expected);
}

#[test]
fn what_a_policy_puts_in_place_is_what_the_next_one_sees() {
    let log = Log::default();
    let chain = chain(vec![
        Fake::new("a", &log, vec![replace("new"), replace(""), replace("end")]),
        Fake::new("b", &log, vec![]),
    ]);
    let mut stream = Stream::new(&chain, BodySide::Request);
    assert_eq!(stream.pass("old", false), "new");
    // Nothing is left of it, so no other policy is called.
    assert_eq!(stream.pass("gone", false), "");
    assert_eq!(stream.pass("", true), "end");
    let b: Vec<String> = log.borrow().iter().filter(|line| line.starts_with('b')).cloned().collect();
    assert_eq!(b, ["b.on-request-body \"new\"", "b.on-request-body \"end\" last"]);
}

#[test]
fn what_is_held_comes_again_with_the_next_piece() {
    let log = Log::default();
    let chain =
        chain(vec![Fake::new("a", &log, vec![hold(), hold()]).waiting(), Fake::new("b", &log, vec![])]);
    let mut stream = Stream::new(&chain, BodySide::Request);
    assert_eq!(stream.pass("ab", false), "");
    assert_eq!(stream.pass("cd", false), "");
    assert_eq!((stream.held.len(), stream.held.is_empty()), (4, false));
    assert_eq!(stream.pass("ef", true), "abcdef");
    assert!(stream.held.is_empty());
    let expected = [
        "a.on-request-body \"ab\"",
        "a.on-request-body \"abcd\"",
        "a.on-request-body \"abcdef\" last",
        "b.on-request-body \"abcdef\" last",
    ];
    assert_eq!(*log.borrow(), expected);
}

#[test]
fn holding_the_last_piece_lets_it_go() {
    let log = Log::default();
    let chain = chain(vec![Fake::new("a", &log, vec![hold(), hold()]), Fake::new("b", &log, vec![])]);
    let mut stream = Stream::new(&chain, BodySide::Request);
    assert_eq!(stream.pass("ab", false), "");
    assert_eq!(stream.pass("", true), "ab");
    assert_eq!(log.borrow().last().unwrap(), "b.on-request-body \"ab\" last");
}

#[test]
fn an_empty_body_is_one_empty_last_piece() {
    let log = Log::default();
    let chain = chain(vec![Fake::new("a", &log, vec![]), Fake::new("b", &log, vec![])]);
    assert_eq!(Stream::new(&chain, BodySide::Request).pass("", true), "");
    assert_eq!(*log.borrow(), ["a.on-request-body \"\" last", "b.on-request-body \"\" last"]);
}

#[test]
fn a_policy_is_given_no_more_than_its_limit_at_once() {
    let log = Log::default();
    let small = Fake::with("a", &log, ALL, FailureMode::Deny, 4, vec![hold(), replace("X")]);
    let chain = chain(vec![small]);
    let mut stream = Stream::new(&chain, BodySide::Request);
    assert_eq!(stream.pass("ab", false), "");
    // Two more fill it up; the rest is a call of its own, and the last one.
    assert_eq!(stream.pass("cdefg", true), "Xefg");
    let expected =
        ["a.on-request-body \"ab\"", "a.on-request-body \"abcd\"", "a.on-request-body \"efg\" last"];
    assert_eq!(*log.borrow(), expected);
}

#[test]
fn a_body_that_is_too_large_to_hold_is_nobodys_fault() {
    let log = Log::default();
    for mode in [FailureMode::Deny, FailureMode::Allow] {
        let chain = chain(vec![Fake::with("a", &log, ALL, mode, 4, vec![hold(), hold()])]);
        let mut stream = Stream::new(&chain, BodySide::Request);
        assert_eq!(stream.pass("ab", false), "");
        assert_eq!(stream.pass("cd", false), "", "the last byte that is allowed");
        let BodyOutcome::TooLarge { reason } = stream.push("e", false) else { panic!("it passed") };
        assert!(reason.contains("`a`") && reason.contains("4 bytes"), "{reason}");
    }
}

#[test]
fn the_policies_of_a_route_hold_no_more_than_its_limit_together() {
    let log = Log::default();
    let policies = vec![
        Fake::new("a", &log, vec![replace("12345"), hold()]).into_policy(),
        Fake::new("b", &log, vec![hold()]).into_policy(),
    ];
    let chain = PolicyChain::new(policies, 6);
    let mut stream = Stream::new(&chain, BodySide::Request);
    assert_eq!(stream.pass("x", false), "");
    let BodyOutcome::TooLarge { reason } = stream.push("67", false) else { panic!("it passed") };
    assert!(reason.contains("`limits.hold`") && reason.contains("6 bytes"), "{reason}");
}

/// What policies are shown that hold back all of a body of so many one-byte pieces: how many times, and bytes in all.
fn shown_of(pieces: usize, policies: usize) -> (usize, usize) {
    let shown = Arc::new(Mutex::new((0, 0)));
    let policies = (0..policies).map(|at| {
        let shown = shown.clone();
        let fake = Fake::doing(&format!("p{at}"), ALL, move |hook, _| {
            let Hook::RequestBody { chunk, last } = hook else { return Ok(Decision::Next) };
            let mut shown = shown.lock().unwrap();
            *shown = (shown.0 + 1, shown.1 + chunk.len());
            Ok(Decision::Body(if *last { BodyDecision::Forward } else { BodyDecision::Hold }))
        });
        Fake { body_bytes_max: pieces, ..fake }.into_policy()
    });
    let chain = PolicyChain::new(policies.collect(), pieces);
    let mut stream = Stream::new(&chain, BodySide::Request);
    for _ in 1..pieces {
        assert_eq!(stream.pass("x", false), "");
    }
    assert_eq!(stream.pass("x", true).len(), pieces);
    let shown = shown.lock().unwrap();
    (shown.0, shown.1)
}

#[test]
fn who_holds_back_is_shown_a_body_about_twice_however_small_its_pieces_are() {
    for policies in 1..=3 {
        let (calls, bytes) = shown_of(10_000, policies);
        assert!(calls <= 16 * policies, "{calls} calls of {policies} policies");
        assert!(bytes <= 30_000 * policies, "{bytes} bytes to {policies} policies");
    }
}

#[test]
fn what_waits_for_more_is_shown_when_it_is_hurried() {
    let log = Log::default();
    let chain = chain(vec![Fake::new("a", &log, vec![hold(), hold()]), Fake::new("b", &log, vec![])]);
    let mut stream = Stream::new(&chain, BodySide::Request);
    assert_eq!(stream.pass("abc", false) + &stream.pass("d", false), "");
    assert_eq!(log.take(), ["a.on-request-body \"abc\"", "a.on-request-body \"abcd\""]);
    assert!(!stream.held.has_fresh());
    assert_eq!(stream.pass("e", false), "");
    assert_eq!(log.take(), [""; 0], "it waits for more");
    assert!(stream.held.has_fresh());
    stream.held.hurry();
    assert_eq!(stream.pass("", false), "abcde");
    assert_eq!(log.take(), ["a.on-request-body \"abcde\"", "b.on-request-body \"abcde\""]);
    // Without held bytes, hurrying calls no policy.
    stream.held.hurry();
    assert_eq!(stream.pass("", false), "");
    assert_eq!(log.take(), [""; 0]);
}

#[test]
fn a_reply_ends_the_body() {
    let log = Log::default();
    let chain = chain(vec![
        Fake::new("a", &log, vec![]),
        Fake::new("b", &log, vec![hold(), decides(HOOK, reply(413))]),
        Fake::new("c", &log, vec![]),
    ]);
    let mut stream = Stream::new(&chain, BodySide::Request);
    assert_eq!(stream.pass("ab", false), "");
    match stream.push("c", false) {
        BodyOutcome::Reply { reply, at } => assert_eq!((reply.status, at), (413, 1)),
        other => panic!("{other:?}"),
    }
    assert!(!log.borrow().iter().any(|line| line.starts_with('c')));
}

#[test]
fn a_failure_ends_the_body_or_lets_the_piece_pass() {
    let log = Log::default();
    let closed = chain(vec![Fake::new("a", &log, vec![fails(HOOK)])]);
    match Stream::new(&closed, BodySide::Request).push("ab", false) {
        BodyOutcome::Fault { fault, at } => assert_eq!((fault.kind, at), (FaultKind::Trap, 0)),
        other => panic!("{other:?}"),
    }
    let open = chain(vec![Fake::allowing("a", &log, vec![hold(), fails(HOOK)])]);
    let mut stream = Stream::new(&open, BodySide::Request);
    assert_eq!(stream.pass("ab", false), "");
    assert_eq!(stream.pass("cd", true), "abcd", "what was held is not lost");
}

#[test]
fn a_body_is_seen_only_by_those_who_saw_the_request() {
    let log = Log::default();
    let chain = chain(vec![Fake::new("a", &log, vec![]), Fake::new("b", &log, vec![])]);
    let mut stream = Stream { until: 1, ..Stream::new(&chain, BodySide::Response) };
    assert_eq!(stream.pass("xy", true), "xy");
    assert_eq!(*log.borrow(), ["a.on-response-body \"xy\" last"]);
}

fn split(passed: &'static str, kept: usize, again: Again) -> (&'static str, Step) {
    let passed = Bytes::from_static(passed.as_bytes());
    decides(HOOK, Decision::Body(BodyDecision::Split(BodySplit { passed, kept, again })))
}

#[test]
fn what_is_kept_of_a_piece_comes_again_in_front_of_the_next() {
    let log = Log::default();
    let steps = vec![split("AB", 1, Again::WithMore), split("C", 2, Again::WithMore)];
    let chain = chain(vec![Fake::new("a", &log, steps).waiting()]);
    let mut stream = Stream::new(&chain, BodySide::Request);
    assert_eq!(stream.pass("abc", false), "AB");
    assert_eq!((stream.pass("de", false).as_str(), stream.held.len()), ("C", 2));
    assert_eq!(stream.pass("", true), "de");
    let expected =
        ["a.on-request-body \"abc\"", "a.on-request-body \"cde\"", "a.on-request-body \"de\" last"];
    assert_eq!(*log.borrow(), expected);
}

#[test]
fn a_policy_that_collects_is_called_once_at_the_end() {
    let log = Log::default();
    let chain = chain(vec![Fake::new("a", &log, vec![split("", 2, Again::AtEnd)])]);
    let mut stream = Stream::new(&chain, BodySide::Request);
    for piece in ["ab", "cd", "", "ef"] {
        assert_eq!(stream.pass(piece, false), "");
        stream.held.hurry();
        assert!(!stream.held.has_fresh(), "it is in no hurry");
    }
    assert_eq!(stream.pass("gh", true), "abcdefgh");
    assert_eq!(*log.borrow(), ["a.on-request-body \"ab\"", "a.on-request-body \"abcdefgh\" last"]);
}

#[test]
fn a_policy_that_is_done_with_a_body_is_not_called_again() {
    let log = Log::default();
    let steps = vec![split("<ab", 0, Again::Never)];
    let chain = chain(vec![Fake::new("a", &log, steps), Fake::new("b", &log, vec![])]);
    let mut stream = Stream::new(&chain, BodySide::Request);
    assert_eq!(stream.pass("ab", false), "<ab");
    assert_eq!(stream.pass("cd", false), "cd");
    assert_eq!(stream.pass("", true), "");
    let a: Vec<String> = log.borrow().iter().filter(|line| line.starts_with('a')).cloned().collect();
    assert_eq!(a, ["a.on-request-body \"ab\""]);
    assert_eq!(log.borrow().last().unwrap(), "b.on-request-body \"\" last", "the next one sees the end");
}

#[test]
fn what_is_collected_has_the_bounds_of_what_is_held() {
    for (body_bytes, hold_bytes, limit) in [(5, 100, "`limits.body`"), (100, 5, "`limits.hold`")] {
        let log = Log::default();
        let steps = vec![split("", 4, Again::AtEnd)];
        let fake = Fake::with("a", &log, ALL, FailureMode::Deny, body_bytes, steps);
        let chain = PolicyChain::new(vec![fake.into_policy()], hold_bytes);
        let mut stream = Stream::new(&chain, BodySide::Request);
        assert_eq!(stream.pass("abcd", false), "");
        assert_eq!(stream.pass("e", false), "", "as much as may be");
        match stream.push("f", false) {
            BodyOutcome::TooLarge { reason } => assert!(reason.contains(limit), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(log.borrow().len(), 1, "it is not asked at a bound: it has decided");
    }
}

/// What a policy sees of whether it has let some of a body go, call by call, if it does this with each.
fn begun(decisions: Vec<BodyDecision>, pieces: &[&str]) -> Vec<bool> {
    let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
    let steps = decisions.into_iter().map(|decision| {
        let seen = seen.clone();
        on(HOOK, move |exchange| {
            seen.lock().unwrap().push(exchange.body_begun);
            Ok(Decision::Body(decision))
        })
    });
    let log = Log::default();
    // The one behind it holds everything, which changes nothing for the one before.
    let holds = |_| hold();
    let chain = chain(vec![
        Fake::with("a", &log, ALL, FailureMode::Deny, 4, steps.collect()),
        Fake::new("b", &log, (0..9).map(holds).collect()),
    ]);
    let mut stream = Stream::new(&chain, BodySide::Request);
    for (at, piece) in pieces.iter().enumerate() {
        stream.pass(piece, at + 1 == pieces.len());
    }
    seen.lock().unwrap().clone()
}

#[test]
fn a_body_has_begun_for_a_policy_once_it_has_let_bytes_of_it_go() {
    use BodyDecision::{Forward, Hold, Replace};
    let split = |passed: &'static str, kept| {
        let passed = Bytes::from_static(passed.as_bytes());
        BodyDecision::Split(BodySplit { passed, kept, again: Again::WithMore })
    };
    assert_eq!(begun(vec![Forward, Forward], &["a", "b"]), [false, true]);
    assert_eq!(begun(vec![Hold, Hold, Forward], &["a", "b", "c"]), [false, false, false]);
    // What is swallowed is not let go, and what is put in front of what is held is.
    assert_eq!(begun(vec![Replace(Bytes::new()), Forward, Forward], &["a", "b", "c"]), [false, false, true]);
    assert_eq!(begun(vec![split("", 1), split("<", 2), Forward], &["a", "b", "c"]), [false, false, true]);
    // A piece that is larger than it may be given is several calls, of which the first has let something go.
    assert_eq!(begun(vec![Forward, Forward], &["abcdef"]), [false, true]);
    assert_eq!(begun(vec![Forward, Forward], &["", ""]), [false]);
}

#[test]
fn what_a_fault_lets_through_has_gone_on() {
    let log = Log::default();
    let seen = std::sync::Arc::new(Mutex::new(None));
    let shown = seen.clone();
    let steps = vec![
        fails(HOOK),
        on(HOOK, move |exchange| {
            *shown.lock().unwrap() = Some(exchange.body_begun);
            Ok(Decision::Next)
        }),
    ];
    let chain = chain(vec![Fake::allowing("a", &log, steps)]);
    let mut stream = Stream::new(&chain, BodySide::Request);
    assert_eq!((stream.pass("a", false), stream.pass("b", true)), ("a".to_owned(), "b".to_owned()));
    assert_eq!(*seen.lock().unwrap(), Some(true));
}
