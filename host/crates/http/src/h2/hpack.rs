//! Measures header blocks (RFC 7541): how large a section is, whether it has pseudo-header fields, and what its `:path`
//! is. Names and values of other fields are decoded only to be measured.

use std::collections::VecDeque;
use std::ops::Range;

use super::huffman;

/// The size of the table: the initial SETTINGS_HEADER_TABLE_SIZE, which the gateway does not change.
const TABLE_BYTES: usize = 4096;

/// What each entry of the table and each field of a section counts besides its name and value (RFC 7541, 4.1; RFC 9113,
/// 6.5.2).
const OVERHEAD: usize = 32;

/// A malformed block. Its connection cannot continue, because the tables of both sides differ from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl From<huffman::NoCode> for Malformed {
    fn from(_: huffman::NoCode) -> Self {
        Self
    }
}

/// What a name means to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Path,
    Status,
    /// Another pseudo-header field.
    Pseudo,
    Field,
}

impl Name {
    fn of(name: &[u8]) -> Self {
        match name {
            b":path" => Self::Path,
            b":status" => Self::Status,
            [b':', ..] => Self::Pseudo,
            _ => Self::Field,
        }
    }
}

/// A field of a table.
#[derive(Debug, Clone)]
struct Entry {
    name: Name,
    name_bytes: usize,
    value_bytes: usize,
    /// The value, if the gateway needs it.
    value: Option<Box<[u8]>>,
}

impl Entry {
    fn size(&self) -> usize {
        self.name_bytes + self.value_bytes + OVERHEAD
    }
}

/// A section's measures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Section {
    /// Its size, as SETTINGS_MAX_HEADER_LIST_SIZE counts it.
    pub(super) size: usize,
    /// How many fields it has, pseudo-header fields too.
    pub(super) fields: usize,
    /// Whether one of them is a pseudo-header field.
    pub(super) pseudo: bool,
    /// Whether one of them is `:status`.
    pub(super) status: bool,
    /// Whether that is an interim one.
    pub(super) informational: bool,
    /// The last `:path`, if [`is_plain_path`] does not hold for it.
    pub(super) odd_path: Option<Box<[u8]>>,
    /// The positions of the values of such paths in the block, if they are literals there, and their lengths.
    pub(super) odd_literals: Vec<(Range<usize>, usize)>,
}

/// The decoder of one direction of a connection.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The newest is the first.
    entries: VecDeque<Entry>,
    size: usize,
    size_max: usize,
    text: Vec<u8>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { entries: VecDeque::new(), size: 0, size_max: TABLE_BYTES, text: Vec::new() }
    }

    /// Reads a whole block.
    pub(super) fn read(&mut self, block: &[u8]) -> Result<Section, Malformed> {
        let (mut section, mut at) = (Section::default(), 0);
        while let Some(&first) = block.get(at) {
            match first {
                0b1000_0000.. => {
                    let index = integer(block, &mut at, 7)?;
                    self.indexed(index, &mut section)?;
                }
                0b0100_0000.. => self.literal(block, &mut at, 6, &mut section)?,
                0b0010_0000.. => {
                    // Allowed only at the start of a block (RFC 7541, 4.2).
                    let size = integer(block, &mut at, 5)?;
                    if section.fields > 0 || size > TABLE_BYTES {
                        return Err(Malformed);
                    }
                    self.size_max = size;
                    self.evict(0);
                }
                _ => self.literal(block, &mut at, 4, &mut section)?,
            }
        }
        // A buffer that one block has enlarged is not kept for all others.
        if self.text.capacity() > TABLE_BYTES {
            self.text = Vec::new();
        }
        Ok(section)
    }

    fn indexed(&self, index: usize, section: &mut Section) -> Result<(), Malformed> {
        if let Some((name, value)) = index.checked_sub(1).and_then(|at| STATIC.get(at)) {
            count(section, Name::of(name), name.len(), value);
            section.size += value.len();
            return Ok(());
        }
        let entry =
            index.checked_sub(STATIC.len() + 1).and_then(|at| self.entries.get(at)).ok_or(Malformed)?;
        count(section, entry.name, entry.name_bytes, entry.value.as_deref().unwrap_or_default());
        section.size += entry.value_bytes;
        Ok(())
    }

    /// Reads a literal field. With a prefix of six bits it is added to the table.
    fn literal(
        &mut self,
        block: &[u8],
        at: &mut usize,
        prefix: u32,
        section: &mut Section,
    ) -> Result<(), Malformed> {
        let (name, name_bytes) = match integer(block, at, prefix)? {
            0 => {
                self.string(block, at)?;
                (Name::of(&self.text), self.text.len())
            }
            index => match STATIC.get(index - 1) {
                Some((name, _)) => (Name::of(name), name.len()),
                None => {
                    let entry = self.entries.get(index - 1 - STATIC.len()).ok_or(Malformed)?;
                    (entry.name, entry.name_bytes)
                }
            },
        };
        let start = *at;
        self.string(block, at)?;
        count(section, name, name_bytes, &self.text);
        section.size += self.text.len();
        if name == Name::Path && !is_plain_path(&self.text) {
            section.odd_literals.push((start..*at, self.text.len()));
        }
        if prefix == 6 {
            let value = matches!(name, Name::Path | Name::Status).then(|| self.text.as_slice().into());
            let entry = Entry { name, name_bytes, value_bytes: self.text.len(), value };
            let size = entry.size();
            self.evict(size);
            if size <= self.size_max {
                self.size += size;
                self.entries.push_front(entry);
            }
        }
        Ok(())
    }

    /// Makes room for `size` bytes.
    fn evict(&mut self, size: usize) {
        while self.size + size > self.size_max {
            let Some(last) = self.entries.pop_back() else { break };
            self.size -= last.size();
        }
    }

    /// Reads a string into `self.text`.
    fn string(&mut self, block: &[u8], at: &mut usize) -> Result<(), Malformed> {
        let coded = block.get(*at).ok_or(Malformed)? & 0b1000_0000 != 0;
        let length = integer(block, at, 7)?;
        let bytes = block.get(*at..*at + length).ok_or(Malformed)?;
        *at += length;
        self.text.clear();
        if coded {
            huffman::decode(bytes, &mut self.text)?;
        } else {
            self.text.extend_from_slice(bytes);
        }
        Ok(())
    }
}

