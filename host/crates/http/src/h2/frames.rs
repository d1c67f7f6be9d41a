//! Scans the frames of one direction of a connection (RFC 9113, 4): their heads, and the header blocks.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::Allowance;
use super::hpack::{self, Decoder, Section};

/// What a client's connection starts with (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
/// The largest frame that the gateway accepts and sends: the initial SETTINGS_MAX_FRAME_SIZE.
const FRAME_BYTES_MAX: usize = 16_384;
/// Frames of one header block. A block of more frames is over any limit of a head.
const BLOCK_FRAMES_MAX: usize = 128;
/// Fields of a section that the `h2` crate has room for; it drops further ones.
const FIELDS_MAX: usize = 24_000;
/// Streams of which something is remembered and was not asked for yet, and streams that are not settled.
const MARKS_MAX: usize = 2048;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// One in this many of the allowed frames that do no work is allowed again each second. These are SETTINGS, PING,
/// PRIORITY, WINDOW_UPDATE, RST_STREAM, empty DATA and unknown types. Clients send a few at the start, then some for
/// each stream and for each piece of a response; see [`Scanner::earn`].
const IDLE_FRAMES_PART: u32 = 50;
/// Such frames that a new stream earns.
const EARNED_BY_STREAM: u32 = 10;
/// The cost of a client's answer to PING: the gateway sends one PING at most, and the crate logs each unexpected
/// answer.
const UNASKED_ANSWER: usize = 100;
/// Payload of such a frame that counts as one more frame.
const IDLE_FRAME_BYTES: usize = 256;

/// Whose frames are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// They are requests.
    Client,
    /// They are responses.
    Upstream,
}

/// Why a connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Too many frames that do no work.
    #[error("too many frames that do no work")]
    Flood,
    /// A header block that is larger than any limit, or has too many frames.
    #[error("a header block without an end")]
    Block,
    /// A header block that cannot be decoded.
    #[error("a header block that cannot be decoded")]
    Compression,
    /// A head whose stream depends on itself. The crate would not decode its block, and could not decode the ones after
    /// it.
    #[error("a stream that depends on itself")]
    Dependency,
    /// Too many malformed streams.
    #[error("too many malformed streams")]
    Streams,
    /// Too many streams that were reset before they were answered.
    #[error("too many streams that were reset")]
    Resets,
}

impl Violation {
    /// Returns the error code for GOAWAY (RFC 9113, 7).
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            // PROTOCOL_ERROR.
            Self::Dependency => 1,
            // COMPRESSION_ERROR.
            Self::Compression => 9,
            // ENHANCE_YOUR_CALM.
            Self::Flood | Self::Block | Self::Streams | Self::Resets => 11,
        }
    }

    /// Whether a request's head is what was wrong.
    #[must_use]
    pub const fn is_of_head(self) -> bool {
        matches!(self, Self::Block | Self::Compression | Self::Dependency)
    }
}

/// What is wrong with a stream's trailers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trailers {
    /// They have a pseudo-header field (RFC 9113, 8.1).
    #[error("pseudo-header field in trailers")]
    Pseudo,
    /// They are larger than the limit.
    #[error("trailers too large")]
    TooLarge,
}

/// What to do with the bytes that were scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// This many pass unchanged.
    pub pass: usize,
    /// This many after them are replaced by [`Scanner::replacement`].
    pub replaced: usize,
    /// The rest is the start of a frame that must be seen whole: scan it again together with what follows.
    pub hold: bool,
}

/// What is remembered of a stream: of each that is expected, and of each malformed one of a client.
#[derive(Debug, Clone, Default)]
struct Mark {
    stream: u32,
    target: Option<Box<[u8]>>,
    trailers: Option<Trailers>,
    final_head: bool,
    data: bool,
    ended: bool,
}

