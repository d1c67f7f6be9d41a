//! `exchange`: what the gateway knows, and what policies tell each other.

use std::net::IpAddr;

use portcullis_policy::HookKind;
use wasmtime::Result;

use super::head::{Edit, as_bytes};
use super::reply::check_reply;
use crate::component::bindings::portcullis::policy::exchange::Host;
use crate::component::bindings::portcullis::policy::types::{Field, FieldBytes, Refused};
use crate::instance::stage::Stage;
use crate::instance::state::State;

/// What a policy may keep in an exchange.
const STATE_BYTES_MAX: usize = 64 << 10;

impl State {
    /// The address of the client. One that came mapped into IPv6 is an IPv4 address.
    pub(crate) fn client(&mut self) -> Result<IpAddr> {
        Ok(self.exchange()?.client.address.to_canonical())
    }

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
    fn client_address(&mut self) -> Result<String> {
        Ok(self.client()?.to_string())
    }

    fn client_address_bytes(&mut self) -> Result<Vec<u8>> {
        Ok(match self.client()? {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        })
    }

    fn route(&mut self) -> Result<String> {
        Ok(self.exchange()?.route.as_ref().to_owned())
    }

    fn trace_id(&mut self) -> Result<String> {
        Ok(self.exchange()?.trace_id.clone())
    }

    fn reply(&mut self, status: u16, headers: Vec<Field>, body: Vec<u8>) -> Result<Edit> {
        self.reply_bytes(status, as_bytes(headers), body)
    }

    fn reply_bytes(&mut self, status: u16, headers: Vec<FieldBytes>, body: Vec<u8>) -> Result<Edit> {
        let body_bytes_max = self.policy.limits.body_bytes;
        self.exchange()?;
        if self.stage == Stage::Hook(HookKind::Completed) {
            return Ok(Err(Refused::ReadOnly));
        }
        Ok(check_reply(status, &headers, body, body_bytes_max)
            .map(|reply| self.at_hand.reply = Some(Box::new(reply))))
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