/// Adds a field to `section`, except the length of its value.
fn count(section: &mut Section, name: Name, name_bytes: usize, value: &[u8]) {
    section.fields += 1;
    section.size += name_bytes + OVERHEAD;
    section.pseudo |= name != Name::Field;
    match name {
        Name::Path => section.odd_path = (!is_plain_path(value)).then(|| value.into()),
        Name::Status => {
            section.status = true;
            section.informational = value.first() == Some(&b'1');
        }
        Name::Pseudo | Name::Field => {}
    }
}

/// Returns whether every parser of targets reads `path` the same, byte for byte: it starts with a slash or is `*`, and
/// has none of the bytes that RFC 3986 does not allow in a path or a query, which some parsers cut off, encode or
/// refuse.
pub(super) fn is_plain_path(path: &[u8]) -> bool {
    path == b"*"
        || path.first() == Some(&b'/')
            && path.iter().all(|byte| {
                byte.is_ascii_graphic()
                    && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
            })
}

/// Returns a string of HPACK that decodes to `length` bytes, which keeps both sides' tables the same, and is not a
/// valid target.
pub(super) fn placeholder(length: usize, out: &mut Vec<u8>) {
    if length < 2 {
        push_integer(length, 7, 0, out);
        out.extend_from_slice(&b"?"[..length]);
        return;
    }
    // `/%` and zeros. A zero is five bits of zero, and `/%` is 011000 010101.
    let bits = 12 + 5 * (length - 2);
    push_integer(bits.div_ceil(8), 7, 0b1000_0000, out);
    let start = out.len();
    out.resize(start + bits.div_ceil(8), 0);
    out[start] = 0b0110_0001;
    out[start + 1] = 0b0101_0000;
    if let Some(last) = out.last_mut()
        && !bits.is_multiple_of(8)
    {
        *last |= 0xff >> (bits % 8);
    }
}

/// Reads an integer whose first byte has `prefix` bits of it (RFC 7541, 5.1).
fn integer(block: &[u8], at: &mut usize, prefix: u32) -> Result<usize, Malformed> {
    let mask = (1 << prefix) - 1;
    let mut value = usize::from(*block.get(*at).ok_or(Malformed)? & mask);
    *at += 1;
    if value < usize::from(mask) {
        return Ok(value);
    }
    // At most four more bytes: no larger number is in use.
    for shift in [0, 7, 14, 21] {
        let byte = *block.get(*at).ok_or(Malformed)?;
        *at += 1;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

/// Appends an integer, with `flags` in the bits above its prefix.
fn push_integer(value: usize, prefix: u32, flags: u8, out: &mut Vec<u8>) {
    let mask = (1_usize << prefix) - 1;
    if value < mask {
        out.push(flags | value as u8);
        return;
    }
    out.push(flags | mask as u8);
    let mut left = value - mask;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// The static table (RFC 7541, Appendix A).
const STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];
