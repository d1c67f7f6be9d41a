//! Trying another version of a policy: beside the active one, on a part of the exchanges or without effect.

use std::time::Duration;

use crate::{FieldMatch, PolicyConfig};

/// Which of a policy's versions something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Version {
    /// What the policy's own `plugin` names.
    #[default]
    Active,
    /// Takes a part of the exchanges in the active one's place.
    Canary,
    /// Runs beside the active one, without effect.
    Shadow,
}

impl Version {
    /// The word for it, in the config as in metrics and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The version of a policy that is tried. A policy has one at a time: a promotion must say one thing.
#[derive(Debug, Clone, PartialEq)]
pub enum Candidate {
    /// `canary = { ... }`.
    Canary(Canary),
    /// `shadow = { ... }`.
    Shadow(Shadow),
}

impl Candidate {
    /// The version that is tried.
    #[must_use]
    pub fn version(&self) -> &PolicyConfig {
        match self {
            Self::Canary(canary) => &canary.version,
            Self::Shadow(shadow) => &shadow.version,
        }
    }

    /// The same, to be changed.
    pub fn version_mut(&mut self) -> &mut PolicyConfig {
        match self {
            Self::Canary(canary) => &mut canary.version,
            Self::Shadow(shadow) => &mut shadow.version,
        }
    }
}

/// A version that takes a part of the exchanges.
#[derive(Debug, Clone, PartialEq)]
pub struct Canary {
    /// The version, under the policy's name.
    pub version: PolicyConfig,
    /// Which exchanges it takes.
    pub selection: Selection,
    /// When it is taken back by itself; `None` for never.
    pub abort: Option<AbortRules>,
}

/// A version that sees what the active one sees, and changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Shadow {
    /// The version, under the policy's name.
    pub version: PolicyConfig,
    /// How many of the exchanges it sees.
    pub share: Share,
    /// Differences that are kept to be looked at; the newest push out the oldest.
    pub samples: usize,
}

/// The exchanges that a canary takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// So many of all, whichever.
    Share(Share),
    /// Those whose request has these fields, in name order, as the policy sees them.
    Match(Vec<FieldMatch>),
}

/// A part of a whole, in hundredths of a per cent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// All.
    pub const ALL: Self = Self(10_000);

    /// `hundredths` of a per cent: 10,000 are all. More than that is a ratio, such as the 30,000 of `"300%"`.
    #[must_use]
    pub const fn of_hundredths(hundredths: u32) -> Self {
        Self(hundredths)
    }

    /// In hundredths of a per cent.
    #[must_use]
    pub const fn hundredths(self) -> u32 {
        self.0
    }

    /// This share of `whole`, rounded down.
    #[must_use]
    pub fn of(self, whole: u64) -> u64 {
        let part = u128::from(whole) * u128::from(self.0) / u128::from(Self::ALL.0);
        u64::try_from(part).unwrap_or(u64::MAX)
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match rest {
            0 => write!(f, "{whole}%"),
            rest if rest.is_multiple_of(10) => write!(f, "{whole}.{}%", rest / 10),
            rest => write!(f, "{whole}.{rest:02}%"),
        }
    }
}

/// What ends a canary by itself. All of it is judged over windows of exchanges of the canary's own, so that a version
/// that breaks after a quiet day is taken back as soon as one that is broken from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortRules {
    /// Exchanges with a fault.
    pub faults: FaultRule,
    /// CPU time of the policy for an exchange, in the mean.
    pub cpu: CostRule,
    /// The time that an exchange spends in the policy, waiting included, in the mean.
    pub latency: CostRule,
    /// Exchanges of the canary that make a window.
    pub window: u32,
}

impl Default for AbortRules {
    fn default() -> Self {
        Self {
            faults: FaultRule::Share(Share::of_hundredths(100)),
            cpu: CostRule::Ratio(Share::of_hundredths(30_000)),
            latency: CostRule::Ratio(Share::of_hundredths(30_000)),
            window: 100,
        }
    }
}

/// How many faults are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultRule {
    /// More than this share of a window.
    Share(Share),
    /// This many in a window.
    Count(u32),
}

impl FaultRule {
    /// The exchanges with a fault in a window of `window` that end the canary.
    #[must_use]
    pub fn limit(self, window: u32) -> u64 {
        match self {
            Self::Share(share) => share.of(u64::from(window)) + 1,
            Self::Count(count) => u64::from(count.max(1)),
        }
    }
}

/// The cost above which a canary is aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CostRule {
    /// More than this share of what the active version took in the same time.
    Ratio(Share),
    /// More than this.
    Mean(Duration),
}
