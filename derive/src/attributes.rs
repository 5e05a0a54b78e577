//! Reads `#[event(…)]` and `#[schema(…)]` and words the errors about them.
//!
//! Owned by the two macros; it reads attributes and generates nothing.

use std::net::SocketAddr;

use proc_macro2::{Ident, Span};
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, LitInt, LitStr, Path, Result, Token, bracketed, parse_quote, token};

use crate::duration::nanoseconds;

/// Longest type name, in bytes: its length travels in one byte.
const TYPE_NAME_BYTES_MAX: usize = 255;

/// The five priorities, most urgent first, with the variant each one names.
pub(crate) const PRIORITIES: [(&str, &str); 5] = [
    ("critical", "Critical"),
    ("high", "High"),
    ("normal", "Normal"),
    ("low", "Low"),
    ("background", "Background"),
];

/// What `#[event(…)]` on a type says.
pub(crate) struct EventAttributes {
    /// `type`: the event's name on the wire.
    pub(crate) type_name: LitStr,
    /// `priority`: the variant of `Priority`, already checked.
    pub(crate) priority: Ident,
    /// `multicast`: `group:port`, already checked.
    pub(crate) multicast: Option<LitStr>,
    /// `deadline`: how long an event lives, ns.
    pub(crate) deadline_ns: Option<u64>,
    /// `key`: the name of a field.
    pub(crate) key: Option<LitStr>,
    /// `signed`: its events are proven by who publishes them.
    pub(crate) signed: bool,
    /// `version`: from 1.
    pub(crate) version: u32,
    /// `compatible_with`: the older versions.
    pub(crate) older: Vec<Path>,
    /// `crate`: where the crate `wireloom` is.
    pub(crate) crate_path: Path,
}

/// Every key of `#[event(…)]`.
const EVENT_KEYS: [&str; 9] = [
    "type",
    "priority",
    "multicast",
    "deadline",
    "key",
    "signed",
    "version",
    "compatible_with",
    "crate",
];

impl EventAttributes {
    /// Reads them all; `ident` is the type's name, where the error points when there is nothing.
    pub(crate) fn parse(attributes: &[Attribute], ident: &Ident) -> Result<Self> {
        let mut type_name = Once::<LitStr>::new("type");
        let mut priority = Once::<LitStr>::new("priority");
        let mut multicast = Once::<LitStr>::new("multicast");
        let mut deadline = Once::<LitStr>::new("deadline");
        let mut field = Once::<LitStr>::new("key");
        let mut signed = Once::<Word>::new("signed");
        let mut version = Once::<LitInt>::new("version");
        let mut older = Once::<Paths>::new("compatible_with");
        let mut crate_path = Once::<LitStr>::new("crate");
        for attribute in attributes.iter().filter(|one| one.path().is_ident("event")) {
            attribute.parse_nested_meta(|meta| match key(&meta).as_str() {
                "type" => type_name.read(&meta),
                "priority" => priority.read(&meta),
                "multicast" => multicast.read(&meta),
                "deadline" => deadline.read(&meta),
                "key" => field.read(&meta),
                "signed" => signed.read_word(&meta),
                "version" => version.read(&meta),
                "compatible_with" => older.read(&meta),
                "crate" => crate_path.read(&meta),
                other => Err(meta.error(unknown_key("event", other, &EVENT_KEYS))),
            })?;
        }
        let Some(type_name) = type_name.value else {
            return Err(Error::new(ident.span(), missing_type_name(ident)));
        };
        check_type_name(&type_name.value()).map_err(|why| Error::new(type_name.span(), why))?;
        if let Some(group) = &multicast.value {
            check_multicast(&group.value()).map_err(|why| Error::new(group.span(), why))?;
        }
        let version = version_of(version.value.as_ref())?;
        Ok(Self {
            type_name,
            priority: priority_variant(priority.value.as_ref())?,
            multicast: multicast.value,
            deadline_ns: deadline.value.as_ref().map(deadline_ns).transpose()?,
            key: field.value,
            signed: signed.value.is_some(),
            version,
            older: older_than(version, older.value)?,
            crate_path: crate_path_of(crate_path.value.as_ref())?,
        })
    }
}

/// One path, or several in brackets.
struct Paths(Vec<Path>);

impl Parse for Paths {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if !input.peek(token::Bracket) {
            return Ok(Self(vec![input.parse()?]));
        }
        let inside;
        let bracket = bracketed!(inside in input);
        let paths = Punctuated::<Path, Token![,]>::parse_terminated(&inside)?;
        if paths.is_empty() {
            let message = "name the older types that this one can be made from, as in \
                           [PriceTickV1]";
            return Err(Error::new(bracket.span.join(), message));
        }
        Ok(Self(paths.into_iter().collect()))
    }
}

