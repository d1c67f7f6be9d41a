//! What a route's cache did for a request.

/// What a route's cache did for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    /// It answered with a fresh response that was in memory.
    Hit,
    /// It answered with a fresh response that was on its disk.
    DiskHit,
    /// It answered with a stale response, while that was renewed or because the upstream failed.
    Stale,
    /// It answered with what it had, after the upstream said that this is still right.
    Revalidated,
    /// It answered with the response that another request got at the same time.
    Collapsed,
    /// The upstream answered.
    Miss,
    /// The request passed by it.
    Bypass,
}

impl CacheResult {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Hit, Self::DiskHit, Self::Stale, Self::Revalidated, Self::Collapsed, Self::Miss, Self::Bypass];

    /// Returns its name in records and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::DiskHit => "disk-hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Collapsed => "collapsed",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }

    /// Whether the body came from the cache.
    #[must_use]
    pub const fn is_from_cache(self) -> bool {
        matches!(self, Self::Hit | Self::DiskHit | Self::Stale | Self::Revalidated | Self::Collapsed)
    }
}
