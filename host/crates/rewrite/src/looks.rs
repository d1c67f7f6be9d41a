//! Has a module look at the time before each instruction that may take long.
//!
//! The engine looks at the epoch at the start of each function and loop. Between two such places there may be any
//! number of instructions that copy, fill or grow memory or a table, of which each takes milliseconds. An empty loop
//! before one of them changes nothing else, and has the engine look there too.

#[cfg(test)]
mod tests;

use wasm_encoder::{CodeSection, Module, RawSection};
use wasmparser::{BinaryReaderError, FunctionBody, Operator, Parser, Payload};

/// `loop`, without parameters and results, and its end.
const EMPTY_LOOP: [u8; 3] = [0x03, 0x40, 0x0b];
/// A custom section that names places in the code, which are others afterwards.
const PLACES: &str = "metadata.code.";

/// Returns the core module `module` with an empty loop before each instruction that may take long.
///
/// # Errors
/// If it cannot be read.
pub fn with_looks(module: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut written = Module::new();
    let (mut code, mut bodies_left) = (CodeSection::new(), 0);
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::CodeSectionStart { count, .. } => bodies_left = count,
            Payload::CodeSectionEntry(body) => {
                code.raw(&body_with_looks(&body)?);
                bodies_left -= 1;
                if bodies_left == 0 {
                    written.section(&code);
                }
            }
            Payload::CustomSection(section) if section.name().starts_with(PLACES) => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    written.section(&RawSection { id, data: &module[range] });
                }
            }
        }
    }
    Ok(written.finish())
}

fn body_with_looks(body: &FunctionBody<'_>) -> Result<Vec<u8>, BinaryReaderError> {
    let (bytes, begin) = (body.as_bytes(), body.range().start);
    let mut written = Vec::with_capacity(bytes.len());
    let mut copied = 0;
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset()?;
        if may_take_long(&operator) {
            let at = offset - begin;
            written.extend_from_slice(&bytes[copied..at]);
            written.extend_from_slice(&EMPTY_LOOP);
            copied = at;
        }
    }
    written.extend_from_slice(&bytes[copied..]);
    Ok(written)
}

/// Whether an instruction takes as long as what it is told to do.
fn may_take_long(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::MemoryCopy { .. }
            | Operator::MemoryFill { .. }
            | Operator::MemoryInit { .. }
            | Operator::MemoryGrow { .. }
            | Operator::TableCopy { .. }
            | Operator::TableFill { .. }
            | Operator::TableInit { .. }
            | Operator::TableGrow { .. }
    )
}
