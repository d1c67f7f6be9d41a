//! Sets of networks, looked up by binary search.
//!
//! Networks contain each other or have nothing in common. So all addresses fall into ranges, each of which belongs to
//! the smallest network that has it, and a look-up finds the range.

use std::net::IpAddr;

use ipnet::IpNet;

use super::error::MakeError;

/// Of a range that no network has.
const NONE: u32 = u32::MAX;

/// A set of networks.
#[derive(Debug)]
pub(super) struct Networks {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// The first addresses of ranges, in order, and the network of each.
#[derive(Debug)]
struct Ranges<A> {
    begins: Vec<A>,
    owners: Vec<u32>,
}

/// A network as its first and last address, and its place in the list.
type Span<A> = (A, A, u32);

impl Networks {
    pub(super) fn read(text: &str) -> Result<Self, MakeError> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let lines = (1..).zip(text.lines()).filter_map(|(number, line)| {
            let network = line.split_once('#').map_or(line, |(network, _)| network).trim();
            (!network.is_empty()).then_some((number, network))
        });
        for (place, (line, text)) in (0..NONE).zip(lines) {
            match network(text).map_err(|why| MakeError::Malformed(format!("line {line}: {why}")))? {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits(), place)),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits(), place)),
            }
        }
        Ok(Self {
            v4: Ranges::of(v4, |last| last.checked_add(1)),
            v6: Ranges::of(v6, |last| last.checked_add(1)),
        })
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes()
    }

    /// The smallest network that has the address.
    pub(super) fn find(&self, address: IpAddr) -> Option<u32> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.find(address.to_bits()),
            IpAddr::V6(address) => self.v6.find(address.to_bits()),
        }
    }
}

/// One network, or one address. Of an IPv4 address that is mapped into IPv6 the IPv4 one counts.
fn network(text: &str) -> Result<IpNet, String> {
    let shown: String = text.chars().take(60).collect();
    let network: IpNet = match (text.parse::<IpAddr>(), text.parse()) {
        (Ok(address), _) => address.into(),
        (_, Ok(network)) => network,
        _ => return Err(format!("`{shown}` is no network, such as 10.0.0.0/8 or 2001:db8::/32")),
    };
    if network.trunc() != network {
        return Err(format!("`{shown}` has bits behind its prefix; write {}", network.trunc()));
    }
    let IpNet::V6(v6) = network else { return Ok(network) };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    let mapped = mapped.and_then(|(address, prefix)| IpNet::new(address.into(), prefix).ok());
    Ok(mapped.unwrap_or(network))
}

impl<A: Ord + Copy> Ranges<A> {
    fn of(mut networks: Vec<Span<A>>, next: impl Fn(A) -> Option<A>) -> Self {
        // A network stands before those that it contains, and of equal ones the one that was named first counts.
        networks.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)).then(a.2.cmp(&b.2)));
        networks.dedup_by_key(|(first, last, _)| (*first, *last));
        let mut ranges = Self { begins: Vec::new(), owners: Vec::new() };
        let mut open: Vec<Span<A>> = Vec::new();
        for network in networks {
            ranges.close(&mut open, &next, |last| last < network.0);
            ranges.begin(network.0, network.2);
            open.push(network);
        }
        ranges.close(&mut open, &next, |_| true);
        ranges.begins.shrink_to_fit();
        ranges.owners.shrink_to_fit();
        ranges
    }

    /// Ends the innermost networks while they are over.
    fn close(&mut self, open: &mut Vec<Span<A>>, next: impl Fn(A) -> Option<A>, is_over: impl Fn(A) -> bool) {
        while let Some((_, last, _)) = open.pop_if(|(_, last, _)| is_over(*last)) {
            let owner = open.last().map_or(NONE, |(_, _, place)| *place);
            // Nothing is behind the last address of all.
            if let Some(behind) = next(last) {
                self.begin(behind, owner);
            }
        }
    }

    fn begin(&mut self, at: A, owner: u32) {
        if self.begins.last() == Some(&at) {
            self.begins.pop();
            self.owners.pop();
        }
        self.begins.push(at);
        self.owners.push(owner);
    }

    fn find(&self, address: A) -> Option<u32> {
        let range = self.begins.partition_point(|begin| *begin <= address).checked_sub(1)?;
        self.owners.get(range).copied().filter(|owner| *owner != NONE)
    }

    fn bytes(&self) -> usize {
        self.begins.capacity() * size_of::<A>() + self.owners.capacity() * size_of::<u32>()
    }
}
