//! Reading archives by the offsets of a schema. Archives come from anywhere: every read is bounds
//! checked and every value that has forbidden bit patterns is looked at. What this does not do is
//! to hold archives to rkyv's rule that no two objects share bytes, so whoever walks an archive
//! with this limits how deep and how far it goes.

use std::borrow::Cow;
use std::fmt;

use super::empties::{EMPTIES_MAX, too_many_empties};
use crate::schema::{Place, Scalar};
use crate::{Error, ErrorKind};

/// Strings of up to this many bytes stand inside their eight bytes.
pub(crate) const INLINE_MAX: usize = 8;
/// Entries in one node of a B-tree.
pub(crate) const NODE_ENTRIES: usize = 5;
/// B-trees are full: no tree in 4 GiB is deeper.
const TREE_DEPTH_MAX: u32 = 16;
/// A pointer to nothing.
pub(crate) const NOWHERE: i32 = 1;
/// How many control bytes of a hash table are read at once, by the writer's rules.
pub(crate) const GROUP: usize = 16;

/// An archive, not trusted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Archived<'a>(pub(crate) &'a [u8]);

/// Elements one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) start: usize,
    pub(crate) count: usize,
}

/// Where the key and the value of an entry are.
pub(crate) type Entry = (usize, usize);

impl<'a> Archived<'a> {
    /// Where the root is: at the end.
    pub(crate) fn root(self, size_bytes: u32) -> Result<usize, Error> {
        self.0.len().checked_sub(count(size_bytes)).ok_or_else(|| {
            broken(format!("has {} bytes, fewer than the {size_bytes} of the root", self.0.len()))
        })
    }

