//! One `#[method]`: its options, its row in the manifest, and the code between bytes and the call.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{Attribute, Error, Ident, ImplItemFn, LitCStr, Meta, Path, Result};

use super::pascal;
use super::signature::{Argument, Checked, Outcome, check};
use crate::attributes::unknown;

pub(super) struct Method {
    ident: Ident,
    id: u32,
    options: Options,
    is_async: bool,
    checked: Checked,
}

#[derive(Default)]
struct Options {
    sync: bool,
    oneway: bool,
    idempotent: bool,
}

impl Method {
    /// The method that `function` is, without its attribute; `None` if it has none.
    pub(super) fn take(function: &mut ImplItemFn, index: usize) -> Result<Option<Self>> {
        let is_ours = |attribute: &Attribute| {
            attribute.path().segments.last().is_some_and(|last| last.ident == "method")
        };
        let Some(at) = function.attrs.iter().position(is_ours) else { return Ok(None) };
        let options = Options::parse(&function.attrs.remove(at))?;
        let signature = &function.sig;
        if !signature.generics.params.is_empty() {
            let message = "a method has one signature, so no generics";
            return Err(Error::new_spanned(&signature.generics, message));
        }
        let checked = check(signature)?;
        let is_async = signature.asyncness.is_some();
        if options.sync && is_async {
            let message = "a sync method never waits, an async one may";
            return Err(Error::new_spanned(signature, message));
        }
        if options.oneway && (checked.writes || !matches!(checked.outcome, Outcome::Nothing)) {
            return Err(Error::new_spanned(
                signature,
                "nobody reads the result of a oneway method",
            ));
        }
        let id = u32::try_from(index).map_err(|_| Error::new_spanned(signature, "too many"))?;
        Ok(Some(Self { ident: signature.ident.clone(), id, options, is_async, checked }))
    }

    pub(super) fn is_async(&self) -> bool {
        self.is_async
    }

    fn arguments_type(&self) -> Ident {
        pascal(&self.ident, "Arguments")
    }

    fn result_type(&self) -> Ident {
        pascal(&self.ident, "Result")
    }

