//! Which of rkyv's own attributes change the archived bytes of a type or field.
//!
//! A derive sees the attributes meant for the other derives of the same type. Two declarations that
//! differ in one of these have different bytes, so the fingerprint must differ too. Folding too
//! much costs a refused event; folding too little would misread one.

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Meta};

/// Keys of `#[rkyv(…)]` that name things or bound generics and leave the bytes alone.
const WITHOUT_EFFECT: [&str; 13] = [
    "archived",
    "resolver",
    "crate",
    "derive",
    "compare",
    "bytecheck",
    "archive_bounds",
    "serialize_bounds",
    "deserialize_bounds",
    "omit_bounds",
    "getter",
    "other",
    "remote",
];

/// The arguments of `#[rkyv(…)]` in `attributes` that change the bytes, as text without spaces.
pub(crate) fn changes(attributes: &[Attribute]) -> Vec<String> {
    let mut found = Vec::new();
    for attribute in attributes.iter().filter(|one| one.path().is_ident("rkyv")) {
        let Meta::List(list) = &attribute.meta else { continue };
        for argument in arguments(&list.tokens) {
            let key = argument.first().map(ToString::to_string).unwrap_or_default();
            let tokens: TokenStream = argument.into_iter().collect();
            let silent = WITHOUT_EFFECT.contains(&key.as_str())
                || (key == "attr" && !mentions(&tokens, "repr"));
            if !silent {
                found.push(tokens.to_string().split_whitespace().collect());
            }
        }
    }
    found
}

/// Splits at every comma that is not inside brackets. `with = Map<A, B>` falls into two parts; both
/// are then folded, which is as good.
fn arguments(tokens: &TokenStream) -> Vec<Vec<TokenTree>> {
    let mut parts = vec![Vec::new()];
    for tree in tokens.clone() {
        match tree {
            TokenTree::Punct(punct) if punct.as_char() == ',' => parts.push(Vec::new()),
            other => parts.last_mut().expect("starts with one part").push(other),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Whether the identifier `word` stands anywhere in `tokens`.
pub(crate) fn mentions(tokens: &TokenStream, word: &str) -> bool {
    tokens.clone().into_iter().any(|tree| match tree {
        TokenTree::Ident(ident) => ident == word,
        TokenTree::Group(group) => mentions(&group.stream(), word),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::{Field, parse_quote};

    fn changes_of(field: &Field) -> Vec<String> {
        changes(&field.attrs)
    }

    #[test]
    fn what_changes_bytes_is_found() {
        let none: [&str; 0] = [];
        assert_eq!(changes_of(&parse_quote!(#[rkyv(with = AsBox)] a: u8)), ["with=AsBox"]);
        assert_eq!(changes_of(&parse_quote!(#[rkyv( with=AsBox )] a: u8)), ["with=AsBox"]);
        assert_eq!(changes_of(&parse_quote!(#[rkyv(niche)] a: u8)), ["niche"]);
        assert_eq!(changes_of(&parse_quote!(#[rkyv(attr(repr(align(16))))] a: u8)).len(), 1);
        assert_eq!(
            changes_of(&parse_quote!(#[rkyv(omit_bounds, with = Map<A, B>)] a: u8)),
            ["with=Map<A", "B>"]
        );
        assert_eq!(changes_of(&parse_quote!(#[rkyv(omit_bounds, derive(Debug))] a: u8)), none);
        assert_eq!(changes_of(&parse_quote!(#[rkyv(attr(doc = "x"))] a: u8)), none);
        assert_eq!(changes_of(&parse_quote!(#[serde(default)] a: u8)), none);
    }

    #[test]
    fn words_are_found_inside_brackets() {
        let tokens = parse_quote!(Vec<Option<(u8, [Tree; 2])>>);
        assert!(mentions(&tokens, "Tree"));
        assert!(!mentions(&tokens, "Tre"));
    }
}
