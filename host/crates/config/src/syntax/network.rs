//! Addresses and networks.

use std::net::IpAddr;

use ipnet::IpNet;

/// Reads an address, which is a network of one, or a network. An error is a label and a help.
pub(crate) fn network(text: &str) -> Result<IpNet, (String, String)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    match text.parse::<IpNet>() {
        Ok(network) if network.trunc() == network => Ok(network),
        Ok(network) => Err((
            "the address has bits beyond the network's prefix".to_owned(),
            format!(
                "write \"{}\" for the network, or \"{}\" for the one address",
                network.trunc(),
                network.addr()
            ),
        )),
        Err(_) => Err((
            "not an IP address or network".to_owned(),
            "write an address such as \"192.168.1.7\", or a network such as \"10.0.0.0/8\"".to_owned(),
        )),
    }
}
