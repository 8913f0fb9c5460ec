//! `#[plugin]`: from an `impl` block to the entry of a library.
//!
//! Beside the block, which stays as it is but for its `#[method]`s, goes one anonymous constant
//! with everything else in it: types for argument lists, dispatch, manifest, entry, descriptors.

mod method;
mod signature;

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Error, Ident, ImplItem, ItemImpl, LitCStr, LitStr, Path, Result, Token, Type};

use self::method::Method;
use crate::attributes::{dotted, unknown};
use crate::input::find_plugin_crate;

/// Options of `#[plugin(…)]`.
#[derive(Default)]
struct Options {
    id: Option<LitStr>,
    types: Vec<Path>,
    state: bool,
    unloadable: bool,
    singleton: bool,
    krate: Option<Path>,
}

impl Options {
    fn parse(tokens: TokenStream) -> Result<Self> {
        let mut options = Self::default();
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("id") {
                let id: LitStr = meta.value()?.parse()?;
                dotted(&id)?;
                options.id = Some(id);
            } else if meta.path.is_ident("types") {
                let content;
                syn::parenthesized!(content in meta.input);
                let types = Punctuated::<Path, Token![,]>::parse_terminated_with(
                    &content,
                    Path::parse_mod_style,
                )?;
                options.types.extend(types);
            } else if meta.path.is_ident("state") {
                options.state = true;
            } else if meta.path.is_ident("unloadable") {
                options.unloadable = true;
            } else if meta.path.is_ident("singleton") {
                options.singleton = true;
            } else if meta.path.is_ident("crate") {
                options.krate = Some(meta.value()?.call(Path::parse_mod_style)?);
            } else {
                return Err(unknown(&meta, "id, types, state, unloadable, singleton, crate"));
            }
            Ok(())
        });
        parser.parse2(tokens)?;
        Ok(options)
    }
}

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = Options::parse(options)?;
    let mut block: ItemImpl = syn::parse2(item)?;
    if let Some((_, path, _)) = &block.trait_ {
        let message = "#[plugin] stands on the block with the methods: impl Name { … }";
        return Err(Error::new_spanned(path, message));
    }
    if !block.generics.params.is_empty() {
        let message = "a library has one plugin, so its type has no generics";
        return Err(Error::new_spanned(&block.generics, message));
    }
    let krate = match &options.krate {
        Some(path) => path.clone(),
        None => find_plugin_crate()?,
    };
    let mut methods = Vec::new();
    for item in &mut block.items {
        let ImplItem::Fn(function) = item else { continue };
        if let Some(method) = Method::take(function, methods.len())? {
            methods.push(method);
        }
    }
    if methods.is_empty() && options.types.is_empty() {
        let message = "a plugin has methods, marked by #[method], or types";
        return Err(Error::new_spanned(&block.self_ty, message));
    }
    let export = Export { options: &options, krate: &krate, owner: &block.self_ty, methods };
    let export = export.emit();
    Ok(quote!(#block #export))
}

struct Export<'a> {
    options: &'a Options,
    krate: &'a Path,
    owner: &'a Type,
    methods: Vec<Method>,
}

