//! The shape of a type as one number, computed when the type is compiled.
//!
//! An archive carries no description of itself, so two builds that disagree about a struct would
//! misread each other's bytes. Each frame therefore carries a fingerprint of the sender's type, and
//! a receiver whose type has another one refuses the event and counts it. This file owns how that
//! number comes about; it touches nothing at run time.
//!
//! The fingerprint is *structural*: it covers the names and order of fields and variants, explicit
//! discriminants, the fingerprints of the fields' types, the attributes of rkyv that change bytes,
//! and the archive format. It does not cover the type's own name, comments or visibility, so moving
//! and renaming a type keeps its fingerprint.
//!
//! Where two fingerprints differ, [`lines`] and [`differences`] say which field it is.

mod lines;
mod shape;
mod types;

pub use lines::{Difference, LINES_MAX, Line, differences, lines};
pub use shape::{Description, Field, Fields, Form, Shape, Variant};

use rkyv::primitive::ArchivedUsize;
use wireloom_wire::Fingerprint;

#[doc(inline)]
pub use wireloom_derive::Schema;

/// The archive format that every fingerprint starts from: builds with another one do not match.
pub const FORMAT: &str = "rkyv-0.8 little-endian pointer-32 aligned";

// The features of rkyv are shared by the whole build: another crate could switch them. These fail
// to compile when `FORMAT` no longer tells the truth.
const _: fn(rkyv::Archived<u32>) -> rkyv::rend::u32_le = |archived| archived;
const _: () = assert!(size_of::<ArchivedUsize>() == 4, "feature pointer_width_32 of rkyv is off");
const _: () = assert!(align_of::<rkyv::Archived<u64>>() == 8, "feature unaligned of rkyv is on");

/// A type whose shape has a fingerprint. Derive it; see the [macro](wireloom_derive::Schema).
///
/// Implemented for: integers of a stated width (also `NonZero`), floats, `bool`, `char`, `String`,
/// `Box`, `Box<str>`, `Box<[T]>`, `Vec`, `Option`, `BTreeMap`, `BTreeSet`, arrays, tuples of up to
/// eight, `()`, `Duration` and the addresses of `std::net`.
///
/// Not implemented, on purpose:
/// - `usize` and `isize`: an archive keeps 32 bits of them and drops the rest without a word. Use
///   `u32` or `u64`.
/// - `HashMap` and `HashSet`: the order of their bytes differs from run to run. Use `BTreeMap`.
/// - `Rc`, `Arc`, `Weak`: a shared pointer from outside can form a cycle. Use `Box`.
///
/// # Examples
///
/// ```
/// use wireloom::Schema;
///
/// #[derive(Schema, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// struct Position {
///     latitude: f64,
///     longitude: f64,
/// }
///
/// // The same fields under other names are another shape.
/// #[derive(Schema, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// struct Size {
///     width: f64,
///     height: f64,
/// }
///
/// assert_ne!(Position::FINGERPRINT, Size::FINGERPRINT);
/// ```
///
/// A type of another crate is named and versioned by hand:
///
/// ```
/// # mod other {
/// #     #[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// #     pub struct Uuid(pub [u8; 16]);
/// # }
/// #[derive(wireloom::Schema, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// struct Order {
///     #[schema(opaque = "uuid-v1")]
///     id: other::Uuid,
///     cents: u64,
/// }
/// ```
///
/// By hand, for a type whose bytes you archive yourself:
///
/// ```
/// use wireloom::{Schema, schema::Shape};
///
/// struct Celsius(f32);
///
/// impl Schema for Celsius {
///     const SHAPE: Shape = Shape::Opaque { name: "celsius-v1" };
/// }
/// # let _ = Celsius(0.0);
/// ```
///
/// A list whose elements have no bytes is refused: a few bytes from outside could announce any
/// number of them.
///
/// ```compile_fail,E0080
/// #[derive(wireloom::Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// #[event(type = "flood")]
/// struct Flood {
///     nothings: Vec<()>,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no schema, so an event cannot carry it",
    label = "no fingerprint is known for this type",
    note = "a type of yours: add #[derive(wireloom::Schema)] beside rkyv's derives",
    note = "a type of another crate: put #[schema(opaque = \"name-v1\")] on the field",
    note = "usize: use u32 or u64; HashMap: use BTreeMap; Rc or Arc: use Box"
)]
pub trait Schema {
    /// What the type looks like.
    const SHAPE: Shape;

    /// Whether the archive of a value is the value alone, nothing beside it: then its length is the
    /// same for every value, and a payload of any other length is refused. `false` is always safe.
    const FLAT: bool = false;

    /// The fingerprint of the shape: equal in every build that has the same shape and [`FORMAT`].
    /// It follows from the shape; do not say another.
    const FINGERPRINT: u64 = Self::SHAPE.fingerprint();

    /// The shape with its fingerprint, to be named by the shapes of other types. It follows from
    /// both; do not say another.
    const DESCRIPTION: &'static Description =
        &Description { fingerprint: Self::FINGERPRINT, shape: Self::SHAPE };
}

/// The fingerprint of a version of an event: that of its shape, and from version 2 on the version
/// too, so that one shape whose meaning has changed is another schema.
#[must_use]
pub const fn versioned(fingerprint: u64, version: u32) -> u64 {
    if version <= 1 {
        return fingerprint;
    }
    shape::fold_version(fingerprint, version)
}

/// The fingerprint as frames carry it: the low 32 bits, and never [`Fingerprint::NONE`].
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "the low half is what is meant")]
pub const fn fingerprint32(fingerprint: u64) -> Fingerprint {
    let low = fingerprint as u32;
    Fingerprint(if low == Fingerprint::NONE.0 { 1 } else { low })
}
