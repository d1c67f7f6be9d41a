//! Numbers that need not be secret: trace ids and handshake keys.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    // Seeded by the operating system, once for each thread.
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0u8) | 1);
}

/// Returns the next number of a SplitMix64 sequence (Steele, Lea, Flood 2014). Not for secrets.
pub(crate) fn next() -> u64 {
    STATE.with(|state| {
        let seed = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(seed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// Appends 32 hexadecimal digits that identify an exchange (W3C Trace Context, 3.2.2.3).
pub(crate) fn push_trace_id(out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for mut half in [next(), next() | 1] {
        for _ in 0..16 {
            out.push(char::from(DIGITS[(half >> 60) as usize]));
            half <<= 4;
        }
    }
}

/// Returns a `Sec-WebSocket-Key` (RFC 6455, 4.1): 16 bytes in base64. It proves only that the server reads it.
pub(crate) fn websocket_key() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = (u128::from(next()) << 64) | u128::from(next());
    // 128 bits are 21 digits of six bits, a 22nd for the last two bits, and padding.
    let digit = |index: u32| {
        let value = if index < 21 { bits >> (122 - 6 * index) } else { bits << 4 };
        char::from(ALPHABET[(value & 63) as usize])
    };
    (0..22).map(digit).chain(['=', '=']).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_and_keys_have_their_form() {
        let mut id = String::new();
        super::push_trace_id(&mut id);
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        let key = super::websocket_key();
        assert!(key.len() == 24 && key.ends_with("=="), "{key}");
        assert_ne!(key, super::websocket_key());
    }
}
