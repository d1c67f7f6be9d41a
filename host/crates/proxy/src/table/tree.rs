//! Finds the routes that may take a path, the narrowest first.

use std::collections::HashMap;

use portcullis_model::{PathPattern, PathSegment};

/// Paths by their segments, for requests that the routes with the narrowest path do not take for another reason. A node
/// is reached by one way only, so that looking a path up visits each at most once.
#[derive(Debug, Default)]
pub(super) struct PathTree {
    literals: HashMap<Box<str>, Self>,
    parameter: Option<Box<Self>>,
    /// Routes whose path ends here, in match order.
    exact: Vec<usize>,
    /// Routes whose path ends here with `/*`, in match order.
    rest: Vec<usize>,
}

impl PathTree {
    /// Adds a route behind those that are there.
    pub(super) fn add(&mut self, pattern: &PathPattern, route: usize) {
        let end = pattern.segments.iter().fold(self, |node, segment| match segment {
            PathSegment::Literal(text) => node.literals.entry(text.as_str().into()).or_default(),
            PathSegment::Parameter(_) => node.parameter.get_or_insert_default(),
        });
        if pattern.rest { end.rest.push(route) } else { end.exact.push(route) }
    }

    /// Returns the first route, by the order of `PathSpecificity`, whose path takes `path` and that `takes` takes.
    pub(super) fn find(&self, path: &str, mut takes: impl FnMut(usize) -> bool) -> Option<usize> {
        // "/" alone leaves an empty segment, which a pattern without segments takes.
        let own = if path == "/" { self.exact.iter().copied().find(|route| takes(*route)) } else { None };
        own.or_else(|| self.below(path.strip_prefix('/'), &mut takes))
    }

    /// As [`Self::find`], with what is left of the path at this node: `None` at its end.
    fn below(&self, left: Option<&str>, takes: &mut impl FnMut(usize) -> bool) -> Option<usize> {
        let found = match left {
            None => self.exact.iter().copied().find(|route| takes(*route)),
            Some(left) => {
                let (head, tail) = match left.split_once('/') {
                    Some((head, tail)) => (head, Some(tail)),
                    None => (left, None),
                };
                let literal = self.literals.get(head).and_then(|node| node.below(tail, takes));
                literal.or_else(|| {
                    let parameter = self.parameter.as_ref().filter(|_| !head.is_empty())?;
                    parameter.below(tail, takes)
                })
            }
        };
        found.or_else(|| self.rest.iter().copied().find(|route| takes(*route)))
    }
}
