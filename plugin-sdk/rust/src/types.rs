//! What hooks are given and what they give back.

use std::borrow::Cow;

use crate::host;

/// What a head hook decides. A hook may return anything that is [`IntoDecision`]: this, `()`, a [`Reply`], a [`Stop`],
/// or a `Result` whose error is one of these.
///
/// ```
/// use portcullis_sdk::{Decision, Reply};
///
/// let stop = Decision::Reply(Reply::new(403).text("not today\n"));
/// assert_ne!(stop, Decision::Next);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Go on with the next policy of the chain.
    Next,
    /// Stop here and answer the client. In `on_request_head` the upstream is not asked; in `on_response_head` this
    /// takes the place of its answer.
    Reply(Reply),
    /// The policy could not do its work, and why. This is a fault: it is logged, and `on-error` of the policy decides
    /// whether the exchange goes on without it or is refused.
    Fail(String),
}

/// What a body hook decides about the bytes at hand. A hook may return anything that is [`IntoBodyDecision`].
///
/// ```
/// use portcullis_sdk::testing::MockExchange;
/// use portcullis_sdk::{BodyDecision, prelude::*};
///
/// #[derive(Default)]
/// struct Shout;
///
/// #[policy(name = "shout", description = "Says it louder.")]
/// impl Shout {
///     fn on_response_body(&self, chunk: Chunk) -> BodyDecision {
///         BodyDecision::Replace(chunk.bytes().to_ascii_uppercase())
///     }
/// }
/// let said = MockExchange::new("GET", "/").response_body(&mut Shout, "hello", true);
/// assert_eq!(said, BodyDecision::Replace(b"HELLO".to_vec()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyDecision {
    /// They go on as they are.
    Forward,
    /// These go on in their place; an empty list drops them.
    Replace(Vec<u8>),
    /// The gateway keeps them, and calls again with them and what came since together: when about as much again has
    /// come, when nothing came for a moment, or at the end. A body of which more would have to be held than the
    /// policy's body limit is answered 413, or 502 if it is the response's; this does not count as a fault of the
    /// policy. At the end there is nothing to wait for and it means `Forward`.
    Hold,
    /// The gateway keeps them, and calls again once, at the end, with all of the body. Bounded as `Hold` is.
    Collect,
    /// So many go on, and the rest is held.
    Pass(usize),
    /// They and all that follow go by without a further call for this body.
    Finish,
    /// Answer the client with this. Possible until the response has begun; later the message is cut off so that it
    /// cannot be taken for complete.
    Reply(Reply),
    /// The policy could not do its work, and why: see [`Decision::Fail`].
    Fail(String),
}

/// Why a hook stops: with an answer for the client, or because it failed. Everything that is an error becomes a failure
/// with `?`.
///
/// ```
/// use portcullis_sdk::{Decision, IntoDecision, Refused, Reply, Stop};
///
/// fn check(key: &str) -> Result<(), Stop> {
///     let number: u32 = key.parse()?;
///     if number == 0 {
///         return Err(Reply::new(403).into());
///     }
///     Err(Refused::ReadOnly)?
/// }
/// assert_eq!(check("0").into_decision(), Decision::Reply(Reply::new(403)));
/// assert_eq!(check("1").into_decision(), Decision::Fail("read-only in this hook".to_owned()));
/// assert_eq!(check("x").into_decision(), Decision::Fail("invalid digit found in string".to_owned()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The client is answered with this.
    Reply(Reply),
    /// The policy could not do its work, and why. The policy's `on-error` decides what that means for the exchange.
    Fail(String),
}

impl Stop {
    /// A failure.
    ///
    /// ```
    /// use portcullis_sdk::Stop;
    ///
    /// assert_eq!(Stop::fail("no list yet"), Stop::Fail("no list yet".to_owned()));
    /// ```
    #[must_use]
    pub fn fail(reason: impl Into<String>) -> Self {
        Self::Fail(reason.into())
    }
}

impl From<Reply> for Stop {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Fail(error.to_string())
    }
}

