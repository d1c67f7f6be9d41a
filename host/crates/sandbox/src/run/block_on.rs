//! Runs a future on a thread that sleeps while it waits.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Runs a future on this thread, which sleeps while it waits. Not for a worker's thread, unless what it runs does not
/// wait for anybody: `configure` does not.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    block_on_with(future, thread::park)
}

/// The same with another `park`, which may come back before the future asks for it.
pub(crate) fn block_on_with<F: Future>(future: F, park: impl Fn()) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        park();
    }
}
