//! TLS to the servers that policies send requests to: a context for each set of authorities.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};

use portcullis_model::{Authorities, ContentDigest, Lock, UpstreamProtocol, UpstreamTls};
use portcullis_net::{SystemRoots, TlsClientError, UpstreamTlsContext};
use portcullis_policy::outbound::OutboundError;

/// The most contexts that are kept, with their sessions to resume. A config names a few; if more come together over
/// many reloads, those that were not used for longest are dropped.
const KEPT_MAX: usize = 64;

/// A context for each of the authorities that were needed.
#[derive(Debug, Default)]
pub(super) struct Contexts(Lock<ContextCache>);

#[derive(Debug, Default)]
struct ContextCache {
    /// By the authorities' digest; `None` for the system's.
    contexts: HashMap<Option<ContentDigest>, CachedContext>,
    turn: u64,
    /// The machine's authorities, as of the last load of the configuration.
    system: Arc<SystemRoots>,
}

#[derive(Debug)]
struct CachedContext {
    /// The turn in which it was used last.
    used: u64,
    trusted: Trusted,
}

/// TLS that trusts certain authorities.
#[derive(Debug, Clone)]
pub(super) struct Trusted {
    pub(super) context: UpstreamTlsContext,
    /// Unique in the process, so that connections made in one context are not used in another.
    pub(super) id: u64,
}

impl Contexts {
    /// Returns TLS by `authorities`, or by the system's, which are read when they are first needed.
    pub(super) async fn get(&self, authorities: Option<&Arc<Authorities>>) -> Result<Trusted, OutboundError> {
        let id = authorities.map(|authorities| authorities.digest);
        let system = {
            let mut kept = self.lock();
            if let Some(trusted) = kept.find(id) {
                return Ok(trusted);
            }
            kept.system.clone()
        };
        let (authorities, roots) = (authorities.cloned(), system.clone());
        // The system's authorities are some hundred files on some machines.
        let built = tokio::task::spawn_blocking(move || build(authorities.as_deref(), &roots)).await;
        let built = built.map_err(|error| OutboundError::Connect(error.to_string()))?;
        let context = built.map_err(|error| {
            let reason = error.to_string();
            tracing::error!("policies cannot ask servers over https: {reason}");
            if id.is_none() {
                // They may be readable at the next call.
                self.lock().system = Arc::default();
            }
            OutboundError::Connect(reason)
        })?;
        let mut kept = self.lock();
        if id.is_none() && !Arc::ptr_eq(&kept.system, &system) {
            // The system's authorities have changed meanwhile. This context is right for the calls that began
            // before, and is not kept for others.
            return Ok(kept.number(context));
        }
        Ok(kept.keep(id, context))
    }

    /// Returns whether a request has needed the system's authorities.
    pub(super) fn uses_system(&self) -> bool {
        self.lock().contexts.contains_key(&None)
    }

    /// Trusts `system` as the machine's authorities from now on. Returns whether that changes anything.
    pub(super) fn trust(&self, system: Arc<SystemRoots>) -> bool {
        let mut kept = self.lock();
        // If the machine has no authorities any more, the load was refused before it came to this.
        let believes = |entry: &CachedContext| entry.trusted.context.believes(&system).unwrap_or(true);
        let changed = !kept.contexts.get(&None).is_none_or(believes);
        if changed {
            kept.contexts.remove(&None);
        }
        kept.system = system;
        changed
    }

    fn lock(&self) -> MutexGuard<'_, ContextCache> {
        self.0.lock()
    }
}

impl ContextCache {
    fn find(&mut self, id: Option<ContentDigest>) -> Option<Trusted> {
        self.turn += 1;
        let entry = self.contexts.get_mut(&id)?;
        entry.used = self.turn;
        Some(entry.trusted.clone())
    }

    fn number(&mut self, context: UpstreamTlsContext) -> Trusted {
        self.turn += 1;
        Trusted { context, id: self.turn }
    }

    /// Keeps a context and returns it; if another worker has made the same one meanwhile, returns that.
    fn keep(&mut self, id: Option<ContentDigest>, context: UpstreamTlsContext) -> Trusted {
        if let Some(other) = self.find(id) {
            return other;
        }
        if self.contexts.len() >= KEPT_MAX {
            let oldest = self.contexts.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| *id);
            self.contexts.retain(|id, _| Some(*id) != oldest);
        }
        let trusted = self.number(context);
        self.contexts.insert(id, CachedContext { used: self.turn, trusted: trusted.clone() });
        trusted
    }
}

fn build(
    authorities: Option<&Authorities>,
    system: &SystemRoots,
) -> Result<UpstreamTlsContext, TlsClientError> {
    let ca = authorities.map(|authorities| (authorities.path.clone(), authorities.pem.clone()));
    let tls = UpstreamTls { server_name: None, ca, verify: true };
    UpstreamTlsContext::build(&tls, UpstreamProtocol::Http1, system)
}
