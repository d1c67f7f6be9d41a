//! The types of the contract in the canonical ABI.

use wasmtime::{Result, ValType, bail};

use super::abi::{Lift, Lower, Parameters, Reader, Writer, aligned, case_offset, max, up};
use crate::component::bindings::portcullis::policy::{
    crypto, log, matchers, random, rate_limit, store, types,
};

/// A variant that is given, with its cases in the order of the contract.
macro_rules! given_variant {
    ($type:ty { $($case:ident $(($value:ident: $of:ty))?),* $(,)? }) => {
        impl Lower for $type {
            const ALIGN: u32 = {
                let align = 1;
                $($(let align = max(align, <$of as Lower>::ALIGN);)?)*
                align
            };
            const SIZE: u32 = {
                let size = 0;
                $($(let size = max(size, <$of as Lower>::SIZE);)?)*
                up(case_offset(<Self as Lower>::ALIGN) + size, <Self as Lower>::ALIGN)
            };

            fn store(&self, writer: &mut Writer<'_, '_>, at: u32) -> Result<()> {
                let at = aligned(at, <Self as Lower>::ALIGN)?;
                let case = 0_u8;
                $(
                    if let Self::$case $(($value))? = self {
                        writer.write(at, &[case])?;
                        $($value.store(writer, at.wrapping_add(case_offset(<Self as Lower>::ALIGN)))?;)?
                        return Ok(());
                    }
                    let case = case + 1;
                )*
                bail!("a case of number {case} is not in the contract")
            }
        }
    };
}

given_variant!(types::Refused { InvalidName, InvalidValue, Forbidden, ReadOnly, TooLarge, Other(why: String) });
given_variant!(random::Error { TooMany, Unavailable(why: String), Other(why: String) });
given_variant!(store::Error { Unavailable(why: String), TooLarge, Quota, NotANumber, Other(why: String) });
given_variant!(crypto::KeyError {
    Malformed(why: String),
    Unsupported(what: String),
    WrongAlgorithm(why: String),
    Weak(why: String),
    NoSecret,
    TooLarge,
    TooMany,
    Other(why: String),
});
given_variant!(crypto::Error { NoKey, WrongAlgorithm, TooLarge, Unsupported(what: String), Other(why: String) });
given_variant!(crypto::JwsError {
    Malformed(why: String),
    Unsupported(what: String),
    NoKey,
    WrongSignature,
    TooLarge,
    Other(why: String),
});
given_variant!(matchers::MakeError {
    NotNow,
    Malformed(why: String),
    TooLarge,
    TooMany,
    NoSet,
    Other(why: String),
});
given_variant!(matchers::Error { NoSet, TooLarge, TooCostly, InvalidAddress, Other(why: String) });
given_variant!(matchers::JsonError {
    Malformed(why: String),
    InvalidPointer(pointer: String),
    TooLarge,
    Other(why: String),
});
given_variant!(matchers::JsonValue {
    Null,
    Boolean(value: bool),
    Number(value: String),
    Text(value: String),
    Items(value: String),
    Members(value: String),
});

/// A record that is given, with its fields in the order of the contract.
macro_rules! given_record {
    ($type:ty { $($field:ident: $of:ty),* $(,)? }) => {
        impl Lower for $type {
            const ALIGN: u32 = {
                let align = 1;
                $(let align = max(align, <$of as Lower>::ALIGN);)*
                align
            };
            const SIZE: u32 = {
                let at = 0;
                $(let at = up(at, <$of as Lower>::ALIGN) + <$of as Lower>::SIZE;)*
                up(at, <Self as Lower>::ALIGN)
            };

            fn store(&self, writer: &mut Writer<'_, '_>, at: u32) -> Result<()> {
                let (begin, at) = (aligned(at, <Self as Lower>::ALIGN)?, 0);
                $(
                    let at = up(at, <$of as Lower>::ALIGN);
                    self.$field.store(writer, begin.wrapping_add(at))?;
                    let at = at + <$of as Lower>::SIZE;
                )*
                debug_assert!(at <= <Self as Lower>::SIZE, "the fields of a record lie in it");
                Ok(())
            }
        }
    };
}

given_record!(rate_limit::Verdict {
    allowed: bool,
    remaining: u32,
    retry_after_ms: u64,
    reset_after_ms: u64
});
given_record!(crypto::Verified { key: u32, header: String, payload: Vec<u8> });

/// A record that is handed over.
macro_rules! taken_record {
    ($type:ty { $($field:ident: $of:ty),* $(,)? }) => {
        impl Lift for $type {
            const ALIGN: u32 = {
                let align = 1;
                $(let align = max(align, <$of as Lift>::ALIGN);)*
                align
            };
            const SIZE: u32 = {
                let at = 0;
                $(let at = up(at, <$of as Lift>::ALIGN) + <$of as Lift>::SIZE;)*
                up(at, <Self as Lift>::ALIGN)
            };

            fn flat(types: &mut Vec<ValType>) {
                $(<$of as Lift>::flat(types);)*
            }

            fn lift(parameters: &mut Parameters<'_>, reader: &mut Reader<'_>) -> Result<Self> {
                $(let $field = <$of as Lift>::lift(parameters, reader)?;)*
                Ok(Self { $($field),* })
            }

            fn load(reader: &mut Reader<'_>, begin: u32) -> Result<Self> {
                let at = 0;
                $(
                    let at = up(at, <$of as Lift>::ALIGN);
                    let $field = <$of as Lift>::load(reader, begin.wrapping_add(at))?;
                    let at = at + <$of as Lift>::SIZE;
                )*
                debug_assert!(at <= <Self as Lift>::SIZE, "the fields of a record lie in it");
                Ok(Self { $($field),* })
            }
        }
    };
}

taken_record!(rate_limit::Quota { requests: u32, per_ms: u64, burst: u32 });

/// An enum that is handed over.
macro_rules! taken_enum {
    ($type:ty { $($case:ident),* $(,)? }) => {
        impl $type {
            fn of_case(number: u32) -> Result<Self> {
                let cases = [$(Self::$case),*];
                match cases.get(number as usize) {
                    Some(case) => Ok(*case),
                    None => bail!("unexpected discriminant: {number}"),
                }
            }
        }

        impl Lift for $type {
            const SIZE: u32 = 1;
            const ALIGN: u32 = 1;

            fn flat(types: &mut Vec<ValType>) {
                types.push(ValType::I32);
            }

            fn lift(parameters: &mut Parameters<'_>, _: &mut Reader<'_>) -> Result<Self> {
                Self::of_case(parameters.number()?)
            }

            fn load(reader: &mut Reader<'_>, at: u32) -> Result<Self> {
                Self::of_case(u8::load(reader, at)?.into())
            }
        }
    };
}

taken_enum!(log::Level { Trace, Debug, Info, Warn, Error });
