//! Serves files of a folder. The crate `files` looks for them and reads them; here a request becomes what is looked
//! for, and what was found becomes a response.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use portcullis_compress::Accepted;
use portcullis_files::{
    FileError, FilePath, FilePool, Found, FoundFile, Pending, Rest, Wanted, conditions_of,
};
use portcullis_http::{Selection, http_date, read_path};
use portcullis_model::{Action, Coding, Files, Redirect, Route, Template, TemplatePart};
use portcullis_policy::{Exchange, Permitted};
use portcullis_traffic::Permits;

use super::redirect::redirect;
use super::template::rewritten;
use crate::body::{Body, BodyError, BodySource, Frame};
use crate::call::CallResponse;
use crate::error::ExchangeError;

/// A client is sent to the path with the slash for now, not for good: the folder may become a file.
const WITH_SLASH: u16 = 307;

/// What is sent of a file.
#[derive(Debug)]
pub(crate) struct Content {
    /// The first piece.
    pub(crate) first: Bytes,
    /// What comes behind it.
    rest: Option<Rest>,
    /// The length of a body that is not sent, as the request is HEAD.
    declared: Option<u64>,
}

/// Returns what to look for. Policies that change bodies of responses get plain files.
///
/// # Errors
/// If the path names no file.
pub(crate) fn wanted(
    action: &Files,
    route: &Route,
    permitted: &Permitted<Box<Exchange>>,
    changes_bodies: bool,
) -> Result<Wanted, ExchangeError> {
    let request = &permitted.request;
    let rewritten = action.path.as_ref().and_then(|path| rewritten(path, &route.matches, request));
    let path = match rewritten {
        Some(path) => {
            let mut normal = String::new();
            let path = if path.is_empty() { "/" } else { &path };
            read_path(path, route.path_rules.into(), &mut normal).map_err(ExchangeError::Rewritten)?;
            FilePath::of(&normal)
        }
        None => FilePath::of(request.path()),
    };
    Ok(Wanted {
        root: action.root.clone(),
        path: path.map_err(ExchangeError::File)?,
        index: action.index.clone(),
        symlinks: action.symlinks,
        conditions: conditions_of(request),
        content: request.method == "GET",
        codings: match action.precompressed && !changes_bodies {
            true => Accepted::read(&request.fields).in_order(&Coding::ALL),
            false => Vec::new(),
        },
    })
}

/// Looks for the file on this thread, for an explanation.
pub(crate) fn look(
    action: &Files,
    route: &Route,
    permitted: &Permitted<Box<Exchange>>,
    changes_bodies: bool,
) -> Result<Found, ExchangeError> {
    let wanted = wanted(action, route, permitted, changes_bodies)?;
    portcullis_files::find(&wanted, &Permits::new(1)).map_err(ExchangeError::File)
}

/// Puts the head of the response into the exchange, and returns its content. The response then goes back through the
/// policies like every other.
///
/// # Errors
/// If there is no file to send.
pub(crate) fn answer(
    found: Result<Found, ExchangeError>,
    route: &Route,
    permitted: Permitted<Box<Exchange>>,
) -> (Box<Exchange>, Result<Content, ExchangeError>) {
    let mut exchange = permitted.into_inner();
    let Exchange { request, response, .. } = &mut *exchange;
    let content = found.and_then(|found| match found {
        Found::Folder => {
            let to = Template(vec![
                TemplatePart::Path,
                TemplatePart::Literal("/".to_owned()),
                TemplatePart::Query,
            ]);
            let with_slash = Redirect { status: WITH_SLASH, to };
            let first = redirect(&with_slash, &route.matches, request, response)?;
            Ok(Content { declared: Some(first.len() as u64), first, rest: None })
        }
        Found::File(file) => {
            response.clear();
            let varies = matches!(&route.action, Action::Files(files) if files.precompressed);
            send(*file, request.method == "HEAD", varies, |name, value| {
                response.fields.set(name.as_bytes(), value.as_bytes()).is_ok()
            })
            .map(|(status, content)| {
                response.status = status;
                content
            })
        }
    });
    (exchange, content)
}

/// Returns the status and the content; `set` sets a field of the head.
fn send(
    file: FoundFile,
    is_head: bool,
    varies: bool,
    mut set: impl FnMut(&str, &str) -> bool,
) -> Result<(u16, Content), ExchangeError> {
    let FoundFile { selection, etag, modified, length, coding, media_type, first, rest } = file;
    let mut fields = vec![("etag", etag), ("accept-ranges", "bytes".to_owned())];
    if varies {
        fields.push(("vary", "accept-encoding".to_owned()));
    }
    if let Some(modified) = modified {
        fields.push(("last-modified", String::from_utf8_lossy(&http_date(modified)).into_owned()));
    }
    let status = match &selection {
        Selection::Whole => 200,
        Selection::Part(part) => {
            let last = part.end.saturating_sub(1);
            fields.push(("content-range", format!("bytes {}-{last}/{length}", part.start)));
            206
        }
        Selection::NotModified => 304,
        Selection::Failed => return Err(ExchangeError::Precondition),
        Selection::Unsatisfiable => return Err(ExchangeError::Range { length }),
    };
    if selection != Selection::NotModified {
        fields.push(("content-type", media_type.to_owned()));
        if let Some(coding) = coding {
            fields.push(("content-encoding", coding.name().to_owned()));
        }
    }
    match fields.iter().all(|(name, value)| set(name, value)) {
        true => {
            let declared = (is_head && status == 200).then_some(length);
            Ok((status, Content { first, rest, declared }))
        }
        false => Err(ExchangeError::ResponseTooLarge),
    }
}

impl Content {
    /// Returns how many bytes it has in all.
    pub(crate) fn length(&self) -> u64 {
        self.first.len() as u64 + self.rest.as_ref().map_or(0, Rest::length)
    }

    /// Returns the response, whose body reads on with `pool`.
    pub(crate) fn into_response(self, pool: &FilePool) -> CallResponse {
        let body = match self.rest {
            None => Body::Full(self.first),
            Some(rest) => {
                let pool = pool.clone();
                Body::stream(FileBody {
                    first: Some(self.first),
                    rest: Some(rest),
                    reading: None,
                    moved: 0,
                    pool,
                })
            }
        };
        CallResponse { body, tunnel: None, declared: self.declared }
    }
}

/// The content of a file, of which one piece at a time is read, when there is room for it.
struct FileBody {
    first: Option<Bytes>,
    /// `None` at the end, so that the file is closed.
    rest: Option<Rest>,
    reading: Option<Pending<Bytes>>,
    moved: u64,
    pool: FilePool,
}

impl BodySource for FileBody {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if let Some(first) = self.first.take() {
            self.moved += first.len() as u64;
            return Poll::Ready(Some(Ok(Frame::Data(first))));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let reading = self.reading.get_or_insert_with(|| self.pool.read(rest));
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        match read {
            Ok(piece) => {
                rest.advance(piece.len());
                self.moved += piece.len() as u64;
                if rest.length() == 0 {
                    self.rest = None;
                }
                Poll::Ready(Some(Ok(Frame::Data(piece))))
            }
            Err(error) => {
                self.rest = None;
                Poll::Ready(Some(Err(failed(&error))))
            }
        }
    }

    fn length(&self) -> Option<u64> {
        let first = self.first.as_ref().map_or(0, |first| first.len() as u64);
        Some(first + self.rest.as_ref().map_or(0, Rest::length))
    }

    fn moved(&self) -> u64 {
        self.moved
    }
}

fn failed(error: &FileError) -> BodyError {
    BodyError::File(error.to_string())
}
