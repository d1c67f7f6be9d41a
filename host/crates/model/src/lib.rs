//! The plain data that the gateway is described by: listeners, routes, upstreams, policies, limits.
//!
//! Everything here is already validated: code that has a [`Gateway`] never checks it again. The `config` crate makes
//! it from text; the other crates read it. Nothing here does I/O or knows a protocol.
//!
//! Beside it stand leaves that several crates need: [`text`], which makes what a stranger wrote safe to print,
//! [`Lock`], and [`media_type`](media_type()).

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod action;
mod cache;
mod compress;
mod condition;
mod cost;
mod gateway;
mod health_check;
mod host_header;
mod http_grant;
mod limits;
mod lock;
mod media_type;
mod pattern;
mod plugin;
mod policy;
mod protocols;
mod proxy_protocol;
mod rollout;
mod route;
mod route_match;
mod secret;
pub mod text;
mod upstream;

pub use action::{
    Action, FieldChange, FieldEdit, Files, Forward, PathRewrite, Redirect, RequestFilter, Respond,
    ResponseEdits, Retry, Scope, Symlinks, Template, TemplatePart, Tries,
};
pub use cache::{
    Bypass, Cache, CacheDisk, CacheKey, Collapse, CookieRule, QueryRule, RouteCache, StaleRules, StatusClass,
    VaryRule,
};
pub use compress::{Coding, Compress, Credentials, Decompress, Effort, MediaPattern};
pub use condition::{Condition, Subject, Test};
pub use cost::PolicyCost;
pub use gateway::{
    AccessLog, AccessLogFormat, Certificate, Control, FieldCase, Gateway, HalfClosed, Listener, LogTarget,
    Server, TlsServer, TlsVersion,
};
pub use health_check::{HealthCheck, HealthProbe};
pub use host_header::HostHeader;
pub use http_grant::{Authorities, HttpGrant, HttpUrl, HttpUrlError, Reach};
pub use limits::{ConnectionLimits, DownstreamTimeouts};
pub use lock::Lock;
pub use media_type::media_type;
pub use pattern::{Pattern, PatternError};
pub use plugin::{ContentDigest, LockedPlugin, OciReference, PinnedPlugin, Registry, Signer, SignerKey};
pub use policy::{
    Capability, FailureMode, Grants, Isolation, PluginSource, PolicyConfig, PurgeGrant, QuarantineRule,
    RateQuota, ResourceLimits, StoreGrant,
};
pub use protocols::{Protocol, Protocols};
pub use proxy_protocol::{ProxyProtocol, ProxyVersion};
pub use rollout::{AbortRules, Canary, Candidate, CostRule, FaultRule, Selection, Shadow, Share, Version};
pub use route::Route;
pub use route_match::{
    FieldMatch, HostPattern, HostSpecificity, PathPattern, PathRules, PathSegment, PathSpecificity,
    RouteMatch, SegmentSpecificity, Specificity, canonical_host, takes_method,
};
pub use secret::Secret;
pub use upstream::{
    Balance, Ejection, Endpoint, HashKey, Outliers, Panic, Upstream, UpstreamHttp2, UpstreamLimits,
    UpstreamProtocol, UpstreamTimeouts, UpstreamTls,
};

use std::sync::Arc;

/// The name of a listener, route, upstream, policy or secret, as the operator wrote it. Cheap to clone.
pub type Name = Arc<str>;

/// The place at which something was written, for messages and for `portcullis routes`.
///
/// Any two compare equal: a configuration stays the same if its parts move within the file. Compare `file` and `line`
/// if the place itself matters.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The file, as the operator named it.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: u32,
}

impl PartialEq for Origin {
    fn eq(&self, _any: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}
