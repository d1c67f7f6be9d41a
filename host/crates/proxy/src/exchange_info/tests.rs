use super::{RAW_BYTES_MAX, RawRequest};

fn raw(head: &str) -> Option<(String, String)> {
    RawRequest::h1(head.as_bytes()).map(|raw| (raw.method, String::from_utf8_lossy(&raw.path).into_owned()))
}

#[test]
fn of_what_was_refused_the_method_and_the_path_are_kept() {
    for (head, method, path) in [
        ("GET /a%2Fb HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/a%2Fb"),
        ("\r\nGET /..;/x?key=secret HTTP/1.1\r\n", "GET", "/..;/x"),
        ("GET /a b c HTTP/1.1\r\n", "GET", "/a"),
        // Half a head, and half a line.
        ("POST /half", "POST", "/half"),
        ("PO", "PO", ""),
        ("GET\r\n", "GET", ""),
        // Not HTTP at all: there is no telling what it is.
        ("\u{16}\u{3}\u{1} \u{2}?x", "", "\u{16}\u{3}\u{1} \u{2}"),
        (" /a", "", " /a"),
    ] {
        assert_eq!(raw(head), Some((method.to_owned(), path.to_owned())), "{head:?}");
    }
    assert_eq!((raw(""), raw("\r\n")), (None, None));
}

#[test]
fn it_is_bounded() {
    let head = format!("GET /{} HTTP/1.1\r\n", "a".repeat(100_000));
    assert_eq!(raw(&head).unwrap().1.len(), RAW_BYTES_MAX);
    let head = format!("{} / HTTP/1.1", "M".repeat(100_000));
    let (method, path) = raw(&head).unwrap();
    assert_eq!((method.len(), path.len()), (0, RAW_BYTES_MAX));
}