    pub(crate) fn bytes(self, at: usize, len: usize) -> Result<&'a [u8], Error> {
        let end = at.checked_add(len);
        end.and_then(|end| self.0.get(at..end))
            .ok_or_else(|| broken("reaches beyond the end of the archive"))
    }

    pub(crate) fn byte(self, at: usize) -> Result<u8, Error> {
        self.bytes(at, 1).map(|bytes| bytes[0])
    }

    fn word(self, at: usize) -> Result<[u8; 4], Error> {
        let bytes = self.bytes(at, 4)?;
        Ok(bytes.try_into().expect("invariant: four bytes were read"))
    }

    pub(crate) fn length(self, at: usize) -> Result<usize, Error> {
        self.word(at).map(|bytes| count(u32::from_le_bytes(bytes)))
    }

    /// Where the relative pointer at `at` points to.
    pub(crate) fn target(self, at: usize) -> Result<usize, Error> {
        let offset = i32::from_le_bytes(self.word(at)?);
        at.checked_add_signed(offset as isize)
            .filter(|&target| target <= self.0.len())
            .ok_or_else(|| broken("points out of the archive"))
    }

    /// The bits of a scalar, zero-extended.
    pub(crate) fn scalar(self, at: usize, scalar: Scalar) -> Result<u128, Error> {
        let mut bits = [0; 16];
        let bytes = self.bytes(at, count(scalar.size_bytes()))?;
        bits[..bytes.len()].copy_from_slice(bytes);
        check_bits(scalar, u128::from_le_bytes(bits))
    }

    /// Whether the option at `at` has a value.
    pub(crate) fn is_some(self, at: usize) -> Result<bool, Error> {
        match self.byte(at)? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(broken(format!("{tag} is no tag of an option"))),
        }
    }

    /// The target of a box.
    pub(crate) fn boxed(self, at: usize, size_bytes: u32) -> Result<usize, Error> {
        let target = self.target(at)?;
        self.bytes(target, count(size_bytes)).map(|_| target)
    }

    /// The elements of a vector or boxed slice.
    pub(crate) fn slice(self, at: usize, elem: &Place) -> Result<Run, Error> {
        let run = Run { start: self.target(at)?, count: self.length(at + 4)? };
        if elem.size_bytes == 0 && run.count > EMPTIES_MAX {
            return Err(too_many_empties(run.count));
        }
        self.checked(run, elem)
    }

    pub(crate) fn checked(self, run: Run, elem: &Place) -> Result<Run, Error> {
        let len = run.count.checked_mul(count(elem.size_bytes));
        self.bytes(run.start, len.unwrap_or(usize::MAX)).map(|_| run)
    }

    /// A `String`.
    pub(crate) fn string(self, at: usize) -> Result<&'a str, Error> {
        let repr = self.bytes(at, INLINE_MAX)?;
        if repr[0] & 0xc0 != 0x80 {
            let len = repr.iter().position(|&byte| byte == 0xff).unwrap_or(INLINE_MAX);
            return utf8(&repr[..len]);
        }
        // Six bits of the length are below the two that mark it, the others above.
        let word = u32::from_le_bytes(self.word(at)?);
        let len = count((word & 0x3f) | ((word >> 2) & !0x3f));
        if len <= INLINE_MAX {
            return Err(broken("a short string is not where short strings are"));
        }
        let offset = i32::from_le_bytes(self.word(at + 4)?);
        let start = at.checked_add_signed(offset as isize);
        let start = start.ok_or_else(|| broken("points out of the archive"))?;
        utf8(self.bytes(start, len)?)
    }

    /// A `Box<str>`.
    pub(crate) fn boxed_str(self, at: usize) -> Result<&'a str, Error> {
        utf8(self.bytes(self.target(at)?, self.length(at + 4)?)?)
    }

    /// Where the control bytes of a hash map are, one for each bucket.
    pub(crate) fn controls(self, at: usize) -> Result<(usize, &'a [u8]), Error> {
        let (len, buckets) = (self.length(at + 4)?, self.length(at + 8)?);
        let controls_at = self.target(at)?;
        // However full a table is, empty ones would make short archives take long.
        if buckets > len.saturating_mul(4).saturating_add(GROUP) {
            return Err(contradiction());
        }
        Ok((controls_at, self.bytes(controls_at, buckets)?))
    }

    /// The entries of a hash map, in the order of its buckets.
    pub(crate) fn hash_entries(
        self,
        at: usize,
        key: &Place,
        value: &Place,
    ) -> Result<Vec<Entry>, Error> {
        let len = self.length(at + 4)?;
        if len == 0 {
            return Ok(Vec::new());
        }
        let (controls_at, controls) = self.controls(at)?;
        let (buckets, entry) = (controls.len(), EntryLayout::new(key, value));
        let first = buckets.checked_mul(entry.size).and_then(|size| controls_at.checked_sub(size));
        if first.is_none() || controls.iter().filter(|&&control| control < 0x80).count() != len {
            return Err(contradiction());
        }
        let full = (0..buckets).filter(|&bucket| controls[bucket] < 0x80);
        // Buckets are stored backwards, in front of the control bytes.
        Ok(full
            .map(|bucket| controls_at - (bucket + 1) * entry.size)
            .map(|start| (start, start + entry.value))
            .collect())
    }

    /// The entries of a B-tree map, in order.
    pub(crate) fn tree_entries(
        self,
        at: usize,
        key: &Place,
        value: &Place,
    ) -> Result<Vec<Entry>, Error> {
        let len = self.length(at + 4)?;
        if len == 0 {
            return Ok(Vec::new());
        }
        let layout = NodeLayout::new(key, value);
        // All nodes but the last leaf are full, so no archive has more entries than this.
        if len / NODE_ENTRIES > self.0.len() / layout.leaf_size {
            return Err(broken("the B-tree is longer than the archive"));
        }
        let mut walk = TreeWalk { archived: self, layout, entries: Vec::new(), entries_max: len };
        walk.node(self.target(at)?, 0)?;
        if walk.entries.len() != len {
            return Err(broken("the B-tree has another length than it says"));
        }
        Ok(walk.entries)
    }
}

/// A key and its value in a bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryLayout {
    pub(crate) value: usize,
    pub(crate) size: usize,
    pub(crate) align: u32,
}

impl EntryLayout {
    pub(crate) fn new(key: &Place, value: &Place) -> Self {
        let align = key.align.max(value.align);
        let at = count(key.size_bytes).next_multiple_of(count(value.align));
        let size = (at + count(value.size_bytes)).next_multiple_of(count(align));
        Self { value: at, size, align }
    }
}

/// A node of a B-tree: a kind byte, keys, values, then a length (leaf) or pointers (inner node).
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeLayout {
    keys: usize,
    key_size: usize,
    values: usize,
    value_size: usize,
    /// The length of a leaf, or the first pointer of an inner node.
    pub(crate) tail: usize,
    pub(crate) leaf_size: usize,
    pub(crate) inner_size: usize,
    pub(crate) align: u32,
}

