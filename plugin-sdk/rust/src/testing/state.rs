//! What the mock knows, and which mock the functions of this thread ask.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use super::cache::CacheWishes;
use super::crypto::Crypto;
use super::fields::{Fields, check_trailer};
use super::matchers::Matchers;
use super::piece::Piece;
use crate::cache_purge::Error as PurgeError;
use crate::http_client::{Error as HttpError, Inbound, Outbound};
use crate::log::Level;
use crate::random::Error as RandomError;
use crate::rate_limit::{Quota, Verdict};
use crate::store::Error;
use crate::{BodyDecision, Field, Refused};

type Shared<T> = Rc<RefCell<T>>;

/// A gateway, and an exchange if one is at hand.
type Current = Option<(Shared<GatewayState>, Option<Shared<ExchangeState>>)>;

thread_local! {
    static CURRENT: RefCell<Current> = const { RefCell::new(None) };
}

/// Runs `code` with a mock at hand. What was at hand before is again afterwards, also when it panics.
pub(crate) fn install<T>(
    gateway: &Shared<GatewayState>,
    exchange: Option<&Shared<ExchangeState>>,
    code: impl FnOnce() -> T,
) -> T {
    struct Restore(Current);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _restore = Restore(CURRENT.replace(Some((Rc::clone(gateway), exchange.cloned()))));
    code()
}

/// The gateway, and the exchange if there is one.
pub(crate) fn at_hand() -> (Shared<GatewayState>, Option<Shared<ExchangeState>>) {
    let at_hand = CURRENT.with_borrow(Clone::clone);
    let Some(at_hand) = at_hand else {
        panic!(
            "there is no gateway outside of a component: run this through `MockGateway::run` or a hook of `MockExchange`"
        )
    };
    at_hand
}

pub(crate) fn with_gateway<T>(call: impl FnOnce(&mut GatewayState) -> T) -> T {
    call(&mut at_hand().0.borrow_mut())
}

/// Whether an exchange is at hand.
pub(crate) fn in_exchange() -> bool {
    CURRENT.with_borrow(|current| matches!(current, Some((_, Some(_)))))
}

pub(crate) fn with_exchange<T>(call: impl FnOnce(&mut ExchangeState) -> T) -> T {
    let exchange = CURRENT.with_borrow(|current| current.as_ref().and_then(|(_, exchange)| exchange.clone()));
    let Some(exchange) = exchange else {
        panic!("there is no exchange at hand: run the hook through `MockExchange`")
    };
    call(&mut exchange.borrow_mut())
}

/// Which head is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    Request,
    Response,
}

/// Which hook runs, and so which head may be edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    RequestHead,
    RequestBody,
    ResponseHead,
    ResponseBody,
    Completed,
}

#[derive(Debug)]
pub(crate) struct ExchangeState {
    pub(crate) phase: Phase,
    pub(crate) method: String,
    pub(crate) scheme: String,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) request_fields: Fields,
    pub(crate) upstreams: Vec<String>,
    pub(crate) upstream: usize,
    pub(crate) endpoint_key: Option<Vec<u8>>,
    pub(crate) status: u16,
    pub(crate) response_fields: Fields,
    pub(crate) client_address: IpAddr,
    pub(crate) client_certificate: Option<Vec<u8>>,
    pub(crate) tls_server_name: Option<String>,
    /// The client's own, unless set.
    pub(crate) peer_address: Option<IpAddr>,
    pub(crate) protocol: String,
    pub(crate) listener: String,
    /// Version, cipher suite and protocol.
    pub(crate) tls: Option<(String, String, Option<String>)>,
    pub(crate) route: String,
    pub(crate) trace_id: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) state: Vec<u8>,
    pub(crate) piece: Piece,
    /// The trailers of the next body that ends.
    pub(crate) trailers: Fields,
    /// The head whose body has begun to go on: first the request's, then the response's.
    pub(crate) begun: Option<Head>,
    pub(crate) cache: CacheWishes,
    /// The instances of policies that the gateway has configured, by their numbers.
    pub(crate) instances: HashMap<u64, Box<dyn Any>>,
}

