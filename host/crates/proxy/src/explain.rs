//! What would happen to a request, without asking an upstream: for an operator who wants to know why a route or a
//! policy does what it does.
//!
//! It takes the steps of [`exchange.rs`](crate::exchange) with the same functions: parse, receive, run the policies,
//! and between them [`plan`], which decides. Nothing here decides anything on its own.

mod upstream_view;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use portcullis_http::h1::{BodyFraming, HeadLimits, parse_request};
use portcullis_http::{RequestHead, ResponseHead, Scheme};
use portcullis_model::{
    Action, ConnectionLimits, Forward, Gateway, Listener, Name, Origin, ResponseEdits, Route,
};
use portcullis_net::ListenerState;
use portcullis_policy::recorder::{HookRecord, Recorder};
use portcullis_policy::{
    BodySide, ClientInfo, ClientTls, Exchange, HeadOutcome, HookKind, PolicyChain, PolicyFactory,
};

use crate::cache::CachedRoute;
use crate::cache::view::{CacheView, keys_for_policies, view};
use crate::compress;
use crate::decompress::prepare;
use crate::error::ExchangeError;
use crate::https;
use crate::plan::{self, Answer, Plan};
use crate::receive::{PeerInfo, Received, receive};
use crate::respond;
use crate::snapshot::{SharedRoute, Snapshot};
use crate::table::{Mismatch, RouteTable, Sender, found as found_in, host_of};
use crate::target::edit_response::{MadeBy, edit_response};
use crate::target::{self, files, rewrite::rewrite};
use crate::upstream::SharedUpstream;

pub use crate::compress::view::EncodingView;
pub use upstream_view::{EndpointHealth, EndpointView, UpstreamView};

/// A request to explain.
#[derive(Debug, Clone)]
pub struct Question {
    /// Its head, as a client would send it over HTTP/1.1.
    pub head: Vec<u8>,
    /// Whether it comes over TLS.
    pub tls: bool,
    /// The name that the client asks for in TLS, lower case.
    pub server_name: Option<Arc<str>>,
    /// The peer of the connection.
    pub peer: IpAddr,
    /// The listener that it comes to; `None` takes the first that does (or does not) have TLS.
    pub listener: Option<Name>,
}

/// What would happen to it.
#[derive(Debug)]
pub struct Explanation {
    /// The listener that it came to.
    pub listener: Option<Name>,
    /// The request as it was parsed; `None` if it was refused.
    pub parsed: Option<RequestHead>,
    /// The request as policies meet it: the hop-by-hop fields are gone, the forwarding fields are written.
    pub received: Option<RequestHead>,
    /// Who the client is taken for.
    pub client: ClientInfo,
    /// The trace id.
    pub trace_id: String,
    /// All routes in the order in which they are tried for this request.
    pub routes: Vec<TriedRoute>,
    /// The hooks that ran, in order.
    pub hooks: Vec<HookRecord>,
    /// Notes about them that were dropped at the limit.
    pub left_out: usize,
    /// What the route makes of the response, if it encodes.
    pub encoding: Option<EncodingView>,
    /// How it ends.
    pub ending: Ending,
}

/// A route, as it was tried.
#[derive(Debug)]
pub struct TriedRoute {
    /// The route.
    pub route: Name,
    /// Where it is written.
    pub origin: Origin,
    /// Whether it takes the request.
    pub verdict: RouteVerdict,
}

/// Whether a route takes the request, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteVerdict {
    /// It does not take the request.
    Lost {
        /// The first condition that does not hold: `listener`, `host`, `path`, `method`, `header`,
        /// `query`, `cookie` or `client`.
        condition: &'static str,
        /// What it asks for.
        expected: String,
        /// What the request has.
        found: String,
    },
    /// It takes the request.
    Wins,
    /// It is behind the one that takes it.
    Behind {
        /// Whether it would take the request too.
        takes: bool,
    },
}

