//! A version that takes a part of the exchanges.

use portcullis_model::{CostRule, FaultRule, FieldMatch};

use super::*;
use crate::{Act, ActError, Standing};
use portcullis_policy::carry_over;

/// A canary for those who ask for it.
fn on_request(abort: Option<AbortRules>) -> Candidate {
    canary(Selection::Match(vec![FieldMatch { name: "x-canary".into(), value: None }]), abort)
}

fn asking(trace_id: &str) -> Box<Exchange> {
    let mut exchange = exchange(trace_id);
    exchange.request.fields.append(b"x-canary", b"1").unwrap();
    exchange
}

fn worker(factory: &Arc<RolloutFactory>) -> Rc<dyn Policy> {
    factory.clone().worker()
}

fn rules() -> AbortRules {
    AbortRules { window: 100, ..AbortRules::default() }
}

fn alive(factory: &Arc<Fake>) -> usize {
    factory.alive.load(Ordering::Relaxed)
}

#[test]
fn an_exchange_keeps_its_version_over_all_its_hooks() {
    for waits in [false, true] {
        let (one, two) = (named("one"), named("two"));
        let (one, two) = if waits { (one.waiting(), two.waiting()) } else { (one, two) };
        let factory = pair(one, two, &on_request(None));
        let chain = chain(&worker(&factory));
        for (exchange, expected) in [(asking("a"), "two"), (exchange("b"), "one")] {
            let HeadOutcome::Permitted(permitted) = block_on(chain.request_head(exchange)) else {
                panic!("replied")
            };
            let mut exchange = permitted.into_inner();
            // What the choice was made by may be gone, and the rollout be over.
            exchange.request.fields.remove(b"x-canary");
            let act = if expected == "two" { Act::Abort } else { Act::Promote };
            factory.rollout().act(act, "in a test").unwrap();
            let (exchange, ..) = block_on(chain.response_head(exchange, chain.len()));
            let exchange = block_on(chain.completed(exchange, &Outcome::default()));
            for hook in ["on-request-head", "on-response-head", "on-completed"] {
                assert_eq!(exchange.attributes.get(hook), Some(expected), "{hook}");
            }
            factory.rollout().act(Act::Resume, "in a test").unwrap();
        }
        let [active, candidate] = factory.rollout().report().versions;
        assert_eq!((active.exchanges, candidate.exchanges), (1, 1));
        assert_eq!((active.calls, candidate.calls), (3, 3));
    }
}

#[test]
fn an_exchange_that_is_used_again_is_chosen_for_anew() {
    let factory = pair(named("one"), named("two"), &on_request(None));
    let chain = chain(&worker(&factory));
    let (mut exchange, _) = drive(&chain, asking("a"));
    assert_eq!(exchange.attributes.get("on-completed"), Some("two"));
    exchange.clear();
    let (exchange, _) = drive(&chain, exchange);
    assert_eq!(exchange.attributes.get("on-completed"), Some("one"));
}

#[test]
fn a_version_is_not_called_for_hooks_that_only_the_other_has() {
    let only = |hooks: Hooks, name| named(name).with_hooks(hooks);
    let active = only(Hooks::of(&[HookKind::RequestHead]), "one");
    let tried = only(Hooks::of(&[HookKind::ResponseHead, HookKind::RequestBody]), "two");
    let factory = pair(active, tried, &on_request(None));
    let hooks = factory.hooks();
    assert_eq!(hooks, Hooks::of(&[HookKind::RequestHead, HookKind::ResponseHead, HookKind::RequestBody]));
    let chain = chain(&worker(&factory));
    let (first, _) = drive(&chain, asking("a"));
    assert_eq!(first.attributes.iter().collect::<Vec<_>>(), [("on-response-head", "two")]);
    let (second, _) = drive(&chain, exchange("b"));
    assert_eq!(second.attributes.iter().collect::<Vec<_>>(), [("on-request-head", "one")]);
}

