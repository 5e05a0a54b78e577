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
            const SHAPE: Shape = Shape::Named { name: $name };
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
    const SHAPE: Shape = Shape::Named { name: "string" };
}

impl Schema for str {
    const SHAPE: Shape = Shape::Named { name: "str" };
}

impl<T: Schema + ?Sized> Schema for Box<T> {
    const SHAPE: Shape = Shape::Made { name: "box", of: &[T::DESCRIPTION], count: None };
}

impl<T: Schema + Archive> Schema for [T] {
    const SHAPE: Shape = {
        // Otherwise a few bytes from outside could announce four thousand million elements.
        assert!(size_of::<T::Archived>() != 0, "a list of a type without bytes has no bound");
        Shape::Made { name: "slice", of: &[T::DESCRIPTION], count: None }
    };
}

impl<T: Schema + Archive> Schema for Vec<T> {
    const SHAPE: Shape = Shape::Made { name: "vec", of: &[<[T]>::DESCRIPTION], count: None };
}

impl<T: Schema> Schema for Option<T> {
    const SHAPE: Shape = Shape::Made { name: "option", of: &[T::DESCRIPTION], count: None };
    const FLAT: bool = T::FLAT;
}

impl<T: Schema, const N: usize> Schema for [T; N] {
    const SHAPE: Shape =
        Shape::Made { name: "array", of: &[T::DESCRIPTION], count: Some(N as u64) };
    const FLAT: bool = T::FLAT;
}

impl<T: Schema> Schema for BTreeSet<T> {
    const SHAPE: Shape = Shape::Made { name: "btree-set", of: &[T::DESCRIPTION], count: None };
}

impl<K: Schema, V: Schema> Schema for BTreeMap<K, V> {
    const SHAPE: Shape =
        Shape::Made { name: "btree-map", of: &[K::DESCRIPTION, V::DESCRIPTION], count: None };
}

impl<T: ?Sized> Schema for PhantomData<T> {
    const SHAPE: Shape = Shape::Named { name: "phantom" };
    const FLAT: bool = true;
}

macro_rules! tuples {
    ($($name:literal: $($kind:ident)+;)+) => {$(
        impl<$($kind: Schema),+> Schema for ($($kind,)+) {
            const SHAPE: Shape = Shape::Made {
                name: $name,
                of: &[$(<$kind as Schema>::DESCRIPTION),+],
                count: None,
            };
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
