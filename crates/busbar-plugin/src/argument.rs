//! From the bytes of a call to the argument of a method.

use std::ops::Deref;

use busbar_abi::Status;
use busbar_types::rkyv::Archive;
use busbar_types::rkyv::util::AlignedVec;
use busbar_types::{Type, access, read};

use crate::{Error, Result};

/// Somebody else's archive of a `T`, read where it is: the argument of methods that look at a
/// little of much.
#[derive(Debug)]
pub struct View<'a, T: Type>(&'a T::Archived);

impl<T: Type> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Type> Copy for View<'_, T> {}

impl<T: Type> Deref for View<'_, T> {
    type Target = T::Archived;

    fn deref(&self) -> &T::Archived {
        self.0
    }
}

/// The bytes of a call where archives of `T` can be read: copied, if they lie at an odd address.
#[doc(hidden)]
#[derive(Debug)]
#[non_exhaustive]
pub enum Placed<'a> {
    /// Where they are.
    Here(&'a [u8]),
    /// Elsewhere.
    Copied(AlignedVec),
}

impl<'a> Placed<'a> {
    /// As `T` needs it.
    #[inline]
    #[must_use]
    pub fn new<T: Type>(bytes: &'a [u8]) -> Self {
        if bytes.as_ptr().addr().is_multiple_of(align_of::<<T as Archive>::Archived>()) {
            return Self::Here(bytes);
        }
        let mut copy = AlignedVec::with_capacity(bytes.len());
        copy.extend_from_slice(bytes);
        Self::Copied(copy)
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Here(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }

    /// The archive.
    ///
    /// # Errors
    /// `SCHEMA_MISMATCH` if there is none.
    #[inline]
    pub fn view<T: Type>(&self) -> Result<View<'_, T>> {
        Ok(View(access::<T>(self.bytes())?))
    }
}

/// The value in `bytes`.
///
/// # Errors
/// `SCHEMA_MISMATCH` if there is none.
#[doc(hidden)]
#[inline]
pub fn owned<T: Type>(bytes: &[u8]) -> Result<T> {
    Ok(read(Placed::new::<T>(bytes).bytes())?)
}

/// Nothing.
///
/// # Errors
/// `INVALID` if there is something.
#[doc(hidden)]
#[inline]
pub fn none(bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() { Ok(()) } else { Err(surplus(bytes.len())) }
}

/// Apart, so that methods without an argument need no room for making a text.
#[cold]
#[inline(never)]
fn surplus(length: usize) -> Error {
    let message = format!("the method takes no argument, but was given {length} bytes");
    Error::of(Status::INVALID, message)
}
