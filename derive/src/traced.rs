//! Generates the body of a `#[traced]` function: a span around it, or around the polls of its
//! future.
//!
//! The function's own block becomes a closure (or an async block), so that `return` and `?` end the
//! block and not the span. Whether what it returned is an error the compiler sees by its type.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Error, Expr, FnArg, Ident, ItemFn, LitInt, LitStr, Pat, Path, Result, ReturnType, Signature,
    Token, parenthesized, parse_quote,
};

use crate::attributes::unknown_key;

/// Longest name of an operation and most values of a span; the same as `wireloom::trace` has.
const OPERATION_BYTES_MAX: usize = 64;
const PAIRS_MAX: usize = 8;

/// What `#[traced(…)]` says.
pub(crate) struct Traced {
    operation: Option<LitStr>,
    /// Every argument is noted but these.
    skip: Option<Vec<Ident>>,
    fields: Vec<(Ident, Expr)>,
    sample_one_in: Option<LitInt>,
    crate_path: Path,
}

impl Parse for Traced {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut traced = Self {
            operation: None,
            skip: None,
            fields: Vec::new(),
            sample_one_in: None,
            crate_path: parse_quote!(::wireloom),
        };
        if input.peek(LitStr) {
            traced.operation = Some(input.parse()?);
            end_of_option(input)?;
        }
        while !input.is_empty() {
            traced.option(input)?;
            end_of_option(input)?;
        }
        Ok(traced)
    }
}

fn end_of_option(input: ParseStream<'_>) -> Result<()> {
    if input.is_empty() || input.peek(Token![,]) {
        return input.parse::<Option<Token![,]>>().map(|_| ());
    }
    Err(input.error("the options of #[traced(…)] stand with `,` between them"))
}

impl Traced {
    fn option(&mut self, input: ParseStream<'_>) -> Result<()> {
        if let Ok(name) = input.fork().parse::<LitStr>() {
            let message = "an operation's name stands first: #[traced(\"name\", …)]";
            return Err(Error::new(name.span(), message));
        }
        let key = input.call(Ident::parse_any)?;
        let twice = || Error::new(key.span(), format!("`{key}` is given twice: leave one out"));
        match key.to_string().as_str() {
            "skip" if self.skip.is_some() => return Err(twice()),
            "sample_one_in" if self.sample_one_in.is_some() => return Err(twice()),
            "skip" => {
                let names;
                parenthesized!(names in input);
                let names = Punctuated::<Ident, Token![,]>::parse_terminated(&names)?;
                self.skip = Some(names.into_iter().collect());
            }
            "fields" => {
                let fields;
                parenthesized!(fields in input);
                let fields = fields.parse_terminated(field, Token![,])?;
                self.fields.extend(fields);
            }
            "sample_one_in" => {
                input.parse::<Token![=]>()?;
                self.sample_one_in = Some(rate(input)?);
            }
            "crate" => {
                input.parse::<Token![=]>()?;
                self.crate_path = input.parse::<LitStr>()?.parse()?;
            }
            other => {
                let keys = ["skip", "fields", "sample_one_in", "crate"];
                return Err(Error::new(key.span(), unknown_key("traced", other, &keys)));
            }
        }
        Ok(())
    }

    /// The operation's name: the one given, or the function's.
    fn name(&self, function: &Signature) -> Result<LitStr> {
        let Some(name) = &self.operation else {
            return Ok(LitStr::new(&function.ident.to_string(), function.ident.span()));
        };
        let bytes = name.value().len();
        if bytes == 0 || bytes > OPERATION_BYTES_MAX {
            let message = format!(
                "an operation's name has 1 to {OPERATION_BYTES_MAX} bytes, this one {bytes}"
            );
            return Err(Error::new(name.span(), message));
        }
        Ok(name.clone())
    }

