//! `#[busbar(…)]` attributes: tokens in, checked options out, every complaint at its own span.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Lit, LitStr, Path, Result, Token, bracketed};
use unicode_ident::{is_xid_continue, is_xid_start};

/// Options of a type.
#[derive(Default)]
pub(crate) struct TypeOptions {
    pub(crate) name: Option<String>,
    pub(crate) aliases: Vec<String>,
    pub(crate) generate: [bool; 3],
    pub(crate) archive_derives: Vec<Path>,
    pub(crate) crate_path: Option<Path>,
}

impl TypeOptions {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut options = Self::default();
        each(attributes, |meta| {
            if meta.path.is_ident("name") {
                once(&meta, options.name.is_some())?;
                options.name = Some(type_name(&meta)?);
            } else if meta.path.is_ident("alias") {
                options.aliases.push(type_name(&meta)?);
            } else if meta.path.is_ident("generate") {
                meta.parse_nested_meta(|inner| options.add_generate(&inner))?;
            } else if meta.path.is_ident("archive_derive") {
                meta.parse_nested_meta(|inner| {
                    options.archive_derives.push(inner.path);
                    Ok(())
                })?;
            } else if meta.path.is_ident("crate") {
                options.crate_path = Some(meta.value()?.call(Path::parse_mod_style)?);
            } else {
                return Err(unknown(&meta, "name, alias, generate, archive_derive, crate"));
            }
            Ok(())
        })?;
        Ok(options)
    }

    fn add_generate(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match ["capnp", "json", "ts"].iter().position(|word| meta.path.is_ident(word)) {
            Some(index) => self.generate[index] = true,
            None => return Err(unknown(meta, "capnp, json, ts")),
        }
        Ok(())
    }
}

/// Options of a field.
#[derive(Default)]
pub(crate) struct FieldOptions {
    pub(crate) aliases: Vec<String>,
    pub(crate) default: Option<DefaultLiteral>,
    pub(crate) number: Option<Span>,
    pub(crate) bigint: Option<Span>,
    pub(crate) intern: Option<Span>,
    pub(crate) recursive: Option<Span>,
}

impl FieldOptions {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut options = Self::default();
        each(attributes, |meta| {
            let span = meta.path.span();
            if meta.path.is_ident("alias") {
                options.aliases.push(ident_text(&meta)?);
            } else if meta.path.is_ident("default") {
                once(&meta, options.default.is_some())?;
                options.default = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("number") {
                options.number = Some(span);
            } else if meta.path.is_ident("bigint") {
                options.bigint = Some(span);
            } else if meta.path.is_ident("intern") {
                options.intern = Some(span);
            } else if meta.path.is_ident("recursive") {
                options.recursive = Some(span);
            } else {
                return Err(unknown(&meta, "alias, default, number, bigint, intern, recursive"));
            }
            if options.number.is_some() && options.bigint.is_some() {
                return Err(meta.error("a field is either a number or a bigint"));
            }
            Ok(())
        })?;
        Ok(options)
    }
}

/// Whether a variant is marked as the one that unknown tags read as.
pub(crate) fn is_default_variant(attributes: &[Attribute]) -> Result<Option<Span>> {
    let mut found = None;
    each(attributes, |meta| {
        if !meta.path.is_ident("default_variant") {
            return Err(unknown(&meta, "default_variant"));
        }
        found = Some(meta.path.span());
        Ok(())
    })?;
    Ok(found)
}

fn each(
    attributes: &[Attribute],
    mut parse: impl FnMut(ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("busbar"))
        .try_for_each(|attribute| attribute.parse_nested_meta(&mut parse))
}

pub(crate) fn unknown(meta: &ParseNestedMeta<'_>, known: &str) -> Error {
    let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
    meta.error(format!("unknown busbar option `{name}`: here it can be one of {known}"))
}

