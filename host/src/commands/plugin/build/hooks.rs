//! Finds the hooks of a policy in its source, in languages whose components would export them all.

use portcullis_policy::HookKind;

/// A hook that a policy has: its name in the contract, without what the languages make of it.
pub(super) const CONFIGURE: &str = "configure";

/// The names of all hooks, such as `on-request-head`.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    std::iter::once(CONFIGURE).chain(HookKind::ALL.into_iter().map(HookKind::name))
}

/// The interface that exports a hook.
pub(super) fn interface(hook: &str) -> &'static str {
    HookKind::ALL.into_iter().find(|kind| kind.name() == hook).map_or("lifecycle", HookKind::interface)
}

/// Those hooks for which a line of a source begins with `define(hook)`.
pub(super) fn defined(sources: &[String], define: impl Fn(&str) -> String) -> Vec<&'static str> {
    let is_defined = |hook: &&'static str| {
        let wanted = define(hook);
        sources.iter().flat_map(|source| source.lines()).any(|line| line.starts_with(&wanted))
    };
    all().filter(is_defined).collect()
}

#[cfg(test)]
mod tests {
    use super::{defined, interface};

    #[test]
    fn hooks_are_found_by_how_a_line_begins() {
        let source = "func OnTick() error {\n// func OnCompleted(\n\tfunc OnRequestHead(".to_owned();
        let name =
            |hook: &str| format!("func {}(", if hook == "on-tick" { "OnTick" } else { "OnRequestHead" });
        assert_eq!(defined(&[source], name), ["on-tick"]);
        assert_eq!(
            ["configure", "on-tick", "on-request-head"].map(interface),
            ["lifecycle", "tick", "request-head"]
        );
    }
}
