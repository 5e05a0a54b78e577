//! Reads an event out of bytes that came from outside.
//!
//! [`access`] checks the whole archive before it gives out a reference, always: nothing in this
//! crate reads an archive unchecked. It allocates nothing and copies nothing; [`to_owned`] builds
//! the owned event where one is wanted, and that allocates what the event owns.

use std::num::NonZeroUsize;

use rkyv::api::{access_with_context, low};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::{Failure, Strategy};
use rkyv::util::AlignedVec;
use rkyv::validation::Validator;
use rkyv::validation::archive::ArchiveValidator;
use rkyv::{Archive, Portable};
use wireloom_wire::ALIGNMENT;

use crate::event::Event;
use crate::schema::Schema;

/// How deep an archive may nest (a box, list or string in another), so that checking one from
/// outside cannot exhaust the stack. As deep as the JSON that the codec accepts.
///
/// An event nested deeper can be encoded, and is then refused wherever it is read.
pub const DEPTH_MAX: usize = 128;

/// Two more: the event itself counts, and the validator refuses when what is left reaches zero.
const DEPTH_LEFT: Option<NonZeroUsize> = NonZeroUsize::new(DEPTH_MAX + 2);

/// Why a payload is not an archive of the event asked for. Nothing was read as that event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The payload does not start on a 16-byte boundary.
    #[error("the payload does not start on a 16-byte boundary: copy it to aligned memory first")]
    Misaligned,
    /// The event has one length and the payload another.
    #[error("the payload has {found} bytes where every event of this type has {expected}")]
    Length {
        /// The length of every archive of this event.
        expected: usize,
        /// The length of the payload.
        found: usize,
    },
    /// The bytes are not an archive of this event: cut, flipped, of another type, or nested deeper
    /// than [`DEPTH_MAX`].
    #[error("the payload is not an archive of this event: it was damaged or is of another type")]
    Invalid,
    /// The archive is sound, but a field's own `#[rkyv(with = …)]` could not rebuild its value.
    #[error("a field of the event could not be rebuilt: look at its #[rkyv(with = …)]")]
    Unbuildable,
}

type Checker<'a> = Strategy<Validator<ArchiveValidator<'a>, ()>, Failure>;

/// A type whose archive can be checked, and turned back into the type.
///
/// Every type that derives `rkyv::Archive` and `rkyv::Deserialize` has it; there is nothing to
/// write.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from an archive",
    label = "its rkyv::Deserialize is missing",
    note = "add #[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)] to it; Rc and Arc \
            cannot be read"
)]
pub trait Decode: Archive<Archived: Checked + Rebuild<Self>> + Sized {}

impl<T> Decode for T where T: Archive<Archived: Checked + Rebuild<T>> {}

/// The archived form of an event: can be checked. Implemented for everything that can be.
#[doc(hidden)]
pub trait Checked: Portable + for<'a> CheckBytes<Checker<'a>> {}

impl<T> Checked for T where T: Portable + for<'a> CheckBytes<Checker<'a>> {}

/// The archived form of an event: can be turned back. Implemented for everything that can be.
#[doc(hidden)]
pub trait Rebuild<E>: rkyv::Deserialize<E, low::LowDeserializer<Failure>> {}

impl<T, E> Rebuild<E> for T where T: rkyv::Deserialize<E, low::LowDeserializer<Failure>> {}

/// Checks that `payload` is an archive of `E` and gives the archived event in place.
///
/// `payload` ends where the archive ends and starts on a 16-byte boundary, as a frame's payload
/// does. Any bytes at all may be given: the answer is an error, never a panic, and what was
/// accepted is safe to read everywhere. Whether it *means* what was sent is the checksum's word,
/// not this one's: an archive has no seal of its own, and a flipped digit is still a digit. Events
/// that are [flat](Schema::FLAT) are also refused at any length but their own.
///
/// Allocates nothing. Cost grows with the number of elements, not of bytes, and is a few
/// nanoseconds for a flat struct.
///
/// # Errors
///
/// [`DecodeError::Misaligned`], [`DecodeError::Length`] or [`DecodeError::Invalid`].
#[inline]
pub fn access<E: Event>(payload: &[u8]) -> Result<&E::Archived, DecodeError> {
    const {
        assert!(
            align_of::<E::Archived>() <= ALIGNMENT,
            "the archived event wants an alignment that payloads do not have"
        );
    }
    if !payload.as_ptr().addr().is_multiple_of(ALIGNMENT) {
        return Err(DecodeError::Misaligned);
    }
    if <E as Schema>::FLAT && payload.len() != size_of::<E::Archived>() {
        let (expected, found) = (size_of::<E::Archived>(), payload.len());
        return Err(DecodeError::Length { expected, found });
    }
    let archive = ArchiveValidator::with_max_depth(payload, DEPTH_LEFT);
    access_with_context::<_, _, Failure>(payload, &mut Validator::new(archive, ()))
        .map_err(|Failure| DecodeError::Invalid)
}

/// Builds the owned event from an archived one that [`access`] gave.
///
/// Allocates what the event owns, at most a few times the length of the archive.
///
/// # Errors
///
/// [`DecodeError::Unbuildable`] when a field's own `#[rkyv(with = …)]` cannot rebuild its value;
/// no type that [has a schema](Schema) of its own does that.
#[inline]
pub fn to_owned<E: Event>(archived: &E::Archived) -> Result<E, DecodeError> {
    low::deserialize::<E, Failure>(archived).map_err(|Failure| DecodeError::Unbuildable)
}

/// Checks that `payload` is an archive of `E` and builds the owned event. For tools and files: a
/// payload that is not 16-aligned is copied first.
///
/// # Errors
///
/// As [`access`] and [`to_owned`], but never [`DecodeError::Misaligned`].
pub fn deserialize<E: Event>(payload: &[u8]) -> Result<E, DecodeError> {
    if payload.as_ptr().addr().is_multiple_of(ALIGNMENT) {
        return to_owned(access::<E>(payload)?);
    }
    let mut copy = AlignedVec::<ALIGNMENT>::with_capacity(payload.len());
    copy.extend_from_slice(payload);
    to_owned(access::<E>(&copy)?)
}
