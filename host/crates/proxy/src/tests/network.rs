//! What connecting to an endpoint leads to.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use portcullis_net::{Connector, MemoryStream};
use tokio::sync::{mpsc, oneshot};

use super::PIPE_BYTES;

/// What an endpoint does with one connection.
pub(super) type Serve = Rc<dyn Fn(MemoryStream) -> Pin<Box<dyn Future<Output = ()>>>>;

/// What a connection attempt meets.
pub(super) enum Reach {
    /// It is accepted.
    Accepts(Serve),
    /// It is refused.
    Refuses,
    /// It gets no answer.
    Silent,
}

impl Reach {
    /// It is accepted and served by `serve`.
    pub(super) fn accepts<F: Future<Output = ()> + 'static>(
        serve: impl Fn(MemoryStream) -> F + 'static,
    ) -> Self {
        Self::Accepts(Rc::new(move |stream| Box::pin(serve(stream))))
    }
}

type Attempt = (SocketAddr, oneshot::Sender<io::Result<MemoryStream>>);

/// The endpoints, as tasks of this thread.
pub(super) struct Network;

impl Network {
    /// Returns a connector whose attempts meet what `reach` says.
    pub(super) fn start(reach: impl Fn(SocketAddr) -> Reach + 'static) -> Rc<Connector> {
        let (attempts, mut attempted) = mpsc::channel::<Attempt>(1024);
        tokio::task::spawn_local(async move {
            let mut silent = Vec::new();
            while let Some((address, answer)) = attempted.recv().await {
                let outcome = match reach(address) {
                    Reach::Silent => {
                        silent.push(answer);
                        continue;
                    }
                    Reach::Refuses => Err(io::ErrorKind::ConnectionRefused.into()),
                    Reach::Accepts(serve) => {
                        let (ours, theirs) = MemoryStream::pair(PIPE_BYTES);
                        tokio::task::spawn_local(serve(theirs));
                        Ok(ours)
                    }
                };
                // The attempt may have been given up.
                let _given_up = answer.send(outcome).is_err();
            }
        });
        Rc::new(Connector::in_memory(move |address| {
            let attempts = attempts.clone();
            Box::pin(async move {
                let (answer, answered) = oneshot::channel();
                let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
                attempts.try_send((address, answer)).map_err(|_| refused())?;
                answered.await.unwrap_or_else(|_| Err(refused()))
            })
        }))
    }
}
