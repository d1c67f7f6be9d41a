//! The public test suite for HTTP caches, the package `http-cache-tests` of npm, against the real gateway.
//!
//! The suite has a client and an origin server of its own; the gateway stands between them. A test is *required* (RFC
//! 9111 demands it), *optimal* (a good cache does it) or a *check* (no answer is wrong). What fails of the first two is
//! listed here with the reason, for the two profiles of `docs/cache.md`; a test that is not listed and fails, or is
//! listed and passes, is an error.
//!
//! Many of these tests have a clock: they wait three seconds for a response to become stale, or need an answer within
//! one or two seconds. On a busy machine such a test may fail, so a result that is not the expected one counts only if
//! it comes each time: the test runs again with few others, then alone.
//!
//! `suite/package-lock.json` pins the package by its digest. It depends on npm itself and on a template engine for its
//! web page, which its tests do not use: `suite/package.json` puts a small package in their place.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::harness::{TestGateway, eventually, program, tool};

/// The page with both profiles and their figures.
const DOCS: &str = include_str!("../../../docs/cache.md");

/// What the id of a test ends with if the suite's repository has corrected the test since the package was published,
/// and it runs as it was corrected (`suite/client.mjs`).
const CORRECTED: &str = "/corrected";

/// Tests that fail for the same reason.
struct Exceptions {
    tests: &'static [&'static str],
    why: &'static str,
}

/// With either profile.
const ALWAYS: &[Exceptions] = &[
    Exceptions {
        tests: &["headers-store-Transfer-Encoding"],
        why: "where a response with an unknown Transfer-Encoding ends cannot be known, so it is a 502",
    },
    Exceptions {
        tests: &[
            "stale-close-must-revalidate",
            "stale-close-proxy-revalidate",
            "stale-close-no-cache",
            "stale-close-s-maxage=2",
        ],
        why: "no cache can pass it: it wants an answer of an origin that closes the connection; see its correction",
    },
    Exceptions {
        tests: &[
            "age-parse-nonnumeric",
            "age-parse-negative",
            "age-parse-float",
            "age-parse-prefix-twoline",
            "age-parse-dup-0",
            "age-parse-dup-0-twoline",
            "age-parse-dup-old",
        ],
        why: "RFC 9111, 5.1 says otherwise: the first member counts, and what is no number is ignored; see its correction",
    },
    Exceptions {
        tests: &["304-etag-update-response-ETag"],
        why: "a 304 with another strong tag must update nothing (RFC 9111, 4.3.4); it is no required test any more",
    },
    Exceptions { tests: &["method-POST"], why: "a response to POST is not stored" },
    Exceptions {
        tests: &["conditional-lm-fresh-no-lm"],
        why: "without Last-Modified, Date counts (RFC 9111, 4.3.2), and it is later than the client's date",
    },
    Exceptions {
        tests: &[
            "partial-store-partial-reuse-partial",
            "partial-store-partial-reuse-partial-absent",
            "partial-store-partial-reuse-partial-byterange",
            "partial-store-partial-reuse-partial-suffix",
        ],
        why: "the part that is to be stored has five bytes, and its Content-Range says six",
    },
    Exceptions {
        tests: &["partial-store-partial-complete"],
        why: "a part without a strong validator must not be completed (RFC 9111, 3.4)",
    },
];

/// With the defaults.
const BY_DEFAULT: &[Exceptions] = &[
    Exceptions {
        tests: &[
            "304-etag-update-response-Set-Cookie",
            "304-etag-update-response-Set-Cookie2",
            "headers-store-Set-Cookie",
            "headers-store-Set-Cookie2",
            "other-set-cookie",
        ],
        why: "a response that sets a cookie is not shared",
    },
    Exceptions {
        tests: &[
            "heuristic-200-cached",
            "heuristic-203-cached",
            "heuristic-204-cached",
            "heuristic-404-cached",
            "heuristic-405-cached",
            "heuristic-410-cached",
            "heuristic-414-cached",
            "heuristic-501-cached",
            "heuristic-599-cached",
        ],
        why: "how long a response is fresh is not estimated",
    },
    Exceptions {
        tests: &["vary-normalise-lang-order", "vary-normalise-lang-select"],
        why: "most servers heed the order of languages of the same weight",
    },
];

