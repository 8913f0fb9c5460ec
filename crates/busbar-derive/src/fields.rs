//! Types of fields, as far as tokens tell: what no field may be, and the same type with the user
//! types in it replaced by name-only mentions.

use quote::quote;
use syn::{Error, GenericArgument, Ident, Path, PathArguments, Result, Type, parse_quote};

/// Containers whose generic arguments are looked into.
const CONTAINERS: &[&str] = &["Vec", "Box", "Option", "HashMap", "BTreeMap"];

/// Names of types that are described without a declaration of the user's.
const KNOWN: &[&str] = &[
    "bool", "u8", "u16", "u32", "u64", "u128", "i8", "i16", "i32", "i64", "i128", "f32", "f64",
    "char", "str", "String",
];

/// Refuses what can never be archived, at the token to blame.
pub(crate) fn check(ty: &Type) -> Result<()> {
    match ty {
        Type::Path(path) => check_path(&path.path),
        Type::Array(array) => check(&array.elem),
        Type::Slice(slice) => check(&slice.elem),
        Type::Tuple(tuple) => {
            if tuple.elems.len() > 12 {
                let message = "a tuple can have 12 elements at most: use a struct";
                return Err(Error::new_spanned(&tuple.elems[12], message));
            }
            tuple.elems.iter().try_for_each(check)
        }
        Type::Paren(inner) => check(&inner.elem),
        Type::Group(inner) => check(&inner.elem),
        Type::Reference(_) => Err(Error::new_spanned(
            ty,
            "a field of a busbar type owns its data: use String, Vec or Box",
        )),
        Type::Ptr(_) | Type::BareFn(_) | Type::TraitObject(_) | Type::Never(_) => {
            Err(Error::new_spanned(ty, "pointers, functions and trait objects cannot be sent"))
        }
        _ => Err(Error::new_spanned(ty, "this kind of type cannot be a field of a busbar type")),
    }
}

fn check_path(path: &Path) -> Result<()> {
    let Some(last) = path.segments.last() else { return Ok(()) };
    for (word, instead) in [("usize", "u32 or u64"), ("isize", "i32 or i64")] {
        if path.is_ident(word) {
            let message = format!(
                "{word} differs between machines and would be cut to 32 bits: use {instead}"
            );
            return Err(Error::new_spanned(path, message));
        }
    }
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return Ok(()) };
    for argument in &arguments.args {
        if let GenericArgument::Type(inner) = argument {
            check(inner)?;
        }
    }
    Ok(())
}

/// Whether `ty` can only be a declaration of the user's.
pub(crate) fn is_user_type(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    let last = path.path.segments.last();
    last.is_some_and(|last| !KNOWN.iter().chain(CONTAINERS).any(|known| last.ident == known))
}

/// `ty` with `Self` spelled out.
pub(crate) fn without_self(ty: &mut Type, name: &Ident) {
    each_path(ty, &mut |path| {
        if path.is_ident("Self") {
            *path = parse_quote!(#name);
        }
    });
}

/// `ty` with every user type in it replaced by a mention by name only.
pub(crate) fn by_name_only(ty: &Type, krate: &Path) -> Type {
    let mut ty = ty.clone();
    each_path(&mut ty, &mut |path| {
        let is_known = |ident: &Ident| KNOWN.iter().chain(CONTAINERS).any(|known| ident == known);
        if path.segments.last().is_some_and(|last| !is_known(&last.ident)) {
            let user = quote!(#path);
            *path = parse_quote!(#krate::describe::Recursive<#user>);
        }
    });
    ty
}

/// Visits the paths of `ty`, those inside containers first.
fn each_path(ty: &mut Type, visit: &mut dyn FnMut(&mut Path)) {
    match ty {
        Type::Path(path) => {
            if let Some(last) = path.path.segments.last_mut()
                && CONTAINERS.iter().any(|container| last.ident == container)
                && let PathArguments::AngleBracketed(arguments) = &mut last.arguments
            {
                for argument in &mut arguments.args {
                    if let GenericArgument::Type(inner) = argument {
                        each_path(inner, visit);
                    }
                }
            }
            visit(&mut path.path);
        }
        Type::Array(array) => each_path(&mut array.elem, visit),
        Type::Slice(slice) => each_path(&mut slice.elem, visit),
        Type::Tuple(tuple) => tuple.elems.iter_mut().for_each(|elem| each_path(elem, visit)),
        Type::Paren(inner) => each_path(&mut inner.elem, visit),
        Type::Group(inner) => each_path(&mut inner.elem, visit),
        _ => {}
    }
}