/// The longest method that a policy may set.
const METHOD_BYTES_MAX: usize = 64;

impl Default for ExchangeState {
    fn default() -> Self {
        Self {
            phase: Phase::RequestHead,
            method: "GET".to_owned(),
            scheme: "https".to_owned(),
            authority: "example.com".to_owned(),
            path: "/".to_owned(),
            query: None,
            request_fields: Fields::default(),
            upstreams: vec!["upstream".to_owned()],
            upstream: 0,
            endpoint_key: None,
            status: 200,
            response_fields: Fields::default(),
            client_address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            client_certificate: None,
            tls_server_name: None,
            peer_address: None,
            protocol: "HTTP/1.1".to_owned(),
            listener: "web".to_owned(),
            tls: None,
            route: "test".to_owned(),
            trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
            attributes: BTreeMap::new(),
            state: Vec::new(),
            piece: Piece::default(),
            trailers: Fields::default(),
            begun: None,
            cache: CacheWishes::default(),
            instances: HashMap::new(),
        }
    }
}

impl ExchangeState {
    pub(crate) fn fields(&self, head: Head) -> &Fields {
        match head {
            Head::Request => &self.request_fields,
            Head::Response => &self.response_fields,
        }
    }

    pub(crate) fn fields_mut(&mut self, head: Head) -> Result<&mut Fields, Refused> {
        self.editable(head)?;
        Ok(match head {
            Head::Request => &mut self.request_fields,
            Head::Response => &mut self.response_fields,
        })
    }

    /// Whether a head may be edited: in its own hook, and in that of its body until some of the body was let go.
    pub(crate) fn editable(&self, head: Head) -> Result<(), Refused> {
        match (head, self.phase) {
            (Head::Request, Phase::RequestHead) | (Head::Response, Phase::ResponseHead) => Ok(()),
            (Head::Request, Phase::RequestBody) | (Head::Response, Phase::ResponseBody)
                if self.begun != Some(head) =>
            {
                Ok(())
            }
            _ => Err(Refused::ReadOnly),
        }
    }

    /// Notes whether a hook of the body of `head` has let some of it go.
    pub(crate) fn body_decided(&mut self, head: Head, decision: &BodyDecision) {
        let rest = self.piece.rest.len();
        let goes_on = match decision {
            BodyDecision::Forward | BodyDecision::Finish => rest,
            BodyDecision::Replace(bytes) => bytes.len(),
            BodyDecision::Pass(size) if !self.piece.last => rest.min(*size),
            BodyDecision::Hold | BodyDecision::Collect if !self.piece.last => 0,
            BodyDecision::Hold | BodyDecision::Collect | BodyDecision::Pass(_) => rest,
            BodyDecision::Reply(_) | BodyDecision::Fail(_) => 0,
        };
        if goes_on > 0 || !self.piece.passed.is_empty() {
            self.begun = Some(head);
        }
    }

    /// The trailers, if there are some in this hook.
    pub(crate) fn trailers(&self) -> Option<&Fields> {
        match self.phase {
            Phase::RequestBody | Phase::ResponseBody => self.piece.last.then_some(&self.trailers),
            Phase::Completed => Some(&self.trailers),
            Phase::RequestHead | Phase::ResponseHead => None,
        }
    }

    pub(crate) fn edit_trailers(
        &mut self,
        name: &str,
        edit: impl FnOnce(&mut Fields) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let has_none = match self.phase {
            Phase::Completed => true,
            Phase::ResponseBody => self.method == "HEAD" || matches!(self.status, 204 | 205 | 304),
            Phase::RequestHead | Phase::RequestBody | Phase::ResponseHead => false,
        };
        if self.trailers().is_none() || has_none {
            return Err(Refused::ReadOnly);
        }
        check_trailer(name)?;
        edit(&mut self.trailers)
    }

    pub(crate) fn add_trailer(&mut self, name: &str, value: &[u8]) -> Result<(), Refused> {
        check_trailer(name)?;
        self.trailers.append(name, value)
    }

