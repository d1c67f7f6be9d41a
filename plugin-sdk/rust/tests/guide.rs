//! The policy of docs/writing-a-policy.md, built and tested: every Rust block of the guide stands here, line for line.

use std::collections::BTreeMap;

use portcullis_sdk::prelude::*;

/// Sends each tenant to its own upstream, and those who are late with their bill away.
struct Tenant {
    header: String,
    tenants: BTreeMap<String, Standing>,
}

/// What the operator writes under `config`.
#[derive(Config)]
struct Settings {
    /// The field that names the tenant.
    #[config(default = "x-tenant")]
    header: String,
    /// Each tenant, and how it stands.
    tenants: BTreeMap<String, Standing>,
}

/// How a tenant stands.
#[derive(Config, Clone, Copy, PartialEq)]
enum Standing {
    Good,
    Overdue,
}

#[policy(name = "tenant", description = "Lets tenants in that have paid.")]
impl Tenant {
    fn configure(settings: Settings) -> Result<Self, String> {
        if settings.tenants.is_empty() {
            return Err("tenants is empty, so nobody would get in".to_owned());
        }
        Ok(Self { header: settings.header, tenants: settings.tenants })
    }

    fn on_request_head(&self, request: &mut Request, exchange: &mut Exchange) -> Result<(), Stop> {
        let name = request.header(&self.header).unwrap_or_default();
        match self.tenants.get(&name) {
            Some(Standing::Good) => exchange.set_attribute("tenant", &name)?,
            Some(Standing::Overdue) => return Err(Reply::new(402).text("please pay your bill\n").into()),
            None => return Err(Reply::new(403).text("who are you?\n").into()),
        }
        request.remove_header(&self.header)?;
        Ok(())
    }

