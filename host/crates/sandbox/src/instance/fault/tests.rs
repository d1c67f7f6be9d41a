use std::sync::Arc;

use portcullis_policy::FaultKind;
use wasmtime::{ResourceLimiter, format_err};

use super::{FRAME_BYTES_MAX, readable, sort};
use crate::instance::memory::{MemoryLimiter, MemoryTotal};
use crate::instance::refusal::Refusal;
use portcullis_services::cpu_time::thread_cpu_time;

/// As the engine has it: with what it wanted the memory for around it.
#[cfg(unix)]
fn no_memory() -> wasmtime::Error {
    wasmtime::Error::from(rustix::io::Errno::NOMEM).context("mmap failed to allocate 0x10000 bytes")
}

#[cfg(unix)]
#[test]
fn memory_that_the_system_does_not_have_is_not_the_policys_doing() {
    let (kind, message) = sort(&no_memory(), 0);
    assert_eq!(kind, FaultKind::Exhausted, "{message}");
    assert!(message.contains("the operating system gave no memory"), "{message}");
    let of_std = std::io::Error::from(std::io::ErrorKind::OutOfMemory);
    assert_eq!(sort(&wasmtime::Error::from(of_std).context("a stack"), 0).0, FaultKind::Exhausted);
    assert_eq!(sort(&rustix::io::Errno::INVAL.into(), 0).0, FaultKind::Trap);
}

#[cfg(unix)]
#[test]
fn nor_is_it_where_an_instance_grows() {
    let total = Arc::new(MemoryTotal::new(1 << 20));
    let mut limiter = MemoryLimiter::new(1 << 20, total.share(), None);
    assert!(limiter.memory_growing(0, 65_536, None).unwrap());
    assert!(limiter.memory_growing(65_536, 131_072, None).unwrap());
    limiter.memory_grow_failed(no_memory()).unwrap();
    assert_eq!(limiter.take_refused(), Some(Refusal::System));
    assert_eq!((limiter.bytes(), total.bytes()), (65_536, 65_536), "what it did not get is not counted");
    limiter.memory_grow_failed(format_err!("Memory maximum size exceeded")).unwrap();
    assert_eq!(limiter.take_refused(), None);
}

#[test]
fn names_of_rust_are_read_without_their_hash() {
    let (legacy, plain) = ("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt");
    assert_eq!(readable(legacy), plain);
    assert_eq!(readable("_RNvCs1234_7mycrate3foo"), "mycrate::foo");
    assert_eq!(readable("on-request-head"), "on-request-head");
    assert_eq!(readable("a\nforged line"), "a\\nforged line");
}

#[test]
fn no_name_makes_a_long_text_or_takes_long() {
    let begun = thread_cpu_time();
    for name in
        [doubling(40), "x".repeat(50 << 20), format!("_ZN{}E", "1a".repeat(1 << 20)), rust_doubling(40)]
    {
        let told = readable(&name);
        assert!(told.len() <= FRAME_BYTES_MAX, "{}", told.len());
    }
    let took = thread_cpu_time() - begun;
    assert!(took.as_millis() < 1000, "{took:?}");
}

/// A function of C++ whose last parameter has two of the one before, and so on.
fn doubling(times: usize) -> String {
    let number = |at: usize| match at {
        0 => String::new(),
        at => base_36(at - 1),
    };
    let mut name = "_Z1f1a1bIS_S_E".to_owned();
    for at in 2..times {
        let last = number(at);
        name.push_str(&format!("S0_IS{last}_S{last}_E"));
    }
    name
}

fn base_36(number: usize) -> String {
    let digit =
        |digit: usize| char::from_digit(u32::try_from(digit).unwrap(), 36).unwrap().to_ascii_uppercase();
    match number {
        0..36 => digit(number).to_string(),
        _ => format!("{}{}", digit(number / 36), digit(number % 36)),
    }
}

/// A type of Rust that is a pair of pairs, each named by its earlier position.
fn rust_doubling(times: usize) -> String {
    let mut name = "_RINvC1a1fTmmE".to_owned();
    let mut last = name.len() - "TmmE".len();
    for _ in 0..times {
        let here = name.len();
        // Places count from behind `_R`, in base 62, one less for those that are not the first.
        let place = base_62(last - 2);
        name.push_str(&format!("TB{place}_B{place}_E"));
        last = here;
    }
    name.push('E');
    name
}

fn base_62(place: usize) -> String {
    const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let Some(mut rest) = place.checked_sub(1) else { return String::new() };
    let mut digits = Vec::new();
    loop {
        digits.insert(0, char::from(DIGITS[rest % 62]));
        rest /= 62;
        if rest == 0 {
            return digits.into_iter().collect();
        }
    }
}