impl NodeLayout {
    pub(crate) fn new(key: &Place, value: &Place) -> Self {
        let (key_size, value_size) = (count(key.size_bytes), count(value.size_bytes));
        let node_align = key.align.max(value.align);
        let keys = 1_usize.next_multiple_of(count(key.align));
        let values = (keys + key_size * NODE_ENTRIES).next_multiple_of(count(value.align));
        let end = (values + value_size * NODE_ENTRIES).next_multiple_of(count(node_align));
        let (tail, align) = (end.next_multiple_of(4), node_align.max(4));
        Self {
            keys,
            key_size,
            values,
            value_size,
            tail,
            leaf_size: (tail + 4).next_multiple_of(count(align)),
            inner_size: (tail + 4 * (NODE_ENTRIES + 1)).next_multiple_of(count(align)),
            align,
        }
    }

    pub(crate) fn entry(&self, index: usize) -> Entry {
        (self.keys + index * self.key_size, self.values + index * self.value_size)
    }
}

struct TreeWalk<'a> {
    archived: Archived<'a>,
    layout: NodeLayout,
    entries: Vec<Entry>,
    /// Every node has entries and there are so many in all: this ends the walk where nodes overlap.
    entries_max: usize,
}

impl TreeWalk<'_> {
    fn node(&mut self, at: usize, depth: u32) -> Result<(), Error> {
        if depth > TREE_DEPTH_MAX || self.entries.len() >= self.entries_max {
            return Err(broken("the B-tree has another length than it says"));
        }
        let layout = self.layout;
        match self.archived.byte(at)? {
            0 => {
                self.archived.bytes(at, layout.leaf_size)?;
                let len = self.archived.length(at + layout.tail)?;
                if !(1..=NODE_ENTRIES).contains(&len) {
                    return Err(broken(format!("a leaf of the B-tree has {len} entries")));
                }
                (0..len).for_each(|index| self.entry(at, index));
            }
            1 => {
                self.archived.bytes(at, layout.inner_size)?;
                for index in 0..NODE_ENTRIES {
                    self.child(at + layout.tail + 4 * index, depth)?;
                    self.entry(at, index);
                }
                self.child(at + layout.tail + 4 * NODE_ENTRIES, depth)?;
            }
            kind => return Err(broken(format!("{kind} is no kind of B-tree node"))),
        }
        Ok(())
    }

    fn child(&mut self, pointer: usize, depth: u32) -> Result<(), Error> {
        if self.archived.word(pointer)? == NOWHERE.to_le_bytes() {
            return Ok(());
        }
        self.node(self.archived.target(pointer)?, depth + 1)
    }

    fn entry(&mut self, at: usize, index: usize) {
        let (key, value) = self.layout.entry(index);
        self.entries.push((at + key, at + value));
    }
}

fn contradiction() -> Error {
    broken("the table of the hash map contradicts itself")
}

/// Bytes are not what they should be.
pub(crate) fn broken(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::ArchiveInvalid, message)
}

/// An enum has a variant that only other versions know.
pub(crate) fn unknown_variant(variant: impl fmt::Display) -> Error {
    let message = format!("has the variant {variant}, which this version does not know");
    Error::new(ErrorKind::SchemaVariant, message)
}

/// A number of 32 bits as one of the machine, which has at least as many.
pub(crate) const fn count(number: u32) -> usize {
    number as usize
}

/// Refuses bits that no value of `scalar` has.
pub(crate) fn check_bits(scalar: Scalar, bits: u128) -> Result<u128, Error> {
    let is_fine = match scalar {
        Scalar::Bool => bits <= 1,
        Scalar::Char => u32::try_from(bits).ok().and_then(char::from_u32).is_some(),
        _ => true,
    };
    if is_fine { Ok(bits) } else { Err(broken(format!("{bits} is no {}", scalar.word()))) }
}

pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|error| broken("the text is not UTF-8").with_source(error))
}

/// Whether every pattern of bits is a value, so that lists can be copied as they are.
pub(crate) fn is_any_bits(scalar: Scalar) -> bool {
    !matches!(scalar, Scalar::Bool | Scalar::Char)
}
