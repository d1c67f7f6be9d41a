//! A policy as a gateway runs it: an instance for each exchange.

use std::any::Any;
use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::state::{GatewayState, at_hand, install};
use crate::manifest::Manifest;
use crate::policy::Policy;
use crate::{BodyDecision, Chunk, Decision, Exchange, Outcome, Request, Response, Trailers};

/// A policy that a [`MockGateway`](super::MockGateway) has configured. As with `isolation = "exchange"`, the gateway's
/// default, each exchange has an instance of its own in the state in which `configure` left it: what a hook keeps in
/// the policy's fields is there in later hooks of the same exchange and gone with it, and `on_tick` has a new instance
/// each time. With [`MockGateway::worker`](super::MockGateway::worker) one instance sees all exchanges.
///
/// It stands for the policy as `configure` left it: its fields can be read.
///
/// ```
/// use portcullis_sdk::prelude::*;
/// use portcullis_sdk::testing::MockGateway;
///
/// #[derive(Default)]
/// struct Count(u32);
///
/// #[policy(name = "count", description = "Counts, wrongly: requests of all clients are meant.")]
/// impl Count {
///     fn on_request_head(&mut self, request: &mut Request) -> Result<(), Stop> {
///         self.0 += 1;
///         request.set_header("x-count", self.0.to_string())?;
///         Ok(())
///     }
/// }
///
/// let count = |gateway: MockGateway| -> Result<Vec<Option<String>>, String> {
///     let mut policy = gateway.configure::<Count>("{}")?;
///     let mut exchanges = [gateway.exchange("GET", "/"), gateway.exchange("GET", "/")];
///     exchanges.iter_mut().for_each(|exchange| drop(exchange.request_head(&mut policy)));
///     Ok(exchanges.iter().map(|exchange| exchange.request_header("x-count")).collect())
/// };
/// let text = |text: &str| Some(text.to_owned());
/// assert_eq!(count(MockGateway::new()), Ok(vec![text("1"), text("1")]));
/// assert_eq!(count(MockGateway::new().worker()), Ok(vec![text("1"), text("2")]));
/// ```
#[derive(Debug)]
pub struct Configured<P> {
    gateway: Rc<RefCell<GatewayState>>,
    config: String,
    /// The gateway as it was before, for instances that are made later: `configure` runs once, and they are all as it
    /// left the first.
    before: GatewayState,
    /// What its instances are kept under.
    number: u64,
    first: P,
}

impl<P: Policy> Configured<P> {
    /// The policy as `configure` left it.
    #[must_use]
    pub fn into_inner(self) -> P {
        self.first
    }

    fn instance(&self) -> P {
        let now = self.gateway.replace(self.before.clone());
        let made = install(&self.gateway, None, || P::from_config(&self.config));
        self.gateway.replace(now);
        made.unwrap_or_else(|error| panic!("`configure` refuses what it took before: {error}"))
    }

    /// Runs a hook in the instance that it is for.
    fn with<T>(&mut self, hook: impl FnOnce(&mut P) -> T) -> T {
        if self.gateway.borrow().is_worker {
            return hook(&mut self.first);
        }
        let (_, Some(exchange)) = at_hand() else { return hook(&mut self.instance()) };
        let kept = exchange.borrow_mut().instances.remove(&self.number);
        let mut instance: Box<P> = match kept.and_then(|kept| kept.downcast().ok()) {
            Some(instance) => instance,
            None => Box::new(self.instance()),
        };
        let given = hook(&mut instance);
        let kept: Box<dyn Any> = instance;
        exchange.borrow_mut().instances.insert(self.number, kept);
        given
    }
}

impl<P> Deref for Configured<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.first
    }
}

impl<P: Policy> Policy for Configured<P> {
    const MANIFEST: Manifest<'static> = P::MANIFEST;

    fn from_config(config: &str) -> Result<Self, String> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let (gateway, _) = at_hand();
        let before = gateway.borrow().clone();
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let first = P::from_config(config)?;
        Ok(Self { gateway, config: config.to_owned(), before, number, first })
    }

    fn request_head(&mut self, request: &mut Request, exchange: &mut Exchange) -> Decision {
        self.with(|policy| policy.request_head(request, exchange))
    }

    fn request_body(
        &mut self,
        chunk: Chunk,
        trailers: &mut Trailers,
        request: &mut Request,
        exchange: &mut Exchange,
    ) -> BodyDecision {
        self.with(|policy| policy.request_body(chunk, trailers, request, exchange))
    }

    fn response_head(
        &mut self,
        response: &mut Response,
        request: &Request,
        exchange: &mut Exchange,
    ) -> Decision {
        self.with(|policy| policy.response_head(response, request, exchange))
    }

    fn response_body(
        &mut self,
        chunk: Chunk,
        trailers: &mut Trailers,
        response: &mut Response,
        request: &Request,
        exchange: &mut Exchange,
    ) -> BodyDecision {
        self.with(|policy| policy.response_body(chunk, trailers, response, request, exchange))
    }

    fn completed(
        &mut self,
        outcome: &Outcome,
        trailers: &Trailers,
        response: &Response,
        request: &Request,
        exchange: &mut Exchange,
    ) -> Decision {
        self.with(|policy| policy.completed(outcome, trailers, response, request, exchange))
    }

    fn tick(&mut self) -> Decision {
        self.with(P::tick)
    }
}
