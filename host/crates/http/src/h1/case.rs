//! The spelling of field names on the wire. They are compared without regard to case (RFC 9110, 5.1), and this gateway
//! keeps them in lower case, but some old devices and servers accept only one spelling.

/// Names whose usual spelling is not a capital at the start of each word, sorted by their lower-case form.
const EXCEPTIONS: [&str; 12] = [
    "Content-MD5",
    "DNT",
    "ETag",
    "MIME-Version",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
    "SOAPAction",
    "TE",
    "WWW-Authenticate",
];

/// Writes the names of all fields in `head` as most documents spell them: `Content-Length`, `ETag`. `head` is a whole
/// head that was written by this crate, from its start line to its empty line.
pub fn capitalize_names(head: &mut [u8]) {
    let mut lines = head.split_mut(|byte| *byte == b'\n');
    lines.next();
    for line in lines {
        if let Some(name) = line.split_mut(|byte| *byte == b':').next() {
            capitalize(name);
        }
    }
}

fn capitalize(name: &mut [u8]) {
    let found = EXCEPTIONS.binary_search_by(|exception| {
        exception.bytes().map(|byte| byte.to_ascii_lowercase()).cmp(name.iter().map(u8::to_ascii_lowercase))
    });
    if let Ok(at) = found {
        name.copy_from_slice(EXCEPTIONS[at].as_bytes());
        return;
    }
    let mut first = true;
    for byte in name {
        if first {
            byte.make_ascii_uppercase();
        }
        first = *byte == b'-';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_documents_spell_them() {
        let mut head = b"GET /a:b-c HTTP/1.1\r\nhost: a-b.test\r\nx-request-id: x-y:z\r\netag: \"e\"\r\n\
            www-authenticate: basic\r\n-x--y: 1\r\nte: trailers\r\nsoapaction: a\r\n\r\n"
            .to_vec();
        capitalize_names(&mut head);
        let expected = "GET /a:b-c HTTP/1.1\r\nHost: a-b.test\r\nX-Request-Id: x-y:z\r\nETag: \"e\"\r\n\
            WWW-Authenticate: basic\r\n-X--Y: 1\r\nTE: trailers\r\nSOAPAction: a\r\n\r\n";
        assert_eq!(String::from_utf8(head).unwrap(), expected);
    }

    #[test]
    fn each_exception_is_found() {
        for exception in EXCEPTIONS {
            let mut name = exception.to_ascii_lowercase().into_bytes();
            capitalize(&mut name);
            assert_eq!(name, exception.as_bytes());
        }
    }
}
