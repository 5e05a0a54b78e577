//! Generates `impl Schema`: the shape of a struct or enum, a `const` of `wireloom::schema::Shape`.
//!
//! What follows from the shape (the fingerprint) the trait computes itself.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{
    Attribute, Data, DataEnum, DeriveInput, Error, Field, Fields, Generics, Path, Result, Type,
    Variant, parse_quote,
};

use crate::attributes::{field_opaque, refuse_on_variant, schema_crate_path};
use crate::layout::{changes, mentions};

/// Why a union has no schema.
pub(crate) const NO_UNIONS: &str =
    "a union has no schema: nothing says which field its bytes hold. Use an enum";

/// The implementation for `#[derive(Schema)]`.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let root = schema_crate_path(&input.attrs)?;
    implementation(input, &root)
}

/// `impl Schema for` the type, with `root` as the path of the crate `wireloom`.
pub(crate) fn implementation(input: &DeriveInput, root: &Path) -> Result<TokenStream> {
    let layout = changes(&input.attrs);
    let mut body = Body { root, owner: &input.ident, counted: Vec::new(), flat: Vec::new() };
    let shape = match &input.data {
        Data::Struct(data) => {
            let fields = body.fields(&data.fields)?;
            quote!(#root::schema::Shape::Struct { layout: &[#(#layout),*], fields: #fields })
        }
        Data::Enum(data) => {
            let variants = body.variants(data, &input.attrs)?;
            quote!(#root::schema::Shape::Enum { layout: &[#(#layout),*], variants: #variants })
        }
        Data::Union(data) => return Err(Error::new_spanned(data.union_token, NO_UNIONS)),
    };
    let flat = &body.flat;
    let flat = if layout.is_empty() { quote!(true #(&& #flat)*) } else { quote!(false) };
    let generics = body.bound_generics(&input.generics);
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let ident = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #root::schema::Schema for #ident #type_generics #where_clause {
            #[allow(clippy::cast_lossless, clippy::cast_possible_wrap, clippy::unnecessary_cast)]
            const SHAPE: #root::schema::Shape = #shape;
            const FLAT: bool = #flat;
        }
    })
}

/// The walk over one declaration, and what it gathers on the way.
struct Body<'a> {
    root: &'a Path,
    owner: &'a Ident,
    /// The field types whose fingerprints are folded in.
    counted: Vec<Type>,
    /// One expression a field: whether it lies in the value itself.
    flat: Vec<TokenStream>,
}

impl Body<'_> {
    fn variants(&mut self, data: &DataEnum, attributes: &[Attribute]) -> Result<TokenStream> {
        let repr = discriminant_type(attributes)?;
        let mut list = Vec::new();
        for variant in &data.variants {
            refuse_on_variant(&variant.attrs)?;
            list.push(self.variant(variant, &repr)?);
        }
        Ok(quote!(&[#(#list),*]))
    }

    fn variant(&mut self, variant: &Variant, repr: &TokenStream) -> Result<TokenStream> {
        let root = self.root;
        let name = variant.ident.unraw().to_string();
        let discriminant = match &variant.discriminant {
            None => quote!(::core::option::Option::None),
            Some((_, value)) => quote!(::core::option::Option::Some({
                const DISCRIMINANT: #repr = #value;
                DISCRIMINANT as i64
            })),
        };
        let fields = self.fields(&variant.fields)?;
        Ok(quote! {
            #root::schema::Variant { name: #name, discriminant: #discriminant, fields: #fields }
        })
    }

    fn fields(&mut self, fields: &Fields) -> Result<TokenStream> {
        let root = self.root;
        let form = match fields {
            Fields::Named(_) => quote!(Named),
            Fields::Unnamed(_) => quote!(Tuple),
            Fields::Unit => quote!(Unit),
        };
        let mut list = Vec::new();
        for (place, field) in fields.iter().enumerate() {
            list.push(self.field(place, field)?);
        }
        Ok(quote! {
            #root::schema::Fields { form: #root::schema::Form::#form, list: &[#(#list),*] }
        })
    }

    fn field(&mut self, place: usize, field: &Field) -> Result<TokenStream> {
        let root = self.root;
        let name =
            field.ident.as_ref().map_or_else(|| place.to_string(), |one| one.unraw().to_string());
        let layout = changes(&field.attrs);
        let of = if let Some(opaque) = field_opaque(&field.attrs)? {
            self.flat.push(quote!(false));
            quote! {
                &#root::schema::Description::of(#root::schema::Shape::Opaque { name: #opaque })
            }
        } else {
            self.refuse_itself(field)?;
            let kind = &field.ty;
            self.counted.push(kind.clone());
            self.flat.push(if layout.is_empty() {
                quote!(<#kind as #root::schema::Schema>::FLAT)
            } else {
                quote!(false)
            });
            quote!(<#kind as #root::schema::Schema>::DESCRIPTION)
        };
        Ok(quote!(#root::schema::Field { name: #name, of: #of, layout: &[#(#layout),*] }))
    }

    /// A type inside itself would need its own fingerprint to compute its fingerprint.
    fn refuse_itself(&self, field: &Field) -> Result<()> {
        let kind = field.ty.to_token_stream();
        if mentions(&kind, "Self") || mentions(&kind, &self.owner.to_string()) {
            let message = format!(
                "this field contains `{}` itself, whose fingerprint is not known yet: say \
                 #[schema(opaque = \"{}-v1\")] here",
                self.owner,
                self.owner.to_string().to_lowercase()
            );
            return Err(Error::new_spanned(&field.ty, message));
        }
        Ok(())
    }

    /// Adds `Field: Schema` for every counted field type that mentions a type parameter.
    fn bound_generics(&self, generics: &Generics) -> Generics {
        let root = self.root;
        let parameters: Vec<String> =
            generics.type_params().map(|one| one.ident.to_string()).collect();
        let mut bound = generics.clone();
        let clause = bound.make_where_clause();
        for kind in &self.counted {
            let generic = parameters.iter().any(|name| mentions(&kind.to_token_stream(), name));
            if generic {
                clause.predicates.push(parse_quote!(#kind: #root::schema::Schema));
            }
        }
        bound
    }
}

/// The integer type that an enum's discriminants are written in: its `repr`, or `isize`.
fn discriminant_type(attributes: &[Attribute]) -> Result<TokenStream> {
    let mut found = quote!(isize);
    for attribute in attributes.iter().filter(|one| one.path().is_ident("repr")) {
        attribute.parse_nested_meta(|meta| {
            const INTEGERS: [&str; 10] =
                ["u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "usize", "isize"];
            if INTEGERS.iter().any(|integer| meta.path.is_ident(integer)) {
                found = meta.path.to_token_stream();
            } else if !meta.input.is_empty() && meta.input.peek(syn::token::Paren) {
                let inside;
                syn::parenthesized!(inside in meta.input);
                inside.parse::<TokenStream>()?;
            }
            Ok(())
        })?;
    }
    Ok(found)
}