/// The bytes of a body that are at hand: what was held back before, and what has come since. Nothing is copied that is
/// not asked for.
///
/// What a hook returns decides about those that [`Chunk::pass`] and [`Chunk::replace`] have not let go.
///
/// ```
/// use portcullis_sdk::testing::MockExchange;
/// use portcullis_sdk::{BodyDecision, prelude::*};
///
/// /// Replaces words, wherever a piece ends.
/// #[derive(Default)]
/// struct Censor;
///
/// #[policy(name = "censor", description = "Stars for a word.")]
/// impl Censor {
///     fn on_response_body(&self, mut chunk: Chunk) -> Result<BodyDecision, Stop> {
///         while let Some(at) = chunk.bytes().windows(3).position(|word| word == b"bad") {
///             chunk.pass(at)?;
///             chunk.replace(3, "***")?;
///         }
///         // The begin of the word may be at the end.
///         Ok(BodyDecision::Pass(chunk.len().saturating_sub(2)))
///     }
/// }
///
/// let mut exchange = MockExchange::new("GET", "/");
/// let passed = exchange.send_response_body(&mut Censor, ["so b", "ad, so ba", "d"]);
/// assert_eq!(passed, Ok(b"so ***, so ***".to_vec()));
/// ```
#[derive(Debug)]
pub struct Chunk(pub(crate) ());

impl Chunk {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(host::body_size()).unwrap_or(usize::MAX)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing comes after them. A body that ends by itself ends with an empty last piece.
    #[must_use]
    pub fn is_last(&self) -> bool {
        host::body_is_last()
    }

    /// Whether the message can have no body: the response to a HEAD request, 204 and 304.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        host::body_is_absent()
    }

    /// A copy of all of them.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        host::body_read(0, u64::MAX)
    }

    /// A copy of at most `size` of them, from `offset` on.
    #[must_use]
    pub fn read(&self, offset: usize, size: usize) -> Vec<u8> {
        host::body_read(offset as u64, size as u64)
    }

    /// Lets the first `size` go on.
    ///
    /// # Errors
    /// [`Refused::ReadOnly`] outside of the hooks of a body.
    pub fn pass(&mut self, size: usize) -> Result<(), Refused> {
        host::body_pass(size as u64)
    }

    /// Lets other bytes go on in place of the first `size`.
    ///
    /// # Errors
    /// [`Refused::TooLarge`] if a call puts more in the place of others than the policy's body limit.
    pub fn replace(&mut self, size: usize, with: impl AsRef<[u8]>) -> Result<(), Refused> {
        host::body_replace(size as u64, with.as_ref())
    }
}

/// One field line of a message, with its value as text.
///
/// ```
/// let field = portcullis_sdk::Field { name: "x-a".into(), value: "1".into() };
/// assert_eq!(field.name, "x-a");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// In lower case if it comes from the gateway; any case is taken.
    pub name: String,
    /// The value, with U+FFFD in the place of bytes that are not UTF-8.
    pub value: String,
}

/// One field line of a message, with its value as the bytes that it is.
///
/// ```
/// let field = portcullis_sdk::FieldBytes { name: "x-a".into(), value: b"\xff!".to_vec() };
/// assert_eq!(field.text(), "\u{fffd}!");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldBytes {
    /// In lower case if it comes from the gateway; any case is taken.
    pub name: String,
    /// Any bytes that RFC 9110, 5.5 allows; mostly ASCII.
    pub value: Vec<u8>,
}

impl FieldBytes {
    /// The value as text, with U+FFFD in the place of bytes that are not UTF-8.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.value)
    }
}

