//! What an event is about, as a number: events of one key are about one thing.

use rkyv::boxed::ArchivedBox;
use rkyv::rend::{char_le, i16_le, i32_le, i64_le, i128_le, u16_le, u32_le, u64_le, u128_le};
use rkyv::string::ArchivedString;
use xxhash_rust::xxh3::xxh3_64;

/// A value that can be the key of an event: a field that `#[event(key = "…")]` names.
///
/// Numbers of one value have one key whatever their width, texts of one content whatever their
/// type, and a value and its archive the same, in every build: the xxh3-64 of the number as 16
/// little-endian bytes, or of the bytes of the text.
///
/// Implemented for integers, `bool`, `char`, `String`, `Box<str>`, `[u8; N]` and their archives.
/// For a type of yours, implement it for the type and for its archive.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of an event",
    label = "an integer, bool, char, text or [u8; N] can",
    note = "for a type of yours, implement wireloom::event::Key for it and for its archive"
)]
pub trait Key {
    /// The key.
    fn key(&self) -> u64;
}

macro_rules! numbers {
    ($($kind:ty: $value:expr;)+) => {$(
        impl Key for $kind {
            #[inline]
            fn key(&self) -> u64 {
                let value: fn(&Self) -> i128 = $value;
                xxh3_64(&value(self).to_le_bytes())
            }
        }
    )+};
}

numbers! {
    bool: |one| i128::from(*one);
    u8: |one| i128::from(*one);
    u16: |one| i128::from(*one);
    u32: |one| i128::from(*one);
    u64: |one| i128::from(*one);
    i8: |one| i128::from(*one);
    i16: |one| i128::from(*one);
    i32: |one| i128::from(*one);
    i64: |one| i128::from(*one);
    i128: |one| *one;
    u128: |one| i128::from_le_bytes(one.to_le_bytes());
    char: |one| i128::from(u32::from(*one));
    u16_le: |one| i128::from(one.to_native());
    u32_le: |one| i128::from(one.to_native());
    u64_le: |one| i128::from(one.to_native());
    i16_le: |one| i128::from(one.to_native());
    i32_le: |one| i128::from(one.to_native());
    i64_le: |one| i128::from(one.to_native());
    i128_le: |one| one.to_native();
    u128_le: |one| i128::from_le_bytes(one.to_native().to_le_bytes());
    char_le: |one| i128::from(u32::from(one.to_native()));
}

macro_rules! texts {
    ($($kind:ty)+) => {$(
        impl Key for $kind {
            #[inline]
            fn key(&self) -> u64 {
                xxh3_64(self.as_bytes())
            }
        }
    )+};
}

texts! { str String Box<str> ArchivedString ArchivedBox<str> }

impl<const N: usize> Key for [u8; N] {
    #[inline]
    fn key(&self) -> u64 {
        xxh3_64(self)
    }
}
