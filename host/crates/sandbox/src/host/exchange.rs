//! `exchange`: what the gateway knows, and what policies tell each other.

use std::net::IpAddr;

use portcullis_policy::HookKind;
use wasmtime::Result;

use super::head::Edit;
use super::reply::check_reply;
use crate::component::bindings::portcullis::policy::exchange::Host;
use crate::component::bindings::portcullis::policy::types::{Field, IpAddress, Refused};
use crate::instance::stage::Stage;
use crate::instance::state::State;

/// What a policy may keep in an exchange.
const STATE_BYTES_MAX: usize = 64 << 10;

impl State {
    /// Keeps bytes for the policy's next hook, in the buffer that has those of before.
    pub(crate) fn keep(&mut self, value: &[u8]) -> Result<Edit> {
        if value.len() > STATE_BYTES_MAX {
            return Ok(Err(Refused::TooLarge));
        }
        let state = &mut self.exchange()?.slot().state;
        state.clear();
        state.extend_from_slice(value);
        Ok(Ok(()))
    }
}

impl Host for State {
    fn client_address(&mut self) -> Result<IpAddress> {
        Ok(match self.exchange()?.client.address.to_canonical() {
            IpAddr::V4(address) => IpAddress::Ipv4(address.octets().into()),
            IpAddr::V6(address) => IpAddress::Ipv6(address.segments().into()),
        })
    }

    fn client_certificate(&mut self) -> Result<Option<Vec<u8>>> {
        self.note_read("client.certificate", "");
        Ok(self.exchange()?.client.certificate.as_deref().map(<[u8]>::to_vec))
    }

    fn tls_server_name(&mut self) -> Result<Option<String>> {
        Ok(self.exchange()?.client.tls_server_name.as_deref().map(str::to_owned))
    }

    fn route(&mut self) -> Result<String> {
        Ok(self.exchange()?.route.as_ref().to_owned())
    }

    fn trace_id(&mut self) -> Result<String> {
        Ok(self.exchange()?.trace_id.clone())
    }

    fn reply(&mut self, status: u16, headers: Vec<Field>, body: Vec<u8>) -> Result<Edit> {
        let body_bytes_max = self.policy.limits.body_bytes;
        self.exchange()?;
        if self.stage == Stage::Hook(HookKind::Completed) {
            return Ok(Err(Refused::ReadOnly));
        }
        Ok(check_reply(status, &headers, body, body_bytes_max).map(|reply| self.at_hand.reply = Some(reply)))
    }

    fn attribute(&mut self, name: String) -> Result<Option<String>> {
        self.note_read("attribute ", &name);
        Ok(self.exchange()?.attributes.get(&name).map(str::to_owned))
    }

    fn set_attribute(&mut self, name: String, value: String) -> Result<Edit> {
        let fits = self.exchange()?.attributes.set(&name, &value);
        Ok(if fits { Ok(()) } else { Err(Refused::TooLarge) })
    }

    fn state(&mut self) -> Result<Vec<u8>> {
        Ok(self.exchange()?.slot().state.clone())
    }

    fn set_state(&mut self, value: Vec<u8>) -> Result<Edit> {
        self.keep(&value)
    }
}
