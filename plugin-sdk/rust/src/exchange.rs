//! What the gateway knows about the exchange at hand.

use std::net::IpAddr;

use crate::{Refused, host};

/// What the gateway knows about the exchange, and what policies tell each other.
///
/// ```
/// use portcullis_sdk::prelude::*;
/// use portcullis_sdk::testing::MockExchange;
///
/// #[derive(Default)]
/// struct Local;
///
/// #[policy(name = "local", description = "Marks requests from this machine.")]
/// impl Local {
///     fn on_request_head(&self, exchange: &mut Exchange) -> Result<(), Stop> {
///         if exchange.client_address().is_loopback() {
///             exchange.set_attribute("local", "yes")?;
///         }
///         Ok(())
///     }
/// }
///
/// let mut exchange = MockExchange::new("GET", "/").client_address("127.0.0.1");
/// exchange.request_head(&mut Local);
/// assert_eq!(exchange.attribute_value("local").as_deref(), Some("yes"));
/// ```
#[derive(Debug)]
pub struct Exchange(pub(crate) ());

impl Exchange {
    /// The client: the peer of the connection, or what the nearest trusted proxy says of it. IPv4 addresses that arrive
    /// mapped into IPv6 are given as IPv4.
    #[must_use]
    pub fn client_address(&self) -> IpAddr {
        host::exchange_client_address()
    }

    /// The same as text: for a field or a name, it saves to write it out here.
    #[must_use]
    pub fn client_address_text(&self) -> String {
        host::exchange_client_address_text()
    }

    /// DER of the client certificate that TLS verified. `None` if the client showed none.
    #[must_use]
    pub fn client_certificate(&self) -> Option<Vec<u8>> {
        host::exchange_client_certificate()
    }

    /// The host name that the client asked for in the TLS handshake (SNI), in lower case. `None` without TLS or SNI.
    #[must_use]
    pub fn tls_server_name(&self) -> Option<String> {
        host::exchange_tls_server_name()
    }

    /// The protocol of the request: `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`. More may come.
    #[must_use]
    pub fn protocol(&self) -> String {
        host::exchange_protocol()
    }

    /// The name of the listener that accepted the connection.
    #[must_use]
    pub fn listener(&self) -> String {
        host::exchange_listener()
    }

    /// The address of the peer of the connection, which is a proxy's if there is one before the gateway.
    #[must_use]
    pub fn peer_address(&self) -> IpAddr {
        host::exchange_peer_address()
    }

    /// `TLSv1.2` or `TLSv1.3`. `None` without TLS. More may come.
    #[must_use]
    pub fn tls_version(&self) -> Option<String> {
        host::exchange_tls_version()
    }

    /// The cipher suite by its name in IANA's registry, such as `TLS_AES_128_GCM_SHA256`. `None` without TLS.
    #[must_use]
    pub fn tls_cipher(&self) -> Option<String> {
        host::exchange_tls_cipher()
    }

    /// The protocol that the client and the listener agreed on in the TLS handshake (ALPN), such as `h2`. `None`
    /// without TLS or ALPN.
    #[must_use]
    pub fn tls_alpn(&self) -> Option<String> {
        host::exchange_tls_alpn()
    }

    /// The name of the route that the request took.
    #[must_use]
    pub fn route(&self) -> String {
        host::exchange_route()
    }

    /// 32 hexadecimal digits that name the exchange in every log: those of the client's `traceparent`, else new ones.
    #[must_use]
    pub fn trace_id(&self) -> String {
        host::exchange_trace_id()
    }

    /// What a policy of this exchange has set under that name. `None` if none has.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<String> {
        host::exchange_attribute(name)
    }

    /// Sets named text for later policies and the access log. Allowed in every hook.
    ///
    /// # Errors
    /// All attributes of an exchange together may take 16 KiB; more is [`Refused::TooLarge`].
    pub fn set_attribute(&mut self, name: &str, value: &str) -> Result<(), Refused> {
        host::exchange_set_attribute(name, value)
    }

    /// The bytes that this policy last kept with [`Exchange::set_state`] in this exchange; empty at first. No other
    /// policy sees them.
    #[must_use]
    pub fn state(&self) -> Vec<u8> {
        host::exchange_state()
    }

    /// Keeps bytes from one hook of the exchange to the next. The policy's own fields are no place for them: with
    /// `isolation = "worker"` they belong to many exchanges.
    ///
    /// # Errors
    /// At most 64 KiB; more is [`Refused::TooLarge`].
    pub fn set_state(&mut self, value: impl AsRef<[u8]>) -> Result<(), Refused> {
        host::exchange_set_state(value.as_ref())
    }
}
