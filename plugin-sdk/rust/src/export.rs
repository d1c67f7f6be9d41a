//! What a component's exports run: the policy of the instance, and the functions that say what its hooks decide.

use std::cell::RefCell;

use crate::policy::Policy;
use crate::{BodyDecision, Chunk, Decision, Exchange, Request, Response, Trailers, host};

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

    pub fn on_request_head(&self) -> Result<(), String> {
        self.with(|policy| decide(policy.request_head(&mut Request(()), &mut Exchange(()))))
    }

    pub fn on_request_body(&self) -> Result<(), String> {
        self.with(|policy| {
            decide_body(policy.request_body(
                Chunk(()),
                &mut Trailers(()),
                &mut Request(()),
                &mut Exchange(()),
            ))
        })
    }

    pub fn on_response_head(&self) -> Result<(), String> {
        self.with(|policy| decide(policy.response_head(&mut Response(()), &Request(()), &mut Exchange(()))))
    }

    pub fn on_response_body(&self) -> Result<(), String> {
        self.with(|policy| {
            decide_body(policy.response_body(
                Chunk(()),
                &mut Trailers(()),
                &mut Response(()),
                &Request(()),
                &mut Exchange(()),
            ))
        })
    }

    pub fn on_completed(&self) -> Result<(), String> {
        let outcome = host::outcome();
        self.with(|policy| {
            without_reply(policy.completed(
                &outcome,
                &Trailers(()),
                &Response(()),
                &Request(()),
                &mut Exchange(()),
            ))
        })
    }

    pub fn on_tick(&self) -> Result<(), String> {
        self.with(|policy| without_reply(policy.tick()))
    }
}

fn decide(decision: Decision) -> Result<(), String> {
    match decision {
        Decision::Next => Ok(()),
        Decision::Reply(reply) => {
            host::exchange_reply(reply).map_err(|refused| format!("its reply was refused: {refused}"))
        }
        Decision::Fail(reason) => Err(reason),
    }
}

fn decide_body(decision: BodyDecision) -> Result<(), String> {
    let decided = match decision {
        BodyDecision::Forward => Ok(()),
        BodyDecision::Replace(bytes) => host::body_replace(u64::MAX, &bytes),
        BodyDecision::Hold => host::body_hold(),
        BodyDecision::Collect => host::body_collect(),
        BodyDecision::Pass(size) => host::body_pass(size as u64).and_then(|()| host::body_hold()),
        BodyDecision::Finish => host::body_finish(),
        BodyDecision::Reply(reply) => return decide(Decision::Reply(reply)),
        BodyDecision::Fail(reason) => return Err(reason),
    };
    decided.map_err(|refused| format!("what it decided about a body was refused: {refused}"))
}

fn without_reply(decision: Decision) -> Result<(), String> {
    match decision {
        Decision::Next => Ok(()),
        Decision::Reply(_) => Err("it replied where no client waits".to_owned()),
        Decision::Fail(reason) => Err(reason),
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
            fn on_request_head() -> ::std::result::Result<(), ::std::string::String> {
                INSTANCE.with(|instance| instance.on_request_head())
            }
        });
    };
    (on_request_body) => {
        $crate::__export_hook!(@ request_body, {
            fn on_request_body() -> ::std::result::Result<(), ::std::string::String> {
                INSTANCE.with(|instance| instance.on_request_body())
            }
        });
    };
    (on_response_head) => {
        $crate::__export_hook!(@ response_head, {
            fn on_response_head() -> ::std::result::Result<(), ::std::string::String> {
                INSTANCE.with(|instance| instance.on_response_head())
            }
        });
    };
    (on_response_body) => {
        $crate::__export_hook!(@ response_body, {
            fn on_response_body() -> ::std::result::Result<(), ::std::string::String> {
                INSTANCE.with(|instance| instance.on_response_body())
            }
        });
    };
    (on_completed) => {
        $crate::__export_hook!(@ completed, {
            fn on_completed() -> ::std::result::Result<(), ::std::string::String> {
                INSTANCE.with(|instance| instance.on_completed())
            }
        });
    };
    (on_tick) => {
        $crate::__export_hook!(@ tick, {
            fn on_tick() -> ::std::result::Result<(), ::std::string::String> {
                INSTANCE.with(|instance| instance.on_tick())
            }
        });
    };
}
