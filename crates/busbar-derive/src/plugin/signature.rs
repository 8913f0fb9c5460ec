//! What a method takes and gives, as far as tokens tell.

use quote::{ToTokens, quote};
use syn::{
    Error, FnArg, GenericArgument, Ident, Pat, PathArguments, Result, ReturnType, Signature, Type,
};

use crate::fields;

/// What a method takes.
pub(super) enum Argument {
    Nothing,
    /// `&[u8]`, as they are.
    Bytes,
    /// `Vec<u8>`, as they are.
    OwnedBytes,
    /// `View<'_, T>`.
    View(Type),
    /// One type of the user's.
    Value(Type),
    /// Everything else: a type is made of them.
    List(Vec<(Ident, Type)>),
}

/// What a method gives.
pub(super) enum Outcome {
    Nothing,
    /// `Vec<u8>`, as they are.
    Bytes,
    /// One type of the user's.
    Value(Type),
    /// Everything else: a type is made of it.
    Wrapped(Type),
}

/// A checked signature.
pub(super) struct Checked {
    pub(super) argument: Argument,
    /// It writes into `&mut Output` itself.
    pub(super) writes: bool,
    pub(super) outcome: Outcome,
    /// It gives a `Result`.
    pub(super) fallible: bool,
}

pub(super) fn check(signature: &Signature) -> Result<Checked> {
    let mut inputs = signature.inputs.iter();
    let by_ref = |arg: &FnArg| match arg {
        FnArg::Receiver(it) => it.reference.is_some() && it.mutability.is_none(),
        FnArg::Typed(_) => false,
    };
    if !inputs.next().is_some_and(by_ref) {
        let message = "a method takes &self: it may run on several threads at once";
        return Err(Error::new_spanned(signature, message));
    }
    let mut list = Vec::new();
    let mut writes = false;
    for input in inputs {
        let FnArg::Typed(input) = input else { continue };
        if writes {
            return Err(Error::new_spanned(input, "the output comes last"));
        }
        if is_output(&input.ty) {
            writes = true;
            continue;
        }
        let Pat::Ident(pat) = &*input.pat else {
            return Err(Error::new_spanned(&input.pat, "an argument has a name"));
        };
        list.push((pat.ident.clone(), (*input.ty).clone()));
    }
    let argument = argument(list)?;
    let (outcome, fallible) = outcome(&signature.output)?;
    if writes && !matches!(outcome, Outcome::Nothing) {
        let message = "a method that writes its output itself returns nothing besides";
        return Err(Error::new_spanned(&signature.output, message));
    }
    let borrows = matches!(argument, Argument::Bytes | Argument::View(_)) || writes;
    if signature.asyncness.is_some() && borrows {
        let message = "an async method outlives the caller's memory: take the value, or Vec<u8>, \
                       and return the result";
        return Err(Error::new_spanned(signature, message));
    }
    Ok(Checked { argument, writes, outcome, fallible })
}

fn argument(mut list: Vec<(Ident, Type)>) -> Result<Argument> {
    let single = if list.len() == 1 { list.pop() } else { None };
    let Some((name, ty)) = single else {
        for (_, ty) in &list {
            fields::check(ty)?;
        }
        return Ok(if list.is_empty() { Argument::Nothing } else { Argument::List(list) });
    };
    if is_same(&ty, &quote!(&[u8])) {
        return Ok(Argument::Bytes);
    }
    if is_same(&ty, &quote!(Vec<u8>)) {
        return Ok(Argument::OwnedBytes);
    }
    if let Some(inner) = generic_of(&ty, "View") {
        return Ok(Argument::View(inner));
    }
    fields::check(&ty)?;
    Ok(if fields::is_user_type(&ty) {
        Argument::Value(ty)
    } else {
        Argument::List(vec![(name, ty)])
    })
}

fn outcome(output: &ReturnType) -> Result<(Outcome, bool)> {
    let ReturnType::Type(_, ty) = output else { return Ok((Outcome::Nothing, false)) };
    let inner = generic_of(ty, "Result");
    let fallible = inner.is_some();
    let ty = inner.unwrap_or_else(|| (**ty).clone());
    let outcome = if is_same(&ty, &quote!(())) {
        Outcome::Nothing
    } else if is_same(&ty, &quote!(Vec<u8>)) {
        Outcome::Bytes
    } else {
        fields::check(&ty)?;
        if fields::is_user_type(&ty) { Outcome::Value(ty) } else { Outcome::Wrapped(ty) }
    };
    Ok((outcome, fallible))
}

fn is_same(ty: &Type, tokens: &proc_macro2::TokenStream) -> bool {
    ty.to_token_stream().to_string() == tokens.to_string()
}

fn is_output(ty: &Type) -> bool {
    let Type::Reference(reference) = ty else { return false };
    let Type::Path(path) = &*reference.elem else { return false };
    reference.mutability.is_some()
        && path.path.segments.last().is_some_and(|last| last.ident == "Output")
}

/// The first type in the brackets of a type with this name.
fn generic_of(ty: &Type, name: &str) -> Option<Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(inner) => Some(inner.clone()),
        _ => None,
    })
}
