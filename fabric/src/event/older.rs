//! Versions of an event type: what an archive of an older one becomes here.
//!
//! Everything is put together by the compiler. Reading an older archive builds the owned event and
//! converts it, which allocates: control threads and tools do it, never a worker.

use wireloom_wire::Fingerprint;

use super::Event;
use crate::decode::{DecodeError, access, to_owned};
use crate::schema::{Description, Difference, differences, lines};

/// One version of an event type: what its frames carry, and what it looks like.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    /// The type's name, the same for all versions.
    pub type_name: &'static str,
    /// The version's number, from 1.
    pub number: u32,
    /// What frames carry of its schema.
    pub fingerprint: Fingerprint,
    /// What it looks like.
    pub description: &'static Description,
}

impl Version {
    /// The version that `E` is.
    #[must_use]
    pub const fn of<E: Event>() -> Self {
        Self {
            type_name: E::TYPE,
            number: E::VERSION,
            fingerprint: E::FINGERPRINT32,
            description: E::DESCRIPTION,
        }
    }

    /// What differs between this version, here, and another one, there: field by field.
    #[must_use]
    pub fn differences(&self, there: &Self) -> Vec<Difference> {
        differences(&lines(self.description), &lines(there.description))
    }
}

type Read<E> = fn(Fingerprint, &[u8]) -> Option<Result<E, DecodeError>>;

/// An older version of `E`, and how an `E` is made from its archive. The derive macro writes these
/// for `#[event(compatible_with = […])]`.
pub struct Older<E> {
    version: Version,
    serves: fn(Fingerprint) -> bool,
    read: Read<E>,
    each: fn(&mut dyn FnMut(Version)),
}

impl<E> std::fmt::Debug for Older<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Older").field(&self.version).finish()
    }
}

impl<E: Event> Older<E> {
    /// `F` as an older version of `E`; with it come those that `F` is made from.
    #[must_use]
    pub const fn of<F: Event>() -> Self
    where
        E: From<F>,
    {
        Self {
            version: Version::of::<F>(),
            serves: serves::<F>,
            read: |fingerprint, payload| {
                read::<F>(fingerprint, payload).map(|older| older.map(E::from))
            },
            each: each_version::<F>,
        }
    }

    /// Fails to compile when `F` cannot be an older version of `E`.
    pub const fn check<F: Event>() {
        assert!(
            is_same(F::TYPE, E::TYPE),
            "versions of an event have one type name: give the older type the same `type`"
        );
        assert!(
            F::VERSION < E::VERSION,
            "an older version has a lower number: give this type a higher `version`"
        );
        assert!(
            F::FINGERPRINT32.0 != E::FINGERPRINT32.0,
            "both versions have one 32-bit fingerprint: give this type another `version`"
        );
    }
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Whether an archive of this fingerprint can be read as `E`: it is its own, or that of a version
/// that `E` can be made from, directly or through others.
#[must_use]
pub fn serves<E: Event>(fingerprint: Fingerprint) -> bool {
    fingerprint == E::FINGERPRINT32 || E::OLDER.iter().any(|older| (older.serves)(fingerprint))
}

/// Calls `take` with every version that can be read as `E`, its own first.
pub fn each_version<E: Event>(take: &mut dyn FnMut(Version)) {
    take(Version::of::<E>());
    E::OLDER.iter().for_each(|older| (older.each)(take));
}

/// Reads an archive of `E` or of any version that `E` can be made from, and converts it; `None`
/// when the fingerprint is of none of them.
///
/// The archive is checked as what its fingerprint says. Allocates what the events own.
///
/// # Errors
///
/// As [`access`] and [`to_owned`], of the version that it was read as.
///
/// # Examples
///
/// ```
/// use wireloom::{Event, decode::{DecodeError, access}, encode::{Scratch, encode}, event::read};
///
/// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// #[event(type = "price-tick")]
/// struct PriceTickV1 { cents: u32 }
///
/// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// #[event(type = "price-tick", version = 2, compatible_with = [PriceTickV1])]
/// struct PriceTick { cents: u64, venue: String }
///
/// impl From<PriceTickV1> for PriceTick {
///     fn from(old: PriceTickV1) -> Self {
///         Self { cents: old.cents.into(), venue: "main".into() }
///     }
/// }
///
/// #[repr(align(16))]
/// struct Record([u8; 64]);
///
/// let mut record = Record([0; 64]);
/// let old = PriceTickV1 { cents: 1_250 };
/// let length = encode(&old, &mut record.0, &mut Scratch::default())?;
/// let tick: PriceTick = read(PriceTickV1::FINGERPRINT32, &record.0[..length]).expect("known")?;
/// assert_eq!((tick.cents, tick.venue.as_str()), (1_250, "main"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read<E: Event>(fingerprint: Fingerprint, payload: &[u8]) -> Option<Result<E, DecodeError>> {
    if fingerprint == E::FINGERPRINT32 {
        return Some(access::<E>(payload).and_then(to_owned));
    }
    E::OLDER.iter().find_map(|older| (older.read)(fingerprint, payload))
}
