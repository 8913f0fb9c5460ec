//! The hidden copy of the declaration with rkyv's derives on it, and the impls that lend them to
//! the declared type. A derive cannot put attributes on its own input, hence the copy.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};

use crate::input::{Body, Input, Part};

pub(crate) fn emit(input: &Input) -> TokenStream {
    let copy = copy(input);
    let from = from_copy(input);
    let impls = impls(input);
    quote!(#copy #from #impls)
}

fn copy(input: &Input) -> TokenStream {
    let Input { vis, ident, krate, .. } = input;
    let (copy, archived, resolver) = (input.copy(), input.archived(), input.resolver());
    let rkyv = quote!(#krate::rkyv);
    let bounds = is_recursive(input).then(|| {
        quote! {
            #[rkyv(serialize_bounds(
                __S: #rkyv::ser::Writer + #rkyv::ser::Allocator,
                <__S as #rkyv::rancor::Fallible>::Error: #rkyv::rancor::Source
            ))]
            #[rkyv(deserialize_bounds(
                <__D as #rkyv::rancor::Fallible>::Error: #rkyv::rancor::Source
            ))]
            #[rkyv(bytecheck(bounds(
                __C: #rkyv::validation::ArchiveContext,
                <__C as #rkyv::rancor::Fallible>::Error: #rkyv::rancor::Source
            )))]
        }
    });
    let derives = &input.options.archive_derives;
    let derive = (!derives.is_empty()).then(|| quote!(, derive(#(#derives),*)));
    // What the lints of strict crates ask for is up to the declared type.
    let lints = quote!(missing_docs, clippy::exhaustive_enums, clippy::exhaustive_structs);
    let (repr, body) = match &input.body {
        Body::Struct(part) => {
            let fields = copy_fields(part, true);
            let end = (part.shape != "Named").then(|| quote!(;));
            (None, quote!(struct #copy #fields #end))
        }
        Body::Enum { variants, .. } => {
            let variants = variants.iter().map(|variant| {
                let (ident, fields) = (&variant.ident, copy_fields(&variant.part, false));
                let discriminant = variant.discriminant.as_ref().map(|value| quote!(= #value));
                quote!(#ident #fields #discriminant)
            });
            (Some(quote!(#[repr(u8)])), quote!(enum #copy { #(#variants),* }))
        }
    };
    quote! {
        #[doc(hidden)]
        #[allow(dead_code, non_camel_case_types, #lints)]
        #[derive(#rkyv::Archive, #rkyv::Serialize, #rkyv::Deserialize)]
        #[rkyv(crate = #rkyv, remote = #ident, archived = #archived, resolver = #resolver)]
        #bounds
        #[rkyv(attr(allow(#lints) #derive))]
        #repr
        #vis #body
    }
}

fn copy_fields(part: &Part, with_vis: bool) -> TokenStream {
    let fields = part.fields.iter().map(|field| {
        let vis = with_vis.then_some(&field.vis);
        let (ident, ty) = (&field.ident, &field.ty);
        let colon = ident.as_ref().map(|_| quote!(:));
        let omit = field.options.recursive.map(|_| quote!(#[rkyv(omit_bounds)]));
        quote!(#omit #vis #ident #colon #ty)
    });
    match part.shape {
        "Named" => quote!({ #(#fields),* }),
        "Tuple" => quote!((#(#fields),*)),
        _ => quote!(),
    }
}

fn is_recursive(input: &Input) -> bool {
    let parts = input.parts(&quote!(Self));
    parts.iter().any(|(_, part)| part.fields.iter().any(|field| field.options.recursive.is_some()))
}

/// rkyv deserializes the copy; its fields move into the declared type.
fn from_copy(input: &Input) -> TokenStream {
    let (ident, copy) = (&input.ident, input.copy());
    let parts = input.parts(&copy.to_token_stream());
    let arms =
        parts.iter().zip(input.parts(&ident.to_token_stream())).map(|((from, part), (to, _))| {
            let bindings = part.bindings();
            quote!(#from #bindings => #to #bindings)
        });
    quote! {
        #[automatically_derived]
        impl ::core::convert::From<#copy> for #ident {
            #[inline]
            fn from(copy: #copy) -> Self {
                match copy { #(#arms,)* }
            }
        }
    }
}

fn impls(input: &Input) -> TokenStream {
    let Input { ident, krate, .. } = input;
    let (copy, archived, resolver) = (input.copy(), input.archived(), input.resolver());
    let rkyv = quote!(#krate::rkyv);
    let copy_optimization = copy_optimization(input);
    quote! {
        #[automatically_derived]
        impl #rkyv::Archive for #ident {
            type Archived = #archived;
            type Resolver = #resolver;
            #copy_optimization
            #[inline]
            fn resolve(&self, resolver: Self::Resolver, out: #rkyv::Place<Self::Archived>) {
                <#copy as #rkyv::with::ArchiveWith<#ident>>::resolve_with(self, resolver, out);
            }
        }

        #[automatically_derived]
        impl<__S> #rkyv::Serialize<__S> for #ident
        where
            __S: #rkyv::rancor::Fallible + ?Sized,
            #copy: #rkyv::with::SerializeWith<#ident, __S>
                + #rkyv::with::ArchiveWith<#ident, Resolver = #resolver>,
        {
            #[inline]
            fn serialize(
                &self,
                serializer: &mut __S,
            ) -> ::core::result::Result<Self::Resolver, <__S as #rkyv::rancor::Fallible>::Error> {
                <#copy as #rkyv::with::SerializeWith<#ident, __S>>::serialize_with(self, serializer)
            }
        }

        #[automatically_derived]
        impl<__D> #rkyv::Deserialize<#ident, __D> for #archived
        where
            __D: #rkyv::rancor::Fallible + ?Sized,
            #copy: #rkyv::with::DeserializeWith<#archived, #ident, __D>,
        {
            #[inline]
            fn deserialize(
                &self,
                deserializer: &mut __D,
            ) -> ::core::result::Result<#ident, <__D as #rkyv::rancor::Fallible>::Error> {
                <#copy as #rkyv::with::DeserializeWith<#archived, #ident, __D>>::deserialize_with(
                    self,
                    deserializer,
                )
            }
        }
    }
}

/// Whether lists of the type may be copied as bytes, by the rule of rkyv's own derive: no padding,
/// every field copyable, and each at the same offset in both forms.
fn copy_optimization(input: &Input) -> Option<TokenStream> {
    let Body::Struct(part) = &input.body else { return None };
    let (krate, ident, archived) = (&input.krate, &input.ident, input.archived());
    let rkyv = quote!(#krate::rkyv);
    let types = part.fields.iter().map(|field| &field.ty);
    let checks = part.fields.iter().enumerate().map(|(index, field)| {
        let (ty, member) = (&field.ty, field.member(index));
        quote! {
            <#ty as #rkyv::Archive>::COPY_OPTIMIZATION.is_enabled()
                && ::core::mem::offset_of!(#ident, #member)
                    == ::core::mem::offset_of!(#archived, #member)
        }
    });
    Some(quote! {
        // SAFETY: without padding, with copyable fields at equal offsets, both forms are the same
        // bytes.
        const COPY_OPTIMIZATION: #rkyv::traits::CopyOptimization<Self> = unsafe {
            #rkyv::traits::CopyOptimization::enable_if(
                0 #(+ ::core::mem::size_of::<#types>())* == ::core::mem::size_of::<#ident>()
                    #(&& #checks)*
            )
        };
    })
}
