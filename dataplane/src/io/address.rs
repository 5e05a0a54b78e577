//! Socket addresses as the kernel lays them out, built and read without unsafe code.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Bytes of a `sockaddr_in6`, the longer of the two.
pub(crate) const ADDRESS_BYTES_MAX: usize = size_of::<libc::sockaddr_in6>();
const V4_BYTES: u32 = 16;
const V6_BYTES: u32 = 28;

#[expect(clippy::cast_possible_truncation, reason = "AF_INET is 2")]
const FAMILY_V4: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;
#[expect(clippy::cast_possible_truncation, reason = "AF_INET6 is 10")]
const FAMILY_V6: libc::sa_family_t = libc::AF_INET6 as libc::sa_family_t;

// The offsets below are those of ip(7) and ipv6(7).
const _: () = {
    assert!(std::mem::offset_of!(libc::sockaddr_in, sin_port) == 2);
    assert!(std::mem::offset_of!(libc::sockaddr_in, sin_addr) == 4);
    assert!(std::mem::offset_of!(libc::sockaddr_in6, sin6_flowinfo) == 4);
    assert!(std::mem::offset_of!(libc::sockaddr_in6, sin6_addr) == 8);
    assert!(std::mem::offset_of!(libc::sockaddr_in6, sin6_scope_id) == 24);
    assert!(size_of::<libc::sockaddr_in>() == V4_BYTES as usize);
    assert!(ADDRESS_BYTES_MAX == V6_BYTES as usize);
};

/// A `sockaddr_in` or `sockaddr_in6` with its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct KernelAddress {
    pub(crate) bytes: [u8; ADDRESS_BYTES_MAX],
    pub(crate) length: u32,
}

impl KernelAddress {
    /// No address.
    pub(crate) const EMPTY: Self = Self { bytes: [0; ADDRESS_BYTES_MAX], length: 0 };

    fn v4(address: SocketAddrV4) -> Self {
        let mut bytes = [0; ADDRESS_BYTES_MAX];
        bytes[..2].copy_from_slice(&FAMILY_V4.to_ne_bytes());
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        bytes[4..8].copy_from_slice(&address.ip().octets());
        Self { bytes, length: V4_BYTES }
    }

    fn v6(address: SocketAddrV6) -> Self {
        let mut bytes = [0; ADDRESS_BYTES_MAX];
        bytes[..2].copy_from_slice(&FAMILY_V6.to_ne_bytes());
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        bytes[4..8].copy_from_slice(&address.flowinfo().to_be_bytes());
        bytes[8..24].copy_from_slice(&address.ip().octets());
        bytes[24..28].copy_from_slice(&address.scope_id().to_ne_bytes());
        Self { bytes, length: V6_BYTES }
    }

    /// The `sockaddr` for a call that only reads it; null where there is no address, which a
    /// connected socket needs none of.
    #[inline]
    pub(crate) const fn pointer(&self) -> *const u8 {
        if self.length == 0 { std::ptr::null() } else { self.bytes.as_ptr() }
    }

    /// The address, `None` when it is of neither family.
    #[inline]
    #[must_use]
    pub fn read(&self) -> Option<SocketAddr> {
        let b = &self.bytes;
        let family = libc::sa_family_t::from_ne_bytes([b[0], b[1]]);
        let port = u16::from_be_bytes([b[2], b[3]]);
        if family == FAMILY_V4 && self.length >= V4_BYTES {
            return Some(SocketAddr::from((Ipv4Addr::new(b[4], b[5], b[6], b[7]), port)));
        }
        if family != FAMILY_V6 || self.length < V6_BYTES {
            return None;
        }
        let ip: [u8; 16] = b[8..24].try_into().ok()?;
        let flow = u32::from_be_bytes([b[4], b[5], b[6], b[7]]);
        let scope = u32::from_ne_bytes([b[24], b[25], b[26], b[27]]);
        Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into())
    }
}

impl From<SocketAddr> for KernelAddress {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::v4(address),
            SocketAddr::V6(address) => Self::v6(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip() {
        for text in ["127.0.0.1:9000", "255.255.255.255:65535", "[::1]:1", "[2001:db8::7:8]:443"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(KernelAddress::from(address).read(), Some(address));
        }
        let scoped = SocketAddrV6::new("ff02::1:2".parse().unwrap(), 5, 0x0102_0304, 7).into();
        assert_eq!(KernelAddress::from(scoped).read(), Some(scoped));
    }

    #[test]
    fn what_is_no_address_reads_as_none() {
        assert_eq!(KernelAddress::EMPTY.read(), None);
        let mut short = KernelAddress::from(SocketAddr::from(([1, 2, 3, 4], 5)));
        short.length = 8;
        assert_eq!(short.read(), None);
    }
}
