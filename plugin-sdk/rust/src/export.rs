//! What a component's exports run: the policy of the instance, and the way between the contract's types and the SDK's.

use std::cell::RefCell;
use std::time::Duration;

use crate::bindings::completed::exports::portcullis::policy::completed as wit_completed;
use crate::bindings::portcullis::policy::types as wit;
use crate::policy::Policy;
use crate::{BodyDecision, Chunk, Decision, Exchange, Outcome, Reply, Request, Response};

/// The policy of this instance. One instance sees one exchange at a time, and hooks do not call one another.
#[derive(Debug)]
pub struct Instance<P>(RefCell<Option<P>>);

impl<P: Policy> Instance<P> {
    /// Without a policy yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it is made in a constant, where traits cannot be called")]
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }

    /// `lifecycle.configure`.
    pub fn configure(&self, config: &str) -> Result<(), String> {
        *self.0.borrow_mut() = Some(P::from_config(config)?);
        Ok(())
    }

    /// A policy without `configure` is made when it is first needed.
    fn with<T>(&self, hook: impl FnOnce(&mut P) -> T) -> T {
        let mut slot = self.0.borrow_mut();
        let policy = slot.get_or_insert_with(|| match P::from_config("{}") {
            Ok(policy) => policy,
            Err(error) => panic!("a hook was called before configure: {error}"),
        });
        hook(policy)
    }

    pub fn on_request_head(&self) -> wit::Decision {
        self.with(|policy| decision(policy.request_head(&mut Request(()), &mut Exchange(()))))
    }

    pub fn on_request_body(&self, bytes: Vec<u8>, last: bool) -> wit::BodyDecision {
        let chunk = Chunk { bytes, last };
        self.with(|policy| body_decision(policy.request_body(chunk, &Request(()), &mut Exchange(()))))
    }

    pub fn on_response_head(&self) -> wit::Decision {
        self.with(|policy| decision(policy.response_head(&mut Response(()), &Request(()), &mut Exchange(()))))
    }

    pub fn on_response_body(&self, bytes: Vec<u8>, last: bool) -> wit::BodyDecision {
        let chunk = Chunk { bytes, last };
        self.with(|policy| {
            body_decision(policy.response_body(chunk, &Response(()), &Request(()), &mut Exchange(())))
        })
    }

    pub fn on_completed(&self, outcome: wit_completed::Outcome) {
        let outcome = Outcome {
            status: outcome.status,
            request_bytes: outcome.request_bytes,
            response_bytes: outcome.response_bytes,
            duration: Duration::from_micros(outcome.duration_us),
            upstream: outcome.upstream,
            error: outcome.error,
        };
        self.with(|policy| policy.completed(&outcome, &Response(()), &Request(()), &mut Exchange(())));
    }

    pub fn on_tick(&self) {
        self.with(P::tick);
    }
}

fn reply(reply: Reply) -> wit::Reply {
    let headers = reply.headers.into_iter();
    wit::Reply {
        status: reply.status,
        headers: headers.map(|field| wit::Field { name: field.name, value: field.value }).collect(),
        body: reply.body,
    }
}

fn decision(decision: Decision) -> wit::Decision {
    match decision {
        Decision::Next => wit::Decision::Next,
        Decision::Reply(answer) => wit::Decision::Reply(reply(answer)),
    }
}

fn body_decision(decision: BodyDecision) -> wit::BodyDecision {
    match decision {
        BodyDecision::Forward => wit::BodyDecision::Forward,
        BodyDecision::Replace(bytes) => wit::BodyDecision::Replace(bytes),
        BodyDecision::Hold => wit::BodyDecision::Hold,
        BodyDecision::Reply(answer) => wit::BodyDecision::Reply(reply(answer)),
    }
}

/// Exports the hooks of a policy from the component, and puts its manifest into it. `#[policy]` writes the call. The
/// text with `unsafe` stands here, so that policies can forbid unsafe code.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($policy:ident, [$($hook:ident)*]) => {
        struct Component;

        ::std::thread_local! {
            static INSTANCE: $crate::__private::export::Instance<$policy> =
                const { $crate::__private::export::Instance::new() };
        }

        $($crate::__export_hook!($hook);)*

        const MANIFEST: $crate::__private::Manifest<'static> = <$policy as $crate::Policy>::MANIFEST;

        #[used]
        #[unsafe(link_section = "portcullis:manifest")]
        static MANIFEST_SECTION: [u8; MANIFEST.json_len()] = MANIFEST.json();
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    (@ $module:ident, { $($functions:tt)* }) => {
        impl $crate::__private::bindings::$module::exports::portcullis::policy::$module::Guest for Component {
            $($functions)*
        }
        $crate::__private::bindings::$module::export!(
            Component with_types_in $crate::__private::bindings::$module
        );
    };
    (configure) => {
        $crate::__export_hook!(@ lifecycle, {
            fn configure(config: ::std::string::String) -> ::std::result::Result<(), ::std::string::String> {
                INSTANCE.with(|instance| instance.configure(&config))
            }
        });
    };
    (on_request_head) => {
        $crate::__export_hook!(@ request_head, {
            fn on_request_head() -> $crate::__private::wit::Decision {
                INSTANCE.with(|instance| instance.on_request_head())
            }
        });
    };
    (on_request_body) => {
        $crate::__export_hook!(@ request_body, {
            fn on_request_body(chunk: ::std::vec::Vec<u8>, last: bool) -> $crate::__private::wit::BodyDecision {
                INSTANCE.with(|instance| instance.on_request_body(chunk, last))
            }
        });
    };
    (on_response_head) => {
        $crate::__export_hook!(@ response_head, {
            fn on_response_head() -> $crate::__private::wit::Decision {
                INSTANCE.with(|instance| instance.on_response_head())
            }
        });
    };
    (on_response_body) => {
        $crate::__export_hook!(@ response_body, {
            fn on_response_body(chunk: ::std::vec::Vec<u8>, last: bool) -> $crate::__private::wit::BodyDecision {
                INSTANCE.with(|instance| instance.on_response_body(chunk, last))
            }
        });
    };
    (on_completed) => {
        $crate::__export_hook!(@ completed, {
            fn on_completed(
                outcome: $crate::__private::bindings::completed::exports::portcullis::policy::completed::Outcome,
            ) {
                INSTANCE.with(|instance| instance.on_completed(outcome));
            }
        });
    };
    (on_tick) => {
        $crate::__export_hook!(@ tick, {
            fn on_tick() {
                INSTANCE.with(|instance| instance.on_tick());
            }
        });
    };
}
