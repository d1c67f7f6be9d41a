//! Hosts with ports, and what to write instead of wrong ones.

use std::net::Ipv6Addr;

use crate::syntax::pattern::host_name_error;

/// Whether it is a host with or without a port.
pub(crate) fn is_authority(value: &str) -> bool {
    let bracketed = value.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (valid, rest) = match bracketed {
        Some((inner, rest)) => (inner.parse::<Ipv6Addr>().is_ok(), rest),
        None => {
            let end = value.find(':').unwrap_or(value.len());
            let (host, rest) = value.split_at(end);
            (host_name_error(host).is_none(), rest)
        }
    };
    let port = rest
        .strip_prefix(':')
        .map(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok());
    valid && (rest.is_empty() || port == Some(true))
}

/// What to write for an address of this machine instead of `typed`.
pub(crate) fn address_help(typed: &str) -> String {
    if let Some(help) = port_help(typed) {
        return help;
    }
    let port = typed.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok());
    let host = typed.rsplit_once(':').map_or(typed, |(host, _)| host);
    match port {
        Some(port) if host.is_empty() || host == "*" || host == typed => {
            format!("write \"0.0.0.0:{port}\" for every IPv4 address, \"[::]:{port}\" for every IPv6 address")
        }
        Some(port) if host == "localhost" => format!("write \"127.0.0.1:{port}\""),
        Some(port) if host.parse::<std::net::Ipv6Addr>().is_ok() => format!("write \"[{host}]:{port}\""),
        None if typed.parse::<std::net::Ipv4Addr>().is_ok() => format!("add the port: \"{typed}:8080\""),
        _ => "write an IP address of this machine and a port, such as \"0.0.0.0:8080\"".into(),
    }
}

/// What is wrong with the port of an address, if that is what is wrong.
pub(crate) fn port_help(typed: &str) -> Option<String> {
    if let Some(at) =
        typed.find(['$', '%']).filter(|at| typed.get(at + 1..).is_some_and(|rest| !rest.is_empty()))
        && (typed.contains("${")
            || typed.get(at + 1..)?.starts_with(|letter: char| letter.is_ascii_uppercase()))
    {
        return Some(
            "variables are not expanded: write the address itself, or make the file of a template".to_owned(),
        );
    }
    let (_, port) = typed.rsplit_once(':')?;
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (digits && port.parse::<u16>().is_err()).then(|| "a port is at most 65535".to_owned())
}
