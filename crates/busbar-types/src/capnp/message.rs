//! Following the pointers of a message that anybody may have made: bytes go in, views of structs
//! and lists come out.
//!
//! Bounds are checked when a pointer is followed, so that a view is inside its segment. A message
//! can point to the same object from many places, or claim a billion elements that take no bytes:
//! every step is charged to a budget in proportion to the message, and refused when it is spent.
//! How deep the walk goes is up to whoever walks. Packed messages are not read.

use std::cell::Cell;

use super::WORD;
use super::plan::Size;
use crate::Error;
use crate::archive::{broken, count, utf8};

/// More segments than this are a mistake or an attack; the writers of others stop there, too.
const SEGMENTS_MAX: usize = 512;
/// How often each word may be read. We come back to some of them, and hash keys once more.
const READS_MAX: u64 = 16;
/// Words that may be read in any case, so that short lists of nothing pass.
const READS_FREE: u64 = 1 << 16;

/// A list's code for elements of so many bits; 6 are pointers and 7 structs.
const LIST_BITS: [usize; 7] = [0, 1, 8, 16, 32, 64, 64];
pub(super) const LIST_POINTERS: u32 = 6;
const LIST_STRUCTS: u32 = 7;

/// A message in stream framing.
#[derive(Debug)]
pub(super) struct Message<'m> {
    segments: Vec<&'m [u8]>,
    words_left: Cell<u64>,
}

/// Where a pointer is: its segment and its byte in there.
#[derive(Clone, Copy, Debug)]
pub(super) struct PointerAt {
    segment: usize,
    at: usize,
}

/// A struct. What it does not have reads as zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'m> {
    data: &'m [u8],
    segment: usize,
    pointers_at: usize,
    pointers: usize,
}

/// A list of anything but structs.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListView<'m> {
    /// The elements; pointers are followed from `segment` and `at`.
    pub(super) bytes: &'m [u8],
    pub(super) count: usize,
    segment: usize,
    at: usize,
}

/// A list of structs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Structs {
    pub(super) count: usize,
    segment: usize,
    at: usize,
    size: Size,
}

/// What a pointer turned out to be.
enum Object {
    Struct { segment: usize, at: usize, size: Size },
    List { segment: usize, at: usize, code: u32, count: usize },
}

impl<'m> Message<'m> {
    /// Reads the framing.
    pub(super) fn new(bytes: &'m [u8]) -> Result<Self, Error> {
        let truncated = || broken("the message ends within its framing");
        let word = |at: usize| {
            let bytes: Option<[u8; 4]> = bytes.get(at..at + 4)?.try_into().ok();
            bytes.map(u32::from_le_bytes).map(count)
        };
        let segment_count = word(0).ok_or_else(truncated)?.saturating_add(1);
        if segment_count > SEGMENTS_MAX {
            let message = format!("claims {segment_count} segments, more than {SEGMENTS_MAX}");
            return Err(broken(message));
        }
        let mut start = (4 + 4 * segment_count).next_multiple_of(WORD);
        let mut segments = Vec::with_capacity(segment_count);
        for index in 0..segment_count {
            let words = word(4 + 4 * index).ok_or_else(truncated)?;
            let end = words.checked_mul(WORD).and_then(|size| size.checked_add(start));
            let segment = end.and_then(|end| bytes.get(start..end));
            segments.push(segment.ok_or_else(|| broken("the message is cut off"))?);
            start += words * WORD;
        }
        if start != bytes.len() {
            return Err(broken(format!("the message ends {} bytes early", bytes.len() - start)));
        }
        let words_left = Cell::new((bytes.len() / WORD) as u64 * READS_MAX + READS_FREE);
        Ok(Self { segments, words_left })
    }

    pub(super) fn root(&self) -> PointerAt {
        PointerAt { segment: 0, at: 0 }
    }