#[test]
fn faults_take_it_back_at_the_limit_and_not_before() {
    let failing = || version(|_, _| Err(FaultKind::Trap));
    for (rule, limit) in [
        (FaultRule::Share(Share::of_hundredths(100)), 2),
        (FaultRule::Share(Share::of_hundredths(450)), 5),
        (FaultRule::Count(3), 3),
    ] {
        let candidate = on_request(Some(AbortRules { faults: rule, ..rules() }));
        let factory = pair(named("one"), failing(), &candidate);
        let chain = chain(&worker(&factory));
        for at in 1..limit {
            assert_eq!(drive(&chain, asking("t")).1, Some(500));
            assert_eq!(factory.rollout().standing(), Standing::Running, "{rule:?}: fault {at}");
        }
        assert_eq!(drive(&chain, asking("t")).1, Some(500));
        assert_eq!(factory.rollout().standing(), Standing::Aborted, "{rule:?}");
        assert_eq!(drive(&chain, asking("t")).1, None, "the active version has it again");
        let report = factory.rollout().report();
        let ending = report.ending.unwrap();
        assert!(ending.automatic && ending.reason.contains(&format!("{limit} of its last")), "{ending:?}");
        assert_eq!(report.versions[1].faulted, limit);
        // The request's hook and the one at the end: two faults, but one exchange.
        assert_eq!(report.versions[1].faults, [("trap", 2 * limit)]);
    }
}

#[test]
fn old_faults_are_forgotten_with_their_window() {
    let sick = version(|hook, exchange| match hook {
        Hook::RequestHead if exchange.trace_id == "bad" => Err(FaultKind::Deadline),
        _ => Ok(Decision::Next),
    });
    let factory = pair(named("one"), sick, &on_request(Some(rules())));
    let chain = chain(&worker(&factory));
    // One in each hundred, for a long time.
    for _ in 0..5 {
        drive(&chain, asking("bad"));
        (0..99).for_each(|_| drop(drive(&chain, asking("good"))));
    }
    assert_eq!(factory.rollout().standing(), Standing::Running);
    // And then two in one.
    drive(&chain, asking("bad"));
    drive(&chain, asking("bad"));
    assert_eq!(factory.rollout().standing(), Standing::Aborted);
}

#[test]
fn faults_of_the_active_version_take_nothing_back() {
    let factory = pair(version(|_, _| Err(FaultKind::Trap)), named("two"), &on_request(Some(rules())));
    let chain = chain(&worker(&factory));
    (0..50).for_each(|_| drop(drive(&chain, exchange("t"))));
    assert_eq!(factory.rollout().standing(), Standing::Running);
    assert_eq!(factory.rollout().report().versions[0].faulted, 50);
}

/// A version whose request hook takes so long.
fn taking(time: Duration) -> Fake {
    version(move |hook, exchange| {
        if matches!(hook, Hook::RequestHead) {
            work(exchange, time);
        }
        Ok(Decision::Next)
    })
}

/// How it stands after a window of the canary and as many exchanges of the active version.
fn after_a_window(
    active: Duration,
    tried: Duration,
    rules: AbortRules,
    baseline: usize,
) -> Arc<RolloutFactory> {
    let factory = pair(taking(active).waiting(), taking(tried), &on_request(Some(rules)));
    let chain = chain(&worker(&factory));
    (0..baseline).for_each(|_| drop(drive(&chain, exchange("t"))));
    (0..100).for_each(|_| drop(drive(&chain, asking("t"))));
    assert_eq!(factory.rollout().standing(), Standing::Running, "the window is not over");
    drive(&chain, asking("t"));
    factory
}

