//! Extracts a component from a layer: unpacked, or as `plugin.wasm` in an archive. No file is ever written under a name
//! from an archive, and the unpacked size is limited, however small the layer is.

use std::fmt;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use portcullis_model::text::one_line;
use tar::{Archive, EntryType};
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::COMPONENT_BYTES_MAX;

/// Bytes of an archive once unpacked: the largest component, and other files beside it.
const UNPACKED_BYTES_MAX: u64 = COMPONENT_BYTES_MAX + (64 << 20);
/// Files in an archive.
const FILES_MAX: usize = 4096;
/// The window that a zstd frame may ask for, as a power of two: 128 MiB, the default limit of `zstd -d` and more than
/// any program that makes images uses. The window is memory that a frame of a few bytes can ask for.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Letters of a library's message about a broken layer, which may repeat its content.
const REASON_LETTERS_MAX: usize = 200;
/// The component's file name, by the specification of Envoy's filters.
const NAME: &[u8] = b"plugin.wasm";

/// How a component is packed in its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerFormat {
    /// Unpacked.
    Wasm,
    /// In an archive.
    Tar,
    /// In an archive compressed with gzip.
    TarGzip,
    /// In an archive compressed with zstd.
    TarZstd,
}

impl LayerFormat {
    /// Returns its name in the lock file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::Tar => "tar",
            Self::TarGzip => "tar+gzip",
            Self::TarZstd => "tar+zstd",
        }
    }
}

impl fmt::Display for LayerFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Returns the component in a layer, and how it is packed. The kind of a layer is read from its first bytes, because
/// they are more reliable than its media type: `oras push` calls a single file an archive.
///
/// # Errors
/// What is wrong with the layer, as the continuation of its name.
pub fn component(layer: Vec<u8>) -> Result<(LayerFormat, Vec<u8>), String> {
    extract(layer, UNPACKED_BYTES_MAX)
}

fn extract(layer: Vec<u8>, bytes_max: u64) -> Result<(LayerFormat, Vec<u8>), String> {
    match layer.as_slice() {
        [0, b'a', b's', b'm', ..] => Ok((LayerFormat::Wasm, layer)),
        [0x1f, 0x8b, ..] => {
            let unpacked = Limited { inner: MultiGzDecoder::new(layer.as_slice()), left: bytes_max };
            Ok((LayerFormat::TarGzip, search(unpacked)?))
        }
        // A frame of content, or one that is skipped (RFC 8878, 3.1.2), with which parallel compressors begin.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let unpacked = unpack_zstd(&layer)
                .map_err(|error| format!("has a layer that cannot be unpacked: {error}"))?;
            Ok((LayerFormat::TarZstd, search(Limited { inner: unpacked, left: bytes_max })?))
        }
        bytes => Ok((LayerFormat::Tar, search(Limited { inner: bytes, left: bytes_max })?)),
    }
}

/// Returns a reader of any number of frames that refuses larger windows than the limit.
fn unpack_zstd(layer: &[u8]) -> io::Result<impl Read> {
    let mut decoder = ZstdDecoder::new(layer)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// Returns `plugin.wasm` from any folder; otherwise the only file that ends with `.wasm`.
fn search(archive: impl Read) -> Result<Vec<u8>, String> {
    let broken = |error: io::Error| {
        let reason = one_line(&error.to_string(), REASON_LETTERS_MAX);
        format!("has a layer that cannot be unpacked: {reason}")
    };
    let mut archive = Archive::new(archive);
    let (mut named, mut others) = (Vec::new(), Vec::new());
    let mut files = 0;
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        files += 1;
        if files > FILES_MAX {
            return Err(format!("has a layer with more than {FILES_MAX} files"));
        }
        if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
            continue;
        }
        let path = entry.path_bytes();
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let found = match name {
            NAME => &mut named,
            _ if name.ends_with(b".wasm") => &mut others,
            _ => continue,
        };
        let size = entry.size();
        if size > COMPONENT_BYTES_MAX {
            return Err(format!("holds a plugin of {size} bytes, and {COMPONENT_BYTES_MAX} are the most"));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(broken)?;
        if bytes.len() as u64 != size {
            return Err("has a layer that ends in the midst of the plugin".to_owned());
        }
        found.push(bytes);
    }
    if named.is_empty() {
        named = others;
    }
    match named.len() {
        1 => named.pop().ok_or_else(String::new),
        0 => Err("has no plugin.wasm in its last layer".to_owned()),
        count => Err(format!("has {count} plugins in its last layer: a plugin is one plugin.wasm")),
    }
}

/// A reader that fails after a number of bytes, so that an archive cannot grow without end.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other("it is larger unpacked than any plugin"))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
