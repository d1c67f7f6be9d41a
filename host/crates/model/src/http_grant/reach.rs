//! How far an address is away: the special-purpose registries of IANA (RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of address it is, from those that may be reached freely to those that may never be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Into the internet.
    Public,
    /// To this machine or into a network of one's own: loopback, private, shared (CGNAT), unique local, and what is
    /// set aside for documentation, measurements and translation.
    Private,
    /// To machines on the same link, or to the services that a cloud has for each of its machines (metadata, and with
    /// it credentials), whichever address those have.
    Link,
    /// To no machine, or to many: unspecified, multicast, broadcast, reserved.
    Never,
}

/// The services that clouds have for their machines, beside those of the link (169.254.0.0/16 and fe80::/10). Each is a
/// prefix: address and bits.
const CLOUDS_V4: [(Ipv4Addr, u32); 3] = [
    // Azure's WireServer, which hands out certificates and settings of the machine.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    // Alibaba.
    (Ipv4Addr::new(100, 100, 100, 200), 32),
    // Oracle, for some of its images.
    (Ipv4Addr::new(192, 0, 0, 192), 32),
];
const CLOUDS_V6: [(Ipv6Addr, u32); 4] = [
    // AWS: metadata (::254), credentials of pods (::23), time and names.
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 64),
    // Google.
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0), 64),
    // Akamai (Linode).
    (Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 0), 64),
    // Scaleway.
    (Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42), 128),
];

impl Reach {
    /// Of an address. IPv4 addresses that are mapped, translated or tunnelled in IPv6 count as what they lead to.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let of_cloud =
            |(cloud, bits): &(Ipv4Addr, u32)| (address.to_bits() ^ cloud.to_bits()).leading_zeros() >= *bits;
        match address.octets() {
            _ if CLOUDS_V4.iter().any(of_cloud) => Self::Link,
            [0, ..] | [224..=255, ..] => Self::Never,
            [169, 254, ..] => Self::Link,
            [10 | 127, ..]
            | [100, 64..=127, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _] => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let embedded =
            |high: u16, low: u16| Self::of_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
        let of_cloud =
            |(cloud, bits): &(Ipv6Addr, u32)| (address.to_bits() ^ cloud.to_bits()).leading_zeros() >= *bits;
        // A network's own translator may lead there. A private prefix stays private, whatever is embedded in it.
        let near = |high: u16, low: u16| match embedded(high, low) {
            Self::Link => Self::Link,
            _ => Self::Private,
        };
        match address.segments() {
            _ if CLOUDS_V6.iter().any(of_cloud) => Self::Link,
            [0, 0, 0, 0, 0, 0, 0, 0] | [0xff00..=0xffff, ..] => Self::Never,
            [0xfe80..=0xfebf, ..] => Self::Link,
            // Mapped (RFC 4291), translated (RFC 7915), NAT64 (RFC 6052) and 6to4 (RFC 3056).
            [0, 0, 0, 0, 0, 0xffff, high, low]
            | [0, 0, 0, 0, 0xffff, 0, high, low]
            | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
            | [0x2002, high, low, ..] => embedded(high, low),
            // Teredo (RFC 4380) has the client's address with all bits turned over, and the server's.
            [0x2001, 0, first, second, .., high, low] => near(!high, !low).max(near(first, second)),
            // NAT64 in a network of one's own (RFC 8215), by the lengths of prefix that fit in there (RFC 6052, 2.2):
            // 48, 56, 64 and 96 bits.
            [0x64, 0xff9b, 1, a, b, c, d, e] => {
                [(a, b << 8 | c >> 8), (a << 8 | b & 0xff, c), (b << 8 | c >> 8, c << 8 | d >> 8), (d, e)]
                    .into_iter()
                    .fold(Self::Private, |most, (high, low)| most.max(near(high, low)))
            }
            // Protocol assignments (RFC 2928), documentation (RFC 3849, RFC 9637).
            [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Self::Private,
            [0x2000..=0x3fff, ..] => Self::Public,
            // Compatible (RFC 4291, 2.5.5.1).
            [0, 0, 0, 0, 0, 0, high, low] => near(high, low),
            // Oracle and others, and translators, have the well-known 169.254.169.254 at the end of a prefix of their
            // own.
            [.., 0xa9fe, 0xa9fe] => Self::Link,
            _ => Self::Private,
        }
    }
}
