//! Which file the path of a request names.

use std::ffi::CString;

use crate::FileError;

/// The name of a file below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePath {
    /// The segments, decoded, with slashes between them; none begins with a dot. Empty is the folder itself.
    name: Vec<u8>,
    /// Whether a slash follows, so that it names a folder.
    is_folder: bool,
}

impl FilePath {
    /// Reads the path of a request, in the normal form in which it was matched. Each segment is percent-decoded once,
    /// and is then one name in one folder: what was matched as one segment is never two.
    ///
    /// # Errors
    /// If it names no file, or a hidden one.
    pub fn of(path: &str) -> Result<Self, FileError> {
        let path = path.strip_prefix('/').ok_or(FileError::Name)?;
        let mut name = Vec::with_capacity(path.len());
        let mut segments = path.split('/').peekable();
        let mut is_folder = false;
        while let Some(segment) = segments.next() {
            if segment.is_empty() && segments.peek().is_none() {
                is_folder = true;
                break;
            }
            if !name.is_empty() {
                name.push(b'/');
            }
            let start = name.len();
            decode(segment, &mut name)?;
            match name.get(start) {
                None => return Err(FileError::Name),
                Some(b'.') => return Err(FileError::Hidden),
                Some(_) => {}
            }
        }
        Ok(Self { name, is_folder })
    }

    /// Whether it names a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.is_folder
    }

    /// Returns the file itself.
    pub(crate) fn file(&self) -> Result<CString, FileError> {
        CString::new(self.name.as_slice()).map_err(|_| FileError::Name)
    }

    /// Returns the file `index` in it.
    pub(crate) fn index(&self, index: &str) -> Result<CString, FileError> {
        let mut name = self.name.clone();
        if !name.is_empty() {
            name.push(b'/');
        }
        name.extend_from_slice(index.as_bytes());
        CString::new(name).map_err(|_| FileError::Name)
    }

    /// Returns its last segment.
    pub(crate) fn last(&self) -> &[u8] {
        self.name.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }
}

/// Appends what a segment stands for.
fn decode(segment: &str, out: &mut Vec<u8>) -> Result<(), FileError> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => u8::try_from(high << 4 | low).map_err(|_| FileError::Name)?,
                _ => return Err(FileError::Name),
            },
            byte => byte,
        };
        // Some file systems and many programs take a backslash for a slash. Names with control characters are made by
        // mistake or to deceive.
        if matches!(byte, b'/' | b'\\') || byte.is_ascii_control() {
            return Err(FileError::Name);
        }
        out.push(byte);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Result<(&str, bool), &str>) {
        let found = FilePath::of(path).map(|found| (found.name, found.is_folder));
        let found = found.as_ref().map(|(name, folder)| (std::str::from_utf8(name).unwrap(), *folder));
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{path}"),
            (Err(FileError::Hidden), Err("hidden")) | (Err(FileError::Name), Err("name")) => {}
            (found, expected) => panic!("{path}: {found:?} and not {expected:?}"),
        }
    }

    #[test]
    fn each_segment_is_decoded_once() {
        check("/", Ok(("", true)));
        check("/a", Ok(("a", false)));
        check("/a/", Ok(("a", true)));
        check("/a/b.txt", Ok(("a/b.txt", false)));
        check("/a%20b/%C3%A9;x=1", Ok(("a b/é;x=1", false)));
        check("/%252e%252e/x", Ok(("%2e%2e/x", false)));
        check("/a..b/c.", Ok(("a..b/c.", false)));
    }

    #[test]
    fn no_segment_leads_elsewhere_or_is_hidden() {
        for path in
            ["/.", "/..", "/../x", "/a/../b", "/a/..", "/%2e%2e/x", "/%2E", "/a/.git/config", "/.a/", "/..."]
        {
            check(path, Err("hidden"));
        }
        for path in [
            "",
            "*",
            "a",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/a%2Fb",
            "/a%2f..%2fb",
            "/a%5Cb",
            "/a\\b",
            "/a%00",
            "/%0A",
            "/a%7F",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%+1",
        ] {
            check(path, Err("name"));
        }
    }
}
