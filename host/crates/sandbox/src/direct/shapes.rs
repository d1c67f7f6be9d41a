//! Host functions by the numbers that they take and give.
//!
//! wasmtime can define a function by a list of types, and then makes a list of values for each call. That takes longer
//! than most functions of the contract themselves. So the usual lists of types are written out here, and a call of one
//! of them has its values on the stack.

use wasmtime::{Caller, FuncType, Linker, Result, Val, ValType, bail};

use crate::instance::state::State;

/// What a function does: takes numbers, and gives one or none.
pub(super) type Call = Box<dyn Fn(&mut Caller<'_, State>, &[Val]) -> Result<Option<Val>> + Send + Sync>;

/// Defines a function with such parameters and such a result.
pub(super) fn define(
    linker: &mut Linker<State>,
    (module, name): (&str, &str),
    params: Vec<ValType>,
    result: Option<ValType>,
    call: Call,
) -> Result<()> {
    /// Arms for functions of these parameters: without a result, with a small and with a large one.
    macro_rules! shapes {
        ($([$($at:ident $of:ident $number:ident),*])*) => {
            match (params.as_slice(), &result) {
                $(
                    ([$(ValType::$of),*], None) => {
                        linker.func_wrap(module, name, move |mut caller: Caller<'_, State>, $($at: $number),*| {
                            call(&mut caller, &[$(Val::$of($at)),*]).map(drop)
                        })?;
                    }
                    ([$(ValType::$of),*], Some(ValType::I32)) => {
                        linker.func_wrap(module, name, move |mut caller: Caller<'_, State>, $($at: $number),*| {
                            match call(&mut caller, &[$(Val::$of($at)),*])? {
                                Some(Val::I32(given)) => Ok(given),
                                _ => bail!("a function has given another number than it should"),
                            }
                        })?;
                    }
                )*
                _ => {
                    let ty = FuncType::new(linker.engine(), params, result);
                    linker.func_new(module, name, ty, move |mut caller, params, results| {
                        if let (Some(given), Some(result)) = (call(&mut caller, params)?, results.first_mut()) {
                            *result = given;
                        }
                        Ok(())
                    })?;
                }
            }
        };
    }
    shapes! {
        []
        [a I32 i32]
        [a I32 i32, b I32 i32]
        [a I32 i32, b I32 i32, c I32 i32]
        [a I32 i32, b I32 i32, c I32 i32, d I32 i32]
        [a I32 i32, b I32 i32, c I32 i32, d I32 i32, e I32 i32]
        [a I32 i32, b I32 i32, c I32 i32, d I32 i32, e I32 i32, f I32 i32]
        [a I32 i32, b I32 i32, c I32 i32, d I64 i64, e I32 i32, f I32 i32, g I32 i32]
        [a I64 i64]
        [a I64 i64, b I32 i32]
        [a I64 i64, b I64 i64, c I32 i32]
    }
    Ok(())
}
