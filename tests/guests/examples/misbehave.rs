//! Does in each hook what its configuration says, such as `{"request-head":"loop","response-head":"panic"}`.

wit_bindgen::generate!({
    inline: "package test:guest; world misbehave {
        import portcullis:policy/request@0.2.1;
        import portcullis:policy/body@0.2.1;
        import portcullis:policy/exchange@0.2.1;
        export portcullis:policy/lifecycle@0.2.1;
        export portcullis:policy/request-head@0.2.1;
        export portcullis:policy/request-body@0.2.1;
        export portcullis:policy/response-head@0.2.1;
        export portcullis:policy/response-body@0.2.1;
        export portcullis:policy/completed@0.2.1;
    }",
    path: "../../wit",
    generate_all,
});

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use exports::portcullis::policy::{
    completed, lifecycle, request_body, request_head, response_body, response_head,
};
use portcullis::policy::types::{FieldBytes, Refused};
use portcullis::policy::{body, exchange, request};

static CONFIG: OnceLock<String> = OnceLock::new();

struct Misbehave;

/// An allocator that asks the host something when it is told to: the host allocates in the guest's memory for what it
/// gives, and has what a hook returned freed, by calling these.
struct Asking;

#[global_allocator]
static ALLOCATOR: Asking = Asking;

static ASKS_TO_ALLOCATE: AtomicBool = AtomicBool::new(false);
static ASKS_TO_FREE: AtomicBool = AtomicBool::new(false);

// SAFETY: all of it is the system's allocator. What is asked before allocates nothing.
unsafe impl GlobalAlloc for Asking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if ASKS_TO_ALLOCATE.swap(false, Ordering::Relaxed) {
            black_box(request::remove_header("x-nobody-sends-it").is_ok());
        }
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if ASKS_TO_FREE.load(Ordering::Relaxed) {
            black_box(request::remove_header("x-nobody-sends-it").is_ok());
        }
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The name of a refusal in WIT.
fn name(refused: Refused) -> String {
    match refused {
        Refused::InvalidName => "invalid-name".to_owned(),
        Refused::InvalidValue => "invalid-value".to_owned(),
        Refused::Forbidden => "forbidden".to_owned(),
        Refused::ReadOnly => "read-only".to_owned(),
        Refused::TooLarge => "too-large".to_owned(),
        Refused::Other(why) => why,
    }
}

/// What a hook returns.
type Answer = Result<(), String>;

fn reply(status: u16, headers: &[(&str, &[u8])], body: &[u8]) -> Answer {
    let field = |(name, value): &(&str, &[u8])| ((*name).to_owned(), value.to_vec());
    let headers: Vec<FieldBytes> = headers.iter().map(field).collect();
    exchange::reply_bytes(status, &headers, body)
        .map_err(|refused| format!("its reply was refused: {}", name(refused)))
}

fn act(hook: &str) -> Answer {
    let Some(deed) = CONFIG.get().and_then(|config| portcullis_test_guests_source::setting(config, hook))
    else {
        return Ok(());
    };
    // Then each request says for itself.
    let deed = match deed {
        "asked" => &request::header("x-deed").unwrap_or_else(|| "next".to_owned()),
        deed => deed,
    };
    // A space stands before the deed's number.
    let (deed, number) = deed.split_once(' ').unwrap_or((deed, "0"));
    let number: usize = number.parse().expect("a number");
    match deed {
        "next" => {}
        "loop" => loop {
            black_box(0);
        },
        "work" => {
            // Each step needs the one before, so that no compiler does away with them: some 2 ns each.
            let step = |seed: u64, _| {
                let seed = seed ^ (seed << 13);
                let seed = seed ^ (seed >> 7);
                seed ^ (seed << 17)
            };
            black_box((0..number).fold(black_box(1), step));
        }
        "trap" => core::arch::wasm32::unreachable(),
        "panic" => panic!("told to panic in {hook}"),
        "memory" => {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(black_box(vec![1; 1 << 16]));
            }
        }
        "leak" => std::mem::forget(black_box(vec![1_u8; number])),
        "recurse" => drop(black_box(recurse(1))),
        "exit" => std::process::exit(3),
        "abort" => std::process::abort(),
        "sleep" => std::thread::sleep(std::time::Duration::from_secs(1)),
        "print" => {
            println!("out of {hook}\u{1b}[31m");
            eprint!("err of ");
            eprintln!("{hook}");
        }
        "flood" => (0..number).for_each(|at| println!("line {at}")),
        "files" => assert!(std::fs::read("/etc/passwd").is_err() && std::fs::write("x", "y").is_err()),
        "environment" => assert!(std::env::vars().count() == 0 && std::env::args().count() == 0),
        "stdin" => assert_eq!(std::io::stdin().lines().count(), 0),
        "network" => assert!(std::net::TcpStream::connect("127.0.0.1:1").is_ok()),
        "times" => {
            let before = std::time::Instant::now();
            let epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            assert!(epoch.expect("after 1970").as_secs() > 1_700_000_000 && before.elapsed().as_secs() < 5);
        }
        // A hash map takes its seed from WASI's random numbers.
        "random" => assert_eq!(std::collections::HashMap::from([(1, 2)])[&1], 2),
        "state" => {
            let mut state = exchange::state();
            state.push(b'a' + u8::try_from(state.len()).expect("few hooks"));
            exchange::set_state(&state).expect("it fits");
            exchange::set_attribute("state", &String::from_utf8_lossy(&state)).expect("it fits");
        }
        "big-state" => {
            let result = exchange::set_state(&vec![0; number]);
            let told = result.err().map_or_else(|| "ok".to_owned(), name);
            exchange::set_attribute("result", &told).expect("it fits");
        }
        "method" => drop(request::method()),
        // The host allocates for the text that it gives.
        "ask-while-given" => {
            ASKS_TO_ALLOCATE.store(true, Ordering::Relaxed);
            drop(request::method());
        }
        // It has the text of the failure freed when it has read it, which is after the hook.
        "ask-while-taken" => {
            let failure = "told to fail".to_owned();
            ASKS_TO_FREE.store(true, Ordering::Relaxed);
            return Err(failure);
        }
        "fail" => return Err(format!("told to fail in {hook}")),
        "reply" => return reply(418, &[("x-by", hook.as_bytes())], b"short and stout"),
        "status" => return reply(number as u16, &[], b""),
        "bad-name" => return reply(200, &[("no token", b"x")], b""),
        "bad-value" => return reply(200, &[("x-a", b"a\r\nx-b: c")], b""),
        "owned" => return reply(200, &[("content-length", b"5")], b""),
        "many" => return reply(200, &vec![("x-a", b"".as_slice()); number], b""),
        "body" => return reply(200, &[], &vec![b'x'; number]),
        "replace" => return replace(&vec![b'x'; number]),
        "hold" => return done(body::hold()),
        other => panic!("no deed is called {other}"),
    }
    Ok(())
}