    fn on_response_head(&self, response: &mut Response, exchange: &Exchange) -> Result<(), Stop> {
        if let Some(name) = exchange.attribute("tenant") {
            response.set_header("x-served-for", name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_sdk::testing::MockGateway;

    use super::*;

    const CONFIG: &str = r#"{"tenants": {"acme": "good", "initech": "overdue"}}"#;

    #[test]
    fn lets_those_in_who_have_paid() {
        let gateway = MockGateway::new();
        let mut policy = gateway.configure::<Tenant>(CONFIG).expect("the settings are right");

        let mut exchange = gateway.exchange("GET", "/").header("x-tenant", "acme");
        assert_eq!(exchange.request_head(&mut policy), Decision::Next);
        assert_eq!(exchange.attribute_value("tenant").as_deref(), Some("acme"));
        assert_eq!(exchange.request_header("x-tenant"), None);

        assert_eq!(exchange.response_head(&mut policy), Decision::Next);
        assert_eq!(exchange.response_header("x-served-for").as_deref(), Some("acme"));
    }

    #[test]
    fn sends_the_others_away() {
        let gateway = MockGateway::new();
        let mut policy = gateway.configure::<Tenant>(CONFIG).expect("the settings are right");
        for (tenant, status) in [("initech", 402), ("nobody", 403)] {
            let mut exchange = gateway.exchange("GET", "/").header("x-tenant", tenant);
            match exchange.request_head(&mut policy) {
                Decision::Reply(reply) => assert_eq!(reply.status, status),
                other => panic!("{tenant}: {other:?}"),
            }
        }
    }
}

mod more {
    use std::time::Duration;

    use portcullis_sdk::prelude::*;
    use portcullis_sdk::{log, store};

    /// Shuts out, for ten minutes, clients whose requests failed too often.
    #[derive(Default)]
    struct Jail;

    #[policy(name = "jail", description = "Shuts out clients that fail often.", capabilities = ["log", "store"])]
    impl Jail {
        fn on_request_head(&self, exchange: &Exchange) -> Decision {
            let key = format!("failures:{}", exchange.client_address());
            // A store that is full or out of reach must not keep everybody out.
            let count = store::get(&key).ok().flatten().unwrap_or_default();
            let failures: u32 = String::from_utf8_lossy(&count).parse().unwrap_or(0);
            if failures < 10 { Decision::Next } else { Decision::Reply(Reply::new(429)) }
        }

        fn on_completed(&self, outcome: &Outcome, exchange: &Exchange) {
            if outcome.status == 401 {
                let key = format!("failures:{}", exchange.client_address());
                if let Err(error) = store::increment(&key, 1, Some(Duration::from_secs(600))) {
                    log::warn(format!("cannot count: {error}"));
                }
            }
        }
    }

    #[test]
    fn shuts_out_after_ten_failures() {
        use portcullis_sdk::testing::MockGateway;

        let gateway = MockGateway::new();
        for _ in 0..10 {
            let mut exchange = gateway.exchange("GET", "/");
            assert_eq!(exchange.request_head(&mut Jail), Decision::Next);
            exchange.completed(&mut Jail, &Outcome { status: 401, ..Outcome::default() });
        }
        assert_ne!(gateway.exchange("GET", "/").request_head(&mut Jail), Decision::Next);
        gateway.advance(Duration::from_secs(600));
        assert_eq!(gateway.exchange("GET", "/").request_head(&mut Jail), Decision::Next);
    }
}

mod bodies {
    use portcullis_sdk::prelude::*;

    /// Refuses uploads that hold a word which must not leave the house.
    #[derive(Default)]
    struct Leak;

    #[policy(name = "leak", description = "Keeps a word in.")]
    impl Leak {
        fn on_request_body(&self, chunk: Chunk) -> BodyDecision {
            // Only the whole body shows a word that lies across two pieces.
            if !chunk.is_last() {
                return BodyDecision::Collect;
            }
            match chunk.bytes().windows(6).any(|word| word == b"secret") {
                true => BodyDecision::Reply(Reply::new(403)),
                false => BodyDecision::Forward,
            }
        }
    }

    #[test]
    fn sees_a_word_across_pieces() {
        use portcullis_sdk::testing::MockExchange;

        let sent = |pieces: [&str; 2]| MockExchange::new("POST", "/").send_request_body(&mut Leak, pieces);
        assert_eq!(sent(["a sec", "ond"]), Ok(b"a second".to_vec()));
        assert_eq!(sent(["a sec", "ret"]), Err(Reply::new(403).into()));
    }
}

mod prices {
    use portcullis_sdk::cache;
    use portcullis_sdk::prelude::*;

    /// The shop shows each plan its own prices. Which plan a session has, another policy has found out.
    #[derive(Default)]
    struct Prices;

    #[policy(name = "prices", description = "Keeps the prices of each plan apart.")]
    impl Prices {
        fn on_request_head(&self, exchange: &Exchange) -> Result<(), Stop> {
            match exchange.attribute("plan") {
                Some(plan) => cache::vary_by("plan", &plan)?,
                None => cache::bypass()?,
            }
            cache::add_tag("prices")?;
            Ok(())
        }
    }

    #[test]
    fn keeps_plans_apart() {
        use portcullis_sdk::testing::MockExchange;

        let mut known = MockExchange::new("GET", "/").attribute("plan", "gold");
        assert_eq!(known.request_head(&mut Prices), Decision::Next);
        assert_eq!(known.cache_parts(), [("plan".to_owned(), "gold".to_owned())]);
        let mut unknown = MockExchange::new("GET", "/");
        assert_eq!(unknown.request_head(&mut Prices), Decision::Next);
        assert!(unknown.is_cache_bypassed());
    }
}

/// Lines without their indentation, so that code inside of a module counts.
fn lines(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_guide_shows_this_code() {
    let guide = include_str!("../../../docs/writing-a-policy.md");
    let this = lines(include_str!("guide.rs"));
    let blocks: Vec<&str> = guide
        .split("```rust\n")
        .skip(1)
        .map(|rest| rest.split_once("```").map_or(rest, |(block, _)| block))
        .collect();
    assert!(blocks.len() >= 4, "the guide has its blocks of Rust");
    for block in blocks {
        assert!(this.contains(&lines(block)), "this block of the guide is not in tests/guide.rs:\n{block}");
    }
}

/// The policy of the README is the one of this crate's documentation, which is compiled and run as a test there.
#[test]
fn the_readme_shows_the_documented_policy() {
    let readme = include_str!("../../../README.md");
    let block = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a policy");
    let documentation = include_str!("../src/lib.rs");
    let documentation: Vec<&str> =
        documentation.lines().filter_map(|line| line.strip_prefix("//!")).collect();
    assert!(lines(&documentation.join("\n")).contains(&lines(block)), "not in src/lib.rs:\n{block}");
}
