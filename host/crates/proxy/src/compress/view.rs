//! What is known of the encoding of a response before there is one.

use portcullis_compress::Asked;
use portcullis_http::Fields;
use portcullis_model::{Coding, Compress, Credentials};

/// What a route's `compress` makes of the response to a request, as far as the request decides.
#[derive(Debug, Clone)]
pub struct EncodingView {
    /// The coding that the client likes best of those of the route.
    pub coding: Option<Coding>,
    /// What the response has to be for that, or why it is sent as it is.
    pub says: String,
}

/// Returns what `rules` make of the response to a request with `fields`, as the client sent them.
pub(crate) fn view(rules: &Compress, fields: &Fields) -> EncodingView {
    let asked = Asked::read(fields);
    let coding = asked.accepted.choose(&rules.codings);
    let says = match coding {
        None => {
            let codings: Vec<&str> = rules.codings.iter().map(|coding| coding.name()).collect();
            format!("as it is: the client takes none of {}, or likes that better", codings.join(", "))
        }
        Some(_) if asked.no_transform => "as it is: the client says `Cache-Control: no-transform`".to_owned(),
        Some(coding) => {
            let mut says = coding.name().to_owned();
            if !asked.accepted.refuses_plain() {
                let min = rules.bytes_min;
                says.push_str(&format!(
                    ", if the response is of one of `types` and not smaller than {min} bytes"
                ));
            }
            let is_own = asked.is_own && rules.credentials == Credentials::SameOrigin;
            if rules.credentials != Credentials::Always && !is_own {
                says.push_str(match asked.has_credentials {
                    true => ", and says `Cache-Control: public`, as the request has credentials",
                    false => ", and sets no cookie",
                });
            }
            says
        }
    };
    EncodingView { coding, says }
}

#[cfg(test)]
mod tests {
    use portcullis_http::Fields;
    use portcullis_model::{Coding, Compress, Credentials, Effort};

    use super::view;

    #[test]
    fn says_what_the_request_decides() {
        let rules = |credentials| Compress {
            codings: vec![Coding::Brotli, Coding::Gzip],
            types: Vec::new(),
            bytes_min: 7,
            effort: Effort::Normal,
            credentials,
        };
        let base = ", if the response is of one of `types` and not smaller than 7 bytes";
        for (lines, credentials, coding, expected) in [
            (
                &[][..],
                Credentials::SameOrigin,
                None,
                "as it is: the client takes none of br, gzip, or likes that better",
            ),
            (
                &[("accept-encoding", "gzip")],
                Credentials::Always,
                Some(Coding::Gzip),
                &*format!("gzip{base}"),
            ),
            (
                &[("accept-encoding", "gzip")],
                Credentials::SameOrigin,
                Some(Coding::Gzip),
                &*format!("gzip{base}, and sets no cookie"),
            ),
            (
                &[("accept-encoding", "br"), ("cookie", "a=b")],
                Credentials::SameOrigin,
                Some(Coding::Brotli),
                &*format!("br{base}, and says `Cache-Control: public`, as the request has credentials"),
            ),
            (
                &[("accept-encoding", "br"), ("cookie", "a=b"), ("sec-fetch-site", "same-origin")],
                Credentials::SameOrigin,
                Some(Coding::Brotli),
                &*format!("br{base}"),
            ),
            (
                &[("accept-encoding", "br"), ("cache-control", "no-transform")],
                Credentials::Always,
                Some(Coding::Brotli),
                "as it is: the client says `Cache-Control: no-transform`",
            ),
            (&[("accept-encoding", "br, identity;q=0")], Credentials::Always, Some(Coding::Brotli), "br"),
        ] {
            let mut fields = Fields::new();
            for (name, value) in lines {
                fields.append(name.as_bytes(), value.as_bytes()).unwrap();
            }
            let view = view(&rules(credentials), &fields);
            assert_eq!((view.coding, &*view.says), (coding, expected));
        }
    }
}