fn done(result: Result<(), Refused>) -> Answer {
    result.map_err(|refused| format!("it was refused: {}", name(refused)))
}

fn replace(with: &[u8]) -> Answer {
    done(body::replace(u64::MAX, with))
}

#[expect(unconditional_recursion, reason = "it is what it is for")]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth) + 1)) + depth
}

/// What a body hook does with the piece at hand, if it is told something of that sort.
fn handle(hook: &str) -> Option<Answer> {
    let deed = CONFIG.get().and_then(|config| portcullis_test_guests_source::setting(config, hook))?;
    let (chunk, last) = (body::read(0, u64::MAX), body::is_last());
    Some(match deed {
        "upper" => replace(&chunk.to_ascii_uppercase()),
        // Waits for all of it, then decides.
        "judge" if !last => done(body::hold()),
        "collect" if !last => done(body::collect()),
        "judge" | "collect" if chunk.windows(3).any(|window| window == b"bad") => refuse(hook),
        "judge" | "collect" => Ok(()),
        // Holds less than so many bytes.
        until if let Some(least) = until.strip_prefix("until ") => {
            let enough = chunk.len() >= least.parse().expect("a number");
            if enough { Ok(()) } else { done(body::hold()) }
        }
        // Puts a star in the place of the first byte, and holds the last one.
        "parts" => {
            let parts = body::replace(1, b"*").and_then(|()| body::pass(body::size().saturating_sub(1)));
            done(parts.and_then(|()| body::hold()))
        }
        // Marks the first piece, and wants to see no other.
        "finish" => done(body::replace(0, b"<").and_then(|()| body::finish())),
        // Lets the first piece go and changes its mind.
        "late" if exchange::state().is_empty() => {
            exchange::set_state(b"begun").expect("it fits");
            Ok(())
        }
        "late" => refuse(hook),
        _ => return None,
    })
}

fn refuse(hook: &str) -> Answer {
    reply(422, &[("x-by", hook.as_bytes())], b"that is bad")
}

fn piece(hook: &str) -> Answer {
    handle(hook).unwrap_or_else(|| act(hook))
}

impl lifecycle::Guest for Misbehave {
    fn configure(config: String) -> Result<(), String> {
        CONFIG.set(config).expect("configure is called once");
        act("configure")
    }
}

impl request_head::Guest for Misbehave {
    fn on_request_head() -> Result<(), String> {
        act("request-head")
    }
}

impl request_body::Guest for Misbehave {
    fn on_request_body() -> Result<(), String> {
        piece("request-body")
    }
}

impl response_head::Guest for Misbehave {
    fn on_response_head() -> Result<(), String> {
        act("response-head")
    }
}

impl response_body::Guest for Misbehave {
    fn on_response_body() -> Result<(), String> {
        piece("response-body")
    }
}

impl completed::Guest for Misbehave {
    fn on_completed() -> Result<(), String> {
        act("completed")
    }
}

export!(Misbehave);
