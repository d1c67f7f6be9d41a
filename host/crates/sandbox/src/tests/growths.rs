//! Memory, tables and instances that are refused one by one: each time another one, until nothing is refused any more.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use portcullis_model::Isolation;
use portcullis_policy::{Exchange, FaultKind, Policy};
use wasm_encoder::{
    Alias, BlockType, CanonicalFunctionSection, CanonicalOption, CodeSection, Component,
    ComponentAliasSection, ComponentExportKind, ComponentExportSection, ComponentInstanceSection,
    ComponentTypeSection, ComponentValType, ExportKind, ExportSection, Function, FunctionSection, HeapType,
    InstanceSection, MemorySection, MemoryType, Module, ModuleArg, ModuleSection, PrimitiveValType, RefType,
    TableSection, TableType, TypeSection, ValType,
};

use super::calls::until;
use super::faults::{HOOKS, hook};
use super::injected::{Alone, Plan, alone, asking, call, modes};
use super::{both, config, run};
use crate::{ConfigureError, Sandbox, SandboxOptions};

/// More than any of these takes.
const MANY: u32 = 40;

/// What a refusal is told as.
fn kind(as_total: bool) -> FaultKind {
    if as_total { FaultKind::Exhausted } else { FaultKind::Memory }
}

#[test]
fn each_growth_while_a_policy_is_configured() {
    both(|| {
        let mut alone = alone();
        for (guest, config) in modes("growing while configured", r#"{"configure":"leak"}"#) {
            let component = alone.component(guest, super::ISOLATION.get());
            let plan = Plan::of(&config.name);
            for as_total in [false, true] {
                let mut refused = Vec::new();
                let configured = (1..MANY).find_map(|next| {
                    plan.refuse_growths(next, as_total);
                    let configured = alone.configure(&component, &config);
                    assert_eq!(plan.refuse_nothing(), configured.is_err(), "{next}: {configured:?}");
                    match configured {
                        Ok(factory) => Some(factory),
                        Err(ConfigureError::Failed { kind: found, message, .. }) => {
                            // What tables want is never too much for all policies together.
                            let is_table = message.contains("tables of");
                            assert!(found == kind(as_total && !is_table), "{next}: {found}: {message}");
                            assert_eq!(alone.alive(), (0, 0), "{next}: {message}");
                            refused.push(message);
                            None
                        }
                        Err(error) => panic!("{next}: {error}"),
                    }
                });
                let factory = configured.expect("it is configured when nothing is refused");
                assert!(refused.iter().any(|message| message.contains("tables of")), "{refused:?}");
                // The first memory, what `configure` takes, and, to read it, a page more.
                let images = usize::from(config.isolation == Isolation::Exchange);
                assert!(refused.len() >= 4 + images, "{refused:?}");
                let (_, result) = call(&*factory.worker(), "completed", asking("nothing"));
                assert!(result.is_ok(), "{result:?}");
            }
        }
    });
}

#[test]
fn each_growth_in_each_hook() {
    both(|| {
        let mut alone = alone();
        for (guest, config) in modes("growing", "{}") {
            let component = alone.component(guest, super::ISOLATION.get());
            let plan = Plan::of(&config.name);
            let policy = alone.policy(&component, &config);
            drop(call(&*policy, "completed", asking("nothing")));
            let at_rest = alone.alive();
            for (name, as_total) in HOOKS.into_iter().flat_map(|name| [(name, false), (name, true)]) {
                let mut refused = 0;
                loop {
                    plan.refuse_growths(refused + 1, as_total);
                    let (exchange, result) = run(&*policy, hook(name), asking("leak"));
                    let has_refused = plan.refuse_nothing();
                    let Err(fault) = result else {
                        assert!(!has_refused, "a growth in {name} was refused, and nobody told");
                        break;
                    };
                    if fault.kind == FaultKind::Deadline {
                        // On a busy machine the first touch of some memory alone can take as long.
                        continue;
                    }
                    let is_table = fault.message.contains("tables of");
                    assert!(fault.kind == kind(as_total && !is_table), "{refused} in {name}: {fault}");
                    assert_eq!(fault.hook, format!("on-{name}"));
                    check_rest(&alone, &*policy, exchange, at_rest);
                    refused += 1;
                    assert!(refused < MANY);
                }
                // At least what the hook takes, and if its instance is new, all that this starts with.
                let least = if config.isolation == Isolation::Exchange { 4 } else { 1 };
                assert!(refused >= least, "{refused} in {name}");
                // A shared instance is larger now, and makes place for a new one.
                drop(call(&*policy, name, asking("trap")));
                let (exchange, _) = call(&*policy, name, asking("nothing"));
                check_rest(&alone, &*policy, exchange, at_rest);
            }
        }
    });
}