    pub(crate) fn set_endpoint_key(&mut self, key: &[u8]) -> Result<(), Refused> {
        self.editable(Head::Request)?;
        if key.len() > 1 << 10 {
            return Err(Refused::TooLarge);
        }
        self.endpoint_key = Some(key.to_vec());
        Ok(())
    }

    /// The piece of a body, in the hooks of bodies.
    pub(crate) fn piece_at_hand(&mut self) -> Result<&mut Piece, Refused> {
        match self.phase {
            Phase::RequestBody | Phase::ResponseBody => Ok(&mut self.piece),
            Phase::RequestHead | Phase::ResponseHead | Phase::Completed => Err(Refused::ReadOnly),
        }
    }

    pub(crate) fn body_is_absent(&self) -> bool {
        self.phase == Phase::ResponseBody && (self.method == "HEAD" || matches!(self.status, 204 | 304))
    }

    pub(crate) fn set_method(&mut self, method: &str) -> Result<(), Refused> {
        self.editable(Head::Request)?;
        if Field::check_name(method) == Err(Refused::InvalidName) || method.len() > METHOD_BYTES_MAX {
            return Err(Refused::InvalidName);
        }
        if method == "CONNECT" {
            return Err(Refused::InvalidValue);
        }
        method.clone_into(&mut self.method);
        Ok(())
    }

    pub(crate) fn set_authority(&mut self, authority: &str) -> Result<(), Refused> {
        self.editable(Head::Request)?;
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte);
        if authority.is_empty() || !authority.bytes().all(valid) {
            return Err(Refused::InvalidName);
        }
        authority.clone_into(&mut self.authority);
        Ok(())
    }

    pub(crate) fn set_path_and_query(&mut self, value: &str) -> Result<(), Refused> {
        self.editable(Head::Request)?;
        if !value.starts_with('/') || !value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(Refused::InvalidValue);
        }
        let (path, query) = match value.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (value, None),
        };
        path.clone_into(&mut self.path);
        self.query = query;
        Ok(())
    }

    pub(crate) fn set_upstream(&mut self, name: &str) -> Result<(), Refused> {
        self.editable(Head::Request)?;
        let at = self.upstreams.iter().position(|upstream| upstream == name);
        self.upstream = at.ok_or(Refused::InvalidValue)?;
        Ok(())
    }

    pub(crate) fn set_status(&mut self, status: u16) -> Result<(), Refused> {
        let bodiless = |status: u16| matches!(status, 204 | 205 | 304);
        self.editable(Head::Response)?;
        let changes_body = status != self.status && (bodiless(status) || bodiless(self.status));
        if !(200..600).contains(&status) || changes_body {
            return Err(Refused::InvalidValue);
        }
        self.status = status;
        Ok(())
    }

    pub(crate) fn set_attribute(&mut self, name: &str, value: &str) -> Result<(), Refused> {
        let others = self.attributes.iter().filter(|(key, _)| *key != name);
        let bytes: usize = others.map(|(key, value)| key.len() + value.len()).sum();
        if bytes + name.len() + value.len() > 16 << 10 {
            return Err(Refused::TooLarge);
        }
        self.attributes.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    pub(crate) fn set_state(&mut self, value: &[u8]) -> Result<(), Refused> {
        if value.len() > 64 << 10 {
            return Err(Refused::TooLarge);
        }
        value.clone_into(&mut self.state);
        Ok(())
    }
}