    /// The types that it needs and nobody declared.
    pub(super) fn declarations(&self, krate: &Path) -> TokenStream {
        let derive = quote!(#[derive(#krate::Type)] #[busbar(crate = #krate::types)]);
        let mut declarations = TokenStream::new();
        if let Argument::List(list) = &self.checked.argument {
            let ident = self.arguments_type();
            let fields = list.iter().map(|(name, ty)| quote!(#name: #ty));
            declarations.extend(quote!(#derive struct #ident { #(#fields),* }));
        }
        if let Outcome::Wrapped(ty) = &self.checked.outcome {
            let ident = self.result_type();
            declarations.extend(quote!(#derive struct #ident(#ty);));
        }
        declarations
    }

    fn in_type(&self) -> Option<TokenStream> {
        match &self.checked.argument {
            Argument::Nothing | Argument::Bytes | Argument::OwnedBytes => None,
            Argument::View(ty) | Argument::Value(ty) => Some(ty.to_token_stream()),
            Argument::List(_) => Some(self.arguments_type().to_token_stream()),
        }
    }

    fn out_type(&self) -> Option<TokenStream> {
        match &self.checked.outcome {
            Outcome::Nothing | Outcome::Bytes => None,
            Outcome::Value(ty) => Some(ty.to_token_stream()),
            Outcome::Wrapped(_) => Some(self.result_type().to_token_stream()),
        }
    }

    /// The types of its argument and result.
    pub(super) fn types(&self) -> Vec<TokenStream> {
        self.in_type().into_iter().chain(self.out_type()).collect()
    }

    /// Its row in the manifest.
    pub(super) fn row(&self, krate: &Path) -> TokenStream {
        let name = std::ffi::CString::new(self.ident.unraw().to_string()).unwrap_or_default();
        let name = LitCStr::new(&name, self.ident.span());
        let hash = |ty: Option<TokenStream>| match ty {
            Some(ty) => quote!(<#ty as #krate::Type>::SCHEMA_HASH),
            None => quote!(0),
        };
        let (id, in_hash, out_hash) = (self.id, hash(self.in_type()), hash(self.out_type()));
        let flags = [
            (true, quote!(THREAD_SAFE)),
            (self.options.sync, quote!(SYNC)),
            (self.options.oneway, quote!(ONEWAY)),
            (self.options.idempotent, quote!(IDEMPOTENT)),
        ];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag);
        quote! {
            #krate::abi::Method {
                id: #id,
                flags: 0 #(| #krate::abi::method::#flags)*,
                name: #name.as_ptr(),
                in_hash: #in_hash,
                out_hash: #out_hash,
            }
        }
    }

    /// Its row in the table of what runs methods to their end. Each is a function of its own: in
    /// one with all of them, each would make room for what any of them needs. Those without an
    /// argument are short until they do their work, and so are part of what the host calls.
    pub(super) fn run(&self, krate: &Path, owner: &impl ToTokens) -> TokenStream {
        let (bind, call) = (self.bind(krate), self.invoke(&quote!(this)));
        let call = if self.is_async { quote!(#krate::export::block_on(#call)) } else { call };
        let finish = self.finish(&call, &quote!(out));
        let is_short = matches!(self.checked.argument, Argument::Nothing) && !self.is_async;
        let inline = if is_short { quote!(#[inline]) } else { quote!(#[inline(never)]) };
        quote! {{
            struct Run;
            impl #krate::export::Run<#owner> for Run {
                #inline
                #[allow(unused_variables)]
                fn run(
                    this: &::std::sync::Arc<#owner>,
                    input: &[u8],
                    out: &mut #krate::Output<'_>,
                ) -> #krate::Result<()> {
                    #bind
                    #finish
                    ::core::result::Result::Ok(())
                }
            }
            #krate::export::Row::new::<Run>()
        }}
    }

    /// Its future, if it is asynchronous.
    pub(super) fn start_arm(&self, krate: &Path) -> Option<TokenStream> {
        if !self.is_async {
            return None;
        }
        let id = self.id;
        let (bind, call) = (self.bind(krate), self.invoke(&quote!(this)));
        let finish = self.finish(&quote!(#call.await), &quote!(out));
        Some(quote! {
            #id => {
                #bind
                let this = ::std::sync::Arc::clone(this);
                ::core::result::Result::Ok(::core::option::Option::Some(
                    ::std::boxed::Box::pin(async move {
                        #[allow(unused_mut)]
                        let mut out = #krate::export::growing();
                        #finish
                        ::core::result::Result::Ok(out)
                    })
                ))
            }
        })
    }

    /// From `input` to the arguments.
    fn bind(&self, krate: &Path) -> TokenStream {
        let export = quote!(#krate::export);
        match &self.checked.argument {
            Argument::Nothing => quote!(#export::none(input)?;),
            Argument::Bytes => quote!(let argument = input;),
            Argument::OwnedBytes => quote!(let argument = input.to_vec();),
            Argument::View(ty) => quote! {
                let placed = #export::Placed::new::<#ty>(input);
                let argument = placed.view::<#ty>()?;
            },
            Argument::Value(ty) => quote!(let argument = #export::owned::<#ty>(input)?;),
            Argument::List(list) => {
                let (ident, names) = (self.arguments_type(), list.iter().map(|(name, _)| name));
                quote!(let #ident { #(#names),* } = #export::owned::<#ident>(input)?;)
            }
        }
    }

    fn invoke(&self, this: &TokenStream) -> TokenStream {
        let ident = &self.ident;
        let mut arguments = match &self.checked.argument {
            Argument::Nothing => Vec::new(),
            Argument::List(list) => list.iter().map(|(name, _)| name.to_token_stream()).collect(),
            _ => vec![quote!(argument)],
        };
        if self.checked.writes {
            arguments.push(quote!(out));
        }
        quote!(#this.#ident(#(#arguments),*))
    }

    /// From what `call` gives to `out`.
    fn finish(&self, call: &TokenStream, out: &TokenStream) -> TokenStream {
        let call = if self.checked.fallible { quote!(#call?) } else { call.clone() };
        match &self.checked.outcome {
            Outcome::Nothing => quote!(#call;),
            Outcome::Bytes => quote!(#out.put_bytes(&#call)?;),
            Outcome::Value(_) => quote!(#out.put(&#call)?;),
            Outcome::Wrapped(_) => {
                let ident = self.result_type();
                quote!(#out.put(&#ident(#call))?;)
            }
        }
    }
}

impl Options {
    fn parse(attribute: &Attribute) -> Result<Self> {
        let mut options = Self::default();
        if matches!(attribute.meta, Meta::Path(_)) {
            return Ok(options);
        }
        attribute.parse_nested_meta(|meta| {
            let option = if meta.path.is_ident("sync") {
                &mut options.sync
            } else if meta.path.is_ident("oneway") {
                &mut options.oneway
            } else if meta.path.is_ident("idempotent") {
                &mut options.idempotent
            } else {
                return Err(unknown(&meta, "sync, oneway, idempotent"));
            };
            *option = true;
            Ok(())
        })?;
        Ok(options)
    }
}
