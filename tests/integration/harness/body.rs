//! A body that a test writes piece by piece.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::mpsc;

use super::upstream::StreamBody;
use super::within;

/// The writing end. Dropping it ends the body.
#[derive(Debug)]
pub struct Pieces(mpsc::Sender<Frame<Bytes>>);

/// The body, for [`super::TestClient::begin`] or a streaming handler of [`super::TestUpstream`].
#[derive(Debug)]
pub struct PieceBody(mpsc::Receiver<Frame<Bytes>>);

impl Pieces {
    /// A body without a known length, and its writing end.
    pub fn new() -> (Self, PieceBody) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), PieceBody(receiver))
    }

    /// Sends bytes; returns `false` if it is no longer read.
    pub async fn send(&self, bytes: impl Into<Bytes>) -> bool {
        within("a piece is taken", self.0.send(Frame::data(bytes.into()))).await.is_ok()
    }

    /// Ends the body with trailers.
    pub async fn trailers(self, fields: &[(&str, &str)]) {
        let mut trailers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            trailers.append(name, HeaderValue::from_str(value).unwrap());
        }
        within("trailers are taken", self.0.send(Frame::trailers(trailers))).await.unwrap();
    }

    /// Waits until it is no longer read.
    pub async fn abandoned(&self) {
        within("the body is given up", self.0.closed()).await;
    }
}

impl PieceBody {
    /// For a handler's answer.
    pub fn boxed(self) -> StreamBody {
        self.boxed_unsync()
    }
}

impl Body for PieceBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}
