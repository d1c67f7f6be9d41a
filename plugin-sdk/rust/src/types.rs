//! What hooks are given and what they give back.

/// What a head hook decides. A hook may return anything that is [`IntoDecision`]: this, `()`, a [`Reply`], or a
/// `Result` whose error is a reply.
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
}

/// What a body hook decides about the piece that it was given. A hook may return anything that is
/// [`IntoBodyDecision`].
///
/// ```
/// use portcullis_sdk::{BodyDecision, Chunk};
///
/// fn shout(chunk: Chunk) -> BodyDecision {
///     BodyDecision::Replace(chunk.bytes.to_ascii_uppercase())
/// }
/// let said = shout(Chunk { bytes: b"hello".to_vec(), last: true });
/// assert_eq!(said, BodyDecision::Replace(b"HELLO".to_vec()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyDecision {
    /// The piece goes on as it is.
    Forward,
    /// These bytes go on in its place; an empty list drops the piece.
    Replace(Vec<u8>),
    /// The gateway keeps the piece, and calls again with it and what came since together: when about as much again has
    /// come, when nothing came for a moment, or at the end. A body of which more would have to be held than the
    /// policy's body limit is answered 413, or 502 if it is the response's; this does not count as a fault of the
    /// policy. With `last` set there is nothing to wait for and it means `Forward`.
    Hold,
    /// Answer the client with this. Possible until the response has begun; later it is a fault, and the message is cut
    /// off so that it cannot be taken for complete.
    Reply(Reply),
}

/// A piece of a body.
///
/// ```
/// use portcullis_sdk::{BodyDecision, Chunk};
///
/// /// Waits until all is there.
/// fn on_request_body(chunk: &Chunk) -> BodyDecision {
///     if chunk.last { BodyDecision::Forward } else { BodyDecision::Hold }
/// }
/// assert_eq!(on_request_body(&Chunk { bytes: vec![1], last: false }), BodyDecision::Hold);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunk {
    /// The bytes; together with what was held back before.
    pub bytes: Vec<u8>,
    /// Whether it is the last. A body that ends by itself ends with an empty last piece.
    pub last: bool,
}

/// One field line of a message.
///
/// ```
/// let field = portcullis_sdk::Field { name: "x-a".into(), value: b"1".to_vec() };
/// assert_eq!(field.name, "x-a");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// In lower case if it comes from the gateway; any case is taken.
    pub name: String,
    /// Any bytes that RFC 9110, 5.5 allows; mostly ASCII.
    pub value: Vec<u8>,
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
/// fields. A status outside 200 to 599, an invalid field or a body over the policy's limit is a fault of the policy.
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
    pub headers: Vec<Field>,
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
        self.headers.push(Field { name: name.to_owned(), value: value.as_ref().to_vec() });
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
/// With `?` in a hook it becomes a reply with status 500, so that an edit that matters is never silently left out.
///
/// ```
/// use portcullis_sdk::{Refused, Reply};
///
/// assert_eq!(Reply::from(Refused::Forbidden).status, 500);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The name is not a token (RFC 9110, 5.6.2), or the method or authority is malformed.
    InvalidName,
    /// The value has a control character, or the path or upstream is not a valid one.
    InvalidValue,
    /// The gateway alone writes this field: framing, hop-by-hop and `Host`.
    Forbidden,
    /// It is too late: the message has been sent on, or this hook does not edit it.
    ReadOnly,
    /// The head or the attributes would exceed the gateway's limit.
    TooLarge,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InvalidName => "invalid name",
            Self::InvalidValue => "invalid value",
            Self::Forbidden => "the gateway alone writes this field",
            Self::ReadOnly => "read-only in this hook",
            Self::TooLarge => "too large",
        })
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for Reply {
    fn from(refused: Refused) -> Self {
        Self::new(500).text(format!("a policy's edit was refused: {refused}\n"))
    }
}

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

impl<T: IntoDecision, E: Into<Reply>> IntoDecision for Result<T, E> {
    fn into_decision(self) -> Decision {
        match self {
            Ok(decision) => decision.into_decision(),
            Err(error) => Decision::Reply(error.into()),
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

impl<T: IntoBodyDecision, E: Into<Reply>> IntoBodyDecision for Result<T, E> {
    fn into_body_decision(self) -> BodyDecision {
        match self {
            Ok(decision) => decision.into_body_decision(),
            Err(error) => BodyDecision::Reply(error.into()),
        }
    }
}
