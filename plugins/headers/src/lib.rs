//! Sets, adds and removes fields of requests and responses, with values made from parts of the exchange.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod template;

use std::collections::BTreeMap;

use portcullis_sdk::prelude::*;
use portcullis_sdk::{Field, Mistakes};
use template::{Side, Template};

/// Settings of `builtin:headers`.
#[derive(Debug, Config)]
pub struct Settings {
    /// What is done to requests.
    #[config(default)]
    request: Edits,
    /// What is done to responses, those of the gateway and of later policies too.
    #[config(default)]
    response: Edits,
}

/// What is done to a head: first removals, then settings, then additions. Values may have variables such as
/// `${client-address}` in them; see the policy's documentation for all.
#[derive(Debug, Default, Config)]
struct Edits {
    /// Fields that are removed.
    #[config(default)]
    remove: Vec<String>,
    /// Fields that get this value and no other. If a variable in it has no value, the field is removed.
    #[config(default, means = "template")]
    set: BTreeMap<String, String>,
    /// Fields that get a further line. If a variable in it has no value, no line is added.
    #[config(default, means = "template")]
    append: BTreeMap<String, String>,
}

/// The policy.
#[derive(Debug)]
pub struct Headers {
    request: Plan,
    response: Plan,
}

/// Checked and parsed [`Edits`].
#[derive(Debug)]
struct Plan {
    remove: Vec<String>,
    set: Vec<(String, Template)>,
    append: Vec<(String, Template)>,
}

#[policy(name = "headers", description = "Sets, adds and removes fields of requests and responses.", attributes = [])]
impl Headers {
    fn configure(settings: Settings) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::new();
        let request = Plan::new("request", settings.request, Side::Request, &mut mistakes);
        let response = Plan::new("response", settings.response, Side::Response, &mut mistakes);
        if request.is_empty() && response.is_empty() && mistakes.is_empty() {
            mistakes.add(
                "",
                "there is nothing to do; write what to set, append or remove under request or response",
            );
        }
        mistakes.or(Self { request, response })
    }

    fn on_request_head(&self, request: &mut Request, exchange: &Exchange) -> Result<(), Stop> {
        for name in &self.request.remove {
            request.remove_header(name)?;
        }
        for (name, template) in &self.request.set {
            match template.render(request, None, exchange) {
                Some(value) => request.set_header(name, value)?,
                None => request.remove_header(name)?,
            }
        }
        for (name, template) in &self.request.append {
            if let Some(value) = template.render(request, None, exchange) {
                request.append_header(name, value)?;
            }
        }
        Ok(())
    }

    fn on_response_head(
        &self,
        response: &mut Response,
        request: &Request,
        exchange: &Exchange,
    ) -> Result<(), Stop> {
        for name in &self.response.remove {
            response.remove_header(name)?;
        }
        for (name, template) in &self.response.set {
            match template.render(request, Some(response), exchange) {
                Some(value) => response.set_header(name, value)?,
                None => response.remove_header(name)?,
            }
        }
        for (name, template) in &self.response.append {
            if let Some(value) = template.render(request, Some(response), exchange) {
                response.append_header(name, value)?;
            }
        }
        Ok(())
    }
}

impl Plan {
    fn new(place: &str, edits: Edits, side: Side, mistakes: &mut Mistakes) -> Self {
        for (at, name) in edits.remove.iter().enumerate() {
            let pointer = format!("/{place}/remove/{at}");
            if let Err(refused) = Field::check_name(name) {
                mistakes.add(pointer, format!("`{name}`: {refused}"));
            }
        }
        let mut parse = |list: &str, values: BTreeMap<String, String>| -> Vec<(String, Template)> {
            let parsed = values.into_iter().filter_map(|(name, value)| {
                let pointer = format!("/{place}/{list}/{}", name.replace('~', "~0").replace('/', "~1"));
                let named = Field::check_name(&name).map_err(|refused| format!("`{name}`: {refused}"));
                mistakes.take(pointer.clone(), named)?;
                Some((name, mistakes.take(pointer, Template::parse(&value, side))?))
            });
            parsed.collect()
        };
        let set = parse("set", edits.set);
        let append = parse("append", edits.append);
        Self { remove: edits.remove, set, append }
    }

    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.append.is_empty()
    }
}

#[cfg(test)]
mod tests;
