//! Whether the code of a component may take long to compile, or much memory, found out without compiling it.
//!
//! What a compiler keeps of a function is, for each of its blocks, the values that live there. A function of a megabyte
//! can have a hundred thousand blocks and as many values, which takes minutes and gigabytes. Such code is compiled by a
//! process of its own, with limits: see [`Compiler`](crate::Compiler). Ordinary plugins are far from it.

#[cfg(test)]
mod tests;

use wasmparser::{
    FuncValidatorAllocations, Operator, Parser, Payload, ValidPayload, Validator, WasmFeatures,
};

/// Bytes of code, types, imports and all else but data: a megabyte compiles in some seconds.
const BYTES_MAX: usize = 4 << 20;
/// Values that live in blocks, of one function: some two seconds and 200 MiB.
const FUNCTION_WEIGHT_MAX: u64 = 1 << 20;
/// And of all functions.
const WEIGHT_MAX: u64 = 8 << 20;

/// Returns whether compiling the component may take more than some seconds or some hundred megabytes. A component that
/// is not valid is not compiled at all.
pub(crate) fn is_heavy(component: &[u8]) -> bool {
    match weigh(component) {
        Ok(weight) => weight.is_heavy(),
        Err(_) => false,
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Weight {
    bytes: usize,
    largest: u64,
    all: u64,
    /// Whether components in it call one another, for which code is made whose size their types tell and not their
    /// bytes.
    is_linked: bool,
}

impl Weight {
    fn is_heavy(&self) -> bool {
        self.bytes > BYTES_MAX
            || self.largest > FUNCTION_WEIGHT_MAX
            || self.all > WEIGHT_MAX
            || self.is_linked
    }
}

fn weigh(component: &[u8]) -> wasmparser::Result<Weight> {
    let mut weight = Weight::default();
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut allocations = FuncValidatorAllocations::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        match &payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ModuleSection { .. } | Payload::ComponentCanonicalSection(_) if depth > 1 => {
                weight.is_linked = true;
            }
            _ => {}
        }
        match &payload {
            // Of a module or component in it, what is inside comes as well.
            Payload::ModuleSection { .. }
            | Payload::ComponentSection { .. }
            | Payload::DataSection(_)
            | Payload::CustomSection(_) => {}
            payload => weight.bytes += payload.as_section().map_or(0, |(_, range)| range.len()),
        }
        let ValidPayload::Func(function, body) = validator.payload(&payload)? else { continue };
        // It is heavy already, whatever its functions are.
        if weight.is_heavy() {
            return Ok(weight);
        }
        let mut function = function.into_validator(allocations);
        let mut reader = body.get_binary_reader();
        function.read_locals(&mut reader)?;
        let mut operators = body.get_operators_reader()?;
        let mut of_function = 0_u64;
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            let before = function.operand_stack_height();
            function.op(offset, &operator)?;
            let live =
                u64::from(function.len_locals()) + u64::from(before.max(function.operand_stack_height()));
            of_function += weight_of(&operator, live);
            if of_function > FUNCTION_WEIGHT_MAX {
                break;
            }
        }
        weight.largest = weight.largest.max(of_function);
        weight.all = weight.all.saturating_add(of_function);
        allocations = function.into_allocations();
    }
    Ok(weight)
}

/// Returns the cost of one operator while this many values are live.
fn weight_of(operator: &Operator<'_>, live: u64) -> u64 {
    match operator {
        Operator::Block { .. }
        | Operator::Loop { .. }
        | Operator::If { .. }
        | Operator::Else
        | Operator::Try { .. }
        | Operator::TryTable { .. }
        | Operator::Catch { .. }
        | Operator::CatchAll
        | Operator::Br { .. }
        | Operator::BrIf { .. }
        | Operator::BrOnNull { .. }
        | Operator::BrOnNonNull { .. }
        | Operator::BrOnCast { .. }
        | Operator::BrOnCastFail { .. }
        // Arguments and results, of which there may be a thousand each.
        | Operator::Call { .. }
        | Operator::CallIndirect { .. }
        | Operator::CallRef { .. }
        | Operator::ReturnCall { .. }
        | Operator::ReturnCallIndirect { .. }
        | Operator::ReturnCallRef { .. } => live + 1,
        Operator::BrTable { targets } => (live + 1).saturating_add(u64::from(targets.len())),
        _ => 1,
    }
}
