use wasmparser::{Operator, Parser, Payload, Validator};

use super::{may_take_long, with_looks};

/// All that may take long, in straight code and where nothing comes to, with values below on the stack.
const MODULE: &str = r#"(module
    (memory 1) (table 10 funcref) (data $d "x") (elem $e func 0)
    (func (result i32)
        (i32.const 7)
        (memory.copy (i32.const 0) (i32.const 1) (i32.const 2))
        (memory.fill (i32.const 0) (i32.const 1) (i32.const 2))
        (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))
        (drop (memory.grow (i32.const 0)))
        (table.copy (i32.const 0) (i32.const 1) (i32.const 2))
        (table.fill (i32.const 0) (ref.null func) (i32.const 2))
        (table.init $e (i32.const 0) (i32.const 0) (i32.const 1))
        (drop (table.grow (ref.null func) (i32.const 1)))
        (block (br 0) (memory.copy (i32.const 0) (i32.const 1) (i32.const 2)))
        (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 2))))
    (func (param i64) (local f32 f32) (drop (local.get 0))))"#;

/// The instructions of all functions, without empty loops, and how many of these there are.
fn instructions(module: &[u8]) -> (Vec<String>, usize) {
    let (mut instructions, mut looks) = (Vec::new(), 0);
    for payload in Parser::new(0).parse_all(module) {
        let Payload::CodeSectionEntry(body) = payload.unwrap() else { continue };
        let mut operators = body.get_operators_reader().unwrap();
        while !operators.eof() {
            let operator = operators.read().unwrap();
            if may_take_long(&operator) {
                let end = instructions.pop();
                let begin = instructions.pop();
                assert_eq!(
                    (begin.as_deref(), end.as_deref()),
                    (Some("Loop { blockty: Empty }"), Some("End"))
                );
                looks += 1;
            }
            instructions.push(format!("{operator:?}"));
        }
    }
    (instructions, looks)
}

#[test]
fn there_is_a_look_before_each_and_nothing_else_changes() {
    let before = wat::parse_str(MODULE).unwrap();
    let after = with_looks(&before).unwrap();
    Validator::new().validate_all(&after).unwrap();
    let (with, looks) = instructions(&after);
    assert_eq!(looks, 10);
    let mut without = Vec::new();
    for payload in Parser::new(0).parse_all(&before) {
        let Payload::CodeSectionEntry(body) = payload.unwrap() else { continue };
        let operators = body.get_operators_reader().unwrap().into_iter();
        without.extend(operators.map(|operator: Result<Operator<'_>, _>| format!("{:?}", operator.unwrap())));
    }
    assert_eq!(with, without);
    let sections = |module: &[u8]| {
        let payloads = Parser::new(0).parse_all(module).map(Result::unwrap);
        let of_others = payloads.filter_map(|payload| payload.as_section()).filter(|(id, _)| *id != 10);
        of_others.map(|(id, range)| (id, module[range].to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(sections(&before), sections(&after));
}

#[test]
fn a_module_without_them_stays_as_it_is_and_one_that_cannot_be_read_is_refused() {
    let module = wat::parse_str(r#"(module (memory 1) (func (export "f") (call 0)))"#).unwrap();
    assert_eq!(with_looks(&module).unwrap(), module);
    assert!(with_looks(&module[..module.len() - 3]).is_err());
    assert!(with_looks(b"\0asm").is_err());
}
