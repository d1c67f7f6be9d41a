//! What a file of test cases says.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use portcullis_model::{Isolation, Name, PolicyConfig, Secret};

use crate::diagnostic::{Diagnostic, Report};
use crate::files::source::{Sources, Span};

/// A file of test cases.
#[derive(Debug)]
pub struct CaseFile {
    /// The cases, in order.
    pub cases: Vec<Case>,
    /// The component that they are about.
    pub component: Cow<'static, [u8]>,
    /// The isolations that they run in.
    pub isolations: Vec<Isolation>,
    /// The secrets that the policy may be granted.
    pub secrets: BTreeMap<Name, Secret>,
    /// The files that it was read from: a change of one of them may change what comes out.
    pub files: Vec<PathBuf>,
    pub(super) sources: Sources,
}

/// A place in a file of test cases.
#[derive(Debug, Clone, Copy)]
pub struct Place(pub(crate) Span);

/// A part of a case, and its place.
#[derive(Debug, Clone)]
pub struct At<T> {
    /// The part.
    pub value: T,
    /// Its place.
    pub place: Place,
}

/// A test case.
#[derive(Debug)]
pub struct Case {
    /// What it shows.
    pub name: At<String>,
    /// The policy as it is configured for it. Its isolation is the first of those that the cases run in.
    pub policy: PolicyConfig,
    /// What the clocks say at its start: the time since 1970.
    pub time: Duration,
    /// What servers answer.
    pub http: Vec<CannedAnswer>,
    /// Its exchanges; at least one.
    pub exchanges: Vec<CaseExchange>,
}

/// An exchange of a case.
#[derive(Debug)]
pub struct CaseExchange {
    /// How much time passes before it.
    pub after: Duration,
    /// What the client sends.
    pub request: CaseRequest,
    /// What the upstream answers.
    pub response: CaseResponse,
    /// What is to become of it.
    pub expect: Expected,
}

/// A request of a case, as it is typed.
#[derive(Debug)]
pub struct CaseRequest {
    /// The place of it as a whole.
    pub place: Place,
    /// The method.
    pub method: String,
    /// The URL, or a path.
    pub url: String,
    /// Its fields, a line each.
    pub headers: Vec<(String, String)>,
    /// The pieces of its body.
    pub pieces: Vec<Vec<u8>>,
    /// The client's address.
    pub client: IpAddr,
    /// The name that the client asks for in TLS; `None` is that of the URL.
    pub tls_server_name: Option<String>,
    /// The client's certificate, in DER.
    pub client_certificate: Option<Vec<u8>>,
}

/// A response of a case, as it is typed.
#[derive(Debug)]
pub struct CaseResponse {
    /// The place of it as a whole.
    pub place: Place,
    /// The status.
    pub status: u16,
    /// Its fields, a line each.
    pub headers: Vec<(String, String)>,
    /// The pieces of its body.
    pub pieces: Vec<Vec<u8>>,
}

/// What a server answers that a policy asks.
#[derive(Debug, Clone, Default)]
pub struct CannedAnswer {
    /// What is asked, without its query.
    pub url: String,
    /// The method; `None` is any.
    pub method: Option<String>,
    /// The status.
    pub status: u16,
    /// Its fields, a line each.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// Why there is no answer, by the word of the key `error`.
    pub error: Option<String>,
}

/// What is to become of an exchange. What is `None` or empty may be anything, but for `reply` and `fault`: a policy
/// that does either unexpectedly has failed the case.
#[derive(Debug, Default)]
pub struct Expected {
    /// The place of it as a whole: that of the request if nothing is typed.
    pub place: Option<Place>,
    /// What the policy replies.
    pub reply: Option<At<ExpectedMessage>>,
    /// How it fails.
    pub fault: Option<At<ExpectedFault>>,
    /// A part of what `configure` says of settings that it refuses.
    pub refused: Option<At<String>>,
    /// The request as it would be forwarded.
    pub request: Option<At<ExpectedMessage>>,
    /// The response as the client would get it.
    pub response: Option<At<ExpectedMessage>>,
    /// Attributes in the end.
    pub attributes: Vec<(String, At<ExpectedValue>)>,
    /// All edits.
    pub edits: Option<At<Vec<At<String>>>>,
    /// Lines of the log, in order.
    pub log: Option<At<Vec<At<String>>>>,
    /// Calls of capabilities, in order.
    pub calls: Option<At<Vec<At<String>>>>,
}

/// What is expected of a fault.
#[derive(Debug, Clone, Default)]
pub struct ExpectedFault {
    /// The kind, by its name in the log.
    pub kind: Option<At<String>>,
    /// A part of its message.
    pub message: Option<At<String>>,
}

/// What is expected of a request or a response.
#[derive(Debug, Clone, Default)]
pub struct ExpectedMessage {
    /// The method of a request.
    pub method: Option<At<String>>,
    /// Path and query of a request.
    pub path: Option<At<String>>,
    /// The host of a request.
    pub authority: Option<At<String>>,
    /// The status of a response.
    pub status: Option<At<u16>>,
    /// Its fields.
    pub headers: Vec<(String, At<ExpectedValue>)>,
    /// Its body.
    pub body: Option<At<ExpectedBody>>,
}

/// What is expected of a field or an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpectedValue {
    /// That it is not there.
    Absent,
    /// That it is there.
    Present,
    /// That it has these lines.
    Lines(Vec<String>),
}

/// What is expected of a body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpectedBody {
    /// All of it.
    pub whole: Option<Vec<u8>>,
    /// Text that is in it.
    pub contains: Option<String>,
    /// Its length.
    pub bytes: Option<u64>,
}

impl CaseFile {
    /// Returns what is shown of something in it that turned out otherwise: `message` in a sentence of its own, `label`
    /// behind the caret, and `notes` below it.
    #[must_use]
    pub fn mismatch(&self, place: Place, message: &str, label: &str, notes: &[String]) -> Diagnostic {
        let report = notes.iter().fold(Report::new(place.0, message, label), Report::remark);
        Diagnostic::new("error", report, &self.sources)
    }

    /// Returns the line of a place.
    #[must_use]
    pub fn line(&self, place: Place) -> u32 {
        self.sources.get(place.0.file).map_or(0, |source| source.position(place.0.start).line)
    }
}
