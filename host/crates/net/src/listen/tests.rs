use std::net::SocketAddr;

use super::{BindError, bind};

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn a_group_shares_the_port_that_the_first_took() {
    let group = bind(any(), 3).unwrap();
    let address = group[0].local_addr().unwrap();
    assert_ne!(address.port(), 0);
    assert_eq!(group.len(), 3);
    for socket in &group {
        assert_eq!(socket.local_addr().unwrap(), address);
    }
}

#[test]
fn a_second_group_on_the_same_port_is_refused() {
    let group = bind(any(), 2).unwrap();
    let address = group[0].local_addr().unwrap();
    let error = bind(address, 2).unwrap_err();
    assert!(matches!(error, BindError::InUse { address: of } if of == address), "{error}");
    drop(group);
    bind(address, 2).unwrap();
}

#[test]
fn an_address_of_another_machine_is_named_as_such() {
    // 192.0.2.0/24 is for documentation (RFC 5737) and never assigned.
    let error = bind("192.0.2.1:0".parse().unwrap(), 1).unwrap_err();
    assert!(matches!(error, BindError::NotLocal { .. }), "{error}");
}

#[test]
fn ipv4_and_ipv6_wildcards_stand_beside_each_other() {
    let Ok(v6) = bind("[::]:0".parse().unwrap(), 1) else { return }; // a machine without IPv6
    let port = v6[0].local_addr().unwrap().port();
    bind(SocketAddr::from(([0, 0, 0, 0], port)), 1).unwrap();
}
