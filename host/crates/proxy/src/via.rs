//! What a gateway adds and counts because it is one of several proxies: `Via` and `Max-Forwards` (RFC 9110, 7.6.2 and
//! 7.6.3).

use portcullis_http::{FieldError, Fields, Known, RequestHead, Version};

/// How many gateways of one name a request may pass. Several in a row may have the same name, and an application may
/// call its own gateway; a loop reaches any number, and each round costs every gateway in it an exchange.
const LOOPS_MAX: usize = 8;

/// Adds a line to Via: the version in which the message was received, and the gateway's name.
pub(crate) fn add_via(
    fields: &mut Fields,
    version: Version,
    name: &str,
    scratch: &mut Vec<u8>,
) -> Result<(), FieldError> {
    scratch.clear();
    // RFC 9110, 7.6.3: the protocol's name is left out if it is HTTP.
    let version = version.as_str();
    scratch.extend_from_slice(version.strip_prefix("HTTP/").unwrap_or(version).as_bytes());
    scratch.push(b' ');
    scratch.extend_from_slice(name.as_bytes());
    fields.append_known(Known::Via, scratch)
}

/// Returns whether Via shows that the request is in a loop.
pub(crate) fn is_loop(fields: &Fields, name: &str) -> bool {
    let elements = fields.all_known(Known::Via).flat_map(|line| line.split(|byte| *byte == b','));
    let names = elements.filter_map(|element| {
        let mut words = element.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        words.nth(1)
    });
    names.filter(|received_by| received_by.eq_ignore_ascii_case(name.as_bytes())).count() >= LOOPS_MAX
}

/// Decrements Max-Forwards of TRACE and OPTIONS. Returns whether the gateway is the last recipient.
pub(crate) fn count_forward(request: &mut RequestHead) -> Result<bool, FieldError> {
    if request.method != "TRACE" && request.method != "OPTIONS" {
        return Ok(false);
    }
    // The smallest of several lines counts. A value that is not a number is ignored.
    let left = request.fields.all_known(Known::MaxForwards).filter_map(number).min();
    match left {
        None => Ok(false),
        Some(0) => Ok(true),
        Some(left) => {
            request.fields.set(Known::MaxForwards.name(), (left - 1).to_string().as_bytes())?;
            Ok(false)
        }
    }
}

/// Reads a number that consists of digits. One that is too large becomes the largest `u32`.
fn number(value: &[u8]) -> Option<u32> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
    Some(text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, lines: &[&str]) -> RequestHead {
        let mut head = RequestHead::default();
        head.method.push_str(method);
        for line in lines {
            head.fields.append(b"max-forwards", line.as_bytes()).unwrap();
        }
        head
    }

    #[test]
    fn counts_down_for_the_methods_that_have_it() {
        let check = |method: &str, lines: &[&str], last: bool, left: &[&str]| {
            let mut head = request(method, lines);
            assert_eq!(count_forward(&mut head), Ok(last), "{method} {lines:?}");
            let found: Vec<&[u8]> = head.fields.get_all(b"max-forwards").collect();
            assert_eq!(
                found,
                left.iter().map(|line| line.as_bytes()).collect::<Vec<_>>(),
                "{method} {lines:?}"
            );
        };
        check("OPTIONS", &["3"], false, &["2"]);
        check("TRACE", &["1"], false, &["0"]);
        check("TRACE", &["0"], true, &["0"]);
        check("OPTIONS", &["000"], true, &["000"]);
        check("OPTIONS", &["5", "2"], false, &["1"]);
        check("OPTIONS", &["5", "0"], true, &["5", "0"]);
        check("OPTIONS", &[], false, &[]);
        for text in ["-1", "+1", "1.0", "0x1", "", "1, 2"] {
            check("OPTIONS", &[text], false, &[text]);
        }
        check("OPTIONS", &["99999999999999999999"], false, &["4294967294"]);
        check("GET", &["0"], false, &["0"]);
    }

    #[test]
    fn names_the_version_that_was_received() {
        let mut fields = Fields::new();
        fields.append(b"via", b"1.0 fred").unwrap();
        let mut scratch = b"left over".to_vec();
        for version in [Version::Http10, Version::Http11, Version::Http2] {
            add_via(&mut fields, version, "edge", &mut scratch).unwrap();
        }
        let joined = fields.get_joined(b"via").unwrap();
        assert_eq!(&*joined, b"1.0 fred, 1.0 edge, 1.1 edge, 2.0 edge");
    }

    #[test]
    fn a_loop_is_one_name_again_and_again() {
        let via = |line: &str| {
            let mut fields = Fields::new();
            fields.append(b"via", line.as_bytes()).unwrap();
            is_loop(&fields, "edge")
        };
        assert!(via(&["1.1 edge"; 8].join(", ")));
        assert!(via(&["HTTP/1.1  Edge (a comment)"; 8].join(",")));
        assert!(!via(&["1.1 edge"; 7].join(", ")));
        assert!(!via(&["1.1 other"; 20].join(", ")));
        assert!(!via(&["edge 1.1"; 20].join(", ")));
        assert!(!via(&[","; 20].join(" ")));
    }
}