#[test]
fn a_canary_that_is_dear_is_taken_back() {
    let micros = Duration::from_micros;
    let never = CostRule::Mean(Duration::MAX);
    let only_cpu = AbortRules { latency: never, ..rules() };
    let check = |active, tried, rules, baseline, expected: Standing| {
        let factory = after_a_window(active, tried, rules, baseline);
        assert_eq!(factory.rollout().standing(), expected, "{active:?} {tried:?} {rules:?} {baseline}");
        factory
    };
    // Three times as much is borne, and a little more is not.
    check(micros(100), micros(300), only_cpu, 50, Standing::Running);
    let factory = check(micros(100), micros(301), only_cpu, 50, Standing::Aborted);
    let reason = factory.rollout().report().ending.unwrap().reason;
    for expected in ["CPU time", "301µs", "100µs", "300%"] {
        assert!(reason.contains(expected), "no {expected} in {reason}");
    }
    // Cheap is cheap.
    check(micros(1), micros(100), only_cpu, 50, Standing::Running);
    // Against nothing there is no ratio, but there is a bound.
    check(micros(1), micros(9000), only_cpu, 19, Standing::Running);
    let bound = AbortRules { cpu: CostRule::Mean(micros(500)), ..only_cpu };
    check(micros(1), micros(500), bound, 0, Standing::Running);
    check(micros(1), micros(501), bound, 0, Standing::Aborted);
    // The time that passes is judged by itself.
    let only_latency = AbortRules { cpu: never, latency: CostRule::Mean(micros(700)), ..rules() };
    check(micros(1), micros(700), only_latency, 0, Standing::Running);
    let factory = check(micros(1), micros(701), only_latency, 0, Standing::Aborted);
    assert!(factory.rollout().report().ending.unwrap().reason.contains("abort.latency"));
}

#[test]
fn a_version_is_let_go_when_its_last_exchange_ends() {
    let (one, two) = (Arc::new(named("one")), Arc::new(named("two")));
    let factory = of_pair(one.clone(), two.clone(), &on_request(None));
    let policy = worker(&factory);
    let chain = chain(&policy);
    assert_eq!((alive(&one), alive(&two)), (1, 1));

    let HeadOutcome::Permitted(permitted) = block_on(chain.request_head(asking("a"))) else {
        panic!("replied")
    };
    factory.rollout().act(Act::Abort, "in a test").unwrap();
    policy.sweep();
    assert_eq!((alive(&one), alive(&two)), (1, 1), "an exchange has it yet");
    let (mut last, ..) = block_on(chain.response_head(permitted.into_inner(), chain.len()));
    last.clear();
    policy.sweep();
    assert_eq!((alive(&one), alive(&two)), (1, 0));

    factory.rollout().act(Act::Promote, "in a test").unwrap();
    let (exchange, _) = drive(&chain, exchange("b"));
    assert_eq!(exchange.attributes.get("on-completed"), Some("two"), "made anew where it is wanted");
    drop(exchange);
    policy.sweep();
    assert_eq!((alive(&one), alive(&two)), (0, 1));
    drop((chain, policy));
    assert_eq!((alive(&one), alive(&two)), (0, 0));
}

#[test]
fn what_a_reload_did_not_change_keeps_its_workers() {
    let (one, two) = (Arc::new(named("one")), Arc::new(named("two")));
    let plain: Arc<dyn PolicyFactory> = one.clone();
    let alone = carry_over(None, &plain);
    assert_eq!((alive(&one), alive(&two)), (1, 0));
    // A canary is added, gets another share, and is removed.
    let rollout = |share| -> Arc<dyn PolicyFactory> {
        of_pair(one.clone(), two.clone(), &canary(Selection::Share(Share::of_hundredths(share)), None))
    };
    let first = carry_over(Some(&alone), &rollout(100));
    let second = carry_over(Some(&first), &rollout(200));
    assert_eq!((alive(&one), alive(&two)), (1, 1));
    assert!(Rc::ptr_eq(&first.versions()[1], &second.versions()[1]));
    let last = carry_over(Some(&second), &plain);
    drop((first, second));
    assert!(Rc::ptr_eq(&alone, &last));
    assert_eq!((alive(&one), alive(&two)), (1, 0));
}

#[test]
fn acts_that_make_no_sense_are_refused() {
    let factory = pair(named("one"), named("two"), &on_request(None));
    let rollout = factory.rollout();
    assert_eq!(rollout.act(Act::Resume, ""), Err(ActError::Already(Standing::Running)));
    rollout.act(Act::Abort, "it was slow").unwrap();
    assert_eq!(rollout.act(Act::Abort, ""), Err(ActError::Already(Standing::Aborted)));
    let ending = rollout.report().ending.unwrap();
    assert_eq!((ending.reason.as_str(), ending.automatic), ("it was slow", false));
    rollout.act(Act::Promote, "after all").unwrap();
    assert_eq!(rollout.act(Act::Promote, ""), Err(ActError::Already(Standing::Promoted)));
    rollout.act(Act::Resume, "").unwrap();
    assert_eq!(rollout.report().ending, None);
    let factory = pair(named("one"), named("two"), &shadow(Share::ALL, 1));
    assert_eq!(factory.rollout().act(Act::Promote, ""), Err(ActError::Shadow));
}