/// The kinds of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug, Clone)]
struct Metric {
    kind: Kind,
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metric {
    fn is(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let mine = self.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        self.name == name && mine.eq(labels.iter().copied())
    }
}

#[derive(Debug, Clone)]
struct Entry {
    value: Vec<u8>,
    number: bool,
    until: Option<Duration>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct GatewayState {
    pub(crate) elapsed: Duration,
    pub(crate) secrets: BTreeMap<String, Vec<u8>>,
    pub(crate) log: Vec<String>,
    pub(crate) crypto: Crypto,
    /// What servers answer, by method and URL.
    pub(crate) http_answers: Vec<(String, String, Result<Inbound, HttpError>)>,
    pub(crate) http_requests: Vec<Outbound>,
    /// Whether a policy is being configured.
    pub(crate) configuring: bool,
    /// Whether an instance sees many exchanges.
    pub(crate) is_worker: bool,
    pub(crate) matchers: Matchers,
    /// What was purged, as `tag news (soft)`.
    pub(crate) purges: Vec<String>,
    metrics: Vec<Metric>,
    // For each bucket, when it will be full again.
    buckets: HashMap<String, Duration>,
    store: HashMap<String, Entry>,
    random: u64,
}

/// What one call for random bytes may ask for.
const RANDOM_BYTES_MAX: u32 = 4096;

/// 2026-01-01T00:00:00Z.
const EPOCH_MS: u64 = 1_767_225_600_000;

impl GatewayState {
    pub(crate) fn now_ms(&self) -> u64 {
        EPOCH_MS + self.elapsed.as_millis() as u64
    }

    pub(crate) fn monotonic_us(&self) -> u64 {
        self.elapsed.as_micros() as u64
    }

    pub(crate) fn log(&mut self, level: Level, message: &str, fields: &[(&str, &str)]) {
        let fields: String = fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        self.log.push(format!("{} {message}{fields}", format!("{level:?}").to_uppercase()));
    }

    /// SplitMix64 from a fixed seed, so that a test sees the same bytes each time.
    pub(crate) fn random(&mut self, count: u32) -> Result<Vec<u8>, RandomError> {
        if count > RANDOM_BYTES_MAX {
            return Err(RandomError::TooMany);
        }
        let next = |_| {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)) as u8
        };
        Ok((0..count).map(next).collect())
    }

    /// Notes a purge. There is nothing that it could meet.
    pub(crate) fn purge(&mut self, kind: &str, what: &str, soft: bool) -> Result<u64, PurgeError> {
        if self.configuring {
            return Err(PurgeError::NotAllowed("`configure` must not wait".to_owned()));
        }
        if what.is_empty() || what.len() > 8 << 10 {
            return Err(PurgeError::Invalid("it is empty or has more than 8 KiB".to_owned()));
        }
        self.purges.push(format!("{kind} {what}{}", if soft { " (soft)" } else { "" }));
        Ok(0)
    }

    /// The answers to several requests at once, of which there may be 32.
    pub(crate) fn send_all(&mut self, requests: Vec<Outbound>) -> Vec<Result<Inbound, HttpError>> {
        if requests.len() > 32 {
            let refused = || Err(HttpError::InvalidRequest("more than 32 requests at once".to_owned()));
            return requests.iter().map(|_| refused()).collect();
        }
        requests.into_iter().map(|request| self.send(request)).collect()
    }

    /// The answer that the test has given for the method and URL.
    pub(crate) fn send(&mut self, request: Outbound) -> Result<Inbound, HttpError> {
        if self.configuring {
            return Err(HttpError::NotAllowed("`configure` waits for nobody".to_owned()));
        }
        for (name, value) in &request.options {
            let millis = value.parse().unwrap_or(0_u32);
            if name != "timeout-ms" || !(1..=30_000).contains(&millis) {
                return Err(HttpError::InvalidRequest(format!("the option `{name}`")));
            }
        }
        let is = |(method, url, _): &&(String, String, _)| *method == request.method && *url == request.url;
        let answer = self.http_answers.iter().find(is).map(|(_, _, answer)| answer.clone());
        let unknown = || format!("the mock has no answer for {} {}", request.method, request.url);
        let answer = answer.unwrap_or_else(|| Err(HttpError::NotAllowed(unknown())));
        self.http_requests.push(request);
        answer
    }

