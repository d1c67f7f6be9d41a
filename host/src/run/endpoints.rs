//! Changes of endpoints from the gateway's side.

use portcullis_admin::{Answers, EndpointAct, EndpointRequest, Refused, UpstreamStatus};
use portcullis_inspect::upstream_status;
use portcullis_model::Name;
use portcullis_model::text::escape as shown;
use portcullis_proxy::{Edit, EditError};

use crate::run::control::Control;
use crate::run::gateway::Running;

/// The largest share and priority, as in the configuration.
const WEIGHT_MAX: u32 = 1000;
const PRIORITY_MAX: u8 = 9;

impl Answers<EndpointRequest> for Control {
    async fn answer(&self, request: EndpointRequest) -> Result<UpstreamStatus, Refused> {
        self.with_running(move |running| change(running, &request)).await?
    }
}

fn change(running: &Running, request: &EndpointRequest) -> Result<UpstreamStatus, Refused> {
    let EndpointRequest { upstream, address: typed, act, weight, priority } = request;
    let address: Name = portcullis_config::endpoint_address(typed)
        .map_err(|(label, help)| {
            Refused::new(format!("`{}` is not an endpoint: {label}", shown(typed))).help(help)
        })?
        .into();
    if weight.is_some_and(|weight| !(1..=WEIGHT_MAX).contains(&weight)) {
        let refused = Refused::new(format!("a weight is a number from 1 to {WEIGHT_MAX}"));
        return Err(refused.help("`portcullis endpoint drain` has it take no more requests"));
    }
    if priority.is_some_and(|priority| priority > PRIORITY_MAX) {
        return Err(Refused::new(format!("a priority is a number from 0 to {PRIORITY_MAX}")));
    }
    let (edit, done) = match (act, weight) {
        (EndpointAct::Add, _) => (Edit::Add { weight: *weight, priority: *priority }, "added".to_owned()),
        (EndpointAct::Remove, _) => (Edit::Remove, "removed".to_owned()),
        (EndpointAct::Drain, _) => (Edit::Drain, "drained: it takes no more requests".to_owned()),
        (EndpointAct::Undrain, _) => (Edit::Undrain, "takes requests again".to_owned()),
        (EndpointAct::Weight, Some(weight)) => (Edit::Weight(*weight), format!("has the weight {weight}")),
        (EndpointAct::Weight, None) => return Err(Refused::new("the weight is missing")),
        (EndpointAct::Reset, _) => (Edit::Reset, "is as the config says".to_owned()),
    };
    let snapshot = running.snapshot();
    let names = || {
        let names: Vec<&str> = snapshot.upstreams().map(|upstream| &*upstream.config.name).collect();
        format!("the upstreams are {}", names.join(", "))
    };
    let Some(edited) = running.edit_endpoint(upstream, &address, edit) else {
        let message = format!("there is no upstream `{}` in what runs", shown(upstream));
        return Err(Refused::new(message).help(names()));
    };
    edited.map_err(|error| refusal(error, upstream, &address))?;
    tracing::info!(
        event = "endpoint",
        %upstream, endpoint = %address,
        "endpoint {address} of upstream `{upstream}` {done}, by `portcullis endpoint`"
    );
    upstream_status(&snapshot, upstream).ok_or_else(|| Refused::new("the upstream is gone"))
}

fn refusal(error: EditError, upstream: &str, address: &Name) -> Refused {
    match error {
        EditError::Unknown => Refused::new(format!("upstream `{upstream}` has no endpoint `{address}`"))
            .help(format!("`portcullis endpoint list {upstream}` shows those that it has")),
        EditError::Present => {
            Refused::new(format!("upstream `{upstream}` has the endpoint `{address}` already"))
                .help("`portcullis endpoint weight` changes its share")
        }
        EditError::Unchanged => {
            Refused::new(format!("endpoint `{address}` of upstream `{upstream}` is as the config says"))
        }
        EditError::TooMany => {
            Refused::new(format!("too many endpoints of upstream `{upstream}` were changed"))
                .help("write them into the config, or undo changes with `portcullis endpoint reset`")
        }
    }
}