/// The fields that the gateway alone writes: framing, hop-by-hop and `Host`.
const OF_THE_GATEWAY: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Field {
    /// Checks a field name that an operator wrote, so that `configure` can refuse what would be refused in each
    /// exchange.
    ///
    /// # Errors
    /// [`Refused::InvalidName`] for what is no token (RFC 9110, 5.6.2), [`Refused::Forbidden`] for what the gateway
    /// alone writes.
    ///
    /// ```
    /// use portcullis_sdk::{Field, Refused};
    ///
    /// assert_eq!(Field::check_name("X-Consumer"), Ok(()));
    /// assert_eq!(Field::check_name("x consumer"), Err(Refused::InvalidName));
    /// assert_eq!(Field::check_name("Content-Length"), Err(Refused::Forbidden));
    /// ```
    pub fn check_name(name: &str) -> Result<(), Refused> {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(valid) {
            Err(Refused::InvalidName)
        } else if OF_THE_GATEWAY.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            Err(Refused::Forbidden)
        } else {
            Ok(())
        }
    }

    /// Checks a field value.
    ///
    /// # Errors
    /// [`Refused::InvalidValue`] for control characters, and for white space at an end (RFC 9110, 5.5).
    ///
    /// ```
    /// use portcullis_sdk::{Field, Refused};
    ///
    /// assert_eq!(Field::check_value(b"two words"), Ok(()));
    /// assert_eq!(Field::check_value(b"two\r\nlines"), Err(Refused::InvalidValue));
    /// ```
    pub fn check_value(value: &[u8]) -> Result<(), Refused> {
        let control = |byte: &u8| *byte != b'\t' && (*byte < 0x20 || *byte == 0x7f);
        let padded = value.trim_ascii().len() != value.len();
        if padded || value.iter().any(control) { Err(Refused::InvalidValue) } else { Ok(()) }
    }
}

/// The answer that a policy gives in place of the upstream's.
///
/// The gateway frames it: `Content-Length`, `Transfer-Encoding`, `Connection` and the like must not be among its
/// fields. With a status outside 200 to 599, an invalid field or a body over the policy's limit the hook fails.
///
/// ```
/// use portcullis_sdk::Reply;
///
/// let reply = Reply::new(429).header("retry-after", "5").text("slow down\n");
/// assert_eq!(reply.header_value("content-type"), Some("text/plain; charset=utf-8"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status code, 200 to 599.
    pub status: u16,
    /// The fields, in order.
    pub headers: Vec<FieldBytes>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A reply with a status and nothing else.
    ///
    /// ```
    /// assert_eq!(portcullis_sdk::Reply::new(204).body, b"");
    /// ```
    #[must_use]
    pub const fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a field.
    ///
    /// ```
    /// let reply = portcullis_sdk::Reply::new(302).header("location", "/login");
    /// assert_eq!(reply.header_value("Location"), Some("/login"));
    /// ```
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push(FieldBytes { name: name.to_owned(), value: value.as_ref().to_vec() });
        self
    }

    /// Sets the body, and says that it is plain text.
    ///
    /// ```
    /// assert_eq!(portcullis_sdk::Reply::new(403).text("no\n").body, b"no\n");
    /// ```
    #[must_use]
    pub fn text(self, body: impl Into<String>) -> Self {
        self.content("text/plain; charset=utf-8", body.into())
    }

    /// Sets the body and its media type.
    ///
    /// ```
    /// let reply = portcullis_sdk::Reply::new(400).content("application/problem+json", r#"{"title":"bad"}"#);
    /// assert_eq!(reply.header_value("content-type"), Some("application/problem+json"));
    /// ```
    #[must_use]
    pub fn content(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.retain(|field| !field.name.eq_ignore_ascii_case("content-type"));
        self.body = body.into();
        self.header("content-type", media_type)
    }

    /// The value of the first field of that name, if it is text. For tests.
    ///
    /// ```
    /// assert_eq!(portcullis_sdk::Reply::new(200).header_value("x-a"), None);
    /// ```
    #[must_use]
    pub fn header_value(&self, name: &str) -> Option<&str> {
        let field = self.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(&field.value).ok()
    }
}

/// Why an edit was not made. The exchange is as it was before.
///
/// With `?` in a hook it becomes a failure of the policy, so that an edit that matters is never silently left out.
///
/// ```
/// use portcullis_sdk::{Refused, Stop};
///
/// assert_eq!(Stop::from(Refused::TooLarge), Stop::fail("too large"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The name is not a token (RFC 9110, 5.6.2), or the method or authority is malformed.
    InvalidName,
    /// The value has a control character, or the path or upstream is not a valid one.
    InvalidValue,
    /// The gateway alone writes this field: framing, hop-by-hop and `Host`.
    Forbidden,
    /// It is too late: the message has been sent on, or this hook does not edit it.
    ReadOnly,
    /// The head, the attributes, the reply or what takes the place of a body would exceed the gateway's limit.
    TooLarge,
    /// Anything else, and what.
    Other(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InvalidName => "invalid name",
            Self::InvalidValue => "invalid value",
            Self::Forbidden => "the gateway alone writes this field",
            Self::ReadOnly => "read-only in this hook",
            Self::TooLarge => "too large",
            Self::Other(why) => why,
        })
    }
}

