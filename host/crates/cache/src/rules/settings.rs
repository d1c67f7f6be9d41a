//! What an operator sets for the cache of a route, as far as the rules depend on it.

use super::directives::SECONDS_MAX;

/// The settings of a route. The default is safe for routes with signed-in users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether a response that sets a cookie may be stored.
    pub cookies: Cookies,
    /// Whether Cache-Control and Pragma of requests count. If not, `no-store` still keeps the response to its own
    /// request out of the store, which RFC 9111, 5.2.1.5 demands.
    pub client_directives: bool,
    /// Fields of responses, in lower case, that count in place of Cache-Control: the first that is there and valid
    /// (RFC 9213).
    pub targeted: Vec<String>,
    /// Freshness lifetimes in seconds, by status code, of responses that do not say theirs.
    pub ttl: Vec<(u16, u32)>,
    /// How long a response is fresh if neither it nor `ttl` says so (RFC 9111, 4.2.2); `None` for not at all.
    pub heuristic: Option<Heuristic>,
    /// The longest freshness lifetime in seconds, whatever a response says.
    pub lifetime_max: u32,
    /// For how many seconds a stale response may be used while it is validated in the background, if it does not say.
    pub stale_while_revalidate: u32,
    /// For how many seconds a stale response may be used if the upstream fails, if it does not say.
    pub stale_if_error: u32,
    /// How requests are compared if a response varies.
    pub vary: VaryRules,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cookies: Cookies::Skip,
            client_directives: true,
            targeted: vec!["cdn-cache-control".to_owned()],
            ttl: Vec::new(),
            heuristic: Some(Heuristic::default()),
            lifetime_max: SECONDS_MAX,
            stale_while_revalidate: 0,
            stale_if_error: 0,
            vary: VaryRules::Case,
        }
    }
}

impl Settings {
    /// Returns the lifetime that the operator set for a status code.
    pub(super) fn ttl_of(&self, status: u16) -> Option<u32> {
        self.ttl.iter().find(|(of, _)| *of == status).map(|(_, seconds)| *seconds)
    }
}

/// What a Set-Cookie field in a response means for the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookies {
    /// The response is for one client, and is not stored.
    Skip,
    /// The field is like any other, which is what RFC 9111, 7.3 says: the origin has to forbid the storing.
    Rfc,
}

/// How a freshness lifetime is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heuristic {
    /// How much of the time since Last-Modified, in per cent.
    pub percent: u8,
    /// The longest estimate in seconds.
    pub seconds_max: u32,
}

impl Default for Heuristic {
    /// A tenth, as RFC 9111, 4.2.2 has it, and at most a day.
    fn default() -> Self {
        Self { percent: 10, seconds_max: 86_400 }
    }
}

/// How much two requests may differ in a field that a response varies on (RFC 9111, 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaryRules {
    /// In how a list is divided into lines, and in white space around its commas.
    Exact,
    /// In addition in the order of Accept-Encoding and in the case of it and of Accept-Language.
    Case,
    /// In addition in the order of Accept-Language. A response in the language that a request prefers to all others
    /// answers it as well. For upstreams that heed the weights of languages and not their order.
    Languages,
}
