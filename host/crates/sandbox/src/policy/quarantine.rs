//! Whether a policy that keeps failing is still called, and what is logged about it.

use std::net::IpAddr;

use portcullis_model::{FailureMode, Name, QuarantineRule, Version};
use portcullis_policy::{Fault, FaultKind, HookKind};
use portcullis_services::clock;
use portcullis_traffic::{Probe, Quarantine, Standing, Transition};

use crate::policy::report::Standings;
use crate::policy::shared::PolicyShared;

/// The quarantine of one configured policy, over all workers. Ends with it: a changed policy starts clean.
///
/// The hooks that decide about an exchange are in it together, and `on-completed` with them and by itself: no exchange
/// is refused because a policy cannot record what is over.
///
/// A policy whose faults let exchanges pass (`on-error = "allow"`) is always asked to decide: otherwise a client
/// that makes it fail would get past what it refuses.
#[derive(Debug)]
pub(crate) struct PolicyQuarantine {
    deciding: Option<Quarantine>,
    completed: Option<Quarantine>,
}

/// How a call may be made.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// As usual.
    Call,
    /// To see whether the policy works again.
    Probe(Probe),
    /// Not at all.
    Refused,
}

impl PolicyQuarantine {
    /// By `rule`; without one the policy is called whatever happens.
    pub(crate) fn new(rule: Option<QuarantineRule>, on_error: FailureMode) -> Self {
        let deciding = rule.filter(|_| on_error == FailureMode::Deny);
        // Hooks that decide: the heads and bodies of request and response.
        Self {
            deciding: deciding.map(|rule| Quarantine::new(rule, 4)),
            completed: rule.map(|rule| Quarantine::new(rule, 1)),
        }
    }

    /// The policy goes live. What others of its name have done before counts for nothing.
    pub(crate) fn goes_live(&self, shared: &PolicyShared, version: Version) {
        for kind in HookKind::ALL {
            if let Some((quarantine, hook)) = self.of(kind) {
                quarantine.ignore(hook, shared.succeeded(version, kind));
            }
        }
    }

    /// Whether a hook may be called now for this client; as a probe only if its outcome `counts`.
    pub(crate) fn admit(&self, kind: HookKind, counts: bool, client: IpAddr) -> Admitted {
        match self.of(kind) {
            // What it did not decide about it need not hear of.
            Some(_)
                if kind == HookKind::Completed && self.deciding.as_ref().is_some_and(Quarantine::lasts) =>
            {
                Admitted::Refused
            }
            Some((quarantine, _)) if quarantine.lasts() => {
                let probe = if counts { quarantine.probe(client, clock::monotonic()) } else { None };
                probe.map_or(Admitted::Refused, Admitted::Probe)
            }
            _ => Admitted::Call,
        }
    }

    /// A call failed that was let through as usual.
    #[cold]
    pub(crate) fn fault(
        &self,
        shared: &PolicyShared,
        version: Version,
        kind: HookKind,
        client: IpAddr,
        fault: &Fault,
    ) {
        if !fault.kind.is_its_own() {
            return;
        }
        let Some((quarantine, hook)) = self.of(kind) else { return };
        let succeeded = shared.succeeded(version, kind);
        if let Some(transition) = quarantine.fault(hook, client, succeeded, clock::monotonic()) {
            tell(shared, kind, transition, Some(fault));
        }
    }

    /// How a probe ended: well, or with a fault.
    #[cold]
    pub(crate) fn probed(&self, shared: &PolicyShared, kind: HookKind, probe: Probe, fault: Option<&Fault>) {
        // That no instance was to be had says nothing; the next probe comes by itself.
        if fault.is_some_and(|fault| !fault.kind.is_its_own()) {
            return;
        }
        let Some((quarantine, _)) = self.of(kind) else { return };
        if let Some(transition) = quarantine.probed(probe, fault.is_none(), clock::monotonic()) {
            tell(shared, kind, transition, fault);
        }
    }

    /// How the quarantine stands for which a hook is not called.
    #[cold]
    pub(crate) fn standing(&self, kind: HookKind) -> Option<Standing> {
        let Standings { deciding, completed } = self.standings();
        if kind == HookKind::Completed { deciding.or(completed) } else { deciding }
    }

    pub(crate) fn standings(&self) -> Standings {
        let standing = |quarantine: &Option<Quarantine>| quarantine.as_ref()?.standing(clock::monotonic());
        Standings { deciding: standing(&self.deciding), completed: standing(&self.completed) }
    }

    /// Returns the quarantine that a hook is in, and its number there. `on-tick`, which runs beside all exchanges, is
    /// in none.
    fn of(&self, kind: HookKind) -> Option<(&Quarantine, usize)> {
        let hook = match kind {
            HookKind::Tick => return None,
            HookKind::Completed => return self.completed.as_ref().map(|quarantine| (quarantine, 0)),
            HookKind::RequestHead => 0,
            HookKind::RequestBody => 1,
            HookKind::ResponseHead => 2,
            HookKind::ResponseBody => 3,
        };
        self.deciding.as_ref().map(|quarantine| (quarantine, hook))
    }
}

/// The fault of a hook that was not called.
#[cold]
pub(crate) fn refusal(policy: &Name, kind: HookKind) -> Fault {
    let message = "it failed too often lately, and is not called until a probe of it succeeds".to_owned();
    Fault { policy: policy.clone(), hook: kind.name(), kind: FaultKind::Quarantined, message }
}

fn tell(shared: &PolicyShared, kind: HookKind, transition: Transition, fault: Option<&Fault>) {
    shared.count_transition(transition);
    let (policy, hook) = (&**shared.name(), kind.name());
    let what = if kind == HookKind::Completed { "`on-completed` of the policy" } else { "the policy" };
    let (kind, message) = match fault {
        Some(fault) => (Some(tracing::field::display(fault.kind)), fault.message.as_str()),
        None => (None, ""),
    };
    match transition {
        Transition::Begun { probe_in } => tracing::error!(
            event = "quarantine",
            state = "begun",
            policy,
            hook,
            kind,
            "{what} is in quarantine: it is not called, `on-error` applies, and a probe is let through in {probe_in:?}; the \
             last fault: {message}"
        ),
        Transition::ProbeFailed { probe_in } => tracing::warn!(
            event = "quarantine",
            state = "probe-failed",
            policy,
            hook,
            kind,
            "{what} stays in quarantine: a probe failed, and the next is let through in {probe_in:?}; {message}"
        ),
        Transition::Ended { lasted } => tracing::info!(
            event = "quarantine",
            state = "ended",
            policy,
            hook,
            "{what} is called again: a probe succeeded after {lasted:.1?} of quarantine"
        ),
    }
}
