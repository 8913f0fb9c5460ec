//! The declaration under the derive, checked: what the emitting modules work from.

use std::env;

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Expr, Field, Fields, Ident, Path, Result, Type, Visibility};

use crate::attributes::{FieldOptions, TypeOptions, is_default_variant};
use crate::fields;

/// A checked declaration.
pub(crate) struct Input {
    pub(crate) vis: Visibility,
    pub(crate) ident: Ident,
    /// Full name: namespace and identifier, or as overridden.
    pub(crate) name: String,
    pub(crate) options: TypeOptions,
    /// Path to `busbar_types`.
    pub(crate) krate: Path,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    Struct(Part),
    Enum { variants: Vec<VariantInput>, default_variant: Option<String> },
}

/// The fields of a struct or of a variant.
pub(crate) struct Part {
    pub(crate) shape: &'static str,
    pub(crate) fields: Vec<FieldInput>,
}

pub(crate) struct VariantInput {
    pub(crate) ident: Ident,
    pub(crate) discriminant: Option<Expr>,
    pub(crate) part: Part,
}

pub(crate) struct FieldInput {
    pub(crate) vis: Visibility,
    /// `None` in tuples.
    pub(crate) ident: Option<Ident>,
    pub(crate) ty: Type,
    pub(crate) options: FieldOptions,
}

impl Input {
    pub(crate) fn parse(input: DeriveInput) -> Result<Self> {
        if !input.generics.params.is_empty() {
            let message = "a busbar type has no generics: its schema is one, not one an argument";
            return Err(Error::new_spanned(&input.generics, message));
        }
        let options = TypeOptions::parse(&input.attrs)?;
        let name = match &options.name {
            Some(name) => name.clone(),
            None => default_name(&input.ident),
        };
        let krate = match &options.crate_path {
            Some(path) => path.clone(),
            None => find_crate()?,
        };
        let body = match input.data {
            Data::Struct(data) => Body::Struct(Part::parse(data.fields, &input.ident)?),
            Data::Enum(data) => parse_enum(data, &input.ident)?,
            Data::Union(data) => {
                let message = "a union does not say what it holds: use an enum";
                return Err(Error::new(data.union_token.span(), message));
            }
        };
        Ok(Self { vis: input.vis, ident: input.ident, name, options, krate, body })
    }

    pub(crate) fn archived(&self) -> Ident {
        format_ident!("Archived{}", self.ident.unraw())
    }

    pub(crate) fn resolver(&self) -> Ident {
        format_ident!("{}Resolver", self.ident.unraw())
    }

    /// The hidden copy that rkyv's derive sees.
    pub(crate) fn copy(&self) -> Ident {
        format_ident!("__Busbar{}", self.ident.unraw())
    }

    /// Every part with the path that constructs and matches it, given the type's.
    pub(crate) fn parts(&self, ty: &TokenStream) -> Vec<(TokenStream, &Part)> {
        match &self.body {
            Body::Struct(part) => vec![(ty.clone(), part)],
            Body::Enum { variants, .. } => variants
                .iter()
                .map(|variant| {
                    let ident = &variant.ident;
                    (quote!(#ty::#ident), &variant.part)
                })
                .collect(),
        }
    }
}

impl Part {
    fn parse(fields: Fields, owner: &Ident) -> Result<Self> {
        let shape = match fields {
            Fields::Named(_) => "Named",
            Fields::Unnamed(_) => "Tuple",
            Fields::Unit => "Unit",
        };
        let fields = fields.into_iter().map(|field| parse_field(field, owner));
        Ok(Self { shape, fields: fields.collect::<Result<_>>()? })
    }

    /// A pattern that binds, or an expression that takes, the fields as `f0`, `f1`, ….
    pub(crate) fn bindings(&self) -> TokenStream {
        let names = self.names();
        match self.shape {
            "Named" => {
                let idents = self.fields.iter().map(|field| &field.ident);
                quote!({ #(#idents: #names),* })
            }
            "Tuple" => quote!((#(#names),*)),
            _ => quote!(),
        }
    }

    pub(crate) fn names(&self) -> Vec<Ident> {
        (0..self.fields.len()).map(|index| format_ident!("f{index}")).collect()
    }
}

impl FieldInput {
    /// As schemas call it.
    pub(crate) fn name(&self, index: usize) -> String {
        self.ident.as_ref().map_or_else(|| index.to_string(), |ident| ident.unraw().to_string())
    }

    /// As Rust expressions call it.
    pub(crate) fn member(&self, index: usize) -> syn::Member {
        self.ident.clone().map_or_else(|| index.into(), syn::Member::Named)
    }
}

fn parse_field(field: Field, owner: &Ident) -> Result<FieldInput> {
    let options = FieldOptions::parse(&field.attrs)?;
    let mut ty = field.ty;
    fields::check(&ty)?;
    fields::without_self(&mut ty, owner);
    Ok(FieldInput { vis: field.vis, ident: field.ident, ty, options })
}

fn parse_enum(data: syn::DataEnum, owner: &Ident) -> Result<Body> {
    if data.variants.is_empty() {
        return Err(Error::new(owner.span(), "an enum without variants has no values to send"));
    }
    if let Some(variant) = data.variants.iter().nth(256) {
        let message = "an enum can have 256 variants at most: the tag is one byte";
        return Err(Error::new_spanned(&variant.ident, message));
    }
    let mut variants = Vec::new();
    let mut default_variant = None;
    for variant in data.variants {
        if let Some(span) = is_default_variant(&variant.attrs)? {
            if default_variant.is_some() || !matches!(variant.fields, Fields::Unit) {
                let message = "one unit variant can be the default variant";
                return Err(Error::new(span, message));
            }
            default_variant = Some(variant.ident.unraw().to_string());
        }
        variants.push(VariantInput {
            part: Part::parse(variant.fields, owner)?,
            discriminant: variant.discriminant.map(|(_, value)| value),
            ident: variant.ident,
        });
    }
    Ok(Body::Enum { variants, default_variant })
}

/// The package is the namespace.
fn default_name(ident: &Ident) -> String {
    let package = env::var("CARGO_PKG_NAME").unwrap_or_default().replace('-', "_");
    let ident = ident.unraw();
    if package.is_empty() { ident.to_string() } else { format!("{package}.{ident}") }
}

fn find_crate() -> Result<Path> {
    if let Some(types) = crate_path("busbar-types") {
        return Ok(types);
    }
    // Plugins have the SDK, which has the types.
    let plugin = crate_path("busbar-plugin").ok_or_else(|| missing("busbar-types"))?;
    Ok(syn::parse_quote!(#plugin::types))
}

/// Path to `busbar_plugin`.
pub(crate) fn find_plugin_crate() -> Result<Path> {
    crate_path("busbar-plugin").ok_or_else(|| missing("busbar-plugin"))
}

fn crate_path(package: &str) -> Option<Path> {
    let name = match crate_name(package).ok()? {
        FoundCrate::Itself => package.replace('-', "_"),
        FoundCrate::Name(name) => name,
    };
    let ident = Ident::new(&name, Span::call_site());
    Some(syn::parse_quote!(::#ident))
}

fn missing(package: &str) -> Error {
    let message = format!(
        "cannot find the crate {package}: add it to the dependencies, or say where it is by \
         `crate = path`"
    );
    Error::new(Span::call_site(), message)
}
