//! One side of a tunnel, whatever protocol the connection to it speaks.

use std::fmt::Debug;

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection or stream that became one side of a tunnel. Dropping it closes that side.
pub(crate) trait TunnelEnd: AsyncRead + AsyncWrite + Debug + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Unpin> TunnelEnd for T {}