fn once(meta: &ParseNestedMeta<'_>, is_there: bool) -> Result<()> {
    if is_there { Err(meta.error("this option can be given only once")) } else { Ok(()) }
}

fn type_name(meta: &ParseNestedMeta<'_>) -> Result<String> {
    dotted(&meta.value()?.parse()?)
}

/// The name in `text`, of a type or plugin.
pub(crate) fn dotted(text: &LitStr) -> Result<String> {
    let name = text.value();
    if name.split('.').all(is_ident) {
        return Ok(name);
    }
    Err(Error::new(text.span(), "a name is identifiers joined by dots, as in market.Order"))
}

fn ident_text(meta: &ParseNestedMeta<'_>) -> Result<String> {
    let text: LitStr = meta.value()?.parse()?;
    let name = text.value();
    if is_ident(&name) {
        return Ok(name);
    }
    Err(Error::new(text.span(), "an alias of a field is an identifier"))
}

/// As schemas have it: an identifier of Rust, keywords included.
fn is_ident(name: &str) -> bool {
    let is_start = |c: char| is_xid_start(c) || c == '_';
    name.starts_with(is_start) && name.chars().all(is_xid_continue)
}

/// A default value: a literal, `None`, or a list of defaults.
pub(crate) struct DefaultLiteral {
    pub(crate) span: Span,
    value: DefaultValue,
}

enum DefaultValue {
    Null,
    Bool(bool),
    Int { negative: bool, magnitude: u128 },
    Float(f64),
    Str(String),
    List(Vec<DefaultLiteral>),
}

impl Parse for DefaultLiteral {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let span = input.span();
        let value = if input.peek(syn::token::Bracket) {
            let content;
            bracketed!(content in input);
            let elems = Punctuated::<Self, Token![,]>::parse_terminated(&content)?;
            DefaultValue::List(elems.into_iter().collect())
        } else if input.peek(syn::Ident) {
            let word: syn::Ident = input.parse()?;
            if word != "None" {
                return Err(Error::new(span, HELP));
            }
            DefaultValue::Null
        } else {
            let negative = input.parse::<Option<Token![-]>>()?.is_some();
            literal(negative, &input.parse().map_err(|_| Error::new(span, HELP))?)?
        };
        Ok(Self { span, value })
    }
}

const HELP: &str = "a default is a literal, None, or a list of these in brackets";

fn literal(negative: bool, literal: &Lit) -> Result<DefaultValue> {
    Ok(match literal {
        Lit::Int(int) => DefaultValue::Int { negative, magnitude: int.base10_parse()? },
        Lit::Float(float) => {
            let value: f64 = float.base10_parse()?;
            if !value.is_finite() {
                return Err(Error::new(float.span(), "this is more than any f64 holds"));
            }
            DefaultValue::Float(if negative { -value } else { value })
        }
        Lit::Bool(value) if !negative => DefaultValue::Bool(value.value),
        Lit::Str(text) if !negative => DefaultValue::Str(text.value()),
        Lit::Char(c) if !negative => DefaultValue::Str(c.value().to_string()),
        other => return Err(Error::new(other.span(), HELP)),
    })
}

impl DefaultLiteral {
    /// As a literal of `DefaultDesc`.
    pub(crate) fn tokens(&self, krate: &Path) -> TokenStream {
        let desc = quote!(#krate::describe::DefaultDesc);
        match &self.value {
            DefaultValue::Null => quote!(#desc::Null),
            DefaultValue::Bool(value) => quote!(#desc::Bool(#value)),
            DefaultValue::Int { negative, magnitude } => {
                quote!(#desc::Int { negative: #negative, magnitude: #magnitude })
            }
            DefaultValue::Float(value) => quote!(#desc::Float(#value)),
            DefaultValue::Str(value) => quote!(#desc::Str(#value)),
            DefaultValue::List(values) => {
                let values = values.iter().map(|value| value.tokens(krate));
                quote!(#desc::List(&[#(#values),*]))
            }
        }
    }
}
