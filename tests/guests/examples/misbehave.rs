//! Does in each hook what its configuration says, such as `{"request-head":"loop","response-head":"panic"}`.

wit_bindgen::generate!({
    inline: "package test:guest; world misbehave {
        import portcullis:policy/request@0.1.0;
        import portcullis:policy/exchange@0.1.0;
        export portcullis:policy/lifecycle@0.1.0;
        export portcullis:policy/request-head@0.1.0;
        export portcullis:policy/request-body@0.1.0;
        export portcullis:policy/response-head@0.1.0;
        export portcullis:policy/response-body@0.1.0;
        export portcullis:policy/completed@0.1.0;
    }",
    path: "../../wit",
    generate_all,
});

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use exports::portcullis::policy::completed::Outcome;
use exports::portcullis::policy::{
    completed, lifecycle, request_body, request_head, response_body, response_head,
};
use portcullis::policy::types::{BodyDecision, Decision, Field, Reply};
use portcullis::policy::{exchange, request};

static CONFIG: OnceLock<String> = OnceLock::new();

struct Misbehave;

/// An allocator that asks the host something when it is told to: the host allocates in the guest's memory for what it
/// gives, and frees what it was given, by calling these.
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

/// What a hook returns, before it is known which sort of hook it is.
enum Answer {
    Next,
    Reply(Reply),
    Replace(Vec<u8>),
    Hold,
}

fn reply(status: u16, headers: &[(&str, &[u8])], body: Vec<u8>) -> Answer {
    let field = |(name, value): &(&str, &[u8])| Field { name: (*name).to_owned(), value: value.to_vec() };
    Answer::Reply(Reply { status, headers: headers.iter().map(field).collect(), body })
}

fn act(hook: &str) -> Answer {
    let Some(deed) = CONFIG.get().and_then(|config| portcullis_test_guests_source::setting(config, hook))
    else {
        return Answer::Next;
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
            exchange::set_attribute("result", result.err().map_or("ok", |refused| refused.name()))
                .expect("it fits");
        }
        "method" => drop(request::method()),
        // The host allocates for the text that it gives.
        "ask-while-given" => {
            ASKS_TO_ALLOCATE.store(true, Ordering::Relaxed);
            drop(request::method());
        }
        // It has the body of the reply freed when it has read it, which is after the hook.
        "ask-while-taken" => {
            let answer = reply(200, &[], b"body".to_vec());
            ASKS_TO_FREE.store(true, Ordering::Relaxed);
            return answer;
        }
        "reply" => return reply(418, &[("x-by", hook.as_bytes())], b"short and stout".to_vec()),
        "status" => return reply(number as u16, &[], Vec::new()),
        "bad-name" => return reply(200, &[("no token", b"x")], Vec::new()),
        "bad-value" => return reply(200, &[("x-a", b"a\r\nx-b: c")], Vec::new()),
        "owned" => return reply(200, &[("content-length", b"5")], Vec::new()),
        "many" => return reply(200, &vec![("x-a", b"".as_slice()); number], Vec::new()),
        "body" => return reply(200, &[], vec![b'x'; number]),
        "replace" => return Answer::Replace(vec![b'x'; number]),
        "hold" => return Answer::Hold,
        other => panic!("no deed is called {other}"),
    }
    Answer::Next
}

#[expect(unconditional_recursion, reason = "it is what it is for")]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth) + 1)) + depth
}

fn head(hook: &str) -> Decision {
    match act(hook) {
        Answer::Reply(reply) => Decision::Reply(reply),
        _ => Decision::Next,
    }
}

/// What a body hook does with the piece that it is given, if it is told something of that sort.
fn handle(hook: &str, chunk: &[u8], last: bool) -> Option<BodyDecision> {
    Some(match CONFIG.get().and_then(|config| portcullis_test_guests_source::setting(config, hook))? {
        "upper" => BodyDecision::Replace(chunk.to_ascii_uppercase()),
        // Waits for all of it, then decides.
        "judge" if !last => BodyDecision::Hold,
        "judge" if chunk.windows(3).any(|window| window == b"bad") => return Some(refuse(hook)),
        "judge" => BodyDecision::Forward,
        // Holds less than so many bytes.
        until if let Some(least) = until.strip_prefix("until ") => {
            let enough = chunk.len() >= least.parse().expect("a number");
            if enough { BodyDecision::Forward } else { BodyDecision::Hold }
        }
        // Lets the first piece go and changes its mind.
        "late" if exchange::state().is_empty() => {
            exchange::set_state(b"begun").expect("it fits");
            BodyDecision::Forward
        }
        "late" => return Some(refuse(hook)),
        _ => return None,
    })
}

fn refuse(hook: &str) -> BodyDecision {
    match reply(422, &[("x-by", hook.as_bytes())], b"that is bad".to_vec()) {
        Answer::Reply(reply) => BodyDecision::Reply(reply),
        _ => BodyDecision::Forward,
    }
}

fn body(hook: &str, chunk: &[u8], last: bool) -> BodyDecision {
    if let Some(decision) = handle(hook, chunk, last) {
        return decision;
    }
    match act(hook) {
        Answer::Next => BodyDecision::Forward,
        Answer::Reply(reply) => BodyDecision::Reply(reply),
        Answer::Replace(bytes) => BodyDecision::Replace(bytes),
        Answer::Hold => BodyDecision::Hold,
    }
}

impl lifecycle::Guest for Misbehave {
    fn configure(config: String) -> Result<(), String> {
        CONFIG.set(config).expect("configure is called once");
        act("configure");
        Ok(())
    }
}

impl request_head::Guest for Misbehave {
    fn on_request_head() -> Decision {
        head("request-head")
    }
}

impl request_body::Guest for Misbehave {
    fn on_request_body(chunk: Vec<u8>, last: bool) -> BodyDecision {
        body("request-body", &chunk, last)
    }
}

impl response_head::Guest for Misbehave {
    fn on_response_head() -> Decision {
        head("response-head")
    }
}

impl response_body::Guest for Misbehave {
    fn on_response_body(chunk: Vec<u8>, last: bool) -> BodyDecision {
        body("response-body", &chunk, last)
    }
}

impl completed::Guest for Misbehave {
    fn on_completed(_: Outcome) {
        act("completed");
    }
}

export!(Misbehave);