fn version_of(version: Option<&LitInt>) -> Result<u32> {
    let Some(literal) = version else { return Ok(1) };
    match literal.base10_parse() {
        Ok(version) if version > 0 => Ok(version),
        _ => Err(Error::new(literal.span(), "a version is a number from 1 to 4294967295")),
    }
}

/// The older versions, which there can be from version 2 on.
fn older_than(version: u32, older: Option<Paths>) -> Result<Vec<Path>> {
    let paths = older.map(|paths| paths.0).unwrap_or_default();
    match paths.first() {
        Some(first) if version == 1 => {
            let message = "there is nothing older than version 1: say `version = 2` as well";
            Err(Error::new_spanned(first, message))
        }
        _ => Ok(paths),
    }
}

fn deadline_ns(literal: &LitStr) -> Result<u64> {
    nanoseconds(&literal.value()).map_err(|why| Error::new(literal.span(), why))
}

/// What `#[schema(…)]` on a type says: the path of the crate `wireloom`.
pub(crate) fn schema_crate_path(attributes: &[Attribute]) -> Result<Path> {
    let mut crate_path = Once::<LitStr>::new("crate");
    for attribute in attributes.iter().filter(|one| one.path().is_ident("schema")) {
        attribute.parse_nested_meta(|meta| match key(&meta).as_str() {
            "crate" => crate_path.read(&meta),
            "opaque" => {
                Err(meta.error("`opaque` stands on a field, in place of that field's type"))
            }
            other => Err(meta.error(unknown_key("schema", other, &["crate"]))),
        })?;
    }
    crate_path_of(crate_path.value.as_ref())
}

/// What `#[schema(…)]` on a field says: the opaque name, if there is one.
pub(crate) fn field_opaque(attributes: &[Attribute]) -> Result<Option<LitStr>> {
    let mut opaque = Once::<LitStr>::new("opaque");
    for attribute in attributes.iter().filter(|one| one.path().is_ident("schema")) {
        attribute.parse_nested_meta(|meta| match key(&meta).as_str() {
            "opaque" => opaque.read(&meta),
            "crate" => Err(meta.error("`crate` stands on the type, not on a field")),
            other => Err(meta.error(unknown_key("schema", other, &["opaque"]))),
        })?;
    }
    match opaque.value {
        Some(name) if name.value().is_empty() => Err(Error::new(
            name.span(),
            "an opaque name must not be empty: name the type and its version, as in \"point-v1\"",
        )),
        other => Ok(other),
    }
}

/// Refuses `#[schema(…)]` and `#[event(…)]` where they would say nothing, such as on a variant.
pub(crate) fn refuse_on_variant(attributes: &[Attribute]) -> Result<()> {
    for attribute in attributes {
        if attribute.path().is_ident("schema") || attribute.path().is_ident("event") {
            return Err(Error::new_spanned(attribute, "this attribute says nothing on a variant"));
        }
    }
    Ok(())
}

/// A key that may be given once.
struct Once<T> {
    name: &'static str,
    value: Option<T>,
}

impl<T> Once<T> {
    fn new(name: &'static str) -> Self {
        Self { name, value: None }
    }
}

impl<T: Parse> Once<T> {
    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if self.value.is_some() {
            return Err(meta.error(format!("`{}` is given twice", self.name)));
        }
        self.value = Some(meta.value()?.parse()?);
        Ok(())
    }
}

/// A key that says all by being there.
struct Word;

impl Once<Word> {
    fn read_word(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if self.value.replace(Word).is_some() {
            return Err(meta.error(format!("`{}` is given twice", self.name)));
        }
        if meta.input.peek(Token![=]) {
            return Err(meta.error(format!("`{0}` takes no value: write `{0}` alone", self.name)));
        }
        Ok(())
    }
}

/// The key as text; keywords such as `type` and `crate` included.
fn key(meta: &ParseNestedMeta<'_>) -> String {
    let words: Vec<String> = meta.path.segments.iter().map(|one| one.ident.to_string()).collect();
    words.join("::")
}

fn crate_path_of(path: Option<&LitStr>) -> Result<Path> {
    path.map_or_else(|| Ok(parse_quote!(::wireloom)), LitStr::parse)
}

fn priority_variant(priority: Option<&LitStr>) -> Result<Ident> {
    let Some(literal) = priority else {
        return Ok(Ident::new("Normal", Span::call_site()));
    };
    let word = literal.value();
    let known = PRIORITIES.iter().find(|(name, _)| *name == word);
    known.map(|(_, variant)| Ident::new(variant, literal.span())).ok_or_else(|| {
        let names: Vec<&str> = PRIORITIES.iter().map(|(name, _)| *name).collect();
        let message = format!("unknown priority \"{word}\": it is one of {}", names.join(", "));
        Error::new(literal.span(), message)
    })
}