    pub(crate) fn make_metric(&mut self, kind: Kind, name: &str, labels: &[(&str, &str)]) -> u32 {
        let clean = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let name: String = name.chars().map(clean).collect();
        let known = self.metrics.iter().position(|metric| metric.kind == kind && metric.is(&name, labels));
        let at = known.unwrap_or_else(|| {
            let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            self.metrics.push(Metric { kind, name, labels, value: 0.0 });
            self.metrics.len() - 1
        });
        // Past 256 series a metric counts nothing.
        if at < 256 { at as u32 + 1 } else { 0 }
    }

    pub(crate) fn measure(&mut self, metric: u32, kind: Kind, value: f64) {
        let Some(at) = (metric as usize).checked_sub(1) else { return };
        let Some(metric) = self.metrics.get_mut(at).filter(|metric| metric.kind == kind) else { return };
        match kind {
            Kind::Gauge => metric.value = value,
            Kind::Counter | Kind::Histogram => metric.value += value,
        }
    }

    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.metrics.iter().find(|metric| metric.is(name, labels)).map(|metric| metric.value)
    }

    /// The generic cell rate algorithm with a tolerance of `burst` cells.
    pub(crate) fn check(&mut self, bucket: &str, quota: Quota, cost: u32) -> Verdict {
        if quota.requests == 0 || quota.per.is_zero() {
            let never = Duration::from_millis(u64::MAX);
            return Verdict { allowed: false, remaining: 0, retry_after: never, reset_after: never };
        }
        let cell = quota.per / quota.requests;
        let capacity = cell * quota.burst.saturating_add(1);
        let now = self.elapsed;
        let full_at = self.buckets.get(bucket).copied().unwrap_or_default().max(now);
        let wanted = full_at + cell * cost;
        let allowed = wanted <= now + capacity;
        let full_at = if allowed { wanted } else { full_at };
        self.buckets.insert(bucket.to_owned(), full_at);
        let room = (now + capacity).saturating_sub(full_at);
        Verdict {
            allowed,
            remaining: (room.as_nanos() / cell.as_nanos().max(1)) as u32,
            retry_after: (full_at + cell).saturating_sub(now + capacity),
            reset_after: full_at - now,
        }
    }

    fn entry(&mut self, key: &str) -> Result<Option<&mut Entry>, Error> {
        if key.len() > 1 << 10 {
            return Err(Error::TooLarge);
        }
        let now = self.elapsed;
        self.store.retain(|_, entry| entry.until.is_none_or(|until| now < until));
        Ok(self.store.get_mut(key))
    }

    pub(crate) fn store_get(&mut self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.entry(key)?.map(|entry| entry.value.clone()))
    }

    pub(crate) fn store_set(&mut self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), Error> {
        self.entry(key)?;
        if value.len() > 64 << 10 {
            return Err(Error::TooLarge);
        }
        let until = ttl.map(|ttl| self.elapsed + ttl);
        self.store.insert(key.to_owned(), Entry { value: value.to_vec(), number: false, until });
        Ok(())
    }

    pub(crate) fn store_increment(
        &mut self,
        key: &str,
        by: i64,
        ttl: Option<Duration>,
    ) -> Result<i64, Error> {
        let until = ttl.map(|ttl| self.elapsed + ttl);
        let Some(entry) = self.entry(key)? else {
            let entry = Entry { value: by.to_string().into_bytes(), number: true, until };
            self.store.insert(key.to_owned(), entry);
            return Ok(by);
        };
        let text = std::str::from_utf8(&entry.value).ok().filter(|_| entry.number);
        let old: i64 = text.and_then(|text| text.parse().ok()).ok_or(Error::NotANumber)?;
        let sum = old.saturating_add(by);
        entry.value = sum.to_string().into_bytes();
        Ok(sum)
    }

    pub(crate) fn store_delete(&mut self, key: &str) -> Result<(), Error> {
        self.entry(key)?;
        self.store.remove(key);
        Ok(())
    }

    pub(crate) fn store_list(&mut self, prefix: &str) -> Result<Vec<String>, Error> {
        self.entry(prefix)?;
        let mut keys: Vec<String> =
            self.store.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
        keys.sort_unstable();
        keys.truncate(1000);
        Ok(keys)
    }
}
