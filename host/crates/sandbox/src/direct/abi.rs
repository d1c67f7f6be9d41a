//! The canonical ABI of the Component Model, as far as the contract needs it: how values lie in a guest's memory and in
//! the parameters of its functions. Source: Component Model, CanonicalABI.md.
//!
//! A guest is trusted no further than by wasmtime itself: pointers are checked for bounds and alignment, text for
//! UTF-8, and what is handed over in a call has a bound.

use wasmtime::{Caller, Result, Val, ValType, bail, ensure, format_err};

use super::guest::Guest;
use crate::instance::state::State;

/// Enters a host function: returns the guest's memory and the state. Looks at the time, because nothing else may have
/// done so since the last host function.
pub(super) fn enter<'a>(caller: &'a mut Caller<'_, State>) -> Result<(Reader<'a>, &'a mut State)> {
    let guest = caller.data().guest()?;
    ensure!(!guest.closed, "cannot leave component instance");
    let (memory, left) = (guest.memory, guest.bytes_max);
    let (memory, state) = memory.data_and_store_mut(caller);
    state.budget.check()?;
    Ok((Reader { memory, left }, state))
}

impl State {
    pub(super) fn guest(&self) -> Result<&Guest> {
        self.guest.as_deref().ok_or_else(|| format_err!("the guest has no memory yet"))
    }
}

/// Reads what a guest hands over.
pub(super) struct Reader<'a> {
    memory: &'a mut [u8],
    left: usize,
}

impl Reader<'_> {
    /// Takes these bytes, which count as handed over.
    fn take(&mut self, at: u32, bytes: usize, what: &str) -> Result<&[u8]> {
        let Some(left) = self.left.checked_sub(bytes) else {
            // As wasmtime says it: it is told by these words.
            bail!("too much data is being copied; fuel allocated for hostcalls has been exhausted");
        };
        self.left = left;
        match slice(self.memory, at, bytes) {
            Some(bytes) => Ok(bytes),
            None => bail!("{what} pointer/length out of bounds of memory"),
        }
    }

    /// Bytes at a place, which stay in the guest's memory.
    pub(super) fn bytes(&mut self, at: u32, length: u32) -> Result<&[u8]> {
        self.take(at, length as usize, "list")
    }

    /// Text at a place, which stays in the guest's memory.
    pub(super) fn text(&mut self, at: u32, length: u32) -> Result<&str> {
        Ok(std::str::from_utf8(self.take(at, length as usize, "string")?)?)
    }

    /// Two texts.
    pub(super) fn texts(&mut self, first: (u32, u32), second: (u32, u32)) -> Result<(&str, &str)> {
        self.take(first.0, first.1 as usize, "string")?;
        self.take(second.0, second.1 as usize, "string")?;
        let text = |(at, length): (u32, u32)| slice(self.memory, at, length as usize).unwrap_or_default();
        Ok((std::str::from_utf8(text(first))?, std::str::from_utf8(text(second))?))
    }

    /// Text and bytes.
    pub(super) fn text_and_bytes(&mut self, text: (u32, u32), bytes: (u32, u32)) -> Result<(&str, &[u8])> {
        self.take(text.0, text.1 as usize, "string")?;
        self.take(bytes.0, bytes.1 as usize, "list")?;
        let part = |(at, length): (u32, u32)| slice(self.memory, at, length as usize).unwrap_or_default();
        Ok((std::str::from_utf8(part(text))?, part(bytes)))
    }

    /// The bytes of a value that lies at `at`.
    fn fixed<const N: usize>(&self, at: u32) -> Result<[u8; N]> {
        let bytes = slice(self.memory, at, N).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| format_err!("pointer out of bounds of memory"))
    }

    /// Writes what has a place already, such as the result that the guest has left room for.
    pub(super) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<()> {
        put(self.memory, at, bytes)
    }
}

fn slice(memory: &[u8], at: u32, bytes: usize) -> Option<&[u8]> {
    memory.get(at as usize..)?.get(..bytes)
}

fn put(memory: &mut [u8], at: u32, bytes: &[u8]) -> Result<()> {
    let place = memory.get_mut(at as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
    place.ok_or_else(|| format_err!("pointer out of bounds of memory"))?.copy_from_slice(bytes);
    Ok(())
}

/// A value that a guest hands over.
pub(super) trait Lift: Sized {
    const SIZE: u32;
    const ALIGN: u32;
    /// Appends the types of the parameters that it becomes.
    fn flat(types: &mut Vec<ValType>);
    /// Reads it of parameters.
    fn lift(parameters: &mut Parameters<'_>, reader: &mut Reader<'_>) -> Result<Self>;
    /// Reads it of memory.
    fn load(reader: &mut Reader<'_>, at: u32) -> Result<Self>;
}

/// The parameters of a call that were not read yet.
pub(super) struct Parameters<'a>(pub(super) std::slice::Iter<'a, Val>);

impl Parameters<'_> {
    pub(super) fn number(&mut self) -> Result<u32> {
        match self.0.next() {
            Some(Val::I32(number)) => Ok(number.cast_unsigned()),
            _ => bail!("a parameter is missing"),
        }
    }
}