fn missing_type_name(ident: &Ident) -> String {
    format!(
        "an event needs a type name: add #[event(type = \"{}\")]",
        kebab_case(&ident.to_string())
    )
}

/// Whether `name` may name an event type; the reason if not. The same rule as
/// `wireloom::event::is_type_name`, which every event's `TYPE_ID` passes too, so that a drift of
/// the two fails to compile.
fn check_type_name(name: &str) -> core::result::Result<(), String> {
    if name.is_empty() {
        return Err("the event's type name is empty: it has 1 to 255 bytes".to_owned());
    }
    if name.len() > TYPE_NAME_BYTES_MAX {
        return Err(format!(
            "the event's type name has {} bytes: at most {TYPE_NAME_BYTES_MAX} are allowed",
            name.len()
        ));
    }
    let allowed = |one: char| matches!(one, 'a'..='z' | '0'..='9' | '-' | '.' | '_');
    name.chars().find(|one| !allowed(*one)).map_or(Ok(()), |one| {
        Err(format!(
            "the event's type name has {one:?}: only a-z, 0-9, '-', '.' and '_' are allowed"
        ))
    })
}

/// Whether `text` is `group:port` of a multicast group; the reason if not.
fn check_multicast(text: &str) -> core::result::Result<(), String> {
    let sample = "write group:port, as in \"224.1.1.1:9000\" or \"[ff15::1]:9000\"";
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Err(format!("\"{text}\" is not a group with a port: {sample}"));
    };
    if !address.ip().is_multicast() {
        return Err(format!("{} is not a multicast group: {sample}", address.ip()));
    }
    if address.port() == 0 {
        return Err(format!("port 0 cannot be sent to: {sample}"));
    }
    Ok(())
}

/// The error for a key nobody knows: the nearest known key, and all of them.
pub(crate) fn unknown_key(attribute: &str, word: &str, keys: &[&str]) -> String {
    let list = keys.join(", ");
    match nearest(word, keys) {
        Some(near) => format!(
            "unknown key `{word}` in #[{attribute}(…)]: did you mean `{near}`? (keys: {list})"
        ),
        None => format!("unknown key `{word}` in #[{attribute}(…)] (keys: {list})"),
    }
}

/// The known word with the fewest edits from `word`, if they are few enough to be a slip.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let (edits, near) = known.iter().map(|one| (edits(word, one), *one)).min()?;
    (edits <= near.len().div_ceil(2)).then_some(near)
}

/// Levenshtein's distance: insertions, deletions and replacements that turn `from` into `to`.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, one) in from.chars().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(one != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

/// `UserInteraction` becomes `user-interaction`: the name to propose.
fn kebab_case(ident: &str) -> String {
    let mut name = String::new();
    for one in ident.trim_start_matches("r#").chars() {
        if one.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(one.to_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names() {
        for good in ["a", "user-interaction", "v1.price_tick", "0", &"x".repeat(255)] {
            assert_eq!(check_type_name(good), Ok(()), "{good}");
        }
        for bad in ["", "User", "a b", "a/b", "é", "a\0", "a:b", &"x".repeat(256)] {
            assert!(check_type_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn groups() {
        for good in ["224.1.1.1:9000", "239.255.0.1:1", "[ff02::1]:65535"] {
            assert_eq!(check_multicast(good), Ok(()), "{good}");
        }
        for bad in ["", "224.1.1.1", "10.0.0.1:9000", "224.1.1.1:0", "[fe80::1]:9", "host:9000"] {
            assert!(check_multicast(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_slip_finds_its_word_and_nonsense_finds_none() {
        let keys = ["type", "priority", "multicast", "crate"];
        assert_eq!(nearest("priorty", &keys), Some("priority"));
        assert_eq!(nearest("typ", &keys), Some("type"));
        assert_eq!(nearest("multi_cast", &keys), Some("multicast"));
        assert_eq!(nearest("colour", &keys), None);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("same", "same"), 0);
    }

    #[test]
    fn proposed_names_are_allowed_names() {
        for (ident, name) in [
            ("UserInteraction", "user-interaction"),
            ("Tick", "tick"),
            ("HTTPError", "h-t-t-p-error"),
            ("r#Loop", "loop"),
        ] {
            assert_eq!(kebab_case(ident), name);
            assert_eq!(check_type_name(name), Ok(()));
        }
    }
}
