//! The sandbox that cases run in: the gateway's own, with its compiler and its cache of compiled code.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use portcullis_config::{CannedAnswer, Case, CaseFile};
use portcullis_model::{Capability, HttpUrl, Isolation, Lock, PolicyConfig, Server};
use portcullis_policy::cache_purger::{CachePurger, PurgeRequest, Purging};
use portcullis_policy::outbound::{Outbound, OutboundError, OutboundRequest, OutboundResponse, Outgoing};
use portcullis_policy::{PolicyChain, PolicyFactory};
use portcullis_sandbox::{ConfigureError, PolicyComponent, Sandbox, SandboxError, SandboxOptions};
use sha2::{Digest as _, Sha256};

use super::play::{Played, Unsent, fields, play, time};
use crate::run::cache_dir::default_cache_dir;
use crate::run::compiler::ChildCompiler;

/// Bytes that a route holds back at most by default.
const HOLD_BYTES_MAX: usize = 1 << 20;

/// Components that are kept compiled, for other files of cases and for the next run of `--watch`.
const COMPONENTS_MAX: usize = 8;
/// Configured policies that are kept for other cases of a file.
const CONFIGURED_MAX: usize = 8;

/// The sandbox of all cases.
pub(super) struct Stage {
    sandbox: Sandbox,
    servers: Arc<Servers>,
    /// What was compiled, the newest at the end.
    compiled: Lock<Vec<(CodeId, Arc<PolicyComponent>)>>,
}

/// The digest of a component, and what it is compiled for.
type CodeId = ([u8; 32], Isolation);

/// A component, compiled for one isolation.
pub(super) struct Compiled {
    component: Arc<PolicyComponent>,
    isolation: Isolation,
    /// What it was configured to, if nothing that a case leaves behind can reach the next; the newest at the end.
    configured: Vec<(PolicyConfig, Arc<dyn PolicyFactory>)>,
}

/// How a case went, before it is judged.
pub(super) enum Run {
    /// Its exchanges, in order.
    Played(Vec<Result<Played, Unsent>>),
    /// The policy refused its settings.
    Refused(String),
}

impl Stage {
    /// Sets up the sandbox.
    ///
    /// # Errors
    /// If the system refuses a part of it.
    pub(super) fn new() -> anyhow::Result<Self> {
        let cache_dir = default_cache_dir();
        let options = |cache_dir: Option<std::path::PathBuf>| SandboxOptions {
            compiler: Some(Arc::new(ChildCompiler::new(&Server::default(), cache_dir.clone()))),
            cache_dir,
            ..SandboxOptions::default()
        };
        let sandbox = match Sandbox::new(options(cache_dir)) {
            // Without it plugins are only compiled again each time.
            Err(SandboxError::CacheDir { .. }) => Sandbox::new(options(None)),
            outcome => outcome,
        };
        let sandbox = sandbox.context("the sandbox cannot be set up")?;
        let servers = Arc::new(Servers::default());
        sandbox.send_by(servers.clone());
        sandbox.purge_by(servers.clone());
        Ok(Self { sandbox, servers, compiled: Lock::default() })
    }

    /// Compiles the component of a file, unless that was done.
    ///
    /// # Errors
    /// If it does not compile.
    pub(super) fn compile(&self, file: &CaseFile, isolation: Isolation) -> anyhow::Result<Compiled> {
        let id = (Sha256::digest(&file.component).into(), isolation);
        let known = self.compiled.lock().iter().find(|(known, _)| *known == id).map(|(_, code)| code.clone());
        let component = match known {
            Some(component) => component,
            None => {
                let component = self.sandbox.compile(&file.component, isolation)?.component;
                keep(&mut self.compiled.lock(), COMPONENTS_MAX, (id, component.clone()));
                component
            }
        };
        Ok(Compiled { component, isolation, configured: Vec::new() })
    }