/// How often a test runs: with how many others at the same time, if at most so many did not do as expected.
const ROUNDS: [(usize, usize); 5] = [(100, usize::MAX), (8, 100), (1, 20), (1, 20), (1, 20)];

/// What came of a test.
#[derive(Debug)]
struct Outcome {
    id: String,
    kind: String,
    /// What the suite says of it, if it failed.
    failure: Option<String>,
}

#[tokio::test]
async fn the_suite_passes_by_the_letter_of_the_rfc() {
    check(&documented_profile(), &[ALWAYS], [144, 79]).await;
}

#[tokio::test]
async fn the_suite_passes_with_the_defaults() {
    let documented = documented_profile();
    let (others, _) = documented.split_once("[routes.all.cache]\n").unwrap();
    let profile = format!("{others}cache = {{ store = \"rfc\" }}\n");
    check(&profile, &[ALWAYS, BY_DEFAULT], [140, 67]).await;
}

/// Returns the configuration in the documentation that follows the RFC where it leaves a choice.
fn documented_profile() -> String {
    let mut blocks = DOCS.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block = blocks.find(|block| block.contains("[caches.rfc]")).unwrap();
    block.to_owned()
}

/// Runs the suite before a gateway with this configuration. All of its required and optimal tests must pass but those
/// that are listed, and these are the figures that the documentation has.
async fn check(profile: &str, lists: &[&[Exceptions]], documented: [usize; 2]) {
    let suite = installed().await;
    let origin = Origin::start(suite).await;
    let config = profile.replace("0.0.0.0:8080", "127.0.0.1:0");
    let config = config.replace("10.0.0.11:8080", &origin.address.to_string());
    // With a thousand records, what the suite says would be hard to find.
    let quiet = "[server]\naccess-log = { file = \"access.log\" }\n";
    let gateway = TestGateway::start(&format!("{quiet}{config}")).await;
    let url = gateway.url("web", "");

    let listed = lists.iter().copied().flatten();
    let listed: BTreeMap<&str, &str> =
        listed.flat_map(|exceptions| exceptions.tests.iter().map(|test| (*test, exceptions.why))).collect();
    let is_odd = |outcome: &Outcome| {
        outcome.kind != "check" && outcome.failure.is_some() != listed.contains_key(&*outcome.id)
    };
    let all = run(suite, &url, ROUNDS[0].0, &[]).await;
    let kinds: BTreeMap<String, String> =
        all.iter().map(|outcome| (outcome.id.clone(), outcome.kind.clone())).collect();
    let mut odd: Vec<Outcome> = all.into_iter().filter(is_odd).collect();
    for (at_once, most) in &ROUNDS[1..] {
        if odd.is_empty() || odd.len() > *most {
            break;
        }
        odd = run(suite, &url, *at_once, &odd).await;
        odd.retain(is_odd);
    }
    assert!(odd.is_empty(), "not as expected, each time:\n{}", report(&odd, &listed));

    let unknown: Vec<_> = listed.keys().filter(|id| !kinds.contains_key(**id)).collect();
    assert!(unknown.is_empty(), "listed, and no tests of the suite: {unknown:?}");
    for (kind, passing) in ["required", "optimal"].into_iter().zip(documented) {
        let published: Vec<&str> = kinds
            .iter()
            .filter(|(id, of)| *of == kind && !id.ends_with(CORRECTED))
            .map(|(id, _)| &**id)
            .collect();
        let failing = published.iter().filter(|id| listed.contains_key(**id)).count();
        assert_eq!(published.len() - failing, passing, "{kind}");
        let figure = format!("{passing} of {}", published.len());
        assert!(DOCS.contains(&figure), "docs/cache.md does not say `{figure}` of the {kind} tests");
    }
}

