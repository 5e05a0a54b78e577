//! `Schema` for the types of the standard library that rkyv archives.
//!
//! Each name below is part of the fingerprint of every event that uses the type: never change one.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num;
use std::time::Duration;

use rkyv::Archive;

use super::{Schema, Shape};

/// Types whose archive is one value of fixed length.
macro_rules! flat {
    ($($kind:ty = $name:literal),+ $(,)?) => {$(
        impl Schema for $kind {
            const FINGERPRINT: u64 = Shape::of($name).finish();
            const FLAT: bool = true;
        }
    )+};
}

flat! {
    () = "()", bool = "bool", char = "char", f32 = "f32", f64 = "f64",
    u8 = "u8", u16 = "u16", u32 = "u32", u64 = "u64", u128 = "u128",
    i8 = "i8", i16 = "i16", i32 = "i32", i64 = "i64", i128 = "i128",
    num::NonZeroU8 = "nonzero-u8", num::NonZeroU16 = "nonzero-u16",
    num::NonZeroU32 = "nonzero-u32", num::NonZeroU64 = "nonzero-u64",
    num::NonZeroU128 = "nonzero-u128", num::NonZeroI8 = "nonzero-i8",
    num::NonZeroI16 = "nonzero-i16", num::NonZeroI32 = "nonzero-i32",
    num::NonZeroI64 = "nonzero-i64", num::NonZeroI128 = "nonzero-i128",
    Duration = "duration",
    Ipv4Addr = "ipv4", Ipv6Addr = "ipv6", IpAddr = "ip",
    SocketAddrV4 = "socket-v4", SocketAddrV6 = "socket-v6", SocketAddr = "socket",
}

impl Schema for String {
    const FINGERPRINT: u64 = Shape::of("string").finish();
}

impl Schema for str {
    const FINGERPRINT: u64 = Shape::of("str").finish();
}

impl<T: Schema + ?Sized> Schema for Box<T> {
    const FINGERPRINT: u64 = Shape::of("box").number(T::FINGERPRINT).finish();
}

impl<T: Schema + Archive> Schema for [T] {
    const FINGERPRINT: u64 = {
        // Otherwise a few bytes from outside could announce four thousand million elements.
        assert!(size_of::<T::Archived>() != 0, "a list of a type without bytes has no bound");
        Shape::of("slice").number(T::FINGERPRINT).finish()
    };
}

impl<T: Schema + Archive> Schema for Vec<T> {
    const FINGERPRINT: u64 = Shape::of("vec").number(<[T]>::FINGERPRINT).finish();
}

impl<T: Schema> Schema for Option<T> {
    const FINGERPRINT: u64 = Shape::of("option").number(T::FINGERPRINT).finish();
    const FLAT: bool = T::FLAT;
}

impl<T: Schema, const N: usize> Schema for [T; N] {
    const FINGERPRINT: u64 = Shape::of("array").number(T::FINGERPRINT).number(N as u64).finish();
    const FLAT: bool = T::FLAT;
}

impl<T: Schema> Schema for BTreeSet<T> {
    const FINGERPRINT: u64 = Shape::of("btree-set").number(T::FINGERPRINT).finish();
}

impl<K: Schema, V: Schema> Schema for BTreeMap<K, V> {
    const FINGERPRINT: u64 =
        Shape::of("btree-map").number(K::FINGERPRINT).number(V::FINGERPRINT).finish();
}

impl<T: ?Sized> Schema for PhantomData<T> {
    const FINGERPRINT: u64 = Shape::of("phantom").finish();
    const FLAT: bool = true;
}

macro_rules! tuples {
    ($($name:literal: $($kind:ident)+;)+) => {$(
        impl<$($kind: Schema),+> Schema for ($($kind,)+) {
            const FINGERPRINT: u64 =
                Shape::of($name)$(.number(<$kind as Schema>::FINGERPRINT))+.finish();
            const FLAT: bool = true $(&& <$kind as Schema>::FLAT)+;
        }
    )+};
}

tuples! {
    "tuple-1": A;
    "tuple-2": A B;
    "tuple-3": A B C;
    "tuple-4": A B C D;
    "tuple-5": A B C D E;
    "tuple-6": A B C D E F;
    "tuple-7": A B C D E F G;
    "tuple-8": A B C D E F G H;
}
