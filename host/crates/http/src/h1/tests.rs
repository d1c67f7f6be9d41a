//! Tables of bytes: what is accepted, and above all what is refused.

mod chunked;
mod request;
mod response;
mod write;
