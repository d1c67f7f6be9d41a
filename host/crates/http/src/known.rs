//! The field names that the gateway itself acts on, so that finding one is comparing a byte.

macro_rules! known {
    ($($variant:ident = $name:literal,)*) => {
        /// A field name that the gateway acts on; every other is `Other`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each variant is the field name that it is called after")]
        pub enum Known { Other, $($variant,)* }

        impl Known {
            /// Returns the known name that `name`, in lower case, is.
            #[must_use]
            pub fn of(name: &[u8]) -> Self {
                // A match on byte strings becomes comparisons of length first.
                match name { $($name => Self::$variant,)* _ => Self::Other }
            }

            /// Returns the name in lower case; empty for `Other`.
            #[must_use]
            pub const fn name(self) -> &'static [u8] {
                match self { Self::Other => b"", $(Self::$variant => $name,)* }
            }
        }
    };
}

known! {
    Connection = b"connection",
    ContentLength = b"content-length",
    Date = b"date",
    Expect = b"expect",
    Forwarded = b"forwarded",
    Host = b"host",
    KeepAlive = b"keep-alive",
    MaxForwards = b"max-forwards",
    ProxyAuthenticate = b"proxy-authenticate",
    ProxyAuthorization = b"proxy-authorization",
    ProxyConnection = b"proxy-connection",
    Server = b"server",
    Te = b"te",
    Trailer = b"trailer",
    TransferEncoding = b"transfer-encoding",
    Upgrade = b"upgrade",
    Http2Settings = b"http2-settings",
    Via = b"via",
    XForwardedFor = b"x-forwarded-for",
    XForwardedHost = b"x-forwarded-host",
    XForwardedPort = b"x-forwarded-port",
    XForwardedProto = b"x-forwarded-proto",
    XRealIp = b"x-real-ip",
}