impl std::error::Error for Refused {}

/// How an exchange ended.
///
/// ```
/// use portcullis_sdk::Outcome;
///
/// let outcome = Outcome { status: 200, response_bytes: 12, ..Outcome::default() };
/// assert!(outcome.error.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The status that the client got; 0 if it got none.
    pub status: u16,
    /// Bytes of the request's body that were received.
    pub request_bytes: u64,
    /// Bytes of the response's body that were sent.
    pub response_bytes: u64,
    /// From the request's head to the response's last byte.
    pub duration: std::time::Duration,
    /// The endpoint that answered, as `host:port`. `None` if there was none.
    pub upstream: Option<String>,
    /// What went wrong, in words. `None` if nothing went wrong.
    pub error: Option<String>,
}

/// What a head hook may return.
///
/// ```
/// use portcullis_sdk::{Decision, IntoDecision, Reply};
///
/// fn check(key: Option<&str>) -> Result<(), Reply> {
///     key.map(|_| ()).ok_or(Reply::new(401))
/// }
/// assert_eq!(check(Some("k")).into_decision(), Decision::Next);
/// assert_eq!(check(None).into_decision(), Decision::Reply(Reply::new(401)));
/// ```
pub trait IntoDecision {
    /// The decision it stands for.
    fn into_decision(self) -> Decision;
}

impl IntoDecision for Decision {
    fn into_decision(self) -> Decision {
        self
    }
}

impl IntoDecision for () {
    fn into_decision(self) -> Decision {
        Decision::Next
    }
}

impl IntoDecision for Reply {
    fn into_decision(self) -> Decision {
        Decision::Reply(self)
    }
}

impl IntoDecision for Stop {
    fn into_decision(self) -> Decision {
        match self {
            Self::Reply(reply) => Decision::Reply(reply),
            Self::Fail(reason) => Decision::Fail(reason),
        }
    }
}

impl<T: IntoDecision, E: Into<Stop>> IntoDecision for Result<T, E> {
    fn into_decision(self) -> Decision {
        match self {
            Ok(decision) => decision.into_decision(),
            Err(error) => error.into().into_decision(),
        }
    }
}

/// What a body hook may return.
///
/// ```
/// use portcullis_sdk::{BodyDecision, IntoBodyDecision, Reply};
///
/// let too_long: Result<(), Reply> = Err(Reply::new(413));
/// assert_eq!(too_long.into_body_decision(), BodyDecision::Reply(Reply::new(413)));
/// ```
pub trait IntoBodyDecision {
    /// The decision it stands for.
    fn into_body_decision(self) -> BodyDecision;
}

impl IntoBodyDecision for BodyDecision {
    fn into_body_decision(self) -> BodyDecision {
        self
    }
}

impl IntoBodyDecision for () {
    fn into_body_decision(self) -> BodyDecision {
        BodyDecision::Forward
    }
}

impl IntoBodyDecision for Reply {
    fn into_body_decision(self) -> BodyDecision {
        BodyDecision::Reply(self)
    }
}

impl IntoBodyDecision for Stop {
    fn into_body_decision(self) -> BodyDecision {
        match self {
            Self::Reply(reply) => BodyDecision::Reply(reply),
            Self::Fail(reason) => BodyDecision::Fail(reason),
        }
    }
}

impl<T: IntoBodyDecision, E: Into<Stop>> IntoBodyDecision for Result<T, E> {
    fn into_body_decision(self) -> BodyDecision {
        match self {
            Ok(decision) => decision.into_body_decision(),
            Err(error) => error.into().into_body_decision(),
        }
    }
}