/// Checks that the next hook of the exchange is called, and that nothing is left of the one before.
fn check_rest(alone: &Alone, policy: &dyn Policy, mut exchange: Box<Exchange>, at_rest: (u32, u64)) {
    assert_eq!(exchange.request.target(), "/a/b?q=1");
    assert!(exchange.request.fields.set(b"x-do", b"nothing").is_ok());
    let (exchange, result) = call(policy, "response-body", exchange);
    assert!(result.is_ok(), "{result:?}");
    drop(exchange);
    assert_eq!(alone.alive(), at_rest);
}

#[test]
fn each_growth_of_an_instance_that_takes_the_place_of_one_that_failed() {
    let mut alone = alone();
    // Shared instances are made anew, and so are others if there is no image to start from.
    for isolation in [Isolation::Worker, Isolation::Exchange] {
        super::ISOLATION.set(isolation);
        for (guest, config) in modes("growing anew", r#"{"configure":"leak","print":"yes"}"#) {
            let component = alone.component(guest, isolation);
            let plan = Plan::of(&config.name);
            let policy = alone.policy(&component, &config);
            let mut refused = 0;
            loop {
                let (exchange, result) = call(&*policy, "request-head", asking("trap"));
                assert_eq!(result.unwrap_err().kind, FaultKind::Trap);
                drop(exchange);
                assert_eq!(alone.alive(), (0, 0));
                plan.refuse_growths(refused + 1, false);
                let result = call(&*policy, "request-head", asking("nothing")).1;
                assert_eq!(plan.refuse_nothing(), result.is_err(), "{result:?}");
                match result {
                    Ok(()) => break,
                    Err(fault) => {
                        assert_eq!(fault.kind, FaultKind::Memory, "{fault}");
                        assert!(fault.message.contains("a new instance could not be made: "), "{fault}");
                    }
                }
                refused += 1;
                assert!(refused < MANY);
                assert_eq!(alone.alive(), (0, 0));
                let (_, result) = call(&*policy, "request-head", asking("nothing"));
                assert!(result.is_ok(), "{result:?}");
            }
            assert!(refused >= 4, "{refused}");
        }
    }
}

