//! Validation (RFC 9111, 4.3): the conditions of a request to the origin, and what its answer does to what is stored.

#[cfg(test)]
mod tests;

use portcullis_http::{Fields, ResponseHead, http_date, is_strong_match, is_weak_match, parse_http_date};

use super::freshness::{Policy, date};
use super::request::Request;
use super::settings::{Cookies, Settings};
use super::stored::StoredHead;
use super::storing::{
    Made, WhyNot, drop_unstored, make, may_estimate, permitted_by_response, selection, set,
};
use super::time::Exchanged;

/// A stored response that was updated.
#[derive(Debug, Clone)]
pub struct Freshened {
    /// Its new head, which answers the request.
    pub head: StoredHead,
    /// Whether it may still be stored; if not, the entry has to be removed.
    pub keep: Result<(), WhyNot>,
}

/// What a response to HEAD does to a stored response to GET (RFC 9111, 4.3.5).
#[derive(Debug, Clone)]
pub enum HeadEffect {
    /// Nothing.
    None,
    /// It is updated.
    Update(Box<Freshened>),
    /// It is another representation, so the stored one is stale from now.
    Stale,
}

/// Removes a client's conditions and range from a request that is sent to the origin to fill the store.
pub fn remove_conditions(fields: &mut Fields) {
    fields.retain(|_, name, _| {
        !matches!(
            name,
            "if-none-match" | "if-modified-since" | "if-match" | "if-unmodified-since" | "if-range" | "range"
        )
    });
}

impl StoredHead {
    /// Replaces the conditions and the range of a request by those that validate this response (4.3.1). Without a
    /// validator the request has no condition then.
    pub fn write_conditions(&self, fields: &mut Fields) {
        remove_conditions(fields);
        let modified = self.fields.get(b"last-modified").filter(|_| self.modified.is_some());
        for (name, value) in [(&b"if-none-match"[..], self.etag()), (b"if-modified-since", modified)] {
            if let Some(value) = value {
                // A head that is full goes without: the origin answers with the whole response then.
                set(fields, name, value);
            }
        }
    }

    /// Returns the response as a 304 updates it (4.3.4), or `None` if the 304 does not name it. `asked` says that the
    /// conditions of the request named this response alone; other responses of the URL are updated if a strong
    /// validator names them.
    #[must_use]
    pub fn freshen(
        &self,
        settings: &Settings,
        request: &Request<'_>,
        not_modified: &ResponseHead,
        asked: bool,
        times: Exchanged,
    ) -> Option<Freshened> {
        self.is_named(&not_modified.fields, asked)
            .then(|| self.updated(settings, request, &not_modified.fields, asked, times))
    }

    /// Returns what a response to HEAD does to this response (4.3.5). `content_length` is that of the response to HEAD,
    /// `body_bytes` how long the stored content is. Only a response that the same GET could have is asked about.
    #[must_use]
    pub fn head_effect(
        &self,
        settings: &Settings,
        request: &Request<'_>,
        response: &ResponseHead,
        content_length: Option<u64>,
        body_bytes: u64,
        times: Exchanged,
    ) -> HeadEffect {
        if response.status != 200 || !matches!(self.status, 200 | 206) {
            return HeadEffect::None;
        }
        let same =
            |name: &[u8]| response.fields.get(name).is_none_or(|new| self.fields.get(name) == Some(new));
        let length = self.span.map_or(body_bytes, |span| span.complete);
        if same(b"etag") && same(b"last-modified") && content_length.is_none_or(|new| new == length) {
            HeadEffect::Update(Box::new(self.updated(settings, request, &response.fields, true, times)))
        } else {
            HeadEffect::Stale
        }
    }

    /// Whether the validators of a 304 name this response.
    fn is_named(&self, new: &Fields, asked: bool) -> bool {
        let same_date = match (self.fields.get(b"last-modified"), new.get(b"last-modified")) {
            (Some(old), Some(new)) => {
                let read = |text| parse_http_date(text, self.date);
                Some(old == new || (read(old).is_some() && read(old) == read(new)))
            }
            _ => None,
        };
        match (self.etag(), new.get(b"etag").filter(|etag| !etag.is_empty())) {
            // A strong tag names one representation, and no other must be updated.
            (Some(old), Some(new)) => {
                is_strong_match(old, new) || (asked && new.starts_with(b"W/") && is_weak_match(old, new))
            }
            // The tag is new here; the date has to name the response then.
            (None, Some(_)) => asked && same_date == Some(true),
            // Without a tag, the 304 answers the conditions that were sent, unless its date contradicts.
            (_, None) => asked && same_date != Some(false),
        }
    }

    /// Returns the response with the fields of a newer one (3.2). Those that say what the stored bytes are stay: a 304
    /// and a response to HEAD have no content that their coding, range and digest could be about, and many servers give
    /// a 304 the media type of their error pages.
    fn updated(
        &self,
        settings: &Settings,
        request: &Request<'_>,
        new: &Fields,
        reselect: bool,
        times: Exchanged,
    ) -> Freshened {
        let mut new = new.clone();
        let skips_cookies = settings.cookies == Cookies::Skip;
        let age = new.get(b"age").map(<[u8]>::to_vec);
        let stored_type = self.fields.get(b"content-type").map(media_type);
        drop_unstored(&mut new, &[]);
        new.retain(|_, name, value| match name {
            "content-encoding" | "content-range" | "content-md5" | "content-digest" => false,
            "content-type" => stored_type.is_none_or(|stored| stored.eq_ignore_ascii_case(media_type(value))),
            "set-cookie" | "set-cookie2" => !skips_cookies,
            _ => true,
        });
        let mut fields = self.fields.clone();
        fields.retain(|_, name, _| new.get(name.as_bytes()).is_none());
        for (_, name, value) in new.iter_bytes() {
            // Both sections passed the parser's limits; what both together have over the largest section is dropped.
            if fields.append_checked(name, value).is_err() {
                break;
            }
        }
        if let Some(age) = age {
            set(&mut fields, b"age", &age);
        }
        let received = times.received.seconds();
        if date(&new, received).is_none() {
            set(&mut fields, b"date", &http_date(received));
        }
        let policy = Policy::read(settings, &fields);
        let chosen = if reselect { selection(&fields, request) } else { Ok(self.selection.clone()) };
        let permitted = permitted_by_response(settings, request, self.status, &fields, &policy);
        let keep = permitted.and(chosen.as_ref().map(|_| ()).map_err(|why| *why));
        let made = Made {
            status: self.status,
            span: self.span,
            content_length: self.content_length,
            selection: chosen.unwrap_or_default(),
            may_estimate: may_estimate(settings, request),
        };
        match make(settings, fields, &policy, made, times) {
            Some(head) => Freshened { head: Self { added_tags: self.added_tags.clone(), ..head }, keep },
            // It said how long it is fresh, and does not any more.
            None => Freshened { head: Self { times, ..self.clone() }, keep: Err(WhyNot::NoLifetime) },
        }
    }
}

/// Returns the media type of a Content-Type without its parameters.
fn media_type(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
    value[..end].trim_ascii()
}
