//! Generates `impl Event`: the type name, the priority, the group, the deadline, the key, the older
//! versions.
//!
//! What can be computed from those (type id, 32-bit fingerprint) the trait computes itself.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Index, LitStr, Member, Path, Result};

use crate::attributes::EventAttributes;
use crate::schema;

/// Both implementations, and a constant that computes the fingerprint even if nobody asks, so that
/// a shape without a bound is refused where it is declared.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    if let Data::Union(data) = &input.data {
        return Err(Error::new_spanned(data.union_token, schema::NO_UNIONS));
    }
    let attributes = EventAttributes::parse(&input.attrs, &input.ident)?;
    if !input.generics.params.is_empty() {
        let message = "an event is one concrete type: a type name has one shape on the wire, so \
                       an event has no type parameters or lifetimes. Give the field a \
                       concrete type";
        return Err(Error::new_spanned(&input.generics, message));
    }
    let root = &attributes.crate_path;
    let schema = schema::implementation(input, root)?;
    let ident = &input.ident;
    let (type_name, priority) = (&attributes.type_name, &attributes.priority);
    let multicast = match &attributes.multicast {
        Some(group) => quote!(::core::option::Option::Some(#group)),
        None => quote!(::core::option::Option::None),
    };
    let deadline = match attributes.deadline_ns {
        Some(ns) => {
            quote!(::core::option::Option::Some(::core::time::Duration::from_nanos(#ns)))
        }
        None => quote!(::core::option::Option::None),
    };
    let key = attributes.key.as_ref().map(|name| key(input, name, root)).transpose()?;
    let (signed, version) = (attributes.signed, attributes.version);
    let older = attributes
        .older
        .iter()
        .map(|older| quote_spanned!(older.span()=> <#root::event::Older::<Self>>::of::<#older>()));
    let checks = attributes.older.iter().map(|older| {
        let check =
            quote_spanned!(older.span()=> <#root::event::Older::<#ident>>::check::<#older>());
        quote!(const _: () = #check;)
    });
    Ok(quote! {
        #schema

        #[automatically_derived]
        impl #root::event::Event for #ident {
            const TYPE: &'static str = #type_name;
            const PRIORITY: #root::event::Priority = #root::event::Priority::#priority;
            const MULTICAST: ::core::option::Option<&'static str> = #multicast;
            const DEADLINE: ::core::option::Option<::core::time::Duration> = #deadline;
            const SIGNED: bool = #signed;
            const VERSION: u32 = #version;
            const OLDER: &'static [#root::event::Older<Self>] = &[#(#older),*];
            #key
        }

        const _: u64 = <#ident as #root::schema::Schema>::FINGERPRINT;
        #(#checks)*
    })
}

/// What says which field is the key, and reads it from an event and from its archive.
fn key(input: &DeriveInput, name: &LitStr, root: &Path) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        let message = "a key is a field of a struct: the variants of an enum have none in common";
        return Err(Error::new(name.span(), message));
    };
    let word = name.value();
    let members: Vec<Member> = data.fields.members().collect();
    let is_meant = |member: &&Member| match member {
        Member::Named(ident) => ident.unraw() == word,
        Member::Unnamed(index) => index.index.to_string() == word,
    };
    let Some(member) = members.iter().find(is_meant) else {
        return Err(Error::new(name.span(), format!("there is no field `{word}` here")));
    };
    // The errors of what follows stand at the name, its words belong to the generated code.
    let span = name.span().resolved_at(Span::call_site());
    let member = match member.clone() {
        Member::Named(mut ident) => {
            ident.set_span(span);
            Member::Named(ident)
        }
        Member::Unnamed(index) => Member::Unnamed(Index { span, ..index }),
    };
    let of = |value: TokenStream| {
        let key = quote_spanned!(span=> #root::event::Key::key(&#value.#member));
        quote!(::core::option::Option::Some(#key))
    };
    let own = of(quote_spanned!(span=> self));
    let archived = of(quote_spanned!(span=> archived));
    Ok(quote! {
        const KEY: ::core::option::Option<&'static str> = ::core::option::Option::Some(#name);

        #[inline]
        fn key(&self) -> ::core::option::Option<u64> {
            #own
        }

        #[inline]
        fn key_of(archived: &#root::event::Archived<Self>) -> ::core::option::Option<u64> {
            #archived
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::mentions;
    use syn::parse_quote;

    fn error(input: &DeriveInput) -> String {
        expand(input).expect_err("must be refused").to_string()
    }

    #[test]
    fn wrong_declarations_are_refused_by_name() {
        let missing = error(&parse_quote!(
            struct UserLogin {
                a: u8,
            }
        ));
        assert!(missing.contains("#[event(type = \"user-login\")]"), "{missing}");
        let empty = error(&parse_quote!(
            #[event(type = "")]
            struct A;
        ));
        assert!(empty.contains("empty"), "{empty}");
        let priority = error(&parse_quote!(
            #[event(type = "a", priority = "urgent")]
            struct A;
        ));
        assert!(priority.contains("critical, high, normal, low, background"), "{priority}");
        let key = error(&parse_quote!(
            #[event(type = "a", priorty = "low")]
            struct A;
        ));
        assert!(key.contains("did you mean `priority`?"), "{key}");
        let twice = error(&parse_quote!(
            #[event(type = "a", type = "b")]
            struct A;
        ));
        assert!(twice.contains("given twice"), "{twice}");
        let valued = error(&parse_quote!(
            #[event(type = "a", signed = true)]
            struct A;
        ));
        assert!(valued.contains("write `signed` alone"), "{valued}");
        let union = error(&parse_quote!(#[event(type = "a")] union A { a: u8 }));
        assert!(union.contains("union"), "{union}");
        let generic = error(&parse_quote!(
            #[event(type = "a")]
            struct A<T> {
                a: T,
            }
        ));
        assert!(generic.contains("concrete"), "{generic}");
        let group = error(&parse_quote!(
            #[event(type = "a", multicast = "10.0.0.1:9")]
            struct A;
        ));
        assert!(group.contains("not a multicast group"), "{group}");
    }

    #[test]
    fn nothing_generated_is_unsafe() {
        let input: DeriveInput = parse_quote! {
            #[event(type = "a", priority = "high", multicast = "224.1.1.1:9000")]
            #[repr(u8)]
            enum A { One(u8, String) = 1, Two { #[schema(opaque = "x")] x: Foreign } = 7, Three }
        };
        let tokens = expand(&input).expect("a good declaration");
        assert!(mentions(&tokens, "Event"));
        assert!(!mentions(&tokens, "unsafe"));
    }
}