/// How it ends.
#[derive(Debug)]
pub enum Ending {
    /// The gateway itself answers.
    Refused {
        /// The status.
        status: u16,
        /// Why, as the log has it.
        reason: String,
        /// The answer, if a route was found and its policies could see it.
        response: Option<(ResponseHead, Bytes)>,
    },
    /// A policy answers.
    Replied {
        /// Which.
        policy: Name,
        /// The fault, if it failed closed.
        fault: Option<String>,
        /// The answer, as the policies before it leave it.
        response: (ResponseHead, Bytes),
    },
    /// The route itself answers, or the gateway as the last that the request is meant for.
    Answered {
        /// By what.
        by: &'static str,
        /// The answer, as the policies leave it. Of a large file it has the first piece.
        response: (ResponseHead, Bytes),
        /// How long its whole body is.
        body_bytes: u64,
    },
    /// It goes to an upstream.
    Forwarded {
        /// As it is sent, unless one of `body_policies` changes it.
        request: Box<RequestHead>,
        /// The policies that see its body first.
        body_policies: Vec<Name>,
        /// What the route's cache makes of it, if it has one.
        cache: Option<Box<CacheView>>,
        /// Where.
        upstream: Box<UpstreamView>,
        /// What is changed in the fields of the response, after the policies.
        response_edits: ResponseEdits,
    },
}

/// What a request is explained by.
#[derive(Debug)]
pub struct Explainer<'a> {
    gateway: &'a Gateway,
    table: Table<'a>,
    policies: Policies<'a>,
    upstreams: Option<&'a BTreeMap<Name, Arc<SharedUpstream>>>,
    listeners: Option<&'a BTreeMap<Name, Arc<ListenerState>>>,
}

/// What is known of a request before its route.
#[derive(Debug, Clone, Copy)]
struct Arrived {
    received: Received,
    /// Bytes of the body that its head announces, if it says how many.
    body_length: Option<u64>,
}

