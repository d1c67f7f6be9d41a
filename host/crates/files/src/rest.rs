//! What is left to read of a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use portcullis_traffic::Permit;

use crate::FileError;

/// Bytes that are read at once. A smaller file is read with the look-up.
pub const PIECE_BYTES: u64 = 64 << 10;

/// What is left to read of an open file: some bytes, which were there when it was opened. Clones share the descriptor.
#[derive(Debug, Clone)]
pub struct Rest {
    file: Arc<OpenFile>,
    at: u64,
    end: u64,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    #[expect(dead_code, reason = "held for its drop, which counts the file as closed")]
    permit: Permit,
}

impl Rest {
    pub(crate) fn new(file: File, permit: Permit, at: u64, end: u64) -> Self {
        Self { file: Arc::new(OpenFile { file, permit }), at, end }
    }

    /// Returns how many bytes are left.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.end - self.at
    }

    /// Leaves out the bytes of a piece that was read.
    pub fn advance(&mut self, bytes: usize) {
        self.at = self.end.min(self.at.saturating_add(bytes as u64));
    }

    /// Reads the next piece. It is not empty unless nothing is left. Blocks.
    ///
    /// # Errors
    /// If it cannot be read, or the file ends before the bytes do.
    pub fn read(&self) -> Result<Bytes, FileError> {
        piece(&self.file.file, self.at, self.end)
    }
}

/// Reads the first piece of the bytes from `at` to before `end`.
pub(crate) fn piece(file: &File, at: u64, end: u64) -> Result<Bytes, FileError> {
    let bytes = end.saturating_sub(at).min(PIECE_BYTES);
    let mut piece = vec![0; usize::try_from(bytes).unwrap_or_default()];
    file.read_exact_at(&mut piece, at).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => FileError::CutShort,
        _ => FileError::Read(error),
    })?;
    Ok(Bytes::from(piece))
}