/// A line for each outcome that was not expected.
fn report(odd: &[Outcome], listed: &BTreeMap<&str, &str>) -> String {
    let line = |Outcome { id, kind, failure }: &Outcome| match failure {
        Some(failure) => format!("{kind} {id} fails: {failure}\n"),
        None => format!("{kind} {id} passes: take it from the list ({})\n", listed[&**id]),
    };
    odd.iter().map(line).collect()
}

/// Runs tests, so many at the same time: `chosen`, or all.
async fn run(suite: &Path, url: &str, at_once: usize, chosen: &[Outcome]) -> Vec<Outcome> {
    let mut node = Command::new(tool("node", "nodejs"));
    node.arg(sources().join("client.mjs")).arg(suite).args([url, &at_once.to_string()]);
    node.args(chosen.iter().map(|outcome| &outcome.id));
    let ran = program(node).await;
    let read = || {
        let outcomes: Vec<Value> = serde_json::from_str(&ran.stdout).ok()?;
        outcomes.iter().map(Outcome::read).collect()
    };
    match read() {
        Some(outcomes) if ran.code == Some(0) => outcomes,
        _ => panic!("the suite did not run:\n{}{}", ran.stdout, ran.stderr),
    }
}

impl Outcome {
    fn read(of: &Value) -> Option<Self> {
        let text = |name: &str| of.get(name)?.as_str().map(str::to_owned);
        Some(Self { id: text("id")?, kind: text("kind")?, failure: text("failure") })
    }
}

/// The suite's origin server. Dropping it ends it.
struct Origin {
    child: Child,
    address: SocketAddr,
    /// With what it says.
    _folder: TempDir,
}

impl Drop for Origin {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Origin {
    async fn start(suite: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let said = folder.path().join("said");
        let output = File::create(&said).unwrap();
        let mut node = Command::new(tool("node", "nodejs"));
        node.arg(sources().join("origin.mjs")).arg(suite).stdin(Stdio::null());
        node.stdout(output.try_clone().unwrap()).stderr(output);
        let mut child = node.spawn().unwrap();
        let address = eventually("the suite's origin server listens", async || {
            let said = std::fs::read_to_string(&said).unwrap();
            let address = said.split_once("Listening on http://").and_then(|(_, rest)| rest.split_once('/'));
            assert!(child.try_wait().unwrap().is_none(), "the suite's origin server does not start:\n{said}");
            address.and_then(|(address, _)| address.parse().ok())
        });
        let address = address.await;
        Self { child, address, _folder: folder }
    }
}

/// The folder with our part of it.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/integration/cache/suite")
}

/// Returns the folder of the package, which is installed once into the target folder.
async fn installed() -> &'static Path {
    static INSTALLED: OnceCell<PathBuf> = OnceCell::const_new();
    INSTALLED.get_or_init(install).await
}

async fn install() -> PathBuf {
    let pinned = ["package.json", "package-lock.json", ".npmrc"];
    let pinned = pinned.map(|name| (name, std::fs::read(sources().join(name)).unwrap()));
    // Each lock file has a folder of its own, and a folder appears only once all is in it.
    let digest =
        pinned.iter().fold(Sha256::new(), |digest, (_, bytes)| digest.chain_update(bytes)).finalize();
    let name: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = target.join(format!("cache-suite-{name}"));
    if !folder.is_dir() {
        let new = tempfile::tempdir_in(target).unwrap();
        for (name, bytes) in pinned {
            std::fs::write(new.path().join(name), bytes).unwrap();
        }
        let mut npm = Command::new(tool("npm", "npm"));
        npm.current_dir(&new).args([
            "ci",
            "--prefer-offline",
            "--no-audit",
            "--no-fund",
            "--loglevel",
            "error",
        ]);
        let ran = program(npm).await;
        assert!(
            ran.code == Some(0),
            "this test needs http-cache-tests 0.4.5 of npm, which could not be installed; is a registry reached?\n{}{}",
            ran.stdout,
            ran.stderr
        );
        // Another run of the tests may have been faster.
        let renamed = std::fs::rename(new.path(), &folder);
        assert!(folder.is_dir(), "{}: {renamed:?}", folder.display());
    }
    folder.join("node_modules/http-cache-tests")
}
