//! What holds in a block: its own directives, and what it inherits.

use crate::syntax::Directive;

/// A block within the blocks around it.
#[derive(Debug, Clone)]
pub(crate) struct Scope<'a> {
    /// From the outermost to the block itself.
    levels: Vec<&'a [Directive]>,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(outermost: &'a [Directive]) -> Self {
        Self { levels: vec![outermost] }
    }

    /// Returns the scope of a block inside.
    pub(crate) fn inside(&self, block: &'a [Directive]) -> Self {
        let mut levels = self.levels.clone();
        levels.push(block);
        Self { levels }
    }

    /// Returns the directives of the block itself.
    pub(crate) fn own(&self) -> &'a [Directive] {
        self.levels.last().copied().unwrap_or_default()
    }

    /// Returns the first directive of this name in the block itself.
    pub(crate) fn own_one(&self, name: &str) -> Option<&'a Directive> {
        self.own().iter().find(|directive| directive.name == name)
    }

    /// Returns the directive of this name that holds: that of the innermost block that has one.
    pub(crate) fn one(&self, name: &str) -> Option<&'a Directive> {
        self.all(name).into_iter().last()
    }

    /// Returns its first argument.
    pub(crate) fn value(&self, name: &str) -> Option<&'a str> {
        self.one(name).map(|directive| directive.arg(0))
    }

    /// Returns whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.value(name) == Some("on")
    }

    /// Returns the directives of this name that hold: those of the innermost block that has any.
    pub(crate) fn all(&self, name: &str) -> Vec<&'a Directive> {
        self.all_of(&[name])
    }

    /// Returns the directives with one of these names that hold, which are inherited together, such as `allow` and
    /// `deny`.
    pub(crate) fn all_of(&self, names: &[&str]) -> Vec<&'a Directive> {
        let of = |level: &&'a [Directive]| -> Vec<&'a Directive> {
            level.iter().filter(|directive| names.contains(&directive.name.as_str())).collect()
        };
        self.levels.iter().rev().map(of).find(|found| !found.is_empty()).unwrap_or_default()
    }
}
