//! What a hook changed in an exchange: the difference between before and after, and how to make the same change again.

use portcullis_http::{Fields, RequestHead, ResponseHead};

use crate::attributes::Attributes;
use crate::exchange::Exchange;
use crate::recorder::{Edit, Message};

/// What a hook may change, as it was before the hook.
pub(crate) struct Before {
    request: RequestHead,
    response: ResponseHead,
    upstream: usize,
    endpoint_key: Option<Box<[u8]>>,
    trailers: Option<Box<Fields>>,
    attributes: Attributes,
}

impl Before {
    pub(crate) fn of(exchange: &Exchange) -> Self {
        Self {
            request: exchange.request.clone(),
            response: exchange.response.clone(),
            upstream: exchange.upstream,
            endpoint_key: exchange.endpoint_key.clone(),
            trailers: exchange.trailers.clone(),
            attributes: exchange.attributes.clone(),
        }
    }

    /// Returns the changes that lead from here to `after`.
    pub(crate) fn edits(&self, after: &Exchange) -> Vec<Edit> {
        let (old, new) = (&self.request, &after.request);
        let mut edits = Vec::new();
        if old.method != new.method {
            edits.push(Edit::Method(new.method.clone()));
        }
        if old.authority != new.authority {
            edits.push(Edit::Authority(new.authority.clone()));
        }
        if old.target() != new.target() {
            edits.push(Edit::Target(new.target().to_owned()));
        }
        if self.upstream != after.upstream
            && let Some(name) = after.upstreams.get(after.upstream)
        {
            edits.push(Edit::Upstream(name.clone()));
        }
        if let Some(key) = after.endpoint_key.as_ref().filter(|key| self.endpoint_key.as_ref() != Some(key)) {
            edits.push(Edit::EndpointKey(key.to_vec()));
        }
        compare_fields(Message::Request, &old.fields, &new.fields, &mut edits);
        if self.response.status != after.response.status {
            edits.push(Edit::Status(after.response.status));
        }
        compare_fields(Message::Response, &self.response.fields, &after.response.fields, &mut edits);
        let none = Fields::new();
        let [old, new] =
            [&self.trailers, &after.trailers].map(|trailers| trailers.as_deref().unwrap_or(&none));
        compare_fields(Message::Trailers, old, new, &mut edits);
        let set = after.attributes.iter().filter(|(name, value)| self.attributes.get(name) != Some(*value));
        edits.extend(
            set.map(|(name, value)| Edit::Attribute { name: name.to_owned(), value: value.to_owned() }),
        );
        edits
    }
}

impl Edit {
    /// Makes the change in `exchange`. Returns `false` if it does not fit: a field for which there is no room, an
    /// upstream that the route does not list.
    #[must_use]
    pub fn apply(&self, exchange: &mut Exchange) -> bool {
        match self {
            Self::Method(method) => exchange.request.method.clone_from(method),
            Self::Authority(authority) => exchange.request.authority.clone_from(authority),
            Self::Target(target) => match target.split_once('?') {
                Some((path, query)) => exchange.request.set_target(path, Some(query)),
                None => exchange.request.set_target(target, None),
            },
            Self::Upstream(name) => match exchange.upstreams.iter().position(|upstream| upstream == name) {
                Some(at) => exchange.upstream = at,
                None => return false,
            },
            Self::EndpointKey(key) => exchange.endpoint_key = Some(key.as_slice().into()),
            Self::Status(status) => exchange.response.status = *status,
            Self::Field { message, name, after, .. } => {
                let fields = match message {
                    Message::Request => &mut exchange.request.fields,
                    Message::Response => &mut exchange.response.fields,
                    Message::Trailers => exchange.trailers.get_or_insert_default(),
                };
                fields.remove(name.as_bytes());
                return after.iter().all(|value| fields.append(name.as_bytes(), value).is_ok());
            }
            Self::Attribute { name, value } => return exchange.attributes.set(name, value),
        }
        true
    }
}

/// Adds the fields whose lines differ, in the order in which they first appear.
fn compare_fields(message: Message, old: &Fields, new: &Fields, edits: &mut Vec<Edit>) {
    let mut seen: Vec<&str> = Vec::new();
    for (_, name, _) in old.iter().chain(new.iter()) {
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let lines = |fields: &Fields| -> Vec<Vec<u8>> {
            fields.get_all(name.as_bytes()).map(<[u8]>::to_vec).collect()
        };
        let (before, after) = (lines(old), lines(new));
        if before != after {
            edits.push(Edit::Field { message, name: name.to_owned(), before, after });
        }
    }
}

#[cfg(test)]
mod tests;
