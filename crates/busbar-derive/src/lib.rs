//! `#[derive(Type)]`: one derive that makes a Rust type a Busbar type. `#[plugin]`: one attribute
//! that makes an `impl` block a plugin, which `plugin` is about.
//!
//! From the declaration it emits a hidden copy on which rkyv's own derive runs, so rkyv stays the
//! only source of the layout; impls that lend the copy's abilities to the type itself; and a
//! constant description from which the compiler evaluates canonical text and hash. It looks at
//! tokens only: what a field's type really is, the traits check.
#![forbid(unsafe_code)]

mod attributes;
mod bridge;
mod describe;
mod fields;
mod input;
mod plugin;

use proc_macro::TokenStream;
use quote::quote;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct or enum a Busbar type: see the guide of `busbar_types`.
///
/// On the type: `#[busbar(name = "market.Order", alias = "market.Old", generate(capnp, json, ts),
/// archive_derive(Hash, Eq, PartialEq), crate = path)]`. On fields: `alias = "old"`,
/// `default = literal`, `number`, `bigint`, `intern`, `recursive`. On a unit variant:
/// `default_variant`.
#[proc_macro_derive(Type, attributes(busbar))]
pub fn derive_type(tokens: TokenStream) -> TokenStream {
    let derive_input = parse_macro_input!(tokens as DeriveInput);
    expand(derive_input).unwrap_or_else(|error| error.to_compile_error()).into()
}

fn expand(declaration: DeriveInput) -> syn::Result<proc_macro2::TokenStream> {
    let input = input::Input::parse(declaration)?;
    let (bridge, description) = (bridge::emit(&input), describe::emit(&input));
    Ok(quote!(#bridge #description))
}

/// Makes a library a plugin: stands on the `impl` block with its methods, of a type that is a
/// `busbar_plugin::Plugin`. See the guide of `busbar_plugin`.
///
/// `#[plugin(id = "game.physics", types(A, B), state, unloadable, singleton, crate = path)]`;
/// `types` are those that no method mentions.
#[proc_macro_attribute]
pub fn plugin(options: TokenStream, item: TokenStream) -> TokenStream {
    let output = plugin::expand(options.into(), item.into());
    output.unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Marks a method of a plugin: `#[method(sync, oneway, idempotent)]`.
///
/// `sync`: bounded and never waiting, so that it may run on the thread of JavaScript. `oneway`:
/// nobody waits for its end. `idempotent`: twice is as good as once.
#[proc_macro_attribute]
pub fn method(_options: TokenStream, item: TokenStream) -> TokenStream {
    let item = proc_macro2::TokenStream::from(item);
    let message = "#[method] stands in an impl block that has #[plugin]";
    let error = syn::Error::new_spanned(&item, message).to_compile_error();
    quote!(#item #error).into()
}

#[cfg(test)]
mod tests;
