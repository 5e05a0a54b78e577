//! A shape as lines that people read, and what differs between two of them.
//!
//! Lines are data of their own, without references into a program: they can be printed, kept and
//! sent. Made on control threads and in tools.

use std::fmt;

use super::shape::{Description, Fields, Form, Shape};

/// Most lines of one description; what is beyond is left out, and the last line says so.
pub const LINES_MAX: usize = 1024;

/// One field, variant or version of a schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// Where it stands: names from the outside in, as in `legs[].price` or `choice::One.0`.
    pub path: String,
    /// Its type, or what kind of thing it is.
    pub kind: String,
}

/// The lines of a description: one for each field and variant, from the outside in.
#[must_use]
pub fn lines(description: &Description) -> Vec<Line> {
    let mut walk = Walk { lines: Vec::new() };
    match description.shape {
        Shape::Struct { layout, fields } => {
            walk.layout("", layout);
            walk.fields("", &fields);
        }
        _ => walk.inside("", description),
    }
    walk.lines
}

struct Walk {
    lines: Vec<Line>,
}

impl Walk {
    fn push(&mut self, path: &str, kind: String) -> bool {
        if self.lines.len() + 1 < LINES_MAX {
            self.lines.push(Line { path: path.to_owned(), kind });
            return true;
        }
        if self.lines.len() < LINES_MAX {
            self.lines.push(Line { path: "…".into(), kind: "more".into() });
        }
        false
    }

    fn layout(&mut self, path: &str, layout: &[&str]) {
        for attribute in layout {
            self.push(&format!("{path}#"), (*attribute).to_owned());
        }
    }

    fn fields(&mut self, path: &str, fields: &Fields) {
        for field in fields.list {
            let path = match (fields.form, path) {
                (_, "") => field.name.to_owned(),
                _ => format!("{path}.{}", field.name),
            };
            let mut kind = word(field.of);
            for attribute in field.layout {
                kind += &format!(" #[rkyv({attribute})]");
            }
            if !self.push(&path, kind) {
                return;
            }
            self.inside(&path, field.of);
        }
    }

    /// What stands in a type that has names inside.
    fn inside(&mut self, path: &str, description: &Description) {
        match description.shape {
            Shape::Named { .. } | Shape::Opaque { .. } => {}
            Shape::Made { name: "box" | "option", of, .. } => self.inside(path, of[0]),
            Shape::Made { name: "vec", of, .. } => {
                of.iter().for_each(|one| self.inside(path, one));
            }
            Shape::Made { name, of, .. } => {
                for (place, one) in of.iter().enumerate() {
                    let path = match name {
                        "slice" | "array" | "btree-set" => format!("{path}[]"),
                        "btree-map" if place == 0 => format!("{path}[key]"),
                        "btree-map" => format!("{path}[value]"),
                        _ => format!("{path}.{place}"),
                    };
                    self.inside(&path, one);
                }
            }
            Shape::Struct { layout, fields } => {
                self.layout(path, layout);
                self.fields(path, &fields);
            }
            Shape::Enum { layout, variants } => {
                self.layout(path, layout);
                for variant in variants {
                    let path = format!("{path}::{}", variant.name);
                    let kind = match variant.discriminant {
                        Some(value) => format!("variant = {value}"),
                        None => "variant".to_owned(),
                    };
                    if !self.push(&path, kind) {
                        return;
                    }
                    self.fields(&path, &variant.fields);
                }
            }
        }
    }
}

/// A type in a word or two; what has names inside is only called what it is.
fn word(description: &Description) -> String {
    match description.shape {
        Shape::Named { name } => name.to_owned(),
        Shape::Opaque { name } => format!("opaque {name:?}"),
        Shape::Struct { fields: Fields { form: Form::Tuple, .. }, .. } => "tuple struct".into(),
        Shape::Struct { .. } => "struct".into(),
        Shape::Enum { .. } => "enum".into(),
        Shape::Made { name, of, count } => {
            let inside: Vec<String> = of.iter().map(|one| word(one)).collect();
            let inside = inside.join(", ");
            match (name, count) {
                ("vec", _) => inside.replacen("slice<", "vec<", 1),
                (_, Some(count)) => format!("[{inside}; {count}]"),
                (name, None) if name.starts_with("tuple-") => format!("({inside})"),
                (name, None) => format!("{name}<{inside}>"),
            }
        }
    }
}

/// One thing in which two schemas of a type differ.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// It stands here and not there.
    Missing(Line),
    /// It stands there and not here.
    Unknown(Line),
    /// It stands in both, as something else.
    Kind {
        /// Where.
        path: String,
        /// What it is here.
        here: String,
        /// What it is there.
        there: String,
    },
    /// It stands in both, in another place among its neighbours.
    Place {
        /// Where.
        path: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(Line { path, kind }) => {
                write!(f, "{} `{path}` ({kind}) is missing there", noun(path))
            }
            Self::Unknown(Line { path, kind }) => {
                write!(f, "{} `{path}` ({kind}) is unknown here", noun(path))
            }
            Self::Kind { path, here, there } => {
                write!(f, "{} `{path}`: {here} here, {there} there", noun(path))
            }
            Self::Place { path } => {
                write!(f, "{} `{path}` stands in another place there", noun(path))
            }
        }
    }
}

/// What stands at a path.
fn noun(path: &str) -> &'static str {
    let last = path.rsplit('.').next().unwrap_or_default();
    if path.ends_with('#') {
        "layout"
    } else if last.contains("::") {
        "variant"
    } else {
        "field"
    }
}

/// What differs between the lines of a type here and there, field by field, in their order.
///
/// Empty when all lines are the same: then the versions differ, or the archive formats.
#[must_use]
pub fn differences(here: &[Line], there: &[Line]) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut common = Vec::new();
    for line in here {
        match there.iter().find(|other| other.path == line.path) {
            None => found.push(Difference::Missing(line.clone())),
            Some(other) if other.kind != line.kind => found.push(Difference::Kind {
                path: line.path.clone(),
                here: line.kind.clone(),
                there: other.kind.clone(),
            }),
            Some(_) => common.push(line.path.as_str()),
        }
    }
    let is_here = |line: &&Line| here.iter().any(|other| other.path == line.path);
    found.extend(there.iter().filter(|line| !is_here(line)).cloned().map(Difference::Unknown));
    let moved = there.iter().filter(|line| common.contains(&line.path.as_str())).zip(&common);
    let mut moved = moved.filter(|(line, path)| line.path != **path);
    if let Some((_, path)) = moved.next() {
        found.push(Difference::Place { path: (*path).to_owned() });
    }
    found
}
