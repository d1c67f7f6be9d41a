//! From the command line to the bytes that a client would send.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::bail;
use portcullis_inspect::HEAD_BYTES_MAX;
use portcullis_model::Name;
use portcullis_proxy::Question;

use crate::cli::ExplainArguments;
use portcullis_model::text::escape as shown;

/// The request that the command line describes.
///
/// Only what could not be sent as one head is an error here; whether a gateway takes it is for its parser to say.
///
/// # Errors
/// If it describes no request.
pub(crate) fn question(arguments: &ExplainArguments) -> anyhow::Result<Question> {
    let url = Url::read(&arguments.url)?;
    one_line("METHOD", &arguments.method)?;
    if arguments.method.is_empty() || arguments.method.contains(' ') {
        bail!("`{}` is no method: write one such as GET", shown(&arguments.method));
    }
    let tls = arguments.tls || url.tls;
    let mut fields = Vec::new();
    for field in &arguments.headers {
        one_line("-H", field)?;
        let Some((name, value)) = field.split_once(':') else {
            bail!("-H `{}` is no field: write it as \"name: value\"", shown(field));
        };
        fields.push((name, value.trim()));
    }
    // As curl does it: a Host of one's own takes the place of the URL's.
    let has_host = fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
    let target = if arguments.method == "CONNECT" { url.authority.unwrap_or(url.target) } else { url.target };
    let mut head = format!("{} {target} HTTP/1.1\r\n", arguments.method);
    if !has_host {
        head.push_str(&format!("host: {}\r\n", url.authority.unwrap_or("localhost")));
    }
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    if head.len() > HEAD_BYTES_MAX {
        bail!("the request head has {} bytes, which is more than any listener takes", head.len());
    }
    let name_of = |authority: &str| {
        let host = authority.rsplit_once(':').map_or(authority, |(host, port)| {
            if port.bytes().all(|byte| byte.is_ascii_digit()) { host } else { authority }
        });
        // An address is no name that a client asks for (RFC 6066, 3).
        (!host.is_empty() && !host.starts_with('[') && host.parse::<IpAddr>().is_err())
            .then(|| host.to_owned())
    };
    let server_name = match &arguments.sni {
        Some(name) if !tls => {
            bail!("--sni `{}` is for a request over TLS: write https:// or --tls", shown(name))
        }
        Some(name) => Some(name.clone()),
        None if tls => url.authority.and_then(name_of),
        None => None,
    };
    Ok(Question {
        head: head.into_bytes(),
        tls,
        server_name: server_name.map(|name| Arc::from(name.to_ascii_lowercase())),
        peer: arguments.client,
        listener: arguments.listener.as_deref().map(Name::from),
    })
}

/// What a URL says.
pub(crate) struct Url<'a> {
    /// Whether it begins with `https`.
    pub(crate) tls: bool,
    /// Host and port, if there are any.
    pub(crate) authority: Option<&'a str>,
    /// Path and query, as a request line has them.
    pub(crate) target: &'a str,
}