/// Scans one direction of a connection.
#[derive(Debug)]
pub struct Scanner {
    peer: Peer,
    /// The limit of a section.
    section_bytes_max: usize,
    preface_left: usize,
    payload_left: usize,
    decoder: Decoder,
    allowance: Allowance,
    last_stream: u32,
    /// Streams that a client has opened and that were not settled since, the oldest first.
    waiting: VecDeque<u32>,
    marks: Vec<Mark>,
    block: Vec<u8>,
    replacement: Vec<u8>,
    settled: bool,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    /// Returns the head at the start of `bytes`, if it is complete.
    fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = *bytes.first_chunk::<HEAD_BYTES>()?;
        Some(Self {
            length: usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c),
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        })
    }

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl Scanner {
    /// Returns a scanner for what `peer` sends from the first byte. `section_bytes_max` is the limit of a section that
    /// the `h2` crate has, and `idle_frames` how many frames that do no work may arrive at once.
    #[must_use]
    pub fn new(peer: Peer, section_bytes_max: usize, idle_frames: u32) -> Self {
        Self {
            peer,
            section_bytes_max,
            preface_left: if peer == Peer::Client { PREFACE_BYTES } else { 0 },
            payload_left: 0,
            decoder: Decoder::new(),
            allowance: Allowance::new(idle_frames, (idle_frames / IDLE_FRAMES_PART).max(1)),
            last_stream: 0,
            waiting: VecDeque::new(),
            marks: Vec::new(),
            block: Vec::new(),
            replacement: Vec::new(),
            settled: false,
        }
    }

    /// Returns whether the peer's first SETTINGS have arrived.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.settled
    }

    /// Returns whether a client has opened a stream that is not settled.
    #[must_use]
    pub fn is_waiting(&self, stream: u32) -> bool {
        self.waiting.contains(&stream)
    }

    /// Notes that the crate has handed over a stream, or has refused it by itself. Returns whether it was waiting for
    /// that.
    pub fn settle(&mut self, stream: u32) -> bool {
        let at = self.waiting.iter().position(|waiting| *waiting == stream);
        at.is_some_and(|at| self.waiting.remove(at).is_some())
    }

    /// Settles all streams that are not settled yet, and returns how many these are.
    pub fn settle_all(&mut self) -> usize {
        let count = self.waiting.len();
        self.waiting.clear();
        count
    }

    /// Allows the peer more frames that do no work: some for each piece that was sent, which it may acknowledge. A
    /// piece that its own window had `cut` counts by its size, because otherwise it could ask for single bytes without
    /// end.
    pub fn earn(&mut self, bytes: usize, cut: bool) {
        let gain = if cut { bytes / 64 } else { 4 + bytes / 4096 };
        self.allowance.earn(u32::try_from(gain).unwrap_or(u32::MAX));
    }

    /// Returns the replacement of the bytes that [`Scan::replaced`] counts.
    #[must_use]
    pub fn replacement(&self) -> &[u8] {
        &self.replacement
    }

    /// Remembers from now on what an upstream sends on a stream, until [`Self::forget`].
    pub fn expect(&mut self, stream: u32) {
        self.marks.push(Mark { stream, ..Mark::default() });
    }

    /// Returns the `:path` of a request as the client wrote it, if the `h2` crate got another one in its place, and
    /// forgets it.
    pub fn take_target(&mut self, stream: u32) -> Option<Box<[u8]>> {
        let mark = self.marks.iter_mut().find(|mark| mark.stream == stream)?;
        mark.target.take()
    }

    /// Returns what is wrong with the trailers of a stream that have arrived.
    #[must_use]
    pub fn trailers(&self, stream: u32) -> Option<Trailers> {
        self.mark(stream)?.trailers
    }

    /// Returns whether an upstream has ended its side of the stream, whatever it sent after that.
    #[must_use]
    pub fn has_ended(&self, stream: u32) -> bool {
        self.mark(stream).is_some_and(|mark| mark.ended)
    }

    /// Returns whether a response has ended with its head.
    #[must_use]
    pub fn is_head_alone(&self, stream: u32) -> bool {
        self.mark(stream).is_some_and(|mark| mark.ended && !mark.data)
    }

    /// Forgets a stream.
    pub fn forget(&mut self, stream: u32) {
        if let Some(at) = self.marks.iter().position(|mark| mark.stream == stream) {
            self.marks.swap_remove(at);
        }
    }

    /// Scans to the first bytes that must not pass unchanged. `now` counts from the start of the connection.
    ///
    /// # Errors
    /// If the connection must end.
    pub fn scan(&mut self, input: &[u8], now: impl Fn() -> Duration) -> Result<Scan, Violation> {
        let mut at = self.preface_left.min(input.len());
        self.preface_left -= at;
        loop {
            let payload = self.payload_left.min(input.len() - at);
            self.payload_left -= payload;
            at += payload;
            let rest = &input[at..];
            if rest.is_empty() {
                return Ok(Scan { pass: at, replaced: 0, hold: false });
            }
            let Some(head) = Head::read(rest) else {
                return Ok(Scan { pass: at, replaced: 0, hold: true });
            };
            // The crate refuses a frame that is too large or out of place.
            if !matches!(head.kind, HEADERS | PUSH_PROMISE) || head.length > FRAME_BYTES_MAX {
                self.frame(head, &now)?;
                at += HEAD_BYTES;
                self.payload_left = head.length;
                continue;
            }
            let mut block = std::mem::take(&mut self.block);
            block.clear();
            let whole = self.section(head, rest, &mut block, &now);
            self.block = block;
            match whole? {
                None => return Ok(Scan { pass: at, replaced: 0, hold: true }),
                Some((length, false)) => at += length,
                Some((length, true)) => return Ok(Scan { pass: at, replaced: length, hold: false }),
            }
        }
    }

    fn mark(&self, stream: u32) -> Option<&Mark> {
        self.marks.iter().find(|mark| mark.stream == stream)
    }

    fn mark_mut(&mut self, stream: u32) -> Option<&mut Mark> {
        self.marks.iter_mut().find(|mark| mark.stream == stream)
    }

    /// Returns the mark of a malformed stream of a client.
    fn marked(&mut self, stream: u32) -> Result<&mut Mark, Violation> {
        let at = match self.marks.iter().position(|mark| mark.stream == stream) {
            Some(at) => at,
            None if self.marks.len() == MARKS_MAX => return Err(Violation::Streams),
            None => {
                self.marks.push(Mark { stream, ..Mark::default() });
                self.marks.len() - 1
            }
        };
        Ok(&mut self.marks[at])
    }

    /// Counts a frame that is not part of a header block.
    fn frame(&mut self, head: Head, now: impl Fn() -> Duration) -> Result<(), Violation> {
        if head.kind == SETTINGS {
            self.settled = true;
        }
        match head.kind {
            DATA => {
                let ends = head.has(END_STREAM);
                if self.peer == Peer::Upstream
                    && let Some(mark) = self.mark_mut(head.stream)
                {
                    mark.data = true;
                    mark.ended |= ends;
                }
                if head.length > 0 || ends {
                    if head.length >= IDLE_FRAME_BYTES {
                        self.allowance.earn(1);
                    }
                    return Ok(());
                }
            }
            // It answers the gateway's own SETTINGS, and further ones are an error.
            SETTINGS if head.has(ACK) => return Ok(()),
            _ => {}
        }
        let mut cost = 1 + head.length / IDLE_FRAME_BYTES;
        if self.peer == Peer::Client && head.kind == PING && head.has(ACK) {
            cost = UNASKED_ANSWER;
        }
        if self.allowance.spend(u32::try_from(cost).unwrap_or(u32::MAX), now) {
            Ok(())
        } else {
            Err(Violation::Flood)
        }
    }

    /// Reads the header block that starts at `input`. Returns its length with all its frames, and whether it must be
    /// replaced, or `None` if it is not complete.
    fn section(
        &mut self,
        first: Head,
        input: &[u8],
        block: &mut Vec<u8>,
        now: impl Fn() -> Duration,
    ) -> Result<Option<(usize, bool)>, Violation> {
        // More than the crate would accept, and room for one frame more.
        let bytes_max = self.section_bytes_max.saturating_mul(4).saturating_add(FRAME_BYTES_MAX);
        let (mut at, mut frames, mut head) = (0, 0, first);
        let mut fragment;
        loop {
            frames += 1;
            if at + HEAD_BYTES + head.length > bytes_max || frames > BLOCK_FRAMES_MAX {
                return Err(Violation::Block);
            }
            let Some(payload) = input.get(at + HEAD_BYTES..at + HEAD_BYTES + head.length) else {
                return Ok(None);
            };
            at += HEAD_BYTES + head.length;
            fragment = if frames == 1 { unframed(head, payload) } else { payload };
            let ends = head.has(END_HEADERS);
            if ends && frames == 1 {
                break;
            }
            block.extend_from_slice(fragment);
            if ends {
                break;
            }
            match Head::read(&input[at..]) {
                None => return Ok(None),
                Some(next)
                    if next.kind == CONTINUATION
                        && next.stream == first.stream
                        && next.length <= FRAME_BYTES_MAX =>
                {
                    head = next;
                }
                // The crate ends the connection at this frame.
                Some(_) => return Ok(Some((at, false))),
            }
        }
        let whole = if frames == 1 { fragment } else { &block[..] };
        // Checks the first frame only: what follows may be another frame, or may not have arrived.
        if depends_on_itself(first, &input[HEAD_BYTES..HEAD_BYTES + first.length]) {
            return Err(Violation::Dependency);
        }
        // Frames of a block that would have fitted in one do no work.
        let idle = frames.saturating_sub(1 + at / (FRAME_BYTES_MAX / 4));
        if idle > 0 && !self.allowance.spend(u32::try_from(idle).unwrap_or(u32::MAX), &now) {
            return Err(Violation::Flood);
        }
        let mut section = self.decoder.read(whole).map_err(|_| Violation::Compression)?;
        let odd = std::mem::take(&mut section.odd_literals);
        self.note(first, section, &now)?;
        if odd.is_empty() || self.peer == Peer::Upstream || first.kind != HEADERS {
            return Ok(Some((at, false)));
        }
        self.replace(first, whole, &odd);
        Ok(Some((at, true)))
    }

    /// Remembers what is needed of a section.
    fn note(&mut self, head: Head, section: Section, now: impl Fn() -> Duration) -> Result<(), Violation> {
        let first = match self.peer {
            Peer::Client => head.stream > self.last_stream,
            Peer::Upstream => self.mark(head.stream).is_some_and(|mark| !mark.final_head),
        };
        if first && self.peer == Peer::Upstream && section.informational {
            return if self.allowance.spend(1, now) { Ok(()) } else { Err(Violation::Flood) };
        }
        if first {
            return self.note_head(head, section);
        }
        let fault = if section.pseudo {
            Some(Trailers::Pseudo)
        } else if section.size >= self.section_bytes_max || section.fields > FIELDS_MAX {
            Some(Trailers::TooLarge)
        } else {
            None
        };
        // The crate refuses trailers without an end.
        match self.peer {
            Peer::Client if fault.is_some() => self.marked(head.stream)?.trailers = fault,
            Peer::Client => {}
            Peer::Upstream => {
                if let Some(mark) = self.mark_mut(head.stream) {
                    mark.trailers = fault;
                    mark.data = true;
                    mark.ended |= head.has(END_STREAM);
                }
            }
        }
        // They earn nothing, because a stream that has ended may get them again and again.
        if self.allowance.spend(1, now) { Ok(()) } else { Err(Violation::Flood) }
    }

    fn note_head(&mut self, head: Head, section: Section) -> Result<(), Violation> {
        self.allowance.earn(EARNED_BY_STREAM);
        match self.peer {
            Peer::Client => {
                self.last_stream = head.stream;
                // The crate leaves streams behind a GOAWAY without an answer.
                if self.waiting.len() == MARKS_MAX {
                    self.waiting.pop_front();
                }
                self.waiting.push_back(head.stream);
                if let Some(path) = section.odd_path {
                    self.marked(head.stream)?.target = Some(path);
                }
            }
            Peer::Upstream => {
                if let Some(mark) = self.mark_mut(head.stream) {
                    mark.final_head = true;
                    mark.ended |= head.has(END_STREAM);
                }
            }
        }
        Ok(())
    }

    /// Writes a block anew, with a placeholder for each path that is a literal in it and that the crate would cut or
    /// refuse. The placeholder has the same length, so that both sides' tables stay the same.
    fn replace(&mut self, first: Head, block: &[u8], odd: &[(Range<usize>, usize)]) {
        let (mut written, mut copied) = (Vec::with_capacity(block.len() + 8), 0);
        for (literal, length) in odd {
            written.extend_from_slice(&block[copied..literal.start]);
            hpack::placeholder(*length, &mut written);
            copied = literal.end;
        }
        written.extend_from_slice(&block[copied..]);
        self.replacement.clear();
        let mut rest = written.as_slice();
        let mut kind = HEADERS;
        // Padding and priority have gone with the old frame.
        let mut flags = first.flags & END_STREAM;
        loop {
            let (piece, more) = rest.split_at(rest.len().min(FRAME_BYTES_MAX));
            rest = more;
            if rest.is_empty() {
                flags |= END_HEADERS;
            }
            // At most 16,384, which takes three bytes.
            let length = u32::try_from(piece.len()).unwrap_or(0).to_be_bytes();
            self.replacement.extend_from_slice(&length[1..]);
            self.replacement.extend_from_slice(&[kind, flags]);
            self.replacement.extend_from_slice(&first.stream.to_be_bytes());
            self.replacement.extend_from_slice(piece);
            if rest.is_empty() {
                return;
            }
            (kind, flags) = (CONTINUATION, 0);
        }
    }
}

/// Returns whether the priority in a HEADERS frame names its own stream.
fn depends_on_itself(head: Head, payload: &[u8]) -> bool {
    let at = usize::from(head.has(PADDED));
    head.kind == HEADERS
        && head.has(PRIORITY)
        && payload
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .is_some_and(|bytes| u32::from_be_bytes(*bytes) & 0x7fff_ffff == head.stream)
}

/// Returns the part of a first frame's payload that is header block. If its padding is wrong, this is all of it: the
/// crate refuses it.
fn unframed(head: Head, payload: &[u8]) -> &[u8] {
    let mut start = 0;
    let mut end = payload.len();
    if head.has(PADDED) {
        let Some(&padding) = payload.first() else { return payload };
        start = 1;
        end = end.saturating_sub(usize::from(padding));
    }
    start += match head.kind {
        HEADERS if head.has(PRIORITY) => 5,
        PUSH_PROMISE => 4,
        _ => 0,
    };
    payload.get(start..end).unwrap_or(payload)
}