    /// Runs a case.
    ///
    /// # Errors
    /// If the policy fails while it is configured.
    pub(super) async fn run(
        &self,
        file: &CaseFile,
        case: &Case,
        compiled: &mut Compiled,
    ) -> anyhow::Result<Run> {
        let factory = match self.configure(file, case, compiled) {
            Ok(factory) => factory,
            Err(ConfigureError::Refused { reason, .. }) => return Ok(Run::Refused(reason)),
            Err(error) => return Err(error.into()),
        };
        self.servers.answers.lock().clone_from(&case.http);
        let chain = PolicyChain::new(vec![factory.detached()], HOLD_BYTES_MAX);
        let start = portcullis_sandbox::monotonic();
        let mut passed = Duration::ZERO;
        let mut played = Vec::new();
        for exchange in &case.exchanges {
            passed += exchange.after;
            played.push(play(&chain, exchange, time(case.time, start, passed)).await);
        }
        Ok(Run::Played(played))
    }

    /// Returns the policy as the case configures it. What one case has stored, counted or used up is gone in the next,
    /// because it belongs to a policy that is alive, and the one of the last case is not by then.
    fn configure(
        &self,
        file: &CaseFile,
        case: &Case,
        compiled: &mut Compiled,
    ) -> Result<Arc<dyn PolicyFactory>, ConfigureError> {
        let config = PolicyConfig { isolation: compiled.isolation, ..case.policy.clone() };
        let keeps = [
            Capability::RateLimit,
            Capability::Store,
            Capability::Metrics,
            Capability::HttpClient,
            Capability::CachePurge,
        ];
        let is_shared = !keeps.iter().any(|keeps| compiled.component.info().imports.contains(keeps));
        if let Some((_, factory)) = compiled.configured.iter().find(|(known, _)| *known == config) {
            return Ok(factory.clone());
        }
        let factory = self.sandbox.configure(&compiled.component, &config, &file.secrets)?;
        if is_shared {
            keep(&mut compiled.configured, CONFIGURED_MAX, (config, factory.clone()));
        }
        Ok(factory)
    }
}

/// Adds to a list of at most `max`, from which the oldest then goes.
fn keep<T>(list: &mut Vec<T>, max: usize, new: T) {
    if list.len() >= max {
        list.remove(0);
    }
    list.push(new);
}

/// The servers that policies ask: what a case says that they answer.
#[derive(Debug, Default)]
struct Servers {
    answers: Lock<Vec<CannedAnswer>>,
}

impl Outbound for Servers {
    fn send(&self, request: OutboundRequest) -> Outgoing {
        let answer = self.answers.lock().iter().find(|answer| is_asked(answer, &request)).cloned();
        Box::pin(std::future::ready(match answer {
            Some(answer) => respond(answer),
            None => Err(OutboundError::Connect("no `http` of the test answers this URL".to_owned())),
        }))
    }
}

/// There is nothing stored that a purge could meet.
impl CachePurger for Servers {
    fn purge(&self, _: PurgeRequest) -> Purging {
        Box::pin(std::future::ready(Ok(0)))
    }
}

/// Whether a request is for what that answer is of.
fn is_asked(answer: &CannedAnswer, request: &OutboundRequest) -> bool {
    let Ok(url) = HttpUrl::parse(&answer.url) else { return false };
    let path = if url.path_and_query.is_empty() { "/" } else { url.path_and_query };
    request.grant.is_of(&url)
        && request.head.path() == path
        && answer.method.as_ref().is_none_or(|method| *method == request.head.method)
}

fn respond(answer: CannedAnswer) -> Result<OutboundResponse, OutboundError> {
    match answer.error.as_deref() {
        Some("busy") => return Err(OutboundError::Busy),
        Some("connect") => return Err(OutboundError::Connect("the test says so".to_owned())),
        Some("protocol") => return Err(OutboundError::Protocol("the test says so".to_owned())),
        Some("timeout") => return Err(OutboundError::Timeout),
        Some("too-large") => return Err(OutboundError::TooLarge),
        _ => {}
    }
    let mut response = OutboundResponse { body: answer.body.into(), ..OutboundResponse::default() };
    response.head.status = answer.status;
    response.head.fields = fields(&answer.headers).map_err(OutboundError::Protocol)?;
    Ok(response)
}
