//! The gateway that a test makes up.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::exchange::without_reply;
use super::state::{GatewayState, install};
use super::{Configured, MockExchange, crypto};
use crate::Decision;
use crate::crypto::Algorithm;
use crate::http_client::{self, Inbound, Outbound};

use crate::policy::Policy;

/// A gateway for tests: its clock, secrets, rate limits, store, metrics and log. Clones are the same gateway.
///
/// ```
/// use portcullis_sdk::{log, testing::MockGateway};
///
/// let gateway = MockGateway::new();
/// gateway.run(|| log::warn("careful"));
/// assert_eq!(gateway.log_lines(), ["WARN careful"]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct MockGateway {
    pub(crate) state: Rc<RefCell<GatewayState>>,
}

impl MockGateway {
    /// A gateway without secrets, at 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a secret.
    #[must_use]
    pub fn secret(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.state.borrow_mut().secrets.insert(name.to_owned(), value.as_ref().to_vec());
        self
    }

    /// A token that this gateway takes for one that the key of that JSON Web Key signed: see [`crate::crypto`]. Its
    /// header says the algorithm.
    ///
    /// # Panics
    /// If the key or the header is not one.
    #[must_use]
    pub fn sign_jws(&self, jwk: &str, header: &str, payload: impl AsRef<[u8]>) -> String {
        match crypto::sign_jws(jwk, header, payload.as_ref()) {
            Ok(token) => token,
            Err(error) => panic!("cannot sign a token: {error}"),
        }
    }

    /// A signature of `message` that this gateway takes for one by the key of that JSON Web Key: see [`crate::crypto`].
    ///
    /// # Panics
    /// If the key is not one for that algorithm.
    #[must_use]
    pub fn sign(&self, jwk: &str, algorithm: Algorithm, message: impl AsRef<[u8]>) -> Vec<u8> {
        match crypto::sign(jwk, algorithm, message.as_ref()) {
            Ok(signature) => signature,
            Err(error) => panic!("cannot sign: {error}"),
        }
    }

    /// Answers requests by that method to that URL, which is compared as it is written, each time. One without an
    /// answer is not allowed.
    #[must_use]
    pub fn http(self, method: &str, url: &str, answer: Result<Inbound, http_client::Error>) -> Self {
        let answers = |state: &mut GatewayState| {
            // The last word counts.
            state.http_answers.insert(0, (method.to_owned(), url.to_owned(), answer));
        };
        answers(&mut self.state.borrow_mut());
        self
    }

    /// The requests that policies have sent, in their order.
    #[must_use]
    pub fn http_requests(&self) -> Vec<Outbound> {
        self.state.borrow().http_requests.clone()
    }

    /// Lets time pass on all its clocks.
    pub fn advance(&self, by: Duration) {
        self.state.borrow_mut().elapsed += by;
    }

    /// Has one instance of each policy see all exchanges, as with `isolation = "worker"`. Of several that a worker has,
    /// this is one.
    #[must_use]
    pub fn worker(self) -> Self {
        self.state.borrow_mut().is_worker = true;
        self
    }

    /// Makes a policy from its configuration as JSON, of which each exchange has an instance of its own.
    ///
    /// # Errors
    /// What the policy, or the reading of its settings, says against the configuration. The real gateway checks the
    /// schema, bounds and patterns included, before it asks the policy.
    pub fn configure<P: Policy>(&self, config: &str) -> Result<Configured<P>, String> {
        self.state.borrow_mut().configuring = true;
        let configured = self.run(|| Configured::from_config(config));
        self.state.borrow_mut().configuring = false;
        configured
    }

    /// Runs `on_tick`. A reply is a failure.
    pub fn tick<P: Policy>(&self, policy: &mut P) -> Decision {
        without_reply(self.run(|| policy.tick()))
    }

    /// Begins an exchange on this gateway.
    #[must_use]
    pub fn exchange(&self, method: &str, path_and_query: &str) -> MockExchange {
        MockExchange::on(self, method, path_and_query)
    }

    /// Runs code that uses capabilities, with no exchange at hand.
    pub fn run<T>(&self, code: impl FnOnce() -> T) -> T {
        install(&self.state, None, code)
    }

    /// What was purged so far, such as `tag news (soft)`.
    #[must_use]
    pub fn purges(&self) -> Vec<String> {
        self.state.borrow().purges.clone()
    }

    /// What was logged so far: level, message, then `name=value` for each field.
    #[must_use]
    pub fn log_lines(&self) -> Vec<String> {
        self.state.borrow().log.clone()
    }

    /// The value of a counter or gauge, or the sum of a histogram's samples. `None` if no policy made it.
    #[must_use]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.state.borrow().metric(name, labels)
    }
}
