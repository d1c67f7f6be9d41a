//! Says what all of its memory holds, as a number, if there is `x-look`, and then writes to it if `x-write` tells it
//! to. The number shows a test whether anything is left of what it wrote.

wit_bindgen::generate!({
    inline: "package test:guest; world writes {
        import portcullis:policy/request@0.2.1;
        import portcullis:policy/exchange@0.2.1;
        export portcullis:policy/lifecycle@0.2.1;
        export portcullis:policy/request-head@0.2.1;
    }",
    path: "../../wit",
    generate_all,
});

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use exports::portcullis::policy::{lifecycle, request_head};
use portcullis::policy::{exchange, request};

struct Writes;

const PAGE: usize = 4096;
/// The lowest addresses are the far end of the stack, which nothing here reaches.
const UNUSED: std::ops::Range<usize> = PAGE..512 << 10;

static CALLS: AtomicU32 = AtomicU32::new(0);

#[cfg(target_family = "wasm")]
fn memory_bytes() -> usize {
    core::arch::wasm32::memory_size(0) * (64 << 10)
}

#[cfg(target_family = "wasm")]
fn grow() {
    core::arch::wasm32::memory_grow(0, 1);
}

/// A number that tells what is in the memory, but for its first bytes, which are at the null pointer.
fn sum() -> u64 {
    let words = (size_of::<u64>()..memory_bytes()).step_by(size_of::<u64>());
    words.fold(0xcbf2_9ce4_8422_2325, |sum: u64, at| {
        // SAFETY: all of linear memory can be read, and nothing else runs.
        let word = unsafe { std::ptr::read_volatile(at as *const u64) };
        (sum ^ word).wrapping_mul(0x0100_0000_01b3)
    })
}

fn write(at: usize) {
    // SAFETY: nothing uses that part of the stack.
    unsafe { std::ptr::write_volatile(at as *mut u8, 0xa5) };
}

#[inline(never)]
fn deep(levels: usize) -> usize {
    let page = black_box([levels as u8; PAGE]);
    match levels {
        0 => 0,
        _ => deep(levels - 1) + usize::from(page[levels]),
    }
}

impl lifecycle::Guest for Writes {
    fn configure(config: String) -> Result<(), String> {
        black_box(vec![config; 100]);
        Ok(())
    }
}

impl request_head::Guest for Writes {
    fn on_request_head() -> Result<(), String> {
        // To read a page of nothing is to have it.
        if request::header("x-look").is_some() {
            let found = format!("{:x} of {}", sum(), memory_bytes());
            exchange::set_attribute("found", &found).expect("it fits");
        }
        match request::header("x-write").as_deref() {
            Some("few") => UNUSED.step_by(9 * PAGE).take(3).for_each(write),
            // More regions than are restored by one call.
            Some("many") => UNUSED.step_by(2 * PAGE).take(40).for_each(write),
            Some("all") => UNUSED.step_by(PAGE).for_each(write),
            Some("stack") => drop(black_box(deep(30))),
            Some("heap") => drop(black_box(vec![0xa5_u8; 10_000])),
            Some("static") => drop(CALLS.fetch_add(1, Ordering::Relaxed)),
            Some("end") => write(memory_bytes() - 2 * PAGE),
            Some("grow") => grow(),
            Some("print") => println!("a line"),
            Some("trap") => {
                UNUSED.step_by(PAGE).for_each(write);
                panic!("as it was told");
            }
            _ => {}
        }
        Ok(())
    }
}

export!(Writes);