#[test]
fn a_resumed_canary_is_judged_anew() {
    let factory = pair(named("one"), version(|_, _| Err(FaultKind::Trap)), &on_request(Some(rules())));
    let chain = chain(&worker(&factory));
    for _ in 0..2 {
        drive(&chain, asking("t"));
        assert_eq!(factory.rollout().standing(), Standing::Running);
        drive(&chain, asking("t"));
        assert_eq!(factory.rollout().standing(), Standing::Aborted);
        factory.rollout().act(Act::Resume, "").unwrap();
    }
}

#[test]
fn a_promoted_version_is_not_taken_back_by_itself() {
    let factory = pair(named("one"), version(|_, _| Err(FaultKind::Trap)), &on_request(Some(rules())));
    factory.rollout().act(Act::Promote, "").unwrap();
    let chain = chain(&worker(&factory));
    (0..10).for_each(|_| drop(drive(&chain, exchange("t"))));
    assert_eq!(factory.rollout().standing(), Standing::Promoted);
}

#[test]
fn how_large_a_body_is_does_not_count_against_the_version_that_holds_it() {
    use portcullis_policy::{BodyDecision, BodyOutcome, BodySide, HeldBody};
    let holding = version(|hook, _| {
        Ok(match hook {
            Hook::RequestBody { .. } => Decision::Body(BodyDecision::Hold),
            _ => Decision::Next,
        })
    })
    .with_hooks(Hooks::of(&[HookKind::RequestBody]));
    let factory = pair(named("one"), holding, &on_request(Some(rules())));
    let chain = chain(&worker(&factory));
    let HeadOutcome::Permitted(permitted) = block_on(chain.request_head(asking("t"))) else {
        panic!("replied")
    };
    let mut held = HeldBody::default();
    let piece = vec![b'x'; 101].into();
    let (_, outcome) =
        block_on(chain.body(BodySide::Request, &mut held, permitted.into_inner(), piece, true, chain.len()));
    assert!(matches!(outcome, BodyOutcome::TooLarge { .. }), "{outcome:?}");
    assert_eq!(factory.rollout().report().versions[1].faults, []);
}

#[test]
fn a_detached_run_takes_the_same_version_and_counts_for_nothing() {
    for (candidate, expected) in [(on_request(None), ["two", "one"]), (shadow(Share::ALL, 3), ["one", "one"])]
    {
        let factory = pair(named("one"), named("two"), &candidate);
        let chain = chain(&factory.clone().detached());
        for (exchange, expected) in [asking("a"), exchange("b")].into_iter().zip(expected) {
            let version = factory.rollout().version_of(factory.rollout().side_for(&exchange));
            assert_eq!(version == Version::Canary, expected == "two");
            let (exchange, _) = drive(&chain, exchange);
            assert!(exchange.attributes.iter().all(|(_, name)| name == expected));
        }
        run_spawned();
        let report = factory.rollout().report();
        assert!(report.versions.iter().all(|version| version.exchanges + version.calls == 0), "{report:?}");
        assert_eq!(report.compared, 0);
    }
}

#[test]
fn cpu_time_is_what_the_account_of_the_exchange_says_wherever_it_was_used() {
    // The clocks of this thread would show nothing.
    let aside = version(|_, exchange| {
        exchange.slot().cost.cpu += Duration::from_micros(500);
        Ok(Decision::Next)
    });
    let factory = pair(named("one"), aside, &on_request(None));
    let chain = chain(&worker(&factory));
    drive(&chain, asking("t"));
    let canary = &factory.rollout().report().versions[1];
    assert_eq!((canary.calls, canary.cpu), (3, Duration::from_micros(1500)));
    assert_eq!(canary.latency, Duration::ZERO);
}
