//! Little-endian loads and stores at fixed places of fixed-size headers.
//!
//! Offsets are constants of the caller, so that the bounds checks vanish when compiled.

/// Two bytes at `at`.
#[inline(always)]
pub(crate) const fn u16_at<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Four bytes at `at`.
#[inline(always)]
pub(crate) const fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Eight bytes at `at`.
#[inline(always)]
pub(crate) const fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    (u32_at(bytes, at) as u64) | ((u32_at(bytes, at + 4) as u64) << 32)
}

/// Writes `value` at `at`.
#[inline(always)]
pub(crate) fn put<const N: usize, const M: usize>(into: &mut [u8; N], at: usize, value: [u8; M]) {
    into[at..at + M].copy_from_slice(&value);
}

/// Whether every byte is zero. Looks at all of them, a vector register at a time.
#[inline]
pub(crate) fn all_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |seen, byte| seen | byte) == 0
}