    /// A statement for each value to note.
    fn notes(&self, function: &Signature) -> Result<Vec<TokenStream>> {
        let mut notes: Vec<TokenStream> = Vec::new();
        if let Some(skip) = &self.skip {
            let arguments: Vec<&Ident> = function.inputs.iter().filter_map(argument).collect();
            if let Some(unknown) = skip.iter().find(|name| !arguments.contains(name)) {
                let names: Vec<String> = arguments.iter().map(|name| format!("`{name}`")).collect();
                let known = if names.is_empty() {
                    "which has none that could be noted: leave skip(…) out".to_owned()
                } else {
                    format!("which has {}", names.join(", "))
                };
                let message = format!("`{unknown}` is no argument of this function, {known}");
                return Err(Error::new(unknown.span(), message));
            }
            let noted = arguments.into_iter().filter(|name| !skip.contains(name));
            notes.extend(noted.map(|name| {
                let key = name.unraw().to_string();
                quote!(__values.add(#key, ::core::format_args!("{:?}", #name));)
            }));
        }
        notes.extend(self.fields.iter().map(|(name, value)| {
            let key = name.unraw().to_string();
            let here = Span::call_site().located_at(value.span());
            quote_spanned!(here=> __values.add(#key, &(#value));)
        }));
        if notes.len() > PAIRS_MAX {
            let message = format!(
                "a span keeps {PAIRS_MAX} values, these are {}: fewer in fields(…), or more in \
                 skip(…)",
                notes.len()
            );
            return Err(Error::new(function.ident.span(), message));
        }
        Ok(notes)
    }
}

fn rate(input: ParseStream<'_>) -> Result<LitInt> {
    let wrong = |error: Error| {
        let most = u32::MAX;
        let message =
            format!("sample_one_in is a whole number of traces up to {most}, 0 for none: {error}");
        Error::new(error.span(), message)
    };
    let rate: LitInt = input.parse().map_err(wrong)?;
    rate.base10_parse::<u32>().map_err(wrong)?;
    Ok(rate)
}

/// `name = value`, or `name` for a value that is called so.
fn field(input: ParseStream<'_>) -> Result<(Ident, Expr)> {
    let name = input.call(Ident::parse_any)?;
    if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        return Ok((name, input.parse()?));
    }
    let value = parse_quote!(#name);
    Ok((name, value))
}

/// The name of an argument that has one; `self` and patterns have none.
fn argument(argument: &FnArg) -> Option<&Ident> {
    match argument {
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(named) => Some(&named.ident),
            _ => None,
        },
        _ => None,
    }
}

/// The function with a span around its body.
pub(crate) fn expand(traced: &Traced, function: &ItemFn) -> Result<TokenStream> {
    let ItemFn { attrs, vis, sig, block, .. } = function;
    if let Some(token) = &sig.constness {
        let message = "a const fn cannot be traced, the compiler may run it: leave `const` out, or \
                       trace who calls it";
        return Err(Error::new_spanned(token, message));
    }
    let root = &traced.crate_path;
    let name = traced.name(sig)?;
    let one_in = match &traced.sample_one_in {
        Some(rate) => quote!(::core::option::Option::Some(#rate)),
        None => quote!(::core::option::Option::None),
    };
    let notes = traced.notes(sig)?;
    let notes =
        (!notes.is_empty()).then(|| quote!(__span.note(|__values| { #(#notes)* });)).into_iter();
    let mutable = if notes.len() > 0 { quote!(mut) } else { quote!() };
    let typed = typed(&sig.output);
    let failure = quote! {
        |__value| {
            #[allow(unused_imports)]
            use #root::trace::{ShowsDebug as _, ShowsDisplay as _, ShowsNothing as _};
            (&&&#root::trace::Returned(__value)).failure()
        }
    };
    let body = if sig.asyncness.is_some() {
        quote! {
            let __body = ::core::pin::pin!(async move { #typed #block });
            #root::trace::call_future(__span, __body, #failure).await
        }
    } else {
        quote!(#root::trace::call(__span, move || { #typed #block }, #failure))
    };
    let site = format_ident!("__SITE");
    Ok(quote! {
        #(#attrs)*
        #[allow(clippy::needless_borrow, clippy::let_unit_value, reason = "generated")]
        #vis #sig {
            static #site: #root::trace::Site = #root::trace::Site::new(#name, #one_in);
            let #mutable __span = #root::trace::Span::begin(&#site);
            #(#notes)*
            #body
        }
    })
}

/// Says the block's type, for the sake of `?` in it and of one that never ends; `impl Trait` cannot
/// be said there.
fn typed(output: &ReturnType) -> TokenStream {
    let ReturnType::Type(_, output) = output else {
        return quote!(if false {
            return;
        });
    };
    if mentions_impl(quote!(#output)) {
        return quote!();
    }
    quote! {
        #[allow(unreachable_code, clippy::diverging_sub_expression, clippy::empty_loop)]
        if false {
            let __typed: #output = loop {};
            return __typed;
        }
    }
}

fn mentions_impl(tokens: TokenStream) -> bool {
    use proc_macro2::TokenTree;
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(word) => word == "impl",
        TokenTree::Group(group) => mentions_impl(group.stream()),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::mentions;

    fn error(traced: &str, function: &str) -> String {
        let function = syn::parse_str(function).expect("a function");
        let traced = syn::parse_str::<Traced>(traced);
        let expanded = traced.and_then(|traced| expand(&traced, &function));
        expanded.expect_err("must be refused").to_string()
    }

    #[test]
    fn wrong_options_are_refused_by_name() {
        let function = "fn work(a: u8) {}";
        for (traced, words) in [
            ("\"\"", "1 to 64 bytes"),
            ("skp(a)", "did you mean `skip`?"),
            ("skip(b)", "`b` is no argument of this function, which has `a`"),
            ("skip(a), skip(a)", "`skip` is given twice"),
            ("skip(a), \"a\"", "stands first"),
            ("sample_one_in = 4294967296", "too large"),
            ("sample_one_in = 0.5", "a whole number of traces"),
            ("\"a\" skip(a)", "with `,` between them"),
        ] {
            let error = error(traced, function);
            assert!(error.contains(words), "{traced}: {error}");
        }
        assert!(error("\"a\"", "const fn work() {}").contains("const fn"));
        let many = "fn work(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8) {}";
        assert!(error("skip()", many).contains("these are 9"));
    }

    #[test]
    fn nothing_generated_is_unsafe() {
        let traced = syn::parse_str("\"a\", skip(b), fields(c = a + 1)").expect("good");
        for function in ["async fn work(a: u8, b: u8) -> u8 { a }", "fn work(a: u8, b: u8) {}"] {
            let function = syn::parse_str(function).expect("a function");
            let tokens = expand(&traced, &function).expect("good");
            assert!(mentions(&tokens, "Span") && !mentions(&tokens, "unsafe"));
        }
    }
}