macro_rules! lift_numbers {
    ($($type:ty: $bytes:literal $val:ident $flat:ident |$value:ident| $from:expr;)*) => {
        $(impl Lift for $type {
            const SIZE: u32 = $bytes;
            const ALIGN: u32 = $bytes;

            fn flat(types: &mut Vec<ValType>) {
                types.push(ValType::$flat);
            }

            fn lift(parameters: &mut Parameters<'_>, _: &mut Reader<'_>) -> Result<Self> {
                match parameters.0.next() {
                    Some(Val::$val($value)) => Ok($from),
                    _ => bail!("a parameter is missing"),
                }
            }

            fn load(reader: &mut Reader<'_>, at: u32) -> Result<Self> {
                Ok(<$type>::from_le_bytes(reader.fixed(aligned(at, <Self as Lift>::ALIGN)?)?))
            }
        })*
    };
}

lift_numbers! {
    u8: 1 I32 I32 |value| *value as u8;
    u16: 2 I32 I32 |value| *value as u16;
    u32: 4 I32 I32 |value| value.cast_unsigned();
    u64: 8 I64 I64 |value| value.cast_unsigned();
    i64: 8 I64 I64 |value| *value;
    f64: 8 F64 F64 |value| f64::from_bits(*value);
}

impl Lift for bool {
    const SIZE: u32 = 1;
    const ALIGN: u32 = 1;

    fn flat(types: &mut Vec<ValType>) {
        types.push(ValType::I32);
    }

    fn lift(parameters: &mut Parameters<'_>, _: &mut Reader<'_>) -> Result<Self> {
        Ok(parameters.number()? != 0)
    }

    fn load(reader: &mut Reader<'_>, at: u32) -> Result<Self> {
        Ok(u8::load(reader, at)? != 0)
    }
}

/// Texts and lists: a place and a length.
macro_rules! lift_lists {
    ($($type:ty $(where $T:ident: $bound:ident)?: |$reader:ident, $at:ident, $length:ident| $from:expr;)*) => {
        $(impl$(<$T: $bound>)? Lift for $type {
            const SIZE: u32 = 8;
            const ALIGN: u32 = 4;

            fn flat(types: &mut Vec<ValType>) {
                types.extend([ValType::I32, ValType::I32]);
            }

            fn lift(parameters: &mut Parameters<'_>, $reader: &mut Reader<'_>) -> Result<Self> {
                let ($at, $length) = (parameters.number()?, parameters.number()?);
                $from
            }

            fn load($reader: &mut Reader<'_>, at: u32) -> Result<Self> {
                let ($at, $length) = (u32::load($reader, at)?, u32::load($reader, at.wrapping_add(4))?);
                $from
            }
        })*
    };
}

lift_lists! {
    String: |reader, at, length| Ok(reader.text(at, length)?.to_owned());
    Vec<u8>: |reader, at, length| Ok(reader.bytes(at, length)?.to_vec());
    Vec<T> where T: Item: |reader, at, length| list(reader, at, length);
}

/// What lists consist of, except bytes.
pub(super) trait Item: Lift {}

impl Item for u32 {}
impl Item for String {}
impl<A: Lift, B: Lift> Item for (A, B) {}

fn list<T: Item>(reader: &mut Reader<'_>, at: u32, length: u32) -> Result<Vec<T>> {
    let at = match at.is_multiple_of(T::ALIGN) {
        true => at,
        false => bail!("list pointer is not aligned"),
    };
    reader.take(at, length as usize * T::SIZE as usize, "list")?;
    (0..length).map(|item| T::load(reader, at + item * T::SIZE)).collect()
}

impl<T: Lift> Lift for Option<T> {
    const SIZE: u32 = up(case_offset(T::ALIGN) + T::SIZE, T::ALIGN);
    const ALIGN: u32 = T::ALIGN;

    fn flat(types: &mut Vec<ValType>) {
        types.push(ValType::I32);
        T::flat(types);
    }

    fn lift(parameters: &mut Parameters<'_>, reader: &mut Reader<'_>) -> Result<Self> {
        let is_some = is_some(parameters.number()?)?;
        if !is_some {
            let mut unused = Vec::new();
            T::flat(&mut unused);
            for _ in unused {
                parameters.0.next();
            }
            return Ok(None);
        }
        T::lift(parameters, reader).map(Some)
    }

