//! Macros of Wireloom: `Event`, `Schema` and `traced`.
//!
//! This crate only turns declarations into code; the traits, and the samples that
//! show them, live in the crate `wireloom`, which re-exports them. Nothing here runs at run
//! time, and what it generates contains no `unsafe`.
//!
//! | file | what lives there |
//! |---|---|
//! | `lib.rs` | the entry points |
//! | `event.rs` | `impl Event`: type name, priority, group, deadline, key, versions |
//! | `schema.rs` | `impl Schema`: the shape of a struct or enum |
//! | `attributes.rs` | reading `#[event(…)]` and `#[schema(…)]`, and the words of the errors |
//! | `handlers.rs` | `#[handlers]`: methods of an `impl` block as handlers |
//! | `duration.rs` | lengths of time in attributes |
//! | `traced.rs` | a span around a function's body |
//! | `layout.rs` | which of rkyv's own attributes change the bytes |
#![forbid(unsafe_code)]

mod attributes;
mod duration;
mod event;
mod handlers;
mod layout;
mod schema;
mod traced;

use proc_macro::TokenStream;
use syn::{DeriveInput, Error, ItemImpl, parse_macro_input};

/// Implements `wireloom::Event` and `wireloom::Schema` for a struct or enum.
///
/// The type also derives rkyv's `Archive`, `Serialize` and `Deserialize`. Events are concrete: one
/// type name has one shape, so an event has no type parameters or lifetimes (its fields may).
///
/// Keys of `#[event(…)]`, on the type:
///
/// | key | value | default |
/// |---|---|---|
/// | `type` | the name: 1 to 255 bytes of `a`–`z`, `0`–`9`, `-`, `.`, `_` | none, it must be said |
/// | `priority` | `critical`, `high`, `normal`, `low` or `background` | `normal` |
/// | `multicast` | `group:port`, where events of this type go when the target is everyone | none |
/// | `deadline` | how long an event lives once published, as `250ms` (`ns` to `h`) | for ever |
/// | `key` | the name of the field that says what an event is about | none |
/// | `version` | a number from 1; a higher one is another schema, even of the same fields | 1 |
/// | `compatible_with` | `[Older, …]`: older types that this one is made `From` | none |
/// | `crate` | path of the crate `wireloom`, for code that re-exports it | `::wireloom` |
///
/// Keys of `#[schema(…)]`, on a field: see the `Schema` macro.
///
/// # Errors
///
/// A wrong declaration is a compile error at the word that is wrong: no type name, a name with a
/// character that is not allowed, an unknown priority (the five are listed), an unknown key (the
/// nearest known one is proposed), a deadline that is no length of time, a key that is no field or
/// has no hash, an older version with another type name or no lower number, a union, type
/// parameters.
#[proc_macro_derive(Event, attributes(event, schema))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    event::expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// Implements `wireloom::Schema` for a struct or enum that events carry in their fields.
///
/// The fingerprint covers the names and the order of fields and variants, explicit discriminants,
/// the fingerprints of the fields' types, and those of rkyv's attributes that change the bytes
/// (`with`, `niche`, `as`, a `repr` in `attr`). The type's own name and its visibility are not part
/// of it. Type parameters used by a field must implement `Schema`.
///
/// Keys of `#[schema(…)]`:
///
/// | where | key | value |
/// |---|---|---|
/// | field | `opaque` | a name such as `"point-v1"` that stands for the field's type |
/// | type | `crate` | path of the crate `wireloom`, for code that re-exports it |
///
/// `opaque` is for types of other crates and for a type that contains itself. Change the name when
/// the type's bytes change: nobody else does.
///
/// # Errors
///
/// A wrong declaration is a compile error at the word that is wrong: an unknown key, an empty
/// opaque name, a union, a field that contains its own type.
#[proc_macro_derive(Schema, attributes(schema))]
pub fn derive_schema(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    schema::expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// Makes handlers of the methods of an `impl` block that are marked `#[on]`: `Node::install` gives
/// them the events of their types until the guard it returns is dropped.
///
/// What a method takes, its signature says:
///
/// | signature | what it is |
/// |---|---|
/// | `#[on] fn name(&mut self, event: &Archived<E>)` | a handler, with the event in place |
/// | `#[on] fn name(&mut self, event: E)` | the same with the owned event, which is built for it |
/// | `… , envelope: &Envelope<'_>)` | with what travelled beside the event |
/// | `#[on(once)] fn …` | for the first event and no other |
/// | `#[on] fn name(&mut self, request: &Archived<Q>) -> R` | a responder: `R` or `Result<R, F>` |
///
/// Several methods may take one type; they run in the order in which they stand. No two methods of
/// an object run at a time. Other methods of the block stay as they are.
///
/// `#[handlers(crate = "…")]` says where the crate `wireloom` is, for code that re-exports it.
///
/// # Errors
///
/// A wrong method is a compile error at the word that is wrong: no event, `&E` in place of
/// `&Archived<E>`, `self` by value, `async`, `unsafe`, type parameters, an unknown word in
/// `#[on(…)]`, a responder that answers once, a block without `#[on]`, a block of a trait.
#[proc_macro_attribute]
pub fn handlers(arguments: TokenStream, block: TokenStream) -> TokenStream {
    on_item::<ItemImpl>("#[handlers] stands on the impl block of a type", block.into())
        .and_then(|block| handlers::expand(arguments.into(), block))
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

/// Makes a function a span of a trace: `#[traced("operation")]`, on functions and methods, async or
/// not. See the module `wireloom::trace` for what a span is and where it goes.
///
/// A returned `Err` (by whatever alias of `Result`) and a panic end the span as failed, with the
/// error's words; the panic goes on. An `async fn` is one span from its first poll to its end, and
/// the thread is in it only while it is polled. A future that is dropped before is `cancelled`.
///
/// | option | says |
/// |---|---|
/// | `"operation"`, first | its name, at most 64 bytes; without it the function's |
/// | `fields(name = value, other)` | values to note by their `Display`, before the body runs |
/// | `skip(a, b)` | notes every argument but these, by its `Debug` |
/// | `sample_one_in = 100` | how many of the traces that begin here are sampled |
/// | `crate = "path"` | path of the crate `wireloom`, for code that re-exports it |
///
/// Values are asked for only if the span is sampled. Without `skip` no argument is noted, because
/// traces go to a group. Without a rate, it is the tracer's.
///
/// # Errors
///
/// A compile error at the word that is wrong: an unknown option or one given twice, a skipped
/// argument that there is not, more than eight values, a name that is empty, too long or not the
/// first, a `const fn`, a method without a body.
#[proc_macro_attribute]
pub fn traced(options: TokenStream, function: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as traced::Traced);
    on_item::<syn::ItemFn>("#[traced] stands on a function or method with a body", function.into())
        .and_then(|function| traced::expand(&options, &function))
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

/// The item under an attribute; `place` says where that stands, if it stands elsewhere.
fn on_item<T: syn::parse::Parse>(place: &str, item: proc_macro2::TokenStream) -> syn::Result<T> {
    syn::parse2(item).map_err(|error| Error::new(error.span(), format!("{place}: {error}")))
}
