//! Reads from a server's first SETTINGS how large a head it accepts, which the `h2` crate does not report.

/// The type of a SETTINGS frame (RFC 9113, 6.5).
const SETTINGS: u8 = 4;
/// SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113, 6.5.2).
const MAX_HEADER_LIST_SIZE: u16 = 6;
const FRAME_HEAD: usize = 9;
/// Bytes of the first frame that are read. Servers send some ten settings of six bytes.
const PAYLOAD_MAX: usize = 1024;

/// The first frame of a server, as far as it has arrived.
#[derive(Debug, Default)]
pub(super) struct FirstSettings {
    bytes: Vec<u8>,
    done: bool,
}

impl FirstSettings {
    /// Returns whether the frame has arrived, or is not a SETTINGS frame.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Takes the next bytes of the connection. Returns the size when the frame is complete and has one.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<u32> {
        if self.done {
            return None;
        }
        self.bytes.extend(bytes.iter().take(FRAME_HEAD + PAYLOAD_MAX - self.bytes.len()));
        let (&[high, middle, low, kind, ..], payload) = self.bytes.split_first_chunk::<FRAME_HEAD>()?;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        let payload = match payload.get(..length.min(PAYLOAD_MAX)) {
            Some(payload) if kind == SETTINGS => payload,
            None if kind == SETTINGS => return None,
            // Not a SETTINGS frame: the crate ends the connection.
            _ => &[],
        };
        let mut sizes = payload.chunks_exact(6).filter_map(|setting| {
            let (id, value) = setting.split_first_chunk::<2>()?;
            let value = u32::from_be_bytes(value.try_into().ok()?);
            (u16::from_be_bytes(*id) == MAX_HEADER_LIST_SIZE).then_some(value)
        });
        // The last of several is valid.
        let size = sizes.next_back();
        (self.done, self.bytes) = (true, Vec::new());
        size
    }
}

#[cfg(test)]
mod tests;
