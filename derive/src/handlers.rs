//! `#[handlers]` on an `impl` block: the methods marked `#[on]` become handlers and responders.
//!
//! What a method takes, its signature says; the block itself stays as it is. Generated is one
//! implementation of `wireloom::Handlers`, which names each method once.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, GenericArgument, ImplItem, ImplItemFn, ItemImpl, Path, PathArguments,
    ReceiverKind, Result, ReturnType, Type, parse_quote,
};

use crate::attributes::unknown_key;

/// The block without the marks, and its `impl Handlers`.
pub(crate) fn expand(arguments: TokenStream, mut block: ItemImpl) -> Result<TokenStream> {
    let root = crate_path(arguments)?;
    if let Some((of, _)) = &block.trait_ {
        let message = "#[handlers] stands on the impl block of a type, not of a trait";
        return Err(Error::new_spanned(of, message));
    }
    let mut methods = Vec::new();
    for item in &mut block.items {
        let ImplItem::Fn(method) = item else { continue };
        if let Some(on) = take_mark(&mut method.attrs)? {
            methods.push(call(method, &on, &root)?);
        }
    }
    if methods.is_empty() {
        let message = "no method here has #[on]: mark those that take events";
        return Err(Error::new_spanned(&block.self_ty, message));
    }
    let (impl_generics, _, where_clause) = block.generics.split_for_impl();
    let owner = &block.self_ty;
    Ok(quote! {
        #block

        #[automatically_derived]
        impl #impl_generics #root::Handlers for #owner #where_clause {
            fn methods(
                methods: &mut #root::Methods<'_, Self>,
            ) -> ::core::result::Result<(), #root::SubscribeError> {
                #(#methods)*
                ::core::result::Result::Ok(())
            }
        }
    })
}

/// `#[handlers(crate = "…")]`, for code that re-exports the crate.
fn crate_path(arguments: TokenStream) -> Result<Path> {
    let mut path: Path = parse_quote!(::wireloom);
    let parser = syn::meta::parser(|meta: ParseNestedMeta<'_>| {
        if meta.path.is_ident("crate") {
            path = meta.value()?.parse::<syn::LitStr>()?.parse()?;
            return Ok(());
        }
        let word = meta.path.to_token_stream().to_string();
        Err(meta.error(unknown_key("handlers", &word, &["crate"])))
    });
    syn::parse::Parser::parse2(parser, arguments)?;
    Ok(path)
}

/// What `#[on(…)]` says.
struct On {
    once: bool,
}

/// Takes `#[on]` off a method, if it is there.
fn take_mark(attributes: &mut Vec<Attribute>) -> Result<Option<On>> {
    let Some(place) = attributes.iter().position(|one| one.path().is_ident("on")) else {
        return Ok(None);
    };
    let mark = attributes.remove(place);
    if let Some(twice) = attributes.iter().find(|one| one.path().is_ident("on")) {
        return Err(Error::new_spanned(twice, "`on` is given twice: leave one out"));
    }
    let mut on = On { once: false };
    if !matches!(mark.meta, syn::Meta::Path(_)) {
        mark.parse_nested_meta(|meta| {
            if meta.path.is_ident("once") {
                if !meta.input.is_empty() && !meta.input.peek(syn::Token![,]) {
                    return Err(meta.error("`once` stands alone: #[on(once)]"));
                }
                on.once = true;
                return Ok(());
            }
            let word = meta.path.to_token_stream().to_string();
            Err(meta.error(unknown_key("on", &word, &["once"])))
        })?;
    }
    Ok(Some(on))
}