impl Export<'_> {
    fn emit(&self) -> TokenStream {
        let declarations = self.methods.iter().map(|method| method.declarations(self.krate));
        let (exports, manifest, types) = (self.exports(), self.manifest(), self.types());
        quote! {
            const _: () = {
                #(#declarations)*
                #exports
                #types
                #manifest
            };
        }
    }

    /// The trait that the functions of the instance rest on.
    fn exports(&self) -> TokenStream {
        let Self { krate, owner, .. } = self;
        let rows = self.methods.iter().map(|method| method.run(krate, owner));
        let starts = self.methods.iter().filter_map(|method| method.start_arm(krate));
        let state = if self.options.state {
            quote!(::core::option::Option::Some(&const { #krate::export::state::<#owner>() }))
        } else {
            quote!(::core::option::Option::None)
        };
        quote! {
            impl #krate::export::Exports for #owner {
                const STATE: ::core::option::Option<&'static #krate::abi::StateExtension> = #state;

                const ROWS: &'static [#krate::export::Row<Self>] = &[#(#rows),*];

                #[inline]
                fn start(
                    this: &::std::sync::Arc<Self>,
                    method: u32,
                    input: &[u8],
                ) -> #krate::Result<::core::option::Option<#krate::export::Job>> {
                    match method {
                        #(#starts)*
                        _ => ::core::result::Result::Ok(::core::option::Option::None),
                    }
                }
            }
        }
    }

    /// The entry and what it gives.
    fn manifest(&self) -> TokenStream {
        let Self { krate, owner, options, .. } = self;
        let id = self.id();
        let methods = self.methods.iter().map(|method| method.row(krate));
        let flags = [
            (options.unloadable, quote!(UNLOADABLE)),
            (options.singleton, quote!(SINGLETON)),
            (options.state, quote!(STATE)),
            (self.methods.iter().any(Method::is_async), quote!(OWN_RUNTIME)),
        ];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag);
        quote! {
            /// What this library is, for its host.
            #[unsafe(no_mangle)]
            pub extern "C" fn busbar_plugin_v1() -> *const #krate::abi::Manifest {
                static METHODS: &[#krate::abi::Method] = &[#(#methods),*];
                static MANIFEST: #krate::abi::Manifest =
                    #krate::export::manifest::<#owner>(&#krate::export::Parts {
                        id: #id,
                        version: ::core::concat!(::core::env!("CARGO_PKG_VERSION"), "\0"),
                        flags: 0 #(| #krate::abi::plugin_flag::#flags)*,
                        methods: METHODS,
                        types: TYPES,
                    });
                &MANIFEST
            }
        }
    }

    /// The descriptors: functions for the manifest, and what they are made of for tools.
    fn types(&self) -> TokenStream {
        let krate = self.krate;
        let types = self.all_types();
        let pointers = types.iter().map(|ty| {
            quote! {{
                const NAME: &str = <#ty as #krate::Type>::NAME;
                const TEXT: &str = <#ty as #krate::Type>::DESC.text;
                static C_NAME: [u8; NAME.len() + 1] = #krate::export::terminated(NAME);
                static C_TEXT: [u8; TEXT.len() + 1] = #krate::export::terminated(TEXT);
                static DESCRIPTOR: #krate::abi::TypeDescriptor =
                    #krate::export::descriptor::<#ty>(&C_NAME, &C_TEXT);
                #krate::export::TypePointer::new(&DESCRIPTOR)
            }}
        });
        let export =
            (!types.is_empty()).then(|| quote!(#krate::types::export_types!(#(#types),*);));
        quote! {
            static TYPES: &[#krate::export::TypePointer] = &[#(#pointers),*];
            #export
        }
    }

    /// Each once, as far as its name tells.
    fn all_types(&self) -> Vec<TokenStream> {
        let listed = self.options.types.iter().map(ToTokens::to_token_stream);
        let used = self.methods.iter().flat_map(Method::types);
        let mut types: Vec<TokenStream> = Vec::new();
        for ty in listed.chain(used) {
            if !types.iter().any(|known| known.to_string() == ty.to_string()) {
                types.push(ty);
            }
        }
        types
    }

    fn id(&self) -> LitCStr {
        let (text, span) = match &self.options.id {
            Some(id) => (id.value(), id.span()),
            None => (
                std::env::var("CARGO_PKG_NAME").unwrap_or_default().replace('-', "_"),
                proc_macro2::Span::call_site(),
            ),
        };
        let text = std::ffi::CString::new(text).unwrap_or_default();
        LitCStr::new(&text, span)
    }
}

/// `game_state` and `State` as `GameStateState`: for names of types.
fn pascal(ident: &Ident, suffix: &str) -> Ident {
    let words = ident.unraw().to_string();
    let words = words.split('_').flat_map(|word| {
        let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        [first.to_uppercase(), rest.to_owned()]
    });
    Ident::new(&format!("{}{suffix}", words.collect::<String>()), ident.span())
}
