//! The addresses at which a registry may be, and to which it may redirect.

use std::net::IpAddr;

use portcullis_model::Reach;

/// Returns whether `address` is not on the public internet.
pub(crate) fn is_near(address: IpAddr) -> bool {
    Reach::of(address) != Reach::Public
}

/// Returns whether the registry with the configured name `host` may be at `address`. The services that a cloud has for
/// its machines are reached only if the configuration has their very address, so no name server can lead there.
pub(crate) fn may_be_at(host: &str, address: IpAddr) -> bool {
    Reach::of(address) <= Reach::Private || host.parse() == Ok(address)
}

/// Returns whether a registry may redirect to `address`: to every public one, and into private networks if it is in one
/// itself (`registry_is_near`). It may never redirect to link-local addresses or to the services of a cloud.
pub(crate) fn may_lead_to(address: IpAddr, registry_is_near: bool) -> bool {
    match Reach::of(address) {
        Reach::Public => true,
        Reach::Private => registry_is_near,
        Reach::Link | Reach::Never => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{is_near, may_be_at, may_lead_to};

    fn addresses<const N: usize>(texts: [&str; N]) -> [IpAddr; N] {
        texts.map(|text| text.parse().unwrap())
    }

    #[test]
    fn the_internet_is_for_all() {
        for address in addresses([
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.32.0.1",
            "2a00::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ]) {
            assert!(!is_near(address) && may_be_at("a.test", address), "{address}");
            assert!(may_lead_to(address, false) && may_lead_to(address, true), "{address}");
        }
    }

    #[test]
    fn what_is_near_is_for_a_registry_that_is_near() {
        for address in addresses([
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
            "2001:db8::1",
            "2001::1",
        ]) {
            assert!(is_near(address) && may_be_at("a.test", address), "{address}");
            assert!(!may_lead_to(address, false) && may_lead_to(address, true), "{address}");
        }
    }

    #[test]
    fn the_services_of_clouds_are_for_no_name_and_no_redirect() {
        for address in addresses([
            "169.254.169.254",
            "169.254.170.2",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "fe80::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "64:ff9b::a83f:8110",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::",
            "ff02::1",
        ]) {
            assert!(is_near(address) && !may_be_at("a.test", address), "{address}");
            assert!(!may_lead_to(address, false) && !may_lead_to(address, true), "{address}");
            assert!(may_be_at(&address.to_string(), address), "the operator wrote {address}");
        }
    }
}