#[test]
fn each_instance() {
    both(|| {
        let mut alone = alone();
        for (guest, config) in modes("wanting an instance", "{}") {
            let component = alone.component(guest, super::ISOLATION.get());
            let plan = Plan::of(&config.name);
            plan.refuse_instances();
            match alone.configure(&component, &config) {
                Err(ConfigureError::Failed { kind: FaultKind::Exhausted, .. }) => {}
                other => panic!("{other:?}"),
            }
            assert!(plan.refuse_nothing());
            assert_eq!(alone.alive(), (0, 0));
            let factory = alone.configure(&component, &config).unwrap();
            let first = factory.clone().worker();
            while alone.alive().0 > 1 {
                drop(factory.clone().worker());
            }
            // A worker without one makes it for the first exchange, which meets the refusal if it is refused again.
            plan.refuse_instances();
            let second = factory.worker();
            assert_eq!(plan.refuse_nothing(), config.isolation == Isolation::Worker);
            for name in HOOKS {
                plan.refuse_instances();
                let (exchange, result) = call(&*second, name, asking("nothing"));
                let fault = result.unwrap_err();
                assert_eq!((fault.kind, fault.hook), (FaultKind::Exhausted, &*format!("on-{name}")));
                assert!(plan.refuse_nothing());
                assert_eq!(exchange.request.target(), "/a/b?q=1");
                let (exchange, result) = call(&*second, name, exchange);
                assert!(result.is_ok(), "{result:?}");
                let (_, result) = call(&*second, name, asking("trap"));
                assert_eq!(result.unwrap_err().kind, FaultKind::Trap);
                drop(exchange);
            }
            plan.refuse_instances();
            let (_, result) = call(&*first, "request-head", asking("nothing"));
            assert_eq!(
                result.is_ok(),
                config.isolation == Isolation::Worker,
                "only a shared one is there already"
            );
            plan.refuse_nothing();
        }
    });
}

#[test]
fn each_growth_and_each_instance_of_a_tick() {
    both(|| {
        let mut alone = alone();
        for (guest, mut config) in modes("growing ticks", r#"{"tick":"leak"}"#) {
            config.tick = Duration::from_millis(10);
            // So that its memory does not fill up meanwhile.
            config.limits.memory_bytes = 64 << 20;
            let component = alone.component(guest, super::ISOLATION.get());
            let plan = Plan::of(&config.name);
            let policy = alone.configure(&component, &config).unwrap().worker();
            for next in 1..5 {
                for as_total in [false, true] {
                    let before = faults(&alone, &policy);
                    plan.refuse_growths(next, as_total);
                    // A tick that was under way may yet tell of what was refused before.
                    until(|| plan.has_refused_growth() && faults(&alone, &policy) > before);
                    assert!(plan.refuse_nothing());
                }
            }
            // A shared instance is wanted when the last one is gone.
            plan.refuse_growths(1, false);
            plan.refuse_instances();
            let before = faults(&alone, &policy);
            until(|| faults(&alone, &policy) > before + 1);
            plan.refuse_nothing();
            let (calls, before) = (ticks(&alone, &policy), faults(&alone, &policy));
            until(|| ticks(&alone, &policy) > calls + 1);
            assert!(faults(&alone, &policy) <= before + 1, "one that was under way, and then it ticks again");
        }
    });
}

/// Of `on-tick`, and all of them of a kind that tells what was refused.
fn faults(alone: &Alone, policy: &Rc<dyn Policy>) -> u64 {
    let faults = alone.report(&**policy).faults;
    // On a busy machine a tick may meet its deadline.
    let refused = |kind: &FaultKind| matches!(kind, FaultKind::Memory | FaultKind::Exhausted);
    assert!(
        faults
            .iter()
            .all(|(hook, kind, _)| *hook == "on-tick" && (refused(kind) || *kind == FaultKind::Deadline)),
        "{faults:?}"
    );
    faults.iter().filter(|(_, kind, _)| refused(kind)).map(|(_, _, count)| count).sum()
}

fn ticks(alone: &Alone, policy: &Rc<dyn Policy>) -> u64 {
    alone.report(&**policy).calls.iter().map(|(_, count)| count).sum()
}

/// A policy that has `on-tick` alone: it makes its table larger by 1,000 elements until that fails, and then traps.
fn table_grower() -> Vec<u8> {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    code.loop_(BlockType::Empty)
        .ref_null(HeapType::FUNC)
        .i32_const(1000)
        .table_grow(0)
        .i32_const(0)
        .i32_ge_s()
        .br_if(0)
        .end()
        .unreachable()
        .end();
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: 1,
        maximum: None,
        shared: false,
    });
    with_tick(&function, &tables, 1)
}

/// A policy that has an `on-tick` which does nothing, and so many memories.
fn with_memories(memories: u32) -> Vec<u8> {
    let mut function = Function::new([]);
    function.instructions().end();
    with_tick(&function, &TableSection::new(), memories)
}

