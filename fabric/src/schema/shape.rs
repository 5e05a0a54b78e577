//! What a type looks like, as data that the compiler puts together, and the number it folds to.
//!
//! The derive macro writes these; the fold is the protocol: what it folds, and in which order, may
//! never change.

use xxhash_rust::const_xxh3::xxh3_64;

use super::FORMAT;

/// A shape with its fingerprint.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The fingerprint of the shape.
    pub fingerprint: u64,
    /// The shape.
    pub shape: Shape,
}

impl Description {
    /// The description of this shape.
    #[must_use]
    pub const fn of(shape: Shape) -> Self {
        Self { fingerprint: shape.fingerprint(), shape }
    }
}

/// What a type looks like.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A type of the language or its library, such as `u64`.
    Named {
        /// Its name in fingerprints.
        name: &'static str,
    },
    /// A type that nobody looks into: its name stands for its bytes.
    Opaque {
        /// The name, with a version, such as `point-v1`.
        name: &'static str,
    },
    /// A type of the library made of others, such as a list.
    Made {
        /// Its name in fingerprints, such as `vec`.
        name: &'static str,
        /// What it is made of.
        of: &'static [&'static Description],
        /// How many elements it has, if its type says so.
        count: Option<u64>,
    },
    /// A struct.
    Struct {
        /// Attributes that change how it is archived.
        layout: &'static [&'static str],
        /// Its fields.
        fields: Fields,
    },
    /// An enum.
    Enum {
        /// Attributes that change how it is archived.
        layout: &'static [&'static str],
        /// Its variants, in order.
        variants: &'static [Variant],
    },
}

/// The fields of a struct or variant.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// How they are written.
    pub form: Form,
    /// The fields, in order.
    pub list: &'static [Field],
}

/// How the fields of a struct or variant are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In braces, with names.
    Named,
    /// In parentheses, by place.
    Tuple,
    /// Not at all.
    Unit,
}

/// A field of a struct or variant.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name; its place in a tuple.
    pub name: &'static str,
    /// Its type.
    pub of: &'static Description,
    /// Attributes that change how it is archived.
    pub layout: &'static [&'static str],
}

/// A variant of an enum.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Its name.
    pub name: &'static str,
    /// Its discriminant, if it is written.
    pub discriminant: Option<i64>,
    /// Its fields.
    pub fields: Fields,
}

impl Shape {
    /// The fingerprint: every part is folded in order, one `const` step each.
    #[must_use]
    pub const fn fingerprint(&self) -> u64 {
        match self {
            Self::Named { name } => Fold::of(name).0,
            Self::Opaque { name } => Fold::of("opaque").text(name).0,
            Self::Made { name, of, count } => {
                let mut fold = Fold::of(name);
                let mut at = 0;
                while at < of.len() {
                    fold = fold.number(of[at].fingerprint);
                    at += 1;
                }
                match count {
                    Some(count) => fold.number(*count).0,
                    None => fold.0,
                }
            }
            Self::Struct { layout, fields } => Fold::of("struct").layout(layout).fields(fields).0,
            Self::Enum { layout, variants } => {
                let mut fold = Fold::of("enum").layout(layout);
                fold = fold.text("variants").number(variants.len() as u64);
                let mut at = 0;
                while at < variants.len() {
                    fold = fold.variant(&variants[at]);
                    at += 1;
                }
                fold.0
            }
        }
    }
}

/// A fingerprint with the version of an event folded in.
pub(super) const fn fold_version(fingerprint: u64, version: u32) -> u64 {
    Fold(fingerprint).text("version").number(version as u64).0
}

/// Folds words and numbers into one number.
#[derive(Clone, Copy)]
struct Fold(u64);

impl Fold {
    const fn of(kind: &str) -> Self {
        Self(xxh3_64(FORMAT.as_bytes())).text(kind)
    }

    /// A word. Two words never fold to what one longer word folds to.
    const fn text(self, text: &str) -> Self {
        self.number(xxh3_64(text.as_bytes()))
    }

    /// A number: xxh3-64 over what is folded so far and the number, both little-endian.
    const fn number(self, number: u64) -> Self {
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

    const fn layout(mut self, attributes: &[&str]) -> Self {
        let mut at = 0;
        while at < attributes.len() {
            self = self.text("layout").text(attributes[at]);
            at += 1;
        }
        self
    }

    const fn fields(self, fields: &Fields) -> Self {
        let form = match fields.form {
            Form::Named => "named",
            Form::Tuple => "tuple",
            Form::Unit => "unit",
        };
        let mut fold = self.text(form).number(fields.list.len() as u64);
        let mut at = 0;
        while at < fields.list.len() {
            let Field { name, of, layout } = &fields.list[at];
            fold = fold.text(name).number(of.fingerprint).layout(layout);
            at += 1;
        }
        fold
    }

    const fn variant(self, variant: &Variant) -> Self {
        let mut fold = self.text("variant").text(variant.name);
        if let Some(value) = variant.discriminant {
            fold = fold.text("discriminant").number(u64::from_le_bytes(value.to_le_bytes()));
        }
        fold.fields(&variant.fields)
    }
}