/// Where the policies of a route come from.
#[derive(Debug)]
enum Policies<'a> {
    /// By name. There may be only those of the route that is asked about.
    Named(&'a HashMap<Name, Arc<dyn PolicyFactory>>),
    /// By index in the route table.
    Resolved(&'a [SharedRoute]),
}

#[derive(Debug)]
enum Table<'a> {
    Own(Box<RouteTable>),
    Of(&'a RouteTable),
}

impl<'a> Explainer<'a> {
    /// Explains by a configuration that does not run. A route with a policy that is not among `policies` denies, if its
    /// policies are to run.
    #[must_use]
    pub fn offline(gateway: &'a Gateway, policies: &'a HashMap<Name, Arc<dyn PolicyFactory>>) -> Self {
        let table = Table::Own(Box::new(RouteTable::new(&gateway.routes)));
        Self { gateway, table, policies: Policies::Named(policies), upstreams: None, listeners: None }
    }

    /// Explains by a generation that runs: its policies with what they share, its endpoints and their health.
    #[must_use]
    pub fn live(snapshot: &'a Snapshot) -> Self {
        Self {
            gateway: &snapshot.gateway,
            table: Table::Of(&snapshot.table),
            policies: Policies::Resolved(&snapshot.routes),
            upstreams: Some(&snapshot.upstreams),
            listeners: Some(&snapshot.listeners),
        }
    }

    /// Returns the route that takes the request, or `None` if there is none or the request is refused before.
    #[must_use]
    pub fn route(&self, question: &Question) -> Option<&'a Route> {
        let mut exchange = Box::<Exchange>::default();
        self.arrive(question, &mut exchange, |_| ()).ok()?;
        let chosen = plan::route(self.table(), self.listener_name(question), &mut exchange);
        self.gateway.routes.get(chosen.ok()?)
    }

    /// Follows the request as far as its upstream. The policies run with `recorder`, in instances of their own;
    /// without one they do not run. Dropping the future ends this.
    pub async fn explain(&self, question: &Question, recorder: Option<Recorder>) -> Explanation {
        let mut exchange = Box::<Exchange>::default();
        let mut parsed = None;
        let arrived = self.arrive(question, &mut exchange, |head| parsed = Some(head.clone()));
        let mut explanation = Explanation {
            listener: self.listener(question).map(|listener| listener.name.clone()),
            parsed,
            received: None,
            client: exchange.client.clone(),
            trace_id: exchange.trace_id.clone(),
            routes: Vec::new(),
            hooks: Vec::new(),
            left_out: 0,
            encoding: None,
            ending: Ending::Refused { status: 0, reason: String::new(), response: None },
        };
        let received = match arrived {
            Ok(received) => received,
            Err((status, reason)) => {
                explanation.ending = Ending::Refused { status, reason, response: None };
                return explanation;
            }
        };
        let sender = Sender::new(self.listener_name(question), &exchange.client);
        explanation.routes = self.try_routes(sender, &exchange.request);
        let chosen = plan::route(self.table(), self.listener_name(question), &mut exchange);
        explanation.received = Some(exchange.request.clone());
        let found =
            chosen.and_then(|at| Ok((at, self.gateway.routes.get(at).ok_or(ExchangeError::NoRoute)?)));
        let (at, route) = match found {
            Ok(found) => found,
            Err(error) => {
                explanation.ending = refused(&error);
                return explanation;
            }
        };
        if let Action::Forward(Forward { cache: Some(_), .. }) = &route.action {
            exchange.request.fields.mark_edits();
        }
        exchange.cache.keys = keys_for_policies(route);
        let encoding =
            route.compress.as_ref().map(|rules| compress::view::view(rules, &exchange.request.fields));
        explanation.encoding = encoding;
        exchange.route = route.name.clone();
        exchange.upstreams = route.upstreams().into();
        let https_port = || self.https_port(route);
        if let Err(error) = plan::admit(route, &exchange.request, received.body_length, https_port) {
            let body = respond::refusal(&mut exchange.response, &error);
            let body = edited(route, MadeBy::Others, &mut exchange.response, body);
            let response = Some((exchange.response, body));
            let (status, reason) = (error.response().0, error.to_string());
            explanation.ending = Ending::Refused { status, reason, response };
            return explanation;
        }
        if let Some(rules) = &route.decompress
            && let Err(error) = prepare(rules, &mut exchange.request.fields, received.body_length != Some(0))
        {
            explanation.ending = refused(&error);
            return explanation;
        }
        exchange.recorder = recorder.map(Box::new);
        let runs = exchange.recorder.is_some();
        let chain = match if runs { self.policies(at, route) } else { Ok(Vec::new()) } {
            Ok(factories) => {
                let policies = factories.into_iter().map(|factory| factory.detached()).collect();
                PolicyChain::new(policies, route.hold_bytes_max)
            }
            Err(missing) => {
                let reason = format!("policy `{missing}` is not loaded");
                explanation.ending = Ending::Refused { status: 500, reason, response: None };
                return explanation;
            }
        };
        let (mut exchange, ending) = self.run(&chain, exchange, route, received).await;
        if let Some(recorder) = exchange.recorder.take() {
            explanation.left_out = recorder.left_out();
            explanation.hooks = recorder.into_hooks();
        }
        explanation.ending = ending;
        explanation
    }

    fn table(&self) -> &RouteTable {
        match &self.table {
            Table::Own(table) => table,
            Table::Of(table) => table,
        }
    }

    fn listener_name(&self, question: &Question) -> &'a str {
        self.listener(question).map_or("", |listener| &*listener.name)
    }

    /// The port to which clients of `route` are sent that come without TLS.
    fn https_port(&self, route: &Route) -> Option<NonZeroU16> {
        match self.listeners {
            Some(listeners) => https::listener(route, listeners)?.public_port(),
            None => {
                let serves = |listener: &&Listener| listener.tls.is_some() && route.is_on(&listener.name);
                let port = |listener: &Listener| {
                    listener.public_port.map_or(listener.address.port(), NonZeroU16::get)
                };
                let mut ports = self.gateway.listeners.iter().filter(serves).map(port);
                let first = ports.next()?;
                NonZeroU16::new(ports.find(|port| *port == 443).unwrap_or(first))
            }
        }
    }

    fn listener(&self, question: &Question) -> Option<&'a Listener> {
        let listeners = &self.gateway.listeners;
        match &question.listener {
            Some(name) => listeners.iter().find(|listener| listener.name == *name),
            None => {
                let fits = |listener: &&Listener| listener.tls.is_some() == question.tls;
                listeners.iter().find(fits).or_else(|| listeners.first())
            }
        }
    }

    /// Parses and receives. `parsed` sees the head in between.
    fn arrive(
        &self,
        question: &Question,
        exchange: &mut Exchange,
        parsed: impl FnOnce(&RequestHead),
    ) -> Result<Arrived, (u16, String)> {
        let limits = match self.listener(question) {
            Some(listener) => HeadLimits::from(&listener.limits),
            None => HeadLimits::from(&ConnectionLimits::default()),
        };
        let scheme = if question.tls { Scheme::Https } else { Scheme::Http };
        let body_length = match parse_request(&question.head, &limits, scheme, &mut exchange.request) {
            Ok(Some(head)) if head.head_len == question.head.len() => match head.framing {
                BodyFraming::None => Some(0),
                BodyFraming::Length(length) => Some(length),
                BodyFraming::Chunked | BodyFraming::UntilClose => None,
            },
            // The head must end with its only empty line.
            Ok(_) => return Err((400, "malformed request head".to_owned())),
            Err(error) => return Err((error.status(), error.to_string())),
        };
        parsed(&exchange.request);
        let tls = question.tls.then(ClientTls::of_http1);
        let listener = self.listener(question).map_or_else(|| "".into(), |listener| listener.name.clone());
        let peer = PeerInfo {
            address: question.peer,
            server_name: question.server_name.as_ref(),
            certificate: None,
            tls: tls.as_ref(),
            listener: &listener,
        };
        let received = receive(&self.gateway.server, exchange, peer, &mut Vec::new())
            .map_err(|error| (error.response().0, error.to_string()))?;
        Ok(Arrived { received, body_length })
    }

    fn try_routes(&self, sender: Sender<'_>, request: &RequestHead) -> Vec<TriedRoute> {
        let mut won = false;
        let mut verdict = |(reason, path): (Option<Mismatch<'_>>, String)| match reason {
            _ if won => RouteVerdict::Behind { takes: reason.is_none() },
            None => {
                won = true;
                RouteVerdict::Wins
            }
            Some(mismatch) => lost(mismatch, sender, request, path),
        };
        let tried = self.table().tried(sender, request).into_iter().filter_map(|(at, reason, path)| {
            let route = self.gateway.routes.get(at)?;
            let (name, origin) = (route.name.clone(), route.origin.clone());
            Some(TriedRoute { route: name, origin, verdict: verdict((reason, path)) })
        });
        tried.collect()
    }

    /// The policies of the route at index `at`, in order.
    ///
    /// # Errors
    /// The name of one that is not there.
    fn policies(&self, at: usize, route: &Route) -> Result<Vec<Arc<dyn PolicyFactory>>, Name> {
        let resolved = |place: usize, name: &Name| match &self.policies {
            Policies::Named(policies) => policies.get(name),
            Policies::Resolved(routes) => routes.get(at)?.policies.get(place),
        };
        let named = route.policies.iter().enumerate();
        named.map(|(place, name)| resolved(place, name).cloned().ok_or_else(|| name.clone())).collect()
    }

    /// The way of a route through the cache that runs.
    fn cache_of(&self, route: &Route) -> Option<&CachedRoute> {
        let Policies::Resolved(routes) = &self.policies else { return None };
        routes.iter().find(|running| running.config.name == route.name)?.cache.as_deref()
    }

    async fn run(
        &self,
        chain: &PolicyChain,
        exchange: Box<Exchange>,
        route: &Route,
        arrived: Arrived,
    ) -> (Box<Exchange>, Ending) {
        let permitted = match chain.request_head(exchange).await {
            HeadOutcome::Permitted(permitted) => permitted,
            HeadOutcome::Replied(replied) => {
                let mut exchange = replied.exchange;
                let body = respond::reply(&mut exchange.response, replied.reply);
                let (exchange, response) =
                    answer(chain, exchange, replied.at, body, (route, MadeBy::Others)).await;
                let policy = chain.name(replied.at).cloned().unwrap_or_else(|| "".into());
                let fault = replied.fault.map(|fault| fault.to_string());
                return (exchange, Ending::Replied { policy, fault, response });
            }
        };
        let mut exchange;
        let error = match plan::act(route, &permitted.request, arrived.received) {
            Plan::Refuse(error) => {
                exchange = permitted.into_inner();
                error
            }
            Plan::Answer(own) => {
                let by = match own {
                    Answer::LastRecipient => "`Max-Forwards`, which is used up",
                    Answer::Redirect(_) => "the route's `redirect`",
                    Answer::Respond(_) => "the route's `respond`",
                };
                let by_whom = (route, own.made_by());
                match target::answer(own, route, permitted) {
                    (exchange, Ok(body)) => {
                        let (exchange, response) = answer(chain, exchange, chain.len(), body, by_whom).await;
                        let body_bytes = response.1.len() as u64;
                        return (exchange, Ending::Answered { by, response, body_bytes });
                    }
                    (refused, Err(error)) => {
                        exchange = refused;
                        error
                    }
                }
            }
            Plan::Serve(action) => {
                let changes_bodies = chain.has_body_hook(BodySide::Response);
                let found = files::look(action, route, &permitted, changes_bodies);
                match files::answer(found, route, permitted) {
                    (exchange, Ok(content)) => {
                        let first = content.first.clone();
                        let (exchange, response) =
                            answer(chain, exchange, chain.len(), first, (route, MadeBy::Route)).await;
                        let is_replaced = response.1 != content.first;
                        let body_bytes = if is_replaced { response.1.len() as u64 } else { content.length() };
                        let by = "the route's `files`";
                        return (exchange, Ending::Answered { by, response, body_bytes });
                    }
                    (refused, Err(error)) => {
                        exchange = refused;
                        error
                    }
                }
            }
            Plan::Forward(action) => {
                exchange = permitted.into_inner();
                match rewrite(&action.filters, &route.matches, &mut exchange.request) {
                    Err(error) => error,
                    Ok(()) => {
                        let chosen = exchange.upstreams.get(exchange.upstream);
                        if let Some(upstream) = chosen.and_then(|name| self.upstream(name, action, &exchange))
                        {
                            let has_body = arrived.body_length != Some(0);
                            let mut cache = view(route, &exchange, has_body).map(Box::new);
                            if let (Some(cache), Some(running)) = (&mut cache, self.cache_of(route)) {
                                cache.now = Some(running.foresee(&exchange, has_body).await);
                            }
                            let (request, upstream) =
                                (Box::new(exchange.request.clone()), Box::new(upstream));
                            let response_edits = route.response_edits.clone();
                            let body_policies = chain.names_with(HookKind::RequestBody).cloned().collect();
                            let ending =
                                Ending::Forwarded { request, body_policies, cache, upstream, response_edits };
                            return (exchange, ending);
                        }
                        ExchangeError::NoEndpoint { upstream: String::new() }
                    }
                }
            }
        };
        let status = error.response().0;
        let body = respond::refusal(&mut exchange.response, &error);
        if matches!(error, ExchangeError::Trace) {
            respond::allow(&mut exchange.response, route);
        }
        let by_gateway = (route, MadeBy::Others);
        let (exchange, response) = answer(chain, exchange, chain.len(), body, by_gateway).await;
        (exchange, Ending::Refused { status, reason: error.to_string(), response: Some(response) })
    }
}

