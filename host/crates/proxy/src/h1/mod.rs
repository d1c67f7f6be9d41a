//! HTTP/1.1 on both sides: sockets and bodies around the codec of `portcullis_http::h1`.

mod body;
mod buffers;
mod client;
mod close;
mod downstream;
mod io;
mod read_head;
mod server;

pub(crate) use client::{ClientCall, ClientConnection};
pub(crate) use io::COPY_BYTES_MAX;
pub(crate) use server::serve;
