//! Chooses the route of a request whose path can be read in several ways.
//!
//! Nearly every path has one form, and the table finds its route. Three kinds do not: with a percent-encoded slash (a
//! character or a slash?), with empty segments (merged or not?) and with parameters (`/admin;x` is `/admin` to
//! servlet containers). Which reading is right depends on the upstream, so the route says it: `encoded-slash` and
//! `merge-slashes`.
//!
//! Each route is asked for the form that it would forward: with `keep` the encoded slash is a character of its
//! segment, without it is taken for the slash that the upstream might see (and the request is refused if such a route
//! wins). The first in match order that takes its form wins. Then the path is read in the other ways, too: if one of
//! these readings belongs to a route with a policy that the winner does not have, the request is refused. So if an
//! upstream reads paths differently than its route says, a client gains nothing by it but paths that are guarded no
//! better than those that it may ask for anyway.

use portcullis_http::{EncodedSlash, PathError, PathReading, RequestHead, has_encoded_slash, read_path};
use portcullis_model::{Name, PathRules};

use super::guard::{Guard, PathRefused};
use super::{Mismatch, RouteTable, Sender, path_of};

/// The ways in which a server could read a path.
struct Readings {
    /// Encoded slashes are characters, empty segments are dropped.
    merged: String,
    /// The same with empty segments; an error if that form is refused.
    unmerged: Result<String, PathError>,
    /// Encoded slashes are slashes, empty segments are dropped.
    decoded: String,
    /// The same with empty segments, if there is that form.
    decoded_unmerged: Option<String>,
    /// As `decoded`, without parameters.
    bare: String,
}

impl Readings {
    fn of(request: &RequestHead) -> Result<Self, PathError> {
        let written = request.written_path().unwrap_or(request.path());
        if !written.starts_with('/') {
            let only = written.to_owned();
            return Ok(Self {
                merged: only.clone(),
                unmerged: Ok(only.clone()),
                decoded: only.clone(),
                decoded_unmerged: None,
                bare: only,
            });
        }
        let read = |encoded_slash, keeps_empty_segments, drops_parameters| {
            let reading = PathReading { encoded_slash, keeps_empty_segments, drops_parameters };
            let mut out = String::new();
            read_path(written, reading, &mut out).map(|()| out)
        };
        Ok(Self {
            merged: request.path().to_owned(),
            unmerged: read(EncodedSlash::Kept, true, false),
            decoded: read(EncodedSlash::Decoded, false, false)?,
            decoded_unmerged: read(EncodedSlash::Decoded, true, false).ok(),
            bare: read(EncodedSlash::Decoded, false, true)?,
        })
    }

    /// Returns the form that a route with these rules would take.
    fn form(&self, rules: PathRules, encoded: bool) -> &str {
        match (&self.unmerged, rules.keeps_empty_segments) {
            _ if encoded && !rules.keeps_encoded_slash => &self.decoded,
            (Ok(unmerged), true) => unmerged,
            _ => &self.merged,
        }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        let others = [self.unmerged.as_ref().ok(), self.decoded_unmerged.as_ref()];
        let others = others.into_iter().flatten().map(String::as_str);
        [&*self.merged, &self.decoded, &self.bare].into_iter().chain(others)
    }
}

impl RouteTable {
    /// Does what [`Self::find`] does, and gives the path the form that the route takes.
    ///
    /// # Errors
    /// When the route does not take the path in that form, or the path could be read as one that is guarded better.
    pub(crate) fn choose(
        &self,
        sender: Sender<'_>,
        request: &mut RequestHead,
    ) -> Result<Option<usize>, PathRefused> {
        if request.written_path().is_none() && !request.path().contains(';') {
            let found = self.find(sender, request);
            request.path_rules = self.guard(found).map_or_else(PathRules::default, |guard| guard.rules);
            return Ok(found);
        }
        self.choose_among_readings(sender, request)
    }

    #[cold]
    fn choose_among_readings(
        &self,
        sender: Sender<'_>,
        request: &mut RequestHead,
    ) -> Result<Option<usize>, PathRefused> {
        let readings = Readings::of(request)?;
        let encoded = has_encoded_slash(&readings.merged);
        let tried = self.tried_with(sender, request, &readings);
        let winner = tried.iter().find(|(_, reason, _)| reason.is_none()).map(|(at, ..)| *at);
        let Some(guard) = self.guard(winner) else {
            return if encoded { Err(PathError::EncodedSeparator.into()) } else { Ok(None) };
        };
        if encoded && !guard.rules.keeps_encoded_slash {
            return Err(PathError::EncodedSeparator.into());
        }
        if let (true, Err(error)) = (guard.rules.keeps_empty_segments, &readings.unmerged) {
            return Err((*error).into());
        }
        let mut probe = request.clone();
        for reading in readings.all() {
            probe.set_path(reading);
            let other = self.find(sender, &probe);
            if self.guard(other).is_some_and(|other| !guard.is_as_strict_as(other)) {
                return Err(PathRefused::Guarded { route: self.name(winner), other: self.name(other) });
            }
        }
        request.set_path(readings.form(guard.rules, encoded));
        request.path_rules = guard.rules;
        Ok(winner)
    }

    /// As [`Self::reasons`], of a request whose route is not chosen yet: each route with the form of the path that it
    /// is asked for.
    pub(crate) fn tried(
        &self,
        sender: Sender<'_>,
        request: &RequestHead,
    ) -> Vec<(usize, Option<Mismatch<'_>>, String)> {
        match Readings::of(request) {
            Ok(readings) => self.tried_with(sender, request, &readings),
            Err(_) => Vec::new(),
        }
    }

    /// The order of the routes does not depend on the path, and there are at most four forms of it.
    fn tried_with(
        &self,
        sender: Sender<'_>,
        request: &RequestHead,
        readings: &Readings,
    ) -> Vec<(usize, Option<Mismatch<'_>>, String)> {
        let encoded = has_encoded_slash(&readings.merged);
        let mut tried: Vec<(usize, Option<Mismatch<'_>>, String)> = Vec::new();
        let mut probe = request.clone();
        for rules in self.distinct_rules() {
            probe.set_path(readings.form(rules, encoded));
            let reasons = self.reasons(sender, &probe);
            tried.resize(reasons.len(), (0, None, String::new()));
            for ((at, reason), place) in reasons.into_iter().zip(&mut tried) {
                if self.guard(Some(at)).is_some_and(|guard| guard.rules == rules) {
                    *place = (at, reason, path_of(&probe).to_owned());
                }
            }
        }
        tried
    }

    fn guard(&self, route: Option<usize>) -> Option<&Guard> {
        Some(&self.routes.get(route?)?.guard)
    }

    fn name(&self, route: Option<usize>) -> Name {
        route.and_then(|at| self.routes.get(at)).map_or_else(|| "".into(), |rule| rule.name.clone())
    }

    /// The rules that occur, each once.
    fn distinct_rules(&self) -> Vec<PathRules> {
        let mut found: Vec<PathRules> = Vec::new();
        for rule in &self.routes {
            if !found.contains(&rule.guard.rules) {
                found.push(rule.guard.rules);
            }
        }
        found
    }
}