/// Takes the answer in the exchange, which `made_by` made, back through the policies before `until` and the changes of
/// its route, as every answer goes.
async fn answer(
    chain: &PolicyChain,
    exchange: Box<Exchange>,
    until: usize,
    body: Bytes,
    (route, mut made_by): (&Route, MadeBy),
) -> (Box<Exchange>, (ResponseHead, Bytes)) {
    let (mut exchange, replaced, fault) = chain.response_head(exchange, until).await;
    let body = match replaced {
        None => body,
        Some(bytes) => {
            made_by = MadeBy::Others;
            let status = exchange.response.status;
            match fault {
                Some(_) => respond::failed(&mut exchange.response, status, bytes),
                None => respond::finish_reply(&mut exchange.response, status, bytes),
            }
        }
    };
    let body = edited(route, made_by, &mut exchange.response, body);
    let head = exchange.response.clone();
    (exchange, (head, body))
}

/// Changes a response as its route says, and returns its body.
fn edited(route: &Route, made_by: MadeBy, head: &mut ResponseHead, body: Bytes) -> Bytes {
    match edit_response(&route.response_edits, made_by, head) {
        Ok(()) => body,
        Err(error) => respond::refusal(head, &error),
    }
}

fn refused(error: &ExchangeError) -> Ending {
    Ending::Refused { status: error.response().0, reason: error.to_string(), response: None }
}

fn lost(mismatch: Mismatch<'_>, sender: Sender<'_>, request: &RequestHead, path: String) -> RouteVerdict {
    let (condition, expected, found) = match mismatch {
        Mismatch::Listener(names) => ("listener", names.join(", "), sender.listener.to_owned()),
        Mismatch::Host(patterns) => {
            let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
            ("host", patterns.join(", "), host_of(request).into_owned())
        }
        Mismatch::Path(pattern) => ("path", pattern.to_string(), path),
        Mismatch::Method(methods) => ("method", methods.join(", "), request.method.clone()),
        Mismatch::PathRegex(regex) => ("path", format!("~{regex}"), path),
        Mismatch::Condition(condition) => {
            (condition.on.kind(), condition.to_string(), found_in(&condition.on, request))
        }
        Mismatch::Client(networks) => {
            let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
            ("client", networks.join(", "), sender.client.to_string())
        }
    };
    RouteVerdict::Lost { condition, expected, found }
}

#[cfg(test)]
mod tests;
