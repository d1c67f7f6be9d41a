//! Listening sockets: one for each worker, all on the same address.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::stream::keepalive;

/// Connections that the kernel keeps for a socket until its worker accepts them. 4096 absorbs a burst of a few thousand
/// clients while a worker is busy for some milliseconds; the kernel caps it at `net.core.somaxconn`, which is 4096 on
/// Linux since 5.4.
pub const BACKLOG: i32 = 4096;

/// How long a client's machine may not answer keepalive probes before its connection is closed: a tunnel, which may be
/// idle for an hour, is not held for a phone that has gone.
const CLIENT_KEEPALIVE: Duration = Duration::from_secs(60);

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another socket listens at the address.
    #[error(
        "{address} is in use: another process (or another listener of this config) listens there; stop it or take another port"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// A low port without the right to it.
    #[error(
        "no permission to listen on {address}: ports under 1024 need CAP_NET_BIND_SERVICE (`setcap cap_net_bind_service=+ep`), or take a higher port"
    )]
    Permission {
        /// The address.
        address: SocketAddr,
    },
    /// The address is not one of this machine's.
    #[error(
        "{address} is not an address of this machine: take one that `ip address` shows, or 0.0.0.0 or [::] for all"
    )]
    NotLocal {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
}

impl BindError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address },
            io::ErrorKind::PermissionDenied => Self::Permission { address },
            io::ErrorKind::AddrNotAvailable => Self::NotLocal { address },
            _ => Self::Other { address, source },
        }
    }
}

/// Opens `sockets` listening sockets on `address` (at least one), non-blocking, over which the kernel distributes new
/// connections. With port 0 the first takes a free port and the others share it.
///
/// An IPv6 address accepts IPv6 clients only, as in nginx, whatever the machine's `bindv6only` is: so `0.0.0.0:80` and
/// `[::]:80` can be open together, and no client has two kinds of address.
///
/// Closing a socket drops the connections in its queue. A listener that a reload does not change therefore keeps its
/// sockets, and the number of sockets does not change while the process lives.
///
/// # Errors
/// If one of the sockets cannot be opened; then none is open.
pub fn bind(address: SocketAddr, sockets: usize) -> Result<Vec<TcpListener>, BindError> {
    if address.port() != 0 {
        // SO_REUSEPORT lets any process of the same user join the group, so a second gateway started by mistake would
        // silently take half of the connections. A socket without it detects that.
        open(address, false).map_err(|source| BindError::new(address, source))?;
    }
    bind_beside(address, sockets)
}

/// As [`bind`], if sockets of this process are bound to a part of `address` already, or to an address that it is a part
/// of, such as 127.0.0.1:80 and 0.0.0.0:80: for a listener that replaces another one, whose sockets close afterwards.
///
/// # Errors
/// If one of the sockets cannot be opened; then none is open.
pub fn bind_beside(address: SocketAddr, sockets: usize) -> Result<Vec<TcpListener>, BindError> {
    let failed = |source| BindError::new(address, source);
    let first = open(address, true).map_err(failed)?;
    let bound = local_address(&first).map_err(failed)?;
    let mut group = vec![first];
    while group.len() < sockets {
        group.push(open(bound, true).map_err(failed)?);
    }
    // Only now, because a socket that listens gets connections, and a group that fails would lose them.
    for socket in &group {
        socket.listen(BACKLOG).map_err(failed)?;
    }
    Ok(group.into_iter().map(TcpListener::from).collect())
}

/// Returns whether two independent sockets cannot be bound to both addresses.
#[must_use]
pub fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let all = |address: SocketAddr| address.ip().is_unspecified();
    one.port() == other.port()
        && one.port() != 0
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || all(one) || all(other))
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("the socket has no IP address"))
}

fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart then need not wait for the connections of the last run to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Linux copies these to the connections, which saves system calls for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive(CLIENT_KEEPALIVE))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
