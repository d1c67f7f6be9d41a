//! The trait behind `#[policy]`.

use crate::manifest::Manifest;
use crate::{BodyDecision, Chunk, Decision, Exchange, Outcome, Request, Response, Trailers};

/// A policy, as the gateway and the tests run it. [`#[policy]`](macro@crate::policy) implements it: each hook that the
/// `impl` block has, with the arguments that it wants; the others do nothing here and are not exported from the
/// component.
///
/// ```
/// use portcullis_sdk::{Policy, prelude::*};
///
/// #[derive(Default)]
/// struct Nothing;
///
/// #[policy(name = "nothing", description = "Does nothing.")]
/// impl Nothing {
///     fn on_tick(&self) {}
/// }
/// assert_eq!(Nothing::MANIFEST.name, "nothing");
/// ```
pub trait Policy: Sized + 'static {
    /// What the component says of itself.
    const MANIFEST: Manifest<'static>;

    /// Makes the policy from its configuration as JSON.
    ///
    /// # Errors
    /// What is wrong with the configuration, for the operator.
    fn from_config(config: &str) -> Result<Self, String>;

    /// `on_request_head`.
    fn request_head(&mut self, request: &mut Request, exchange: &mut Exchange) -> Decision {
        let _ = (request, exchange);
        Decision::Next
    }

    /// `on_request_body`.
    fn request_body(
        &mut self,
        chunk: Chunk,
        trailers: &mut Trailers,
        request: &mut Request,
        exchange: &mut Exchange,
    ) -> BodyDecision {
        let _ = (chunk, trailers, request, exchange);
        BodyDecision::Forward
    }

    /// `on_response_head`.
    fn response_head(
        &mut self,
        response: &mut Response,
        request: &Request,
        exchange: &mut Exchange,
    ) -> Decision {
        let _ = (response, request, exchange);
        Decision::Next
    }

    /// `on_response_body`.
    fn response_body(
        &mut self,
        chunk: Chunk,
        trailers: &mut Trailers,
        response: &mut Response,
        request: &Request,
        exchange: &mut Exchange,
    ) -> BodyDecision {
        let _ = (chunk, trailers, response, request, exchange);
        BodyDecision::Forward
    }

    /// `on_completed`. A reply is a failure: the client has its answer.
    fn completed(
        &mut self,
        outcome: &Outcome,
        trailers: &Trailers,
        response: &Response,
        request: &Request,
        exchange: &mut Exchange,
    ) -> Decision {
        let _ = (outcome, trailers, response, request, exchange);
        Decision::Next
    }

    /// `on_tick`. A reply is a failure: there is no client.
    fn tick(&mut self) -> Decision {
        Decision::Next
    }
}

/// What `configure` may return: the policy, or a `Result` whose error says what is wrong.
///
/// ```
/// use portcullis_sdk::IntoConfigured;
///
/// let refused: Result<u8, &str> = Err("no keys");
/// assert_eq!(IntoConfigured::<u8>::into_configured(refused), Err("no keys".to_owned()));
/// ```
pub trait IntoConfigured<P> {
    /// The policy, or what is wrong with its configuration.
    ///
    /// # Errors
    /// What is wrong, as text for the operator.
    fn into_configured(self) -> Result<P, String>;
}

impl<P> IntoConfigured<P> for P {
    fn into_configured(self) -> Result<P, String> {
        Ok(self)
    }
}

impl<P, E: std::fmt::Display> IntoConfigured<P> for Result<P, E> {
    fn into_configured(self) -> Result<P, String> {
        self.map_err(|error| error.to_string())
    }
}

/// Reads a policy's settings. The gateway has checked them against the schema before; in native tests this is the only
/// check.
#[doc(hidden)]
pub fn settings<'de, S: serde::Deserialize<'de>>(config: &'de str) -> Result<S, String> {
    serde_json::from_str(config).map_err(|error| error.to_string())
}
