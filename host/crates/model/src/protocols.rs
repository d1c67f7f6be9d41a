//! The protocols that a listener speaks.

/// A protocol that clients speak with a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1, and HTTP/1.0 of old clients.
    Http1,
    /// HTTP/2: by ALPN over TLS, by prior knowledge without.
    Http2,
}

impl Protocol {
    /// All of them, the preferred ones first.
    pub const ALL: [Self; 2] = [Self::Http2, Self::Http1];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protocols(u8);

impl Protocols {
    /// Whether `protocol` is among them.
    #[must_use]
    pub const fn contains(self, protocol: Protocol) -> bool {
        self.0 & protocol.bit() != 0
    }

    /// Returns them, the preferred ones first.
    pub fn iter(self) -> impl Iterator<Item = Protocol> {
        Protocol::ALL.into_iter().filter(move |protocol| self.contains(*protocol))
    }
}

impl FromIterator<Protocol> for Protocols {
    fn from_iter<I: IntoIterator<Item = Protocol>>(protocols: I) -> Self {
        Self(protocols.into_iter().fold(0, |set, protocol| set | protocol.bit()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Protocol, Protocols};

    #[test]
    fn a_set_has_what_was_put_into_it_in_the_order_of_preference() {
        let both: Protocols = [Protocol::Http1, Protocol::Http2, Protocol::Http1].into_iter().collect();
        assert!(both.iter().eq([Protocol::Http2, Protocol::Http1]));
        let one: Protocols = [Protocol::Http1].into_iter().collect();
        assert!(one.contains(Protocol::Http1) && !one.contains(Protocol::Http2));
        assert_eq!(Protocols::default().iter().count(), 0);
    }
}
