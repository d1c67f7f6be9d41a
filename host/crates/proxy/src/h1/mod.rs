//! HTTP/1.1 on both sides: sockets and bodies around the codec of `portcullis_http::h1`.

mod arrive;
mod body;
mod client;
mod close;
mod downstream;
mod io;
mod server;
mod spare;
mod tunnel_end;

pub(crate) use client::{ClientCall, ClientConnection};
pub(crate) use io::COPY_BYTES_MAX;
pub(crate) use server::serve;
