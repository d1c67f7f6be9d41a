//! `connection`: what the gateway knows of the client's connection.

use std::borrow::Cow;
use std::net::IpAddr;

use portcullis_http::Version;
use portcullis_policy::ClientTls;
use wasmtime::Result;

use crate::component::bindings::portcullis::policy::connection::Host;
use crate::instance::state::State;

impl State {
    /// The protocol of the request.
    pub(crate) fn protocol(&mut self) -> Result<&'static str> {
        Ok(match self.exchange()?.request.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2",
        })
    }

    fn peer(&mut self) -> Result<IpAddr> {
        Ok(self.exchange()?.client.peer.to_canonical())
    }

    fn tls(&mut self) -> Result<Option<&ClientTls>> {
        Ok(self.exchange()?.client.tls.as_ref())
    }
}

impl Host for State {
    fn protocol(&mut self) -> Result<String> {
        Ok(self.protocol()?.to_owned())
    }

    fn listener(&mut self) -> Result<String> {
        Ok(self.exchange()?.client.listener.as_ref().to_owned())
    }

    fn peer_address(&mut self) -> Result<String> {
        Ok(self.peer()?.to_string())
    }

    fn peer_address_bytes(&mut self) -> Result<Vec<u8>> {
        Ok(match self.peer()? {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        })
    }

    fn tls_version(&mut self) -> Result<Option<String>> {
        Ok(self.tls()?.map(|tls| tls.version.name().to_owned()))
    }

    fn tls_cipher(&mut self) -> Result<Option<String>> {
        Ok(self.tls()?.map(|tls| tls.cipher.clone().into_owned()))
    }

    fn tls_alpn(&mut self) -> Result<Option<String>> {
        Ok(self.tls()?.and_then(|tls| tls.alpn.clone()).map(Cow::into_owned))
    }

    fn tls_server_name(&mut self) -> Result<Option<String>> {
        Ok(self.exchange()?.client.tls_server_name.as_deref().map(str::to_owned))
    }

    fn client_certificate(&mut self) -> Result<Option<Vec<u8>>> {
        self.note_read("client.certificate", "");
        Ok(self.exchange()?.client.certificate.as_deref().map(<[u8]>::to_vec))
    }
}