    /// The struct at `pointer`; where there is none, one of zeros.
    pub(super) fn structure(&self, pointer: PointerAt) -> Result<View<'m>, Error> {
        match self.follow(pointer)? {
            None => Ok(View::ZEROS),
            Some(Object::Struct { segment, at, size }) => Ok(self.view(segment, at, size)),
            Some(Object::List { .. }) => Err(broken("a list stands where a struct should")),
        }
    }

    /// The list at `pointer`, marked as of `code`; `None` where there is none.
    pub(super) fn list(
        &self,
        pointer: PointerAt,
        code: u32,
    ) -> Result<Option<ListView<'m>>, Error> {
        match self.follow(pointer)? {
            None => Ok(None),
            Some(Object::List { segment, at, code: found, count: length }) if found == code => {
                let len = (length * LIST_BITS[count(code)]).div_ceil(8);
                let bytes = &self.segments[segment][at..at + len];
                Ok(Some(ListView { bytes, count: length, segment, at }))
            }
            Some(Object::List { code: found, .. }) => {
                Err(broken(format!("a list of code {found} stands where one of {code} should")))
            }
            Some(Object::Struct { .. }) => Err(broken("a struct stands where a list should")),
        }
    }

    /// The list of structs at `pointer`.
    pub(super) fn structs(&self, pointer: PointerAt) -> Result<Option<Structs>, Error> {
        match self.follow(pointer)? {
            None => Ok(None),
            Some(Object::List { segment, at, code: LIST_STRUCTS, count: words }) => {
                let segment_bytes = self.segments[segment];
                let (first, second) = split(&segment_bytes[at - WORD..at]);
                let (length, size) = (count(first >> 2), size_of(second));
                let needed = length.checked_mul(size.words());
                if first & 3 != 0 || needed.is_none_or(|needed| needed > words) {
                    return Err(broken("a list of structs is smaller than it says"));
                }
                if size.words() == 0 {
                    self.charge(length)?;
                }
                Ok(Some(Structs { count: length, segment, at, size }))
            }
            Some(_) => Err(broken("something else stands where a list of structs should")),
        }
    }

    /// The text at `pointer`.
    pub(super) fn text(&self, pointer: PointerAt) -> Result<&'m str, Error> {
        match self.list(pointer, 2)? {
            None => Ok(""),
            Some(list) => match list.bytes.split_last() {
                Some((0, text)) => utf8(text),
                _ => Err(broken("the text does not end with a zero")),
            },
        }
    }

    /// An element of a list of structs.
    pub(super) fn element(&self, structs: &Structs, index: usize) -> View<'m> {
        debug_assert!(index < structs.count);
        let at = structs.at + index * structs.size.words() * WORD;
        self.view(structs.segment, at, structs.size)
    }

    fn view(&self, segment: usize, at: usize, size: Size) -> View<'m> {
        let pointers_at = at + usize::from(size.data_words) * WORD;
        let data = &self.segments[segment][at..pointers_at];
        View { data, segment, pointers_at, pointers: usize::from(size.pointers) }
    }

    /// Takes `words` from the budget.
    pub(super) fn charge(&self, words: usize) -> Result<(), Error> {
        let left = self.words_left.get().checked_sub(words as u64);
        self.words_left.set(left.ok_or_else(|| {
            broken("the message says more than its size allows: it repeats itself or is hostile")
        })?);
        Ok(())
    }

    /// What is at the end of a pointer, wherever its segment is.
    fn follow(&self, pointer: PointerAt) -> Result<Option<Object>, Error> {
        self.charge(1)?;
        if pointer.segment == usize::MAX {
            return Ok(None);
        }
        let (first, second) = self.word(pointer.segment, pointer.at)?;
        match first & 3 {
            _ if first == 0 && second == 0 => Ok(None),
            2 => self.follow_far(first, second).map(Some),
            code => {
                let at = target(pointer.at + WORD, first)?;
                self.object(code, second, pointer.segment, at).map(Some)
            }
        }
    }

    /// A pointer into another segment: to a pointer there, or to two words of which the first
    /// says where the object is and the second what it is.
    fn follow_far(&self, first: u32, segment: u32) -> Result<Object, Error> {
        let (segment, at) = (count(segment), count(first >> 3) * WORD);
        let (pad, pad_second) = self.word(segment, at)?;
        if first & 4 == 0 {
            return match pad & 3 {
                2 => Err(broken("a far pointer points to another one")),
                code => self.object(code, pad_second, segment, target(at + WORD, pad)?),
            };
        }
        let (tag, tag_second) = self.word(segment, at + WORD)?;
        if pad & 7 != 2 || tag & 3 == 2 || tag >> 2 != 0 {
            return Err(broken("a double far pointer points to something else than its two words"));
        }
        self.object(tag & 3, tag_second, count(pad_second), count(pad >> 3) * WORD)
    }

    /// Checks that the object at `at` is inside of its segment.
    fn object(&self, code: u32, bits: u32, segment: usize, at: usize) -> Result<Object, Error> {
        let (object, words) = match code {
            0 => {
                let size = size_of(bits);
                (Object::Struct { segment, at, size }, size.words())
            }
            1 => {
                let (code, length) = (bits & 7, count(bits >> 3));
                if code == LIST_STRUCTS {
                    let at = at + WORD;
                    (Object::List { segment, at, code, count: length }, length)
                } else {
                    let words = (length * LIST_BITS[count(code)]).div_ceil(64);
                    (Object::List { segment, at, code, count: length }, words)
                }
            }
            _ => return Err(broken("points to a capability, which bytes cannot hold")),
        };
        let start = match object {
            Object::Struct { at, .. } | Object::List { at, .. } => at,
        };
        let segment =
            self.segments.get(segment).ok_or_else(|| broken("there is no such segment"))?;
        if start.checked_add(words * WORD).is_none_or(|end| end > segment.len()) {
            return Err(broken("a pointer reaches out of its segment"));
        }
        self.charge(words)?;
        Ok(object)
    }

    fn word(&self, segment: usize, at: usize) -> Result<(u32, u32), Error> {
        let word = self.segments.get(segment).and_then(|bytes| bytes.get(at..)?.get(..WORD));
        word.map(split).ok_or_else(|| broken("a pointer is outside of its segment"))
    }
}

