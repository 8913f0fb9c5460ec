//! [`Describe`] for everything the standard library contributes, measured on rkyv's own archived
//! types. `usize` and `isize` are missing on purpose: rkyv would cut them to 32 bits silently.

use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;
use std::mem::{align_of, offset_of, size_of};

use rkyv::boxed::ArchivedBox;
use rkyv::collections::btree_map::ArchivedBTreeMap;
use rkyv::collections::swiss_table::ArchivedHashMap;
use rkyv::option::ArchivedOption;
use rkyv::primitive::{ArchivedU16, ArchivedU64, ArchivedUsize};
use rkyv::string::ArchivedString;
use rkyv::vec::ArchivedVec;
use rkyv::{Archive, Archived, tuple};

use super::{Describe, ElemDesc, KindDesc, PlaceDesc};
use crate::Type;
use crate::schema::Scalar;

// rkyv's format features hold for a whole build: one crate that enables another changes every
// archive. Texts and hashes say `le/aligned/p32`, so anything else must not compile.
const _: () = {
    assert!(size_of::<ArchivedUsize>() == 4, "busbar needs rkyv's feature pointer_width_32");
    assert!(align_of::<ArchivedU64>() == 8, "busbar cannot work with rkyv's feature unaligned");
    // SAFETY: both are two bytes, all of whose values are valid.
    let bytes: [u8; 2] = unsafe { std::mem::transmute(ArchivedU16::from_native(1)) };
    assert!(bytes[0] == 1, "busbar cannot work with rkyv's feature big_endian");
};

const fn place<T>(kind: KindDesc) -> PlaceDesc {
    PlaceDesc { kind, size_bytes: size_of::<T>(), align: align_of::<T>() }
}

/// Stands for a type mentioned by name only, where a constant description would be a circle.
#[derive(Debug)]
pub struct Recursive<T>(PhantomData<T>);

impl<T: Type> Describe for Recursive<T> {
    type InArchive = T::InArchive;
    const PLACE: &'static PlaceDesc =
        &place::<<T as Archive>::Archived>(KindDesc::Recursive { name: T::NAME, desc: || T::DESC });
}

macro_rules! scalars {
    ($($type:ty = $scalar:ident,)*) => {
        $(impl Describe for $type {
            type InArchive = Archived<Self>;
            const PLACE: &'static PlaceDesc =
                &place::<Archived<Self>>(KindDesc::Scalar(Scalar::$scalar));
        })*
    };
}

scalars! {
    bool = Bool,
    u8 = U8, u16 = U16, u32 = U32, u64 = U64, u128 = U128,
    i8 = I8, i16 = I16, i32 = I32, i64 = I64, i128 = I128,
    f32 = F32, f64 = F64,
    char = Char,
}

impl Describe for () {
    type InArchive = ();
    const PLACE: &'static PlaceDesc = &place::<()>(KindDesc::Unit);
}

impl Describe for String {
    type InArchive = ArchivedString;
    const PLACE: &'static PlaceDesc = &place::<ArchivedString>(KindDesc::String);
}

impl Describe for Box<str> {
    type InArchive = Archived<Self>;
    const PLACE: &'static PlaceDesc = &place::<Archived<Self>>(KindDesc::BoxStr);
}

impl<T: Describe> Describe for Vec<T> {
    type InArchive = ArchivedVec<T::InArchive>;
    const PLACE: &'static PlaceDesc = &place::<ArchivedVec<()>>(KindDesc::Vec(T::PLACE));
}

impl<T: Describe> Describe for Box<[T]> {
    type InArchive = ArchivedBox<[T::InArchive]>;
    const PLACE: &'static PlaceDesc = &place::<ArchivedBox<[()]>>(KindDesc::BoxSlice(T::PLACE));
}

impl<T: Describe> Describe for Box<T> {
    type InArchive = ArchivedBox<T::InArchive>;
    const PLACE: &'static PlaceDesc = &place::<ArchivedBox<()>>(KindDesc::Box(T::PLACE));
}

/// An `ArchivedOption` is laid out like the union of its variants, of which this is one.
#[repr(C)]
struct SomeMirror<T>(u8, T);

impl<T: Describe> Describe for Option<T> {
    type InArchive = ArchivedOption<T::InArchive>;
    const PLACE: &'static PlaceDesc = &place::<ArchivedOption<T::InArchive>>(KindDesc::Option {
        elem: T::PLACE,
        offset: offset_of!(SomeMirror<T::InArchive>, 1),
    });
}

impl<T: Describe, const N: usize> Describe for [T; N] {
    type InArchive = [T::InArchive; N];
    const PLACE: &'static PlaceDesc =
        &place::<[T::InArchive; N]>(KindDesc::Array { elem: T::PLACE, length: N });
}

impl<K: Describe, V: Describe, S> Describe for HashMap<K, V, S> {
    type InArchive = ArchivedHashMap<K::InArchive, V::InArchive>;
    const PLACE: &'static PlaceDesc =
        &place::<ArchivedHashMap<(), ()>>(KindDesc::HashMap { key: K::PLACE, value: V::PLACE });
}

impl<K: Describe, V: Describe> Describe for BTreeMap<K, V> {
    type InArchive = ArchivedBTreeMap<K::InArchive, V::InArchive>;
    const PLACE: &'static PlaceDesc =
        &place::<ArchivedBTreeMap<(), ()>>(KindDesc::BTreeMap { key: K::PLACE, value: V::PLACE });
}

macro_rules! tuples {
    ($($archived:ident: $($type:ident $index:tt),*;)*) => {
        $(impl<$($type: Describe),*> Describe for ($($type,)*) {
            type InArchive = tuple::$archived<$($type::InArchive),*>;
            const PLACE: &'static PlaceDesc =
                &place::<<Self as Describe>::InArchive>(KindDesc::Tuple(&[$(ElemDesc {
                    place: $type::PLACE,
                    offset: offset_of!(<Self as Describe>::InArchive, $index),
                }),*]));
        })*
    };
}

tuples! {
    ArchivedTuple1: A 0;
    ArchivedTuple2: A 0, B 1;
    ArchivedTuple3: A 0, B 1, C 2;
    ArchivedTuple4: A 0, B 1, C 2, D 3;
    ArchivedTuple5: A 0, B 1, C 2, D 3, E 4;
    ArchivedTuple6: A 0, B 1, C 2, D 3, E 4, F 5;
    ArchivedTuple7: A 0, B 1, C 2, D 3, E 4, F 5, G 6;
    ArchivedTuple8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7;
    ArchivedTuple9: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8;
    ArchivedTuple10: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9;
    ArchivedTuple11: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10;
    ArchivedTuple12: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11;
}
