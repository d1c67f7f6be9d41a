//! How an endpoint is chosen.

use std::time::Duration;

use portcullis_model::{Balance, Endpoint, HashKey};

use crate::diagnostic::Report;
use crate::loader::Loader;
use crate::references::Named;
use crate::sections::field_match::is_token;
use crate::syntax::unseen_fields::unseen;
use crate::syntax::view::View;

pub(super) fn balance(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Balance {
    match view.word("balance") {
        Some("least-requests") => return Balance::LeastRequests,
        Some("peak-ewma") => return Balance::PeakEwma,
        Some("random") => return Balance::Random,
        Some(_) => return Balance::RoundRobin,
        None => {}
    }
    let table = view.view("balance");
    let key = match table.word("hash") {
        Some("client") => Some(HashKey::Client),
        Some(_) => Some(HashKey::Path),
        None => hash_key(loader, named, table.view("hash")),
    };
    key.map_or_else(Balance::default, |key| Balance::Hash { key, load_max: table.percent("load-max") })
}

/// Reads `{ header = ... }` or `{ cookie = ... }`.
fn hash_key(loader: &mut Loader<'_>, named: &Named<'_>, table: View<'_>) -> Option<HashKey> {
    let has_trusted_proxies = loader.has_trusted_proxies;
    let mut refuse = |span, label: &str, help: &str| {
        let message = format!("`balance` of upstream `{}` is not valid", named.name);
        loader.report(Report::new(span, message, label).help(help));
    };
    if let (Some(_), Some(span)) = (table.key_span("header"), table.key_span("cookie")) {
        refuse(span, "`header` decides already", "leave one of the two out");
        return None;
    }
    if let Some(span) = table.missing("header").and(table.missing("cookie")) {
        refuse(span, "`header` or `cookie` is needed here", "name the header or the cookie that decides");
        return None;
    }
    if let Some((name, span)) = table.text("cookie") {
        if !is_token(name) {
            refuse(span, "not the name of a cookie", "write a name such as \"session\"");
            return None;
        }
        return Some(HashKey::Cookie(name.into()));
    }
    let (typed, span) = table.text("header")?;
    let name = typed.to_ascii_lowercase();
    let invalid = match is_token(&name) {
        false => Some(("not the name of a header", "write a name such as \"x-user\"".to_owned())),
        true => unseen(&name, has_trusted_proxies),
    };
    match invalid {
        None => Some(HashKey::Field(name.into())),
        Some((label, help)) => {
            refuse(span, label, &help);
            None
        }
    }
}

/// Reads for how long shares grow.
pub(super) fn slow_start(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Duration {
    if let (Some(span), true) = (view.key_span("slow-start"), view.view("balance").is_there()) {
        let message = format!("upstream `{}` balances by a hash, so `slow-start` says nothing", named.name);
        let help = "remove it: the keys of an endpoint that is back go to it at once";
        loader.report(Report::new(span, message, "without effect").help(help));
    }
    view.duration("slow-start").unwrap_or_default()
}

/// Returns the priority of all endpoints, if it is one and not 0.
pub(super) fn common_priority(endpoints: &[Endpoint]) -> Option<u8> {
    let first = endpoints.first()?.priority;
    (first > 0 && endpoints.iter().all(|endpoint| endpoint.priority == first)).then_some(first)
}
