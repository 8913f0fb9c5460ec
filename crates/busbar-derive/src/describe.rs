//! The constant description of the declaration, and the impls of `Describe` and `Type`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Path, Type};

use crate::fields::by_name_only;
use crate::input::{Body, FieldInput, Input, Part, VariantInput};

pub(crate) fn emit(input: &Input) -> TokenStream {
    let Input { ident, krate, name, .. } = input;
    let archived = input.archived();
    let body = body(input);
    let checks = checks(input);
    let aliases = &input.options.aliases;
    let [capnp, json, ts] = input.options.generate;
    quote! {
        const _: () = {
            #body

            const LAYOUT: (usize, usize) =
                (::core::mem::size_of::<#archived>(), ::core::mem::align_of::<#archived>());
            const TEXT: [u8; #krate::describe::text_len(#name, LAYOUT, &BODY)] =
                #krate::describe::text_bytes(#name, LAYOUT, &BODY);

            #[automatically_derived]
            impl #krate::describe::Describe for #ident {
                type InArchive = #archived;
                const PLACE: &'static #krate::describe::PlaceDesc = &#krate::describe::PlaceDesc {
                    kind: #krate::describe::KindDesc::Type(<Self as #krate::Type>::DESC),
                    size_bytes: LAYOUT.0,
                    align: LAYOUT.1,
                };
            }

            #[automatically_derived]
            impl #krate::Type for #ident {
                const NAME: &'static str = #name;
                const DESC: &'static #krate::describe::TypeDesc =
                    &#krate::describe::TypeDesc::new(
                        #name,
                        BODY,
                        LAYOUT,
                        &[#(#aliases),*],
                        #krate::describe::as_str(&TEXT),
                    );
                const GENERATE: #krate::Generate = #krate::Generate::new(#capnp, #json, #ts);
            }

            #checks
        };
    }
}

