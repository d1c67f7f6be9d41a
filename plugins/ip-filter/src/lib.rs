//! Lets requests through by the network that the client is in.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod networks;

use networks::Networks;
use portcullis_sdk::Mistakes;
use portcullis_sdk::prelude::*;

/// Settings of `builtin:ip-filter`. A network is `192.0.2.0/24`, `2001:db8::/32`, or a single address.
#[derive(Debug, Config)]
pub struct Settings {
    /// The networks that are let through. If this or `allow-file` is set, all others are refused.
    allow: Option<Vec<String>>,
    /// A file of further networks that are let through, one on each line; what follows a `#` is skipped.
    allow_file: Option<FileText>,
    /// The networks that are refused, also if they lie within an allowed one.
    #[config(default)]
    deny: Vec<String>,
    /// A file of further networks that are refused.
    deny_file: Option<FileText>,
}

/// The policy.
#[derive(Debug)]
pub struct IpFilter {
    /// `None`: all that are not denied.
    allow: Option<Networks>,
    deny: Networks,
}

#[policy(name = "ip-filter", description = "Lets requests through by the network that the client is in.", attributes = [])]
impl IpFilter {
    fn configure(settings: Settings) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::new();
        let allow = match (&settings.allow, &settings.allow_file) {
            (None, None) => None,
            (list, file) => {
                let list = list.as_deref().unwrap_or_default();
                Some(Networks::read("allow", list, file.as_deref(), &mut mistakes))
            }
        };
        let deny = Networks::read("deny", &settings.deny, settings.deny_file.as_deref(), &mut mistakes);
        // Of lists that could not be read it is not known what they would hold.
        if mistakes.is_empty() {
            match &allow {
                Some(allow) if allow.is_empty() => {
                    let place = if settings.allow.is_some() { "/allow" } else { "/allow-file" };
                    mistakes.add(
                        place,
                        "there is no network, so no client would get in; add one, or leave it out",
                    );
                }
                None if deny.is_empty() => {
                    mistakes.add("", "neither allow nor deny has a network; add one to either")
                }
                _ => {}
            }
        }
        mistakes.or(Self { allow, deny })
    }

    fn on_request_head(&self, exchange: &Exchange) -> Decision {
        let address = exchange.client_address();
        let denied = self.deny.contains(address);
        let allowed = self.allow.as_ref().is_none_or(|allow| allow.contains(address));
        if allowed && !denied { Decision::Next } else { Decision::Reply(Reply::new(403).text("forbidden\n")) }
    }
}

#[cfg(test)]
mod tests;
