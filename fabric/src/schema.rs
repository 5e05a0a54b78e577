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

mod types;

use rkyv::primitive::ArchivedUsize;
use wireloom_wire::Fingerprint;
use xxhash_rust::const_xxh3::xxh3_64;

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
    /// The fingerprint of this shape. Equal in every build that has the same shape and [`FORMAT`].
    const FINGERPRINT: u64;

    /// Whether the archive of a value is the value alone, nothing beside it: then its length is the
    /// same for every value, and a payload of any other length is refused. `false` is always safe.
    const FLAT: bool = false;
}

/// Folds the parts of a shape into a fingerprint, in order. Every step is `const`.
///
/// The derive macro writes these calls; write them by hand only to implement [`Schema`] for a type
/// whose bytes you archive yourself.
///
/// ```
/// use wireloom::{Schema, schema::Shape};
///
/// struct Celsius(f32);
///
/// impl Schema for Celsius {
///     const FINGERPRINT: u64 = Shape::of("celsius").text("v1").finish();
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Shape(u64);

impl Shape {
    /// Starts a shape of this kind (`"struct"`, `"enum"`, or a name of your own).
    pub const fn of(kind: &str) -> Self {
        Self(xxh3_64(FORMAT.as_bytes())).text(kind)
    }

    /// Adds a word. Two words never fold to what one longer word folds to.
    pub const fn text(self, text: &str) -> Self {
        self.number(xxh3_64(text.as_bytes()))
    }

    /// Adds a number: xxh3-64 over what is folded so far and the number, both little-endian.
    pub const fn number(self, number: u64) -> Self {
        let (folded, added) = (self.0.to_le_bytes(), number.to_le_bytes());
        let mut block = [0; 16];
        let mut at = 0;
        while at < 8 {
            block[at] = folded[at];
            block[at + 8] = added[at];
            at += 1;
        }
        Self(xxh3_64(&block))
    }

    /// Opens an enum of `count` variants.
    pub const fn variants(self, count: usize) -> Self {
        self.text("variants").number(count as u64)
    }

    /// Adds an enum's next variant; its discriminant, if written, and its fields follow.
    pub const fn variant(self, name: &str) -> Self {
        self.text("variant").text(name)
    }

    /// Adds the explicit discriminant of the variant just added.
    pub const fn discriminant(self, value: i64) -> Self {
        self.text("discriminant").number(u64::from_le_bytes(value.to_le_bytes()))
    }

    /// Opens the `count` fields of a struct or variant; `kind` is `named`, `tuple` or `unit`.
    pub const fn fields(self, kind: &str, count: usize) -> Self {
        self.text(kind).number(count as u64)
    }

    /// Adds a field: its name (its place in a tuple) and its type's fingerprint.
    pub const fn field(self, name: &str, fingerprint: u64) -> Self {
        self.text(name).number(fingerprint)
    }

    /// Adds an attribute that changes how the type or field just added is archived.
    pub const fn layout(self, attribute: &str) -> Self {
        self.text("layout").text(attribute)
    }

    /// The fingerprint.
    pub const fn finish(self) -> u64 {
        self.0
    }
}

/// The fingerprint as frames carry it: the low 32 bits, and never [`Fingerprint::NONE`].
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "the low half is what is meant")]
pub const fn fingerprint32(fingerprint: u64) -> Fingerprint {
    let low = fingerprint as u32;
    Fingerprint(if low == Fingerprint::NONE.0 { 1 } else { low })
}
