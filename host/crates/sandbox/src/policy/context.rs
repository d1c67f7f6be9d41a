//! A configured version of a policy: what its instances are made of, and what is counted of it.

use std::sync::{Arc, OnceLock};

use portcullis_model::{Capability, Isolation};
use portcullis_services::log_window::LogWindow;
use portcullis_traffic::Permits;

use crate::PolicyComponent;
use crate::component::{Code, Image};
use crate::direct::DirectCode;
use crate::policy::places::HookCalls;
use crate::policy::policy_services::PolicyServices;
use crate::policy::quarantine::PolicyQuarantine;
use crate::policy::report::{Standings, UnderWay};
use crate::policy::shared::Live;
use crate::runtime::Runtime;

/// A configured version of a policy.
pub(crate) struct PolicyContext {
    /// What its instances may use.
    pub(crate) policy: Arc<PolicyServices>,
    pub(crate) component: Arc<PolicyComponent>,
    pub(crate) config_json: String,
    pub(crate) isolation: Isolation,
    /// What instances start from, if each exchange has its own and the component can have an image.
    pub(crate) image: OnceLock<Image>,
    pub(crate) quarantine: PolicyQuarantine,
    /// Its own instances that are alive.
    pub(crate) instances: Permits,
    /// Its hook calls that are under way and wait or may run long.
    pub(crate) hook_calls: HookCalls,
    /// What is logged of its faults has the bytes of its log once more.
    pub(crate) fault_window: LogWindow,
    pub(crate) sandbox: Arc<Runtime>,
}

impl PolicyContext {
    /// Returns what instances start from. `None` if they are made of the component and configured.
    pub(crate) fn image(&self) -> Option<&Image> {
        self.image.get()
    }

    /// Returns the module that instances are made of which are configured one by one and called directly. On a fiber
    /// they are not: there the host cannot simply call back.
    pub(crate) fn direct(&self) -> Option<&DirectCode> {
        self.component.direct.as_ref().filter(|_| !self.policy.yields)
    }

    /// Returns what the instances that serve exchanges are made of.
    pub(crate) fn code(&self) -> Code<'_> {
        match (self.image(), self.direct()) {
            (Some(image), _) => image.code(),
            (None, Some(direct)) => Code::Direct(direct),
            (None, None) => Code::Linked(&self.component.linked),
        }
    }
}

impl Live for PolicyContext {
    fn instances(&self) -> u32 {
        self.instances.taken()
    }

    fn standings(&self) -> Standings {
        self.quarantine.standings()
    }

    fn under_way(&self) -> UnderWay {
        let asks = self.component.info.imports.contains(&Capability::HttpClient);
        UnderWay {
            version: self.policy.version,
            hook_calls: self.hook_calls.under_way(),
            hook_calls_max: self.hook_calls.max(),
            http_calls: asks.then(|| self.policy.http_calls.taken()),
            http_calls_max: self.policy.http_calls.max(),
        }
    }
}
