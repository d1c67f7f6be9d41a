//! Sets of networks: sorted ranges that do not touch, so that a look-up is a binary search, whatever their number.

use std::net::{IpAddr, Ipv6Addr};

use portcullis_sdk::Mistakes;

/// A set of networks.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Networks {
    /// Reads a list and the lines of a file. `setting` names the list in mistakes; its file is `setting-file`.
    pub(crate) fn read(setting: &str, list: &[String], file: Option<&str>, mistakes: &mut Mistakes) -> Self {
        let mut networks = Self::default();
        for (at, text) in list.iter().enumerate() {
            mistakes.take(format!("/{setting}/{at}"), networks.add(text));
        }
        for (at, line) in file.unwrap_or_default().lines().enumerate() {
            let text = line.split_once('#').map_or(line, |(text, _)| text).trim();
            if !text.is_empty() {
                let added = networks.add(text).map_err(|error| format!("line {}: {error}", at + 1));
                mistakes.take(format!("/{setting}-file"), added);
            }
        }
        merge(&mut networks.v4, |end| end.checked_add(1));
        merge(&mut networks.v6, |end| end.checked_add(1));
        networks
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => within(&self.v4, address.to_bits()),
            IpAddr::V6(address) => within(&self.v6, address.to_bits()),
        }
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| {
            format!("`{text}` is not a network; write one such as 192.0.2.0/24 or 2001:db8::/32")
        })?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => bits,
            Some(digits) => {
                let number =
                    digits.parse::<u32>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
                number.filter(|number| *number <= bits).ok_or_else(|| {
                    format!(
                        "`{text}`: the prefix length of an IPv{} network is 0 to {bits}",
                        if bits == 32 { 4 } else { 6 }
                    )
                })?
            }
        };
        match address {
            IpAddr::V4(address) => {
                let host = u32::MAX.checked_shr(length).unwrap_or(0);
                let first = address.to_bits() & !host;
                if first != address.to_bits() {
                    return Err(beyond(text, IpAddr::V4(first.into()), length));
                }
                self.v4.push((first, first | host));
            }
            IpAddr::V6(address) => {
                let host = u128::MAX.checked_shr(length).unwrap_or(0);
                let first = address.to_bits() & !host;
                if first != address.to_bits() {
                    return Err(beyond(text, IpAddr::V6(first.into()), length));
                }
                match (Ipv6Addr::from(first).to_ipv4_mapped(), length.checked_sub(96)) {
                    // The gateway tells clients that come by mapped addresses as IPv4.
                    (Some(mapped), Some(length)) => {
                        let host = u32::MAX.checked_shr(length).unwrap_or(0);
                        self.v4.push((mapped.to_bits(), mapped.to_bits() | host));
                    }
                    _ => self.v6.push((first, first | host)),
                }
            }
        }
        Ok(())
    }
}

/// `10.0.0.1/8` is a slip of some kind: of the address or of the length.
fn beyond(text: &str, network: IpAddr, length: u32) -> String {
    format!("`{text}` has bits beyond its prefix; the network is {network}/{length}")
}

/// Sorts ranges and joins those that overlap or touch.
fn merge<T: Copy + Ord>(ranges: &mut Vec<(T, T)>, next: impl Fn(T) -> Option<T>) {
    ranges.sort_unstable();
    // In place: there may be a million of them.
    ranges.dedup_by(|(first, last), before| {
        let joins = next(before.1).is_none_or(|next| *first <= next);
        if joins {
            before.1 = before.1.max(*last);
        }
        joins
    });
}

fn within<T: Copy + Ord>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    ranges[..after].last().is_some_and(|(_, last)| address <= *last)
}
