//! The cookies of a request.

use crate::RequestHead;

impl RequestHead {
    /// Returns names and values of its cookies, in order, as the client wrote them.
    pub fn cookies(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = self.fields.get_all(b"cookie");
        lines.flat_map(|line| line.split(|byte| *byte == b';')).map(|cookie| {
            let cookie = cookie.trim_ascii();
            let at = cookie.iter().position(|byte| *byte == b'=').unwrap_or(cookie.len());
            (cookie.get(..at).unwrap_or_default().trim_ascii(), cookie.get(at + 1..).unwrap_or_default())
        })
    }

    /// Returns the value of the first cookie of this name.
    #[must_use]
    pub fn cookie(&self, name: &[u8]) -> Option<&[u8]> {
        self.cookies().find(|(other, _)| *other == name).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use crate::RequestHead;

    #[test]
    fn cookies_of_all_lines_are_found() {
        let mut request = RequestHead::default();
        for line in [&b"a=1; b = 2;c"[..], b"a=3; d=x=y;"] {
            request.fields.append(b"cookie", line).unwrap();
        }
        let expected: [(&[u8], &[u8]); 6] =
            [(b"a", b"1"), (b"b", b" 2"), (b"c", b""), (b"a", b"3"), (b"d", b"x=y"), (b"", b"")];
        assert!(request.cookies().eq(expected));
        assert_eq!(request.cookie(b"a"), Some(&b"1"[..]));
        assert_eq!(request.cookie(b"A"), None);
    }
}
