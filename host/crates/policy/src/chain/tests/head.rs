use super::*;

fn run_request(chain: &PolicyChain) -> HeadOutcome {
    block_on(chain.request_head(Box::default()))
}

#[test]
fn requests_run_in_order_and_responses_in_reverse() {
    let log = Log::default();
    let chain = chain(vec![
        Fake::new("a", &log, vec![]),
        Fake::new("b", &log, vec![]).waiting(),
        Fake::new("c", &log, vec![]),
    ]);
    let exchange = permitted(run_request(&chain));
    let (exchange, body, fault) = block_on(chain.response_head(exchange, chain.len()));
    assert!(body.is_none() && fault.is_none());
    let exchange = block_on(chain.completed(exchange, &Outcome::default()));
    assert_eq!(exchange.phase, HookKind::Completed);
    let expected = [
        "a.on-request-head",
        "b.on-request-head",
        "c.on-request-head",
        "c.on-response-head",
        "b.on-response-head",
        "a.on-response-head",
        "a.on-completed",
        "b.on-completed",
        "c.on-completed",
    ];
    assert_eq!(*log.borrow(), expected);
}

#[test]
fn only_hooks_that_a_policy_has_are_called() {
    let log = Log::default();
    let hooks = Hooks::of(&[HookKind::ResponseHead]);
    let chain = chain(vec![
        Fake::with("a", &log, hooks, FailureMode::Deny, 100, vec![]),
        Fake::with("b", &log, Hooks::default(), FailureMode::Deny, 100, vec![]),
    ]);
    assert!(!chain.has_body_hook(BodySide::Request) && !chain.has_body_hook(BodySide::Response));
    assert!(!chain.has_completed_hook() && !chain.is_empty() && chain.len() == 2);
    let exchange = permitted(run_request(&chain));
    let (exchange, ..) = block_on(chain.response_head(exchange, chain.len()));
    block_on(chain.completed(exchange, &Outcome::default()));
    assert_eq!(*log.borrow(), ["a.on-response-head"]);
}

#[test]
fn an_empty_chain_lets_everything_through() {
    let chain = chain(vec![]);
    assert!(chain.is_empty());
    let exchange = permitted(run_request(&chain));
    assert_eq!(exchange.phase, HookKind::RequestBody);
}

#[test]
fn a_reply_ends_the_chain_and_those_before_see_it() {
    for waits in [false, true] {
        let log = Log::default();
        let replier = Fake::new("b", &log, vec![decides("on-request-head", reply(401))]);
        let chain = chain(vec![
            Fake::new("a", &log, vec![]),
            if waits { replier.waiting() } else { replier },
            Fake::new("c", &log, vec![]),
        ]);
        let Replied { exchange, reply, at, fault } = replied(run_request(&chain));
        assert_eq!((reply.status, at, fault.is_some()), (401, 1, false));
        let (_, body, _) = block_on(chain.response_head(exchange, at));
        assert!(body.is_none());
        assert_eq!(*log.borrow(), ["a.on-request-head", "b.on-request-head", "a.on-response-head"]);
    }
}

#[test]
fn a_failing_policy_closes_or_opens_as_it_was_told() {
    for waits in [false, true] {
        let log = Log::default();
        let wait = |fake: Fake| if waits { fake.waiting() } else { fake };
        let closed = chain(vec![
            wait(Fake::new("a", &log, vec![fails("on-request-head")])),
            Fake::new("b", &log, vec![]),
        ]);
        let Replied { reply, at, fault, .. } = replied(run_request(&closed));
        assert_eq!((reply.status, at), (500, 0));
        assert_eq!(fault.unwrap().to_string(), "policy `a` failed in on-request-head: trap: told to fail");
        assert_eq!(log.take(), ["a.on-request-head"]);

        let open = chain(vec![
            wait(Fake::allowing("a", &log, vec![fails("on-request-head")])),
            Fake::new("b", &log, vec![]),
        ]);
        permitted(run_request(&open));
        assert_eq!(log.take(), ["a.on-request-head", "b.on-request-head"]);
    }
}

#[test]
fn a_reply_takes_the_place_of_a_response_and_those_before_see_it() {
    let log = Log::default();
    let chain = chain(vec![
        Fake::new(
            "a",
            &log,
            vec![on("on-response-head", |exchange| {
                assert_eq!(exchange.response.status, 403);
                assert!(exchange.response.fields.is_empty(), "the upstream's fields are gone");
                exchange.response.status = 404;
                Ok(Decision::Next)
            })],
        ),
        Fake::new("b", &log, vec![decides("on-response-head", reply(403))]),
        Fake::new("c", &log, vec![]),
    ]);
    let mut exchange = permitted(run_request(&chain));
    exchange.response.status = 200;
    exchange.response.fields.append(b"x-upstream", b"1").unwrap();
    let (exchange, body, fault) = block_on(chain.response_head(exchange, chain.len()));
    assert_eq!((exchange.response.status, body.map(|body| body.len())), (404, Some(0)));
    assert!(fault.is_none());
    assert_eq!(log.borrow()[3..], ["c.on-response-head", "b.on-response-head", "a.on-response-head"]);
}

#[test]
fn a_failure_on_the_response_hides_it_or_lets_it_pass() {
    let log = Log::default();
    for (mode, status) in [(FailureMode::Deny, 500), (FailureMode::Allow, 200)] {
        let steps = vec![fails("on-response-head")];
        let chain = chain(vec![Fake::with("a", &log, ALL, mode, 100, steps)]);
        let mut exchange = permitted(run_request(&chain));
        exchange.response.status = 200;
        let (exchange, body, fault) = block_on(chain.response_head(exchange, chain.len()));
        assert_eq!(exchange.response.status, status);
        assert_eq!((body.is_some(), fault.is_some()), (status == 500, status == 500));
    }
}

#[test]
fn each_policy_has_a_place_of_its_own_for_its_state() {
    let log = Log::default();
    let keep = |value: &'static [u8]| {
        on("on-request-head", move |exchange| {
            exchange.slot().state = value.to_vec();
            Ok(Decision::Next)
        })
    };
    let chain = chain(vec![Fake::new("a", &log, vec![keep(b"a")]), Fake::new("b", &log, vec![keep(b"b")])]);
    assert_eq!(
        permitted(run_request(&chain)).policies.iter().map(|slot| &*slot.state).collect::<Vec<_>>(),
        [b"a", b"b"]
    );
}

#[test]
fn a_failure_at_the_end_keeps_nobody_from_hearing_of_it() {
    let log = Log::default();
    let chain = chain(vec![
        Fake::new("a", &log, vec![fails("on-completed")]),
        Fake::new("b", &log, vec![]).waiting(),
    ]);
    block_on(chain.completed(Box::default(), &Outcome { status: 200, ..Outcome::default() }));
    assert_eq!(*log.borrow(), ["a.on-completed", "b.on-completed"]);
}

/// What a policy that failed would have said to the cache is not known, so the cache is not asked.
#[test]
fn a_request_passes_by_the_cache_if_a_policy_that_may_inform_it_fails_open() {
    let log = Log::default();
    for (informs_cache, hook, is_bypassed) in
        [(true, "on-request-head", true), (false, "on-request-head", false), (true, "on-completed", false)]
    {
        let policy = Fake { informs_cache, ..Fake::allowing("a", &log, vec![fails(hook)]) };
        let chain = chain(vec![policy, Fake::new("b", &log, vec![])]);
        let exchange = block_on(chain.completed(permitted(run_request(&chain)), &Outcome::default()));
        assert_eq!(exchange.cache.is_bypassed(), is_bypassed, "{hook}");
    }
}
