//! TLS to the servers that policies ask, by the authorities that judge their certificates.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};

use portcullis_model::{Authorities, ContentDigest, Lock, UpstreamProtocol, UpstreamTls};
use portcullis_net::{SystemRoots, TlsClientError, UpstreamTlsContext};
use portcullis_policy::outbound::OutboundError;

/// Authorities whose contexts are kept, with the sessions that can be resumed. A config names a few; that more come together
/// over many reloads costs those that were not used for longest.
const KEPT_MAX: usize = 64;

/// A context for each of the authorities that were needed.
#[derive(Debug, Default)]
pub(super) struct Contexts(Lock<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// By the authorities' digest, and none for the system's.
    contexts: HashMap<Option<ContentDigest>, Entry>,
    turn: u64,
    /// What the machine believes, as of the last load of the configuration.
    system: Arc<SystemRoots>,
}

#[derive(Debug)]
struct Entry {
    /// The turn in which it was used last.
    used: u64,
    trusted: Trusted,
}

/// TLS by certain authorities.
#[derive(Debug, Clone)]
pub(super) struct Trusted {
    pub(super) context: UpstreamTlsContext,
    /// No two contexts of a process have the same: connections that were made under one are none of another's.
    pub(super) id: u64,
}

impl Contexts {
    /// TLS by `authorities`, or the system's, which are read when they are first needed.
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
        // The system's are some hundred files on some machines.
        let built = tokio::task::spawn_blocking(move || build(authorities.as_deref(), &roots)).await;
        let built = built.map_err(|error| OutboundError::Connect(error.to_string()))?;
        let context = built.map_err(|error| {
            let reason = error.to_string();
            tracing::error!("policies cannot ask servers over https: {reason}");
            if id.is_none() {
                // They may be there when the next one asks.
                self.lock().system = Arc::default();
            }
            OutboundError::Connect(reason)
        })?;
        let mut kept = self.lock();
        if id.is_none() && !Arc::ptr_eq(&kept.system, &system) {
            // Others are believed since, so that this serves whoever asked before that, and nobody else.
            return Ok(kept.number(context));
        }
        Ok(kept.keep(id, context))
    }

    /// Whether somebody was asked whom the system's authorities have judged.
    pub(super) fn uses_system(&self) -> bool {
        self.lock().contexts.contains_key(&None)
    }

    /// The machine believes `system` from now on. Gives whether that is something else than before.
    pub(super) fn trust(&self, system: Arc<SystemRoots>) -> bool {
        let mut kept = self.lock();
        // Where it believes nobody any more, a load that would say so was refused before it came to this.
        let believes = |entry: &Entry| entry.trusted.context.believes(&system).unwrap_or(true);
        let changed = !kept.contexts.get(&None).is_none_or(believes);
        if changed {
            kept.contexts.remove(&None);
        }
        kept.system = system;
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock()
    }
}

impl Kept {
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

    /// Keeps a context, unless another worker has made the same one meanwhile: then that is given.
    fn keep(&mut self, id: Option<ContentDigest>, context: UpstreamTlsContext) -> Trusted {
        if let Some(other) = self.find(id) {
            return other;
        }
        if self.contexts.len() >= KEPT_MAX {
            let oldest = self.contexts.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| *id);
            self.contexts.retain(|id, _| Some(*id) != oldest);
        }
        let trusted = self.number(context);
        self.contexts.insert(id, Entry { used: self.turn, trusted: trusted.clone() });
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