/// Structs that mirror the variants' layouts, and the constant `BODY`.
fn body(input: &Input) -> TokenStream {
    let krate = &input.krate;
    let desc = quote!(#krate::describe);
    let (mirrors, value) = match &input.body {
        Body::Struct(part) => {
            let archived = input.archived();
            let fields = part.fields.iter().enumerate().map(|(index, field)| {
                let member = field.member(index);
                let offset = quote!(::core::mem::offset_of!(#archived, #member));
                field_desc(krate, index, field, &offset)
            });
            let shape = format_ident!("{}", part.shape);
            let value = quote!(#desc::BodyDesc::Struct {
                shape: #krate::schema::Shape::#shape,
                fields: &[#(#fields),*],
            });
            (quote!(), value)
        }
        Body::Enum { variants, default_variant } => {
            let mirrors = variants
                .iter()
                .enumerate()
                .map(|(index, variant)| mirror(krate, index, &variant.part, &input.archived()));
            let descs = variant_descs(krate, variants);
            let default = match default_variant {
                Some(name) => quote!(::core::option::Option::Some(#name)),
                None => quote!(::core::option::Option::None),
            };
            let value = quote!(#desc::BodyDesc::Enum {
                variants: &[#(#descs),*],
                default_variant: #default,
            });
            (quote!(#(#mirrors)*), value)
        }
    };
    quote! {
        #mirrors
        const BODY: #desc::BodyDesc = #value;
    }
}

/// Offsets inside of enum variants cannot be asked for on stable Rust. The archived enum is a
/// `repr(u8)` one, which is laid out like a union of `repr(C)` structs: of this one and its kin.
fn mirror(krate: &Path, index: usize, part: &Part, archived: &syn::Ident) -> TokenStream {
    let mirror = format_ident!("Mirror{index}");
    let types = part.fields.iter().map(|field| &field.ty);
    quote! {
        #[repr(C)]
        #[allow(dead_code)]
        struct #mirror(u8 #(, <#types as #krate::rkyv::Archive>::Archived)*);
        const _: () = assert!(
            ::core::mem::size_of::<#mirror>() <= ::core::mem::size_of::<#archived>()
        );
    }
}

fn variant_descs(krate: &Path, variants: &[VariantInput]) -> Vec<TokenStream> {
    let mut previous: Option<TokenStream> = None;
    let mut descs = Vec::new();
    for (index, variant) in variants.iter().enumerate() {
        let name = variant.ident.unraw().to_string();
        let mirror = format_ident!("Mirror{index}");
        let shape = format_ident!("{}", variant.part.shape);
        let tag = match (&variant.discriminant, &previous) {
            (Some(value), _) => quote!({ const TAG: u8 = #value; TAG }),
            (None, Some(previous)) => quote!(#previous + 1),
            (None, None) => quote!(0),
        };
        let fields = variant.part.fields.iter().enumerate().map(|(index, field)| {
            let member = syn::Index::from(index + 1);
            let offset = quote!(::core::mem::offset_of!(#mirror, #member));
            field_desc(krate, index, field, &offset)
        });
        descs.push(quote!(#krate::describe::VariantDesc {
            name: #name,
            tag: #tag,
            shape: #krate::schema::Shape::#shape,
            fields: &[#(#fields),*],
        }));
        previous = Some(tag);
    }
    descs
}

fn field_desc(krate: &Path, index: usize, field: &FieldInput, offset: &TokenStream) -> TokenStream {
    let options = &field.options;
    let name = field.name(index);
    let place = place(krate, field);
    let aliases = &options.aliases;
    let some = quote!(::core::option::Option::Some);
    let none = quote!(::core::option::Option::None);
    let default = match &options.default {
        Some(default) => {
            let value = default.tokens(krate);
            quote!(#some(#value))
        }
        None => none.clone(),
    };
    let ts = match (options.number, options.bigint) {
        (Some(_), _) => quote!(#some(#krate::schema::TsInteger::Number)),
        (_, Some(_)) => quote!(#some(#krate::schema::TsInteger::Bigint)),
        _ => none,
    };
    let intern = options.intern.is_some();
    quote!(#krate::describe::FieldDesc {
        name: #name,
        place: #place,
        offset: #offset,
        aliases: &[#(#aliases),*],
        default: #default,
        ts: #ts,
        intern: #intern,
    })
}

fn place(krate: &Path, field: &FieldInput) -> TokenStream {
    let ty: Type = if field.options.recursive.is_some() {
        by_name_only(&field.ty, krate)
    } else {
        field.ty.clone()
    };
    quote_spanned!(field.ty.span()=> <#ty as #krate::describe::Describe>::PLACE)
}

/// Assertions that need the fields' real types, each at the token it is about.
fn checks(input: &Input) -> TokenStream {
    let krate = &input.krate;
    let desc = quote!(#krate::describe);
    let mut checks = TokenStream::new();
    for (_, part) in input.parts(&quote!(Self)) {
        for field in &part.fields {
            let (ty, place, options) = (&field.ty, place(krate, field), &field.options);
            let archived = quote!(<#ty as #krate::rkyv::Archive>::Archived);
            let message = "this type's archived form is not what its description says";
            checks.extend(quote_spanned! { ty.span()=>
                const _: () = assert!(
                    #place.size_bytes == ::core::mem::size_of::<#archived>()
                        && #place.align == ::core::mem::align_of::<#archived>(),
                    #message
                );
            });
            if let Some(default) = &options.default {
                let value = default.tokens(krate);
                checks.extend(quote_spanned! { default.span=>
                    const _: () = assert!(
                        #desc::default_fits(#place, &#value),
                        "this default is no value of the field's type"
                    );
                });
            }
            if let Some(span) = options.number.or(options.bigint) {
                checks.extend(quote_spanned! { span=>
                    const _: () = assert!(
                        #desc::has_wide_integer(#place),
                        "number and bigint are for fields with u64 or i64 in them"
                    );
                });
            }
            if let Some(span) = options.recursive {
                let name = &input.name;
                checks.extend(quote_spanned! { span=>
                    const _: () = assert!(
                        #desc::may_lead_to(<#ty as #krate::describe::Describe>::PLACE, #name),
                        "recursive is for fields that lead back to the type they are in"
                    );
                });
            }
            if let Some(span) = options.intern {
                checks.extend(quote_spanned! { span=>
                    const _: () = assert!(
                        #desc::has_string(#place),
                        "intern is for fields with strings in them"
                    );
                });
            }
        }
    }
    checks
}