    fn load(reader: &mut Reader<'_>, at: u32) -> Result<Self> {
        match is_some(u8::load(reader, at)?.into())? {
            true => T::load(reader, at.wrapping_add(case_offset(T::ALIGN))).map(Some),
            false => Ok(None),
        }
    }
}

fn is_some(discriminant: u32) -> Result<bool> {
    match discriminant {
        0 => Ok(false),
        1 => Ok(true),
        _ => bail!("invalid option discriminant"),
    }
}

/// What a host function gives.
pub(super) trait Lower {
    const SIZE: u32;
    const ALIGN: u32;
    /// The type of the one value that it is as the result of a function, or `None` if it lies in memory.
    const RESULT: Option<ValType> = None;

    /// That value.
    fn value(&self) -> Val {
        Val::I32(0)
    }

    /// Writes it to memory.
    fn store(&self, writer: &mut Writer<'_, '_>, at: u32) -> Result<()>;
}

/// Writes what is given to a guest.
pub(super) struct Writer<'a, 'b>(pub(super) &'a mut Caller<'b, State>);

impl Writer<'_, '_> {
    pub(super) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<()> {
        let memory = self.0.data().guest()?.memory;
        put(memory.data_mut(&mut *self.0), at, bytes)
    }

    /// Has the guest give a place for so many bytes.
    pub(super) fn allocate(&mut self, bytes: usize, align: u32) -> Result<u32> {
        let size = u32::try_from(bytes)?;
        // Nothing needs no place, but a pointer that is none would be no list to some languages.
        if size == 0 {
            return Ok(align);
        }
        // Taken out for the call, because a copy would count references in three places.
        let guest = self.guest()?;
        let Some(realloc) = guest.realloc.take() else { bail!("the guest takes nothing") };
        guest.closed = true;
        let at = realloc.call(&mut *self.0, (0, 0, align, size));
        let guest = self.guest()?;
        guest.realloc = Some(realloc);
        guest.closed = false;
        let at = at?;
        ensure!(at.is_multiple_of(align), "realloc return: result not aligned");
        let end = u64::from(at) + u64::from(size);
        let memory = self.0.data().guest()?.memory.data_size(&*self.0) as u64;
        ensure!(end <= memory, "realloc return: beyond end of memory");
        Ok(at)
    }

    fn guest(&mut self) -> Result<&mut Guest> {
        self.0.data_mut().guest.as_deref_mut().ok_or_else(|| format_err!("the guest has no memory yet"))
    }

    /// Gives bytes, and writes at `at` where they are.
    pub(super) fn give(&mut self, at: u32, bytes: &[u8]) -> Result<()> {
        let place = self.allocate(bytes.len(), 1)?;
        self.write(place, bytes)?;
        let mut list = [0; 8];
        list[..4].copy_from_slice(&place.to_le_bytes());
        list[4..].copy_from_slice(&u32::try_from(bytes.len())?.to_le_bytes());
        self.write(at, &list)
    }
}

macro_rules! lower_numbers {
    ($($type:ty: $bytes:literal $result:ident |$value:ident| $to:expr;)*) => {
        $(impl Lower for $type {
            const SIZE: u32 = $bytes;
            const ALIGN: u32 = $bytes;
            const RESULT: Option<ValType> = Some(ValType::$result);

            fn value(&self) -> Val {
                let $value = *self;
                $to
            }

            fn store(&self, writer: &mut Writer<'_, '_>, at: u32) -> Result<()> {
                writer.write(aligned(at, <Self as Lower>::ALIGN)?, &self.to_le_bytes())
            }
        })*
    };
}

lower_numbers! {
    u16: 2 I32 |value| Val::I32(value.into());
    u32: 4 I32 |value| Val::I32(value.cast_signed());
    u64: 8 I64 |value| Val::I64(value.cast_signed());
    i64: 8 I64 |value| Val::I64(value);
}

impl Lower for bool {
    const SIZE: u32 = 1;
    const ALIGN: u32 = 1;
    const RESULT: Option<ValType> = Some(ValType::I32);

    fn value(&self) -> Val {
        Val::I32((*self).into())
    }

    fn store(&self, writer: &mut Writer<'_, '_>, at: u32) -> Result<()> {
        writer.write(at, &[u8::from(*self)])
    }
}

/// Nothing: a result without a value, of which only the case counts.
impl Lower for () {
    const SIZE: u32 = 0;
    const ALIGN: u32 = 1;

    fn store(&self, _: &mut Writer<'_, '_>, _: u32) -> Result<()> {
        Ok(())
    }
}

