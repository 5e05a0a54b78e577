//! Who may begin a handshake: so many a second from one address, and so many at a time.
//!
//! Sans-IO. What a stranger without a certificate can make this node compute is bounded here, what
//! it can make it hold by `session.rs`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::{LEAVING_MAX, SCRATCH_BYTES, SESSION_BYTES_MAX};
use crate::quota::Quota;

/// Addresses that are remembered; each has 32 bytes.
const ADDRESSES_MAX: usize = 1_024;

/// What strangers may ask of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeLimits {
    /// Handshakes of accepted sockets at a time: one more takes the place of the oldest. Default
    /// 64.
    pub at_a_time: usize,
    /// How long one may take, from its first byte to its last. Default 5 s.
    pub deadline: Duration,
    /// How many that do not end with a proved node may begin in a second from one IP address
    /// (IPv6: one /64). Default 20.
    pub per_second: u64,
    /// How many of them at once. Default 5.
    pub burst: u64,
}

impl Default for HandshakeLimits {
    fn default() -> Self {
        Self { at_a_time: 64, deadline: Duration::from_secs(5), per_second: 20, burst: 5 }
    }
}

impl HandshakeLimits {
    /// The most that lines hold which are no links: those whose handshakes go on, and those that
    /// are being left; with what all read into. Bytes that wait alone: the state of each connection
    /// (keys, certificates) is `rustls`' own and not counted.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        SCRATCH_BYTES + (self.at_a_time + LEAVING_MAX) * SESSION_BYTES_MAX
    }
}

/// The addresses that have begun handshakes lately.
#[derive(Debug)]
pub(super) struct Gate {
    whole: Quota,
    addresses: BTreeMap<IpAddr, Quota>,
}

impl Gate {
    pub(super) const fn new(limits: &HandshakeLimits) -> Self {
        let whole = Quota::new(limits.per_second, limits.burst);
        Self { whole, addresses: BTreeMap::new() }
    }

    /// Whether a socket from this address may begin. Where very many addresses come at once, new
    /// ones are let in: the number of handshakes at a time bounds them.
    pub(super) fn admit(&mut self, address: IpAddr, now_ns: u64) -> bool {
        let key = network_of(address);
        if !self.addresses.contains_key(&key) && self.addresses.len() >= ADDRESSES_MAX {
            self.addresses.retain(|_, quota| !quota.is_whole(now_ns));
            if self.addresses.len() >= ADDRESSES_MAX {
                return true;
            }
        }
        self.addresses.entry(key).or_insert(self.whole).take(now_ns)
    }

    /// A handshake from this address has ended with a node that proved itself: it counts no more,
    /// so that a hundred nodes of one host are in each other's way only until they are known.
    pub(super) fn prove(&mut self, address: IpAddr) {
        if let Some(quota) = self.addresses.get_mut(&network_of(address)) {
            quota.give_back();
        }
    }
}

/// What one stranger has: an IPv4 address, or the /64 of an IPv6 address.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn v4(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    #[test]
    fn an_address_has_a_burst_and_the_others_are_none_the_worse() {
        let mut gate = Gate::new(&HandshakeLimits::default());
        let now_ns = 10 * SECOND_NS;
        assert_eq!((0..100).filter(|_| gate.admit(v4(1), now_ns)).count(), 5);
        assert!(gate.admit(v4(2), now_ns));
        assert!(!gate.admit(v4(1), now_ns + 40_000_000), "20 a second");
        assert!(gate.admit(v4(1), now_ns + 51_000_000));
    }

    #[test]
    fn who_proves_itself_does_not_count() {
        let mut gate = Gate::new(&HandshakeLimits::default());
        let now_ns = 10 * SECOND_NS;
        assert!((0..5).all(|_| gate.admit(v4(1), now_ns)));
        gate.prove(v4(1));
        gate.prove(v4(2));
        assert!(gate.admit(v4(1), now_ns) && !gate.admit(v4(1), now_ns));
        assert_eq!(gate.addresses.len(), 1);
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_a_mapped_address_is_its_own() {
        let mut gate = Gate::new(&HandshakeLimits { burst: 1, ..HandshakeLimits::default() });
        let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert!(gate.admit(parse("2001:db8::1"), SECOND_NS));
        assert!(!gate.admit(parse("2001:db8::2"), SECOND_NS));
        assert!(gate.admit(parse("2001:db8:0:1::1"), SECOND_NS));
        assert!(gate.admit(parse("10.0.0.9"), SECOND_NS));
        assert!(!gate.admit(parse("::ffff:10.0.0.9"), SECOND_NS));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_whom_nothing_is_owed_by() {
        let mut gate = Gate::new(&HandshakeLimits::default());
        let now_ns = 10 * SECOND_NS;
        for number in 0..5_000 {
            assert!(gate.admit(v4(number), now_ns));
        }
        assert_eq!(gate.addresses.len(), ADDRESSES_MAX);
        assert!(gate.admit(v4(9_000), now_ns + SECOND_NS));
        assert_eq!(gate.addresses.len(), 1, "the others have gone");
    }
}
