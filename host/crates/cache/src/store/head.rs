//! What the stores need of the head of a stored response.

/// The head of a stored response. The stores keep it, count its bytes and write it to the disk, and know nothing else
/// of it.
pub trait Head: Send + Sync + Sized + 'static {
    /// Returns how many bytes it has on the heap.
    fn cost(&self) -> usize;

    /// Appends a form of it that [`Head::decode`] reads, also in a later version of the gateway.
    fn encode(&self, out: &mut Vec<u8>);

    /// Returns the head that was encoded, or `None` if it is of an unknown version or broken. The entry is then a
    /// miss.
    fn decode(bytes: &[u8]) -> Option<Self>;
}
