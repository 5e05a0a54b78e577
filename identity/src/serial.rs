//! The number of a certificate: random, never used twice, and the name by which it is taken back.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::rand;

use crate::error::IdentityError;

/// Bytes of a serial number.
const BYTES: usize = 16;

/// A certificate's serial number: 16 bytes, printed as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial([u8; BYTES]);

impl Serial {
    /// A new one, of 126 random bits. Its first two bits are 01: a positive number of 16 bytes.
    pub(crate) fn random() -> Result<Self, IdentityError> {
        let mut bytes = [0; BYTES];
        rand::fill(&mut bytes).map_err(|_| IdentityError::Cryptography("random bytes"))?;
        bytes[0] = bytes[0] & 0x3f | 0x40;
        Ok(Self(bytes))
    }

    /// From a certificate; none of ours is longer.
    pub(crate) fn from_certificate(number: &[u8]) -> Option<Self> {
        let mut bytes = [0; BYTES];
        let start = number.iter().position(|byte| *byte != 0)?;
        let number = &number[start..];
        bytes.get_mut(BYTES.checked_sub(number.len())?..)?.copy_from_slice(number);
        Some(Self(bytes))
    }

    pub(crate) const fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// From exactly 32 lower-case hexadecimal digits; one text a number.
impl FromStr for Serial {
    type Err = NoSerial;

    fn from_str(text: &str) -> Result<Self, NoSerial> {
        let mut bytes = [0; BYTES];
        read_hex(text, &mut bytes).ok_or(NoSerial)?;
        Ok(Self(bytes))
    }
}

/// A text is no serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a serial number has 32 digits of 0-9 and a-f")]
pub struct NoSerial;

/// Fills `bytes` from lower-case hexadecimal digits, exactly as many as there is room for.
pub(crate) fn read_hex(text: &str, bytes: &mut [u8]) -> Option<()> {
    let digits = text.as_bytes();
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_has_one_text() {
        let serial = Serial::random().expect("random bytes");
        assert_eq!(serial.to_string().parse(), Ok(serial));
        assert_eq!(serial.to_string().len(), 32);
        for wrong in ["", "0", &"A".repeat(32), &"0".repeat(33), &"g".repeat(32), "é"] {
            assert_eq!(wrong.parse::<Serial>(), Err(NoSerial), "{wrong}");
        }
    }

    #[test]
    fn a_certificate_s_number_is_right_aligned_and_bounded() {
        assert_eq!(Serial::from_certificate(&[0, 7]).expect("short").0[15], 7);
        assert_eq!(Serial::from_certificate(&[1; 17]), None);
        assert_eq!(Serial::from_certificate(&[0; 3]), None, "zero is nobody's");
        let serial = Serial::random().expect("random bytes");
        assert_eq!(Serial::from_certificate(serial.bytes()), Some(serial));
    }
}