/// A component of so many instances of a module with a memory, whose function is `on-tick`.
fn with_tick(function: &Function, tables: &TableSection, modules: u32) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    types.ty().function([], [ValType::I32]);
    let mut functions = FunctionSection::new();
    functions.function(0).function(1);
    let mut memory = MemorySection::new();
    memory.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    exports.export("tick", ExportKind::Func, 1).export("memory", ExportKind::Memory, 0);
    let mut code = CodeSection::new();
    // What is returned lies at the start of the memory: zeros, which say that all is well.
    let mut tick = Function::new([]);
    tick.instructions().call(0).i32_const(0).end();
    code.function(function).function(&tick);
    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(tables)
        .section(&memory)
        .section(&exports)
        .section(&code);

    let mut instances = InstanceSection::new();
    for _ in 0..modules {
        instances.instantiate(0, Vec::<(&str, ModuleArg)>::new());
    }
    let mut aliases = ComponentAliasSection::new();
    aliases.alias(Alias::CoreInstanceExport { instance: 0, kind: ExportKind::Func, name: "tick" });
    aliases.alias(Alias::CoreInstanceExport { instance: 0, kind: ExportKind::Memory, name: "memory" });
    let mut types = ComponentTypeSection::new();
    types.defined_type().result(None, Some(ComponentValType::Primitive(PrimitiveValType::String)));
    let result = Some(ComponentValType::Type(0));
    types.function().params(Vec::<(&str, ComponentValType)>::new()).result(result);
    let mut lifted = CanonicalFunctionSection::new();
    lifted.lift(0, 1, [CanonicalOption::Memory(0)]);
    let mut interface = ComponentInstanceSection::new();
    interface.export_items([("on-tick", ComponentExportKind::Func, 0)]);
    let mut hooks = ComponentExportSection::new();
    hooks.export("portcullis:policy/tick@0.2.1", ComponentExportKind::Instance, 0, None);
    let mut component = Component::new();
    component.section(&ModuleSection(&module)).section(&instances).section(&aliases).section(&types);
    component.section(&lifted).section(&interface).section(&hooks);
    component.finish()
}

#[test]
fn a_table_that_grows_without_end() {
    both(|| {
        let alone = alone();
        let component = alone.compile(&table_grower(), super::ISOLATION.get()).unwrap().component;
        let mut config = config("growing tables", "{}");
        config.tick = Duration::from_millis(10);
        let policy = alone.configure(&component, &config).unwrap().worker();
        until(|| faults(&alone, &policy) >= 2);
        let last = alone.report(&*policy).last_fault.unwrap();
        assert_eq!(last.kind, FaultKind::Memory);
        assert!(last.message.contains("it asked for tables of"), "{}", last.message);
    });
}

/// What the engine's pool has no more of is told as what it is, and not as the policy's doing.
#[test]
fn what_the_pool_does_not_have() {
    both(|| {
        // It has two memories for each instance that there may be.
        let sandbox = Sandbox::new(SandboxOptions { instances_max: 1, ..SandboxOptions::default() }).unwrap();
        for (memories, fit) in [(2, true), (3, false)] {
            let component =
                sandbox.compile(&with_memories(memories), super::ISOLATION.get()).unwrap().component;
            let configured = sandbox.configure(&component, &config("many memories", "{}"), &BTreeMap::new());
            match configured.map(drop) {
                Ok(()) => assert!(fit, "{memories} memories"),
                Err(ConfigureError::Failed { kind: FaultKind::Exhausted, message, .. }) => {
                    assert!(!fit && message.contains("concurrent limit of 2"), "{message}");
                }
                Err(error) => panic!("{memories} memories: {error}"),
            }
            assert_eq!(sandbox.metrics().instances, 0);
            assert_eq!(sandbox.metrics().memory_bytes, 0);
        }
    });
}