impl Lower for String {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;

    fn store(&self, writer: &mut Writer<'_, '_>, at: u32) -> Result<()> {
        writer.give(aligned(at, <Self as Lower>::ALIGN)?, self.as_bytes())
    }
}

impl Lower for Vec<u8> {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;

    fn store(&self, writer: &mut Writer<'_, '_>, at: u32) -> Result<()> {
        writer.give(aligned(at, <Self as Lower>::ALIGN)?, self)
    }
}

/// What lists that are given consist of, except bytes.
pub(super) trait Given: Lower {}

impl Given for u32 {}
impl Given for String {}
impl Given for Vec<u8> {}
impl<T: Lower> Given for Option<T> {}
impl<A: Lower, B: Lower> Given for (A, B) {}

impl<T: Given> Lower for Vec<T> {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;

    fn store(&self, writer: &mut Writer<'_, '_>, at: u32) -> Result<()> {
        let at = aligned(at, <Self as Lower>::ALIGN)?;
        let place = writer.allocate(self.len() * T::SIZE as usize, T::ALIGN)?;
        for (item, value) in (0_u32..).zip(self) {
            value.store(writer, place + item * T::SIZE)?;
        }
        writer.write(at, &place.to_le_bytes())?;
        writer.write(at.wrapping_add(4), &u32::try_from(self.len())?.to_le_bytes())
    }
}

impl<T: Lower> Lower for Option<T> {
    const SIZE: u32 = up(case_offset(T::ALIGN) + T::SIZE, T::ALIGN);
    const ALIGN: u32 = T::ALIGN;

    fn store(&self, writer: &mut Writer<'_, '_>, at: u32) -> Result<()> {
        writer.write(aligned(at, <Self as Lower>::ALIGN)?, &[u8::from(self.is_some())])?;
        match self {
            Some(value) => value.store(writer, at.wrapping_add(case_offset(T::ALIGN))),
            None => Ok(()),
        }
    }
}

impl<T: Lower, E: Lower> Lower for std::result::Result<T, E> {
    const SIZE: u32 = up(case_offset(<Self as Lower>::ALIGN) + max(T::SIZE, E::SIZE), <Self as Lower>::ALIGN);
    const ALIGN: u32 = max(T::ALIGN, E::ALIGN);

    fn store(&self, writer: &mut Writer<'_, '_>, at: u32) -> Result<()> {
        writer.write(aligned(at, <Self as Lower>::ALIGN)?, &[u8::from(self.is_err())])?;
        let place = at.wrapping_add(case_offset(<Self as Lower>::ALIGN));
        match self {
            Ok(value) => value.store(writer, place),
            Err(error) => error.store(writer, place),
        }
    }
}

impl<A: Lower, B: Lower> Lower for (A, B) {
    const SIZE: u32 = up(up(A::SIZE, B::ALIGN) + B::SIZE, <Self as Lower>::ALIGN);
    const ALIGN: u32 = max(A::ALIGN, B::ALIGN);

    fn store(&self, writer: &mut Writer<'_, '_>, at: u32) -> Result<()> {
        self.0.store(writer, at)?;
        self.1.store(writer, at.wrapping_add(up(A::SIZE, B::ALIGN)))
    }
}

impl<A: Lift, B: Lift> Lift for (A, B) {
    const SIZE: u32 = up(up(A::SIZE, B::ALIGN) + B::SIZE, <Self as Lift>::ALIGN);
    const ALIGN: u32 = max(A::ALIGN, B::ALIGN);

    fn flat(types: &mut Vec<ValType>) {
        A::flat(types);
        B::flat(types);
    }

    fn lift(parameters: &mut Parameters<'_>, reader: &mut Reader<'_>) -> Result<Self> {
        Ok((A::lift(parameters, reader)?, B::lift(parameters, reader)?))
    }

    fn load(reader: &mut Reader<'_>, at: u32) -> Result<Self> {
        Ok((A::load(reader, at)?, B::load(reader, at.wrapping_add(up(A::SIZE, B::ALIGN)))?))
    }
}

/// Returns `at`, which is where a value of that alignment lies.
pub(super) fn aligned(at: u32, align: u32) -> Result<u32> {
    ensure!(at.is_multiple_of(align), "pointer not aligned");
    Ok(at)
}

/// The next multiple of an alignment.
pub(super) const fn up(size: u32, align: u32) -> u32 {
    size.next_multiple_of(align)
}

/// Where the value of a case lies, behind the byte that says which case it is.
pub(super) const fn case_offset(align: u32) -> u32 {
    up(1, align)
}

pub(super) const fn max(a: u32, b: u32) -> u32 {
    if a > b { a } else { b }
}
