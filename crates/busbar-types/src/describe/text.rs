//! Canonical text v1 as a constant: the compiler runs this over a type's description. The same
//! spelling as in `crate::schema`, where it is built from owned schemas; every schema made from a
//! derived type compares the two.

use super::{BodyDesc, FieldDesc, KindDesc, PlaceDesc};
use crate::schema::{FORMAT, Shape};

/// Length of the canonical text.
#[must_use]
pub const fn text_len(name: &str, layout: (usize, usize), body: &BodyDesc) -> usize {
    let mut out = Out::<0>::new();
    out.type_text(name, layout, body);
    out.len
}

/// The canonical text, of which [`text_len`] is the length.
#[must_use]
pub const fn text_bytes<const N: usize>(
    name: &str,
    layout: (usize, usize),
    body: &BodyDesc,
) -> [u8; N] {
    let mut out = Out::<N>::new();
    out.type_text(name, layout, body);
    assert!(out.len == N, "N is not the length of this text");
    out.bytes
}

/// The text as a string.
///
/// # Panics
/// Never for what [`text_bytes`] made: names come from string literals.
#[must_use]
pub const fn as_str(bytes: &'static [u8]) -> &'static str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => panic!("a text made of strings is UTF-8"),
    }
}

/// Bytes as far as they fit, and how many there would be.
struct Out<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Out<N> {
    const fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    const fn byte(&mut self, byte: u8) {
        if self.len < N {
            self.bytes[self.len] = byte;
        }
        self.len += 1;
    }

    const fn str(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut index = 0;
        while index < bytes.len() {
            self.byte(bytes[index]);
            index += 1;
        }
    }

    const fn number(&mut self, number: usize) {
        if number >= 10 {
            self.number(number / 10);
        }
        self.byte(b'0' + (number % 10) as u8);
    }

    const fn hash(&mut self, hash: u64) {
        let mut shift = 64;
        while shift > 0 {
            shift -= 4;
            self.byte(b"0123456789abcdef"[(hash >> shift) as usize & 15]);
        }
    }

    const fn type_text(&mut self, name: &str, (size, align): (usize, usize), body: &BodyDesc) {
        self.str("abi1;");
        self.str(FORMAT);
        self.str(match body {
            BodyDesc::Struct { .. } => ";struct ",
            BodyDesc::Enum { .. } => ";enum ",
        });
        self.str(name);
        self.byte(b'(');
        self.number(size);
        self.byte(b',');
        self.number(align);
        self.byte(b')');
        match body {
            BodyDesc::Struct { shape, fields } => self.fields(*shape, fields),
            BodyDesc::Enum { variants, .. } => {
                self.byte(b'{');
                let mut index = 0;
                while index < variants.len() {
                    if index > 0 {
                        self.byte(b';');
                    }
                    self.str(variants[index].name);
                    self.byte(b'=');
                    self.number(variants[index].tag as usize);
                    self.fields(variants[index].shape, variants[index].fields);
                    index += 1;
                }
                self.byte(b'}');
            }
        }
    }

    const fn fields(&mut self, shape: Shape, fields: &[FieldDesc]) {
        let (open, close) = match shape {
            Shape::Named => (b'{', b'}'),
            Shape::Tuple => (b'(', b')'),
            Shape::Unit => return,
        };
        self.byte(open);
        let mut index = 0;
        while index < fields.len() {
            if index > 0 {
                self.byte(b';');
            }
            if let Shape::Named = shape {
                self.str(fields[index].name);
                self.byte(b':');
            }
            self.kind(&fields[index].place.kind);
            index += 1;
        }
        self.byte(close);
    }

    const fn around(&mut self, open: &str, elem: &PlaceDesc, close: &str) {
        self.str(open);
        self.kind(&elem.kind);
        self.str(close);
    }

    const fn pair(&mut self, open: &str, key: &PlaceDesc, value: &PlaceDesc) {
        self.around(open, key, ",");
        self.around("", value, ">");
    }

    const fn kind(&mut self, kind: &KindDesc) {
        match kind {
            KindDesc::Scalar(scalar) => self.str(scalar.word()),
            KindDesc::Unit => self.str("()"),
            KindDesc::String => self.str("str"),
            KindDesc::BoxStr => self.str("boxstr"),
            KindDesc::Vec(elem) => self.around("vec<", elem, ">"),
            KindDesc::BoxSlice(elem) => self.around("boxslice<", elem, ">"),
            KindDesc::Box(elem) => self.around("box<", elem, ">"),
            KindDesc::Option { elem, .. } => self.around("opt<", elem, ">"),
            KindDesc::Array { elem, length } => {
                self.around("[", elem, ";");
                self.number(*length);
                self.byte(b']');
            }
            KindDesc::Tuple(elems) => {
                self.byte(b'(');
                let mut index = 0;
                while index < elems.len() {
                    self.around(if index > 0 { "," } else { "" }, elems[index].place, "");
                    index += 1;
                }
                self.byte(b')');
            }
            KindDesc::HashMap { key, value } => self.pair("map<", key, value),
            KindDesc::BTreeMap { key, value } => self.pair("btree<", key, value),
            KindDesc::Type(desc) => {
                self.str(desc.name);
                self.byte(b'#');
                self.hash(desc.hash);
            }
            KindDesc::Recursive { name, .. } => {
                self.byte(b'@');
                self.str(name);
            }
        }
    }
}
