//! TLS to the servers that policies ask, by the authorities that judge their certificates.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_model::{Authorities, ContentDigest, UpstreamProtocol, UpstreamTls};
use portcullis_net::{SystemRoots, TlsClientError, UpstreamTlsContext};
use portcullis_policy::outbound::OutboundError;

/// Authorities whose contexts are kept, with the sessions that can be resumed. A config names a few; that more come together
/// over many reloads costs those that were not used for longest.
const KEPT_MAX: usize = 64;

/// A context for each of the authorities that were needed.
#[derive(Debug, Default)]
pub(super) struct Contexts(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// By the authorities' digest, and none for the system's; each with the turn in which it was used last.
    contexts: HashMap<Option<ContentDigest>, (u64, UpstreamTlsContext)>,
    turn: u64,
}

impl Contexts {
    /// TLS by `authorities`, or the system's, which are read when they are first needed.
    pub(super) async fn get(
        &self,
        authorities: Option<&Arc<Authorities>>,
    ) -> Result<UpstreamTlsContext, OutboundError> {
        let id = authorities.map(|authorities| authorities.digest);
        if let Some(context) = self.lock().find(id) {
            return Ok(context);
        }
        let authorities = authorities.cloned();
        // The system's are some hundred files on some machines.
        let built = tokio::task::spawn_blocking(move || build(authorities.as_deref())).await;
        let built = built.map_err(|error| OutboundError::Connect(error.to_string()))?;
        let context = built.map_err(|error| {
            let reason = error.to_string();
            tracing::error!("policies cannot ask servers over https: {reason}");
            OutboundError::Connect(reason)
        })?;
        Ok(self.lock().keep(id, context))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn find(&mut self, id: Option<ContentDigest>) -> Option<UpstreamTlsContext> {
        self.turn += 1;
        let (used, context) = self.contexts.get_mut(&id)?;
        *used = self.turn;
        Some(context.clone())
    }

    /// Keeps a context, unless another worker has made the same one meanwhile: then that is given.
    fn keep(&mut self, id: Option<ContentDigest>, context: UpstreamTlsContext) -> UpstreamTlsContext {
        if let Some(other) = self.find(id) {
            return other;
        }
        if self.contexts.len() >= KEPT_MAX {
            let oldest = self.contexts.iter().min_by_key(|(_, (used, _))| *used).map(|(id, _)| *id);
            self.contexts.retain(|id, _| Some(*id) != oldest);
        }
        self.contexts.insert(id, (self.turn, context.clone()));
        context
    }
}

fn build(authorities: Option<&Authorities>) -> Result<UpstreamTlsContext, TlsClientError> {
    let ca = authorities.map(|authorities| (authorities.path.clone(), authorities.pem.clone()));
    let tls = UpstreamTls { server_name: None, ca, verify: true };
    UpstreamTlsContext::build(&tls, UpstreamProtocol::Http1, &SystemRoots::new())
}