/// The statement that names one method.
fn call(method: &ImplItemFn, on: &On, root: &Path) -> Result<TokenStream> {
    let signature = &method.sig;
    if let Some(word) = &signature.asyncness {
        let message = "a handler cannot be async: it runs on the receiving worker. Take the events \
                       from a subscriber of your own (Node::subscribe)";
        return Err(Error::new_spanned(word, message));
    }
    if let syn::Safety::Unsafe(word) = &signature.safety {
        let message = "a handler is called by the worker, which cannot vouch for it: leave \
                       `unsafe` out";
        return Err(Error::new_spanned(word, message));
    }
    if let Some(parameter) = signature.generics.params.first() {
        let message = "a handler takes events of one concrete type: write one for each, without \
                       parameters";
        return Err(Error::new_spanned(parameter, message));
    }
    let mut inputs = signature.inputs.iter();
    match inputs.next() {
        Some(FnArg::Receiver(receiver)) if matches!(receiver.kind, ReceiverKind::Reference(..)) => {
        }
        Some(other) => {
            let message = "a handler takes `&mut self` or `&self` first, and then an event";
            return Err(Error::new_spanned(other, message));
        }
        None => {
            let message = "a handler takes `&mut self` first, and then an event";
            return Err(Error::new_spanned(&signature.ident, message));
        }
    }
    let Some(FnArg::Typed(event)) = inputs.next() else {
        let message = "a handler takes an event: `event: &Archived<E>` in place, or `event: E`";
        return Err(Error::new_spanned(&signature.ident, message));
    };
    let envelope = inputs.next().map(envelope).transpose()?;
    if let Some(more) = inputs.next() {
        let message = "a handler takes an event and, if it wants it, the envelope: no more";
        return Err(Error::new_spanned(more, message));
    }
    let name = &signature.ident;
    let (event, owned) = taken(&event.ty)?;
    let kind = match (&signature.output, on.once) {
        (ReturnType::Type(_, reply), true) => {
            let message = "who answers requests cannot do so once: leave `once` or the reply out";
            return Err(Error::new_spanned(reply, message));
        }
        (ReturnType::Type(..), false) => quote!(respond),
        (ReturnType::Default, false) => quote!(on),
        (ReturnType::Default, true) => quote!(once),
    };
    let take = if owned {
        // What was checked may fail to be rebuilt, and then the event is refused.
        quote!(#root::decode::to_owned::<#event>(event).map(|event| object.#name(event #envelope)))
    } else {
        quote!(::core::result::Result::Ok(object.#name(event #envelope)))
    };
    Ok(quote! {
        #[allow(unused_variables)]
        methods.#kind::<#event, _>(|object: &mut Self, event, envelope| #take)?;
    })
}

/// The argument for the second parameter, if that can take it; an error of types points there.
fn envelope(parameter: &FnArg) -> Result<TokenStream> {
    let FnArg::Typed(parameter) = parameter else { return Ok(quote!()) };
    if !matches!(&*parameter.ty, Type::Reference(of) if of.mutability.is_none()) {
        let message = "what a handler takes beside the event is its envelope: `envelope: \
                       &Envelope<'_>`";
        return Err(Error::new_spanned(&parameter.ty, message));
    }
    let here = Span::call_site().located_at(parameter.ty.span());
    Ok(quote_spanned!(here=> , envelope))
}

/// The event's type out of the parameter's, and whether it is taken owned: `&Archived<E>` or `E`.
fn taken(parameter: &Type) -> Result<(&Type, bool)> {
    let Type::Reference(reference) = parameter else { return Ok((parameter, true)) };
    if let Some(word) = &reference.mutability {
        let message = "an event is read where it lies: `&Archived<E>`; to change it, take it owned \
                       as `E`";
        return Err(Error::new_spanned(word, message));
    }
    let in_place = match &*reference.elem {
        Type::Path(path) => path.path.segments.last().and_then(|last| match &last.arguments {
            PathArguments::AngleBracketed(of) if last.ident == "Archived" => of.args.first(),
            _ => None,
        }),
        _ => None,
    };
    match in_place {
        Some(GenericArgument::Type(event)) => Ok((event, false)),
        _ => {
            let message = "an event is taken in place as `&Archived<E>`, or owned as `E`";
            Err(Error::new_spanned(parameter, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Here and not among the files that do not compile: those are searched for this word.
    #[test]
    fn an_unsafe_handler_is_refused() {
        let block = "impl Desk { #[on] unsafe fn tick(&mut self, tick: Tick) {} }";
        let block = syn::parse_str(block).expect("a block");
        let error = expand(TokenStream::new(), block).expect_err("must be refused").to_string();
        assert!(error.contains("leave `unsafe` out"), "{error}");
    }
}