impl View<'_> {
    /// A struct without anything.
    pub(super) const ZEROS: Self = Self { data: &[], segment: 0, pointers_at: 0, pointers: 0 };

    /// `size` bytes of data, at a multiple of `size`.
    pub(super) fn bits(&self, offset: u32, size: usize) -> u64 {
        let start = count(offset) * size;
        let mut bytes = [0; WORD];
        if let Some(data) = self.data.get(start..start + size) {
            bytes[..size].copy_from_slice(data);
        }
        u64::from_le_bytes(bytes)
    }

    pub(super) fn bool(&self, offset: u32) -> bool {
        let byte = self.data.get(count(offset) / 8);
        byte.is_some_and(|byte| byte >> (offset % 8) & 1 == 1)
    }

    /// A pointer, or nowhere if the struct has fewer.
    pub(super) fn pointer(&self, index: u32) -> PointerAt {
        if count(index) >= self.pointers {
            return PointerAt::NOWHERE;
        }
        PointerAt { segment: self.segment, at: self.pointers_at + count(index) * WORD }
    }
}

impl PointerAt {
    /// A pointer that is not there, which is the same as one to nothing.
    pub(super) const NOWHERE: Self = Self { segment: usize::MAX, at: 0 };
}

impl ListView<'_> {
    /// The pointer that is an element.
    pub(super) fn pointer(&self, index: usize) -> PointerAt {
        debug_assert!(index < self.count);
        PointerAt { segment: self.segment, at: self.at + index * WORD }
    }

    pub(super) fn bits(&self, index: usize, size: usize) -> u64 {
        let mut bytes = [0; WORD];
        bytes[..size].copy_from_slice(&self.bytes[index * size..(index + 1) * size]);
        u64::from_le_bytes(bytes)
    }

    pub(super) fn bool(&self, index: usize) -> bool {
        self.bytes[index / 8] >> (index % 8) & 1 == 1
    }
}

fn split(word: &[u8]) -> (u32, u32) {
    let half = |at: usize| u32::from_le_bytes([word[at], word[at + 1], word[at + 2], word[at + 3]]);
    (half(0), half(4))
}

/// Where a pointer that ends at `end` points to.
fn target(end: usize, first: u32) -> Result<usize, Error> {
    let words = (first.cast_signed() >> 2) as isize;
    end.checked_add_signed(words * WORD.cast_signed())
        .ok_or_else(|| broken("a pointer reaches out of its segment"))
}

fn size_of(bits: u32) -> Size {
    let [a, b, c, d] = bits.to_le_bytes();
    Size { data_words: u16::from_le_bytes([a, b]), pointers: u16::from_le_bytes([c, d]) }
}