impl<'a> Url<'a> {
    /// Takes a URL, or a path, apart.
    ///
    /// # Errors
    /// If it is neither.
    pub(crate) fn read(url: &'a str) -> anyhow::Result<Self> {
        one_line("URL", url)?;
        if url.is_empty() {
            bail!("the URL is empty: write https://host/path, or /path alone");
        }
        // No client sends a fragment (RFC 9110, 7.1).
        let url = url.split_once('#').map_or(url, |(url, _)| url);
        let scheme = |name: &str| {
            let prefix = url.get(..name.len()).filter(|prefix| prefix.eq_ignore_ascii_case(name))?;
            url.strip_prefix(prefix)
        };
        let (tls, rest) = match (scheme("http://"), scheme("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ if url.starts_with('/') || url == "*" => {
                return Ok(Self { tls: false, authority: None, target: url });
            }
            _ if url.contains("://") => bail!("`{}` has another scheme than http and https", shown(url)),
            // As for CONNECT: `host:port`, or a URL without its scheme.
            _ => (false, url),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        // `http://host?query` asks for the root, which a request line has to write.
        let target = match target {
            "" => "/",
            target => target,
        };
        Ok(Self { tls, authority: Some(authority), target })
    }
}

/// More than one line would be more than one field, and perhaps more than one request.
fn one_line(what: &str, text: &str) -> anyhow::Result<()> {
    if text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        bail!(
            "{what} `{}` has a line end or a zero byte in it: it would not be one line of a request",
            shown(text)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::question;
    use crate::cli::{Cli, Command, ExplainArguments};

    fn arguments(method: &str, url: &str, headers: &[&str]) -> ExplainArguments {
        let mut typed = vec!["portcullis", "explain", method, url];
        typed.extend(headers.iter().flat_map(|header| ["-H", *header]));
        match Cli::try_parse_from(typed).unwrap().command {
            Command::Explain(arguments) => arguments,
            other => panic!("not explain: {other:?}"),
        }
    }

    fn check(method: &str, url: &str, headers: &[&str], head: &str, server_name: Option<&str>) {
        let question = question(&arguments(method, url, headers)).unwrap();
        assert_eq!(String::from_utf8(question.head).unwrap(), head.replace('|', "\r\n") + "\r\n\r\n");
        assert_eq!(question.server_name.as_deref(), server_name);
    }

    #[test]
    fn a_url_becomes_a_head() {
        check("GET", "http://a.test/b?c=d", &[], "GET /b?c=d HTTP/1.1|host: a.test", None);
        check("GET", "HTTPS://A.test:8443", &[], "GET / HTTP/1.1|host: A.test:8443", Some("a.test"));
        check("GET", "https://[::1]:1/#top", &[], "GET / HTTP/1.1|host: [::1]:1", None);
        check("GET", "https://127.0.0.1/", &[], "GET / HTTP/1.1|host: 127.0.0.1", None);
        check("GET", "/a", &["X-A:  b "], "GET /a HTTP/1.1|host: localhost|X-A: b", None);
        check("GET", "http://a.test/", &["host: b.test"], "GET / HTTP/1.1|host: b.test", None);
        check("OPTIONS", "*", &[], "OPTIONS * HTTP/1.1|host: localhost", None);
        check("CONNECT", "a.test:443", &[], "CONNECT a.test:443 HTTP/1.1|host: a.test:443", None);
        check("GET", "http://a.test?b", &[], "GET ?b HTTP/1.1|host: a.test", None);
    }

    #[test]
    fn what_would_not_be_one_head_is_refused() {
        for (method, url, headers, expected) in [
            ("GET", "/a\r\nx: y", &[][..], "line end"),
            ("GET\r\n", "/", &[], "line end"),
            ("GET /", "/", &[], "is no method"),
            ("", "/", &[], "is no method"),
            ("GET", "", &[], "the URL is empty"),
            ("GET", "ftp://a.test/", &[], "another scheme"),
            ("GET", "/", &["x: y\r\nhost: b.test"], "line end"),
            ("GET", "/", &["x: y\n\nGET / HTTP/1.1"], "line end"),
            ("GET", "/", &["nonsense"], "is no field"),
        ] {
            let error = question(&arguments(method, url, headers)).unwrap_err().to_string();
            assert!(error.contains(expected), "{method} {url} {headers:?}: {error}");
            assert!(!error.contains(['\r', '\n']), "{error}");
        }
        let mut plain = arguments("GET", "http://a.test/", &[]);
        plain.sni = Some("a.test".to_owned());
        assert!(question(&plain).unwrap_err().to_string().contains("--sni"));
        let long = "x".repeat(2 << 20);
        assert!(
            question(&arguments("GET", "/", &[&format!("a: {long}")]))
                .unwrap_err()
                .to_string()
                .contains("bytes")
        );
    }
}
