//! Maps of a message, archived: a hash table as rkyv lays it out, and a B-tree of full nodes.
//!
//! Entries come in the order of the message. In a hash map each goes to the bucket that its hash
//! asks for; in a B-tree they are sorted, where the order of keys is known, and else taken to be in
//! order. Keys that occur twice are refused. See `key` for what is known of keys.

use std::collections::BTreeSet;

use super::{Decoder, From};
use crate::capnp::key::{self, Key};
use crate::capnp::source::{EntryLayout, GROUP, NODE_ENTRIES, NOWHERE, NodeLayout};
use crate::capnp::{broken, count};
use crate::schema::{Kind, Place, prefix};
use crate::{Error, ErrorKind};

/// A key and its value in the message.
type Pair<'p, 'm> = [From<'p, 'm>; 2];

/// A control byte without an entry.
const EMPTY: u8 = 0xff;

/// How many buckets `len` entries get: seven of eight are full at most, and one is free.
pub(super) fn buckets(len: usize) -> usize {
    if len == 0 { 0 } else { (len * 8 / 7).max(len + 1) }
}

impl<'p, 'm> Decoder<'p, 'm> {
    pub(super) fn hash_map(
        &mut self,
        key: &Place,
        value: &Place,
        from: From<'p, 'm>,
    ) -> Result<(), Error> {
        let pairs = self.pairs(key, value, from)?;
        if pairs.is_empty() {
            return Ok(());
        }
        if !key::is_known(&key.kind) {
            let message = "the keys of the hash map are a user type: only its Rust code knows \
                           their hashes";
            return Err(Error::new(ErrorKind::FormatUnsupported, message));
        }
        let mut table = Table::new(pairs.len());
        let mut seen = BTreeSet::new();
        for (index, pair) in pairs.iter().enumerate() {
            let digest = self.key(key, pair)?;
            table.insert(digest.hash, index);
            if !seen.insert(digest.order) {
                return Err(broken("a key of the map occurs twice").at("[key]"));
            }
        }
        let layout = EntryLayout::new(key, value);
        let base = self.notes.len();
        let mut first_notes = Vec::with_capacity(pairs.len());
        for &index in table.buckets.iter().flatten() {
            first_notes.push(self.notes.len());
            self.pair_before(key, value, &pairs[index])?;
        }
        let size = table.buckets.len().checked_mul(layout.size);
        let start = self.alloc(count(1).max(layout.align) as u32, size.unwrap_or(usize::MAX))?;
        let mut first_notes = first_notes.into_iter();
        for (bucket, index) in table.buckets.iter().enumerate() {
            let Some(index) = *index else { continue };
            // The last bucket is first.
            let at = start + (table.buckets.len() - 1 - bucket) * layout.size;
            let mut note = first_notes.next().unwrap_or(base);
            self.pair_place(key, value, &pairs[index], [at, at + layout.value], &mut note)?;
        }
        let controls_at = self.alloc(1, table.controls.len())?;
        self.put(controls_at, &table.controls);
        self.note_instead(base, controls_at);
        Ok(())
    }

    pub(super) fn tree_map(
        &mut self,
        key: &Place,
        value: &Place,
        from: From<'p, 'm>,
    ) -> Result<(), Error> {
        let mut pairs = self.pairs(key, value, from)?;
        if pairs.is_empty() {
            return Ok(());
        }
        if key::is_known(&key.kind) {
            let mut keyed = Vec::with_capacity(pairs.len());
            for pair in pairs {
                keyed.push((self.key(key, &pair)?.order, pair));
            }
            keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
            if keyed.windows(2).any(|two| two[0].0 == two[1].0) {
                return Err(broken("a key of the map occurs twice").at("[key]"));
            }
            pairs = keyed.into_iter().map(|(_, pair)| pair).collect();
        }
        let base = self.notes.len();
        let layout = NodeLayout::new(key, value);
        let root = Tree { decoder: self, key, value, layout }.write(&pairs)?;
        self.note_instead(base, root);
        Ok(())
    }

    fn pairs(
        &self,
        key: &Place,
        value: &Place,
        from: From<'p, 'm>,
    ) -> Result<Vec<Pair<'p, 'm>>, Error> {
        let kind = Kind::HashMap {
            key: Box::new(Place::new(Kind::Unit)),
            value: Box::new(Place::new(Kind::Unit)),
        };
        let items = self.list(&kind, from)?;
        let smallest = count(key.size_bytes + value.size_bytes).max(1);
        if items.count() > self.bytes_max / smallest {
            return Err(broken("the map has more entries than its archive could hold"));
        }
        (0..items.count())
            .map(|index| match self.fields(self.item(&items, index))?[..] {
                [key, value] => Ok([key, value]),
                _ => Err(broken("an entry of the map is stored as something else")),
            })
            .collect()
    }

    fn key(&mut self, key: &Place, pair: &Pair<'p, 'm>) -> Result<Key, Error> {
        Key::of(self, &key.kind, pair[0]).map_err(|error| prefix("[key]", error))
    }

    fn pair_before(
        &mut self,
        key: &Place,
        value: &Place,
        pair: &Pair<'p, 'm>,
    ) -> Result<(), Error> {
        self.before(&key.kind, pair[0]).map_err(|error| prefix("[key]", error))?;
        self.before(&value.kind, pair[1]).map_err(|error| prefix("[value]", error))
    }

    fn pair_place(
        &mut self,
        key: &Place,
        value: &Place,
        pair: &Pair<'p, 'm>,
        at: [usize; 2],
        note: &mut usize,
    ) -> Result<(), Error> {
        self.place(&key.kind, pair[0], at[0], note).map_err(|error| prefix("[key]", error))?;
        self.place(&value.kind, pair[1], at[1], note).map_err(|error| prefix("[value]", error))
    }
}

/// Which entry is in which bucket, and the control bytes that tell so.
struct Table {
    buckets: Vec<Option<usize>>,
    /// One per bucket, then room up to whole groups, whose bytes repeat the first ones.
    controls: Vec<u8>,
}

impl Table {
    fn new(len: usize) -> Self {
        let buckets = vec![None; buckets(len)];
        let controls = vec![EMPTY; buckets.len().next_multiple_of(GROUP) + GROUP - 1];
        Self { buckets, controls }
    }

    fn insert(&mut self, hash: u64, entry: usize) {
        let capacity = self.buckets.len();
        let probed = capacity.next_multiple_of(GROUP);
        let mask = self.controls.len().next_power_of_two() - 1;
        let mut position = (hash % capacity as u64) as usize;
        let mut stride = 0;
        loop {
            let group = &self.controls[position..position + GROUP];
            if let Some(free) = group.iter().position(|&control| control & 0x80 != 0) {
                let bucket = (position + free) % capacity;
                let control = (hash >> 57) as u8;
                self.controls[bucket] = control;
                if bucket < self.controls.len() - capacity {
                    self.controls[capacity + bucket] = control;
                }
                self.buckets[bucket] = Some(entry);
                return;
            }
            loop {
                stride += GROUP;
                position = (position + stride) & mask;
                if position < probed {
                    break;
                }
            }
        }
    }
}

/// A B-tree being written, from its leaves to its root.
struct Tree<'d, 'p, 'm> {
    decoder: &'d mut Decoder<'p, 'm>,
    key: &'d Place,
    value: &'d Place,
    layout: NodeLayout,
}

impl<'p, 'm> Tree<'_, 'p, 'm> {
    /// Writes all nodes and returns where the root is. Every node is full, except for the last
    /// leaf and the last inner nodes of the lowest levels: so rkyv fills its trees.
    fn write(&mut self, pairs: &[Pair<'p, 'm>]) -> Result<usize, Error> {
        let height = pairs.len().ilog(NODE_ENTRIES + 1);
        let lowest = pairs.len() - ((NODE_ENTRIES + 1).pow(height) - 1);
        let mut rest = pairs.iter();
        let mut open: Vec<Vec<(&Pair<'p, 'm>, Option<usize>)>> = vec![Vec::new(); height as usize];
        let mut leaf: Vec<&Pair<'p, 'm>> = Vec::new();
        let mut child = None;
        let mut in_leaves = 0;
        while let Some(pair) = rest.next() {
            leaf.push(pair);
            in_leaves += 1;
            if in_leaves != lowest && leaf.len() < NODE_ENTRIES {
                continue;
            }
            child = Some(self.leaf(&leaf)?);
            leaf.clear();
            if in_leaves == lowest
                && let Some(mut inner) = open.pop()
            {
                // From here on, this level is the lowest: its nodes have no more children.
                for pair in rest.by_ref().take(NODE_ENTRIES - inner.len()) {
                    inner.push((pair, child.take()));
                }
                child = Some(self.inner(&inner, child)?);
            }
            let mut closed = 0;
            while let Some(inner) = open.last_mut() {
                if inner.len() == NODE_ENTRIES {
                    let inner = open.pop().unwrap_or_default();
                    child = Some(self.inner(&inner, child)?);
                    closed += 1;
                    continue;
                }
                if let Some(pair) = rest.next() {
                    inner.push((pair, child.take()));
                    open.resize(open.len() + closed, Vec::new());
                }
                break;
            }
        }
        if !leaf.is_empty() {
            child = Some(self.leaf(&leaf)?);
        }
        while let Some(inner) = open.pop() {
            child = Some(self.inner(&inner, child)?);
        }
        child.ok_or_else(|| broken("the map has no nodes"))
    }

    fn leaf(&mut self, pairs: &[&Pair<'p, 'm>]) -> Result<usize, Error> {
        let at = self.node(pairs.iter().copied(), self.layout.leaf_size)?;
        self.decoder.put_count(at + self.layout.tail, pairs.len())?;
        Ok(at)
    }

    fn inner(
        &mut self,
        pairs: &[(&Pair<'p, 'm>, Option<usize>)],
        last: Option<usize>,
    ) -> Result<usize, Error> {
        let at = self.node(pairs.iter().map(|(pair, _)| *pair), self.layout.inner_size)?;
        self.decoder.out[at] = 1;
        let children = pairs.iter().map(|(_, child)| *child).chain([last]);
        for (index, child) in children.enumerate() {
            let pointer = at + self.layout.tail + index * 4;
            let offset = child.map_or(NOWHERE.into(), |child| child as i64 - pointer as i64);
            self.decoder.put(pointer, &offset.to_le_bytes()[..4]);
        }
        Ok(at)
    }

    /// Writes what is the same in both kinds of nodes.
    fn node<'x>(
        &mut self,
        pairs: impl Iterator<Item = &'x Pair<'p, 'm>> + Clone,
        size: usize,
    ) -> Result<usize, Error>
    where
        'p: 'x,
        'm: 'x,
    {
        let (key, value, layout) = (self.key, self.value, self.layout);
        let base = self.decoder.notes.len();
        for pair in pairs.clone() {
            self.decoder.pair_before(key, value, pair)?;
        }
        let at = self.decoder.alloc(layout.align as u32, size)?;
        let mut note = base;
        for (index, pair) in pairs.enumerate() {
            let (key_at, value_at) = layout.entry(index);
            let ats = [at + key_at, at + value_at];
            self.decoder.pair_place(key, value, pair, ats, &mut note)?;
        }
        self.decoder.notes.truncate(base);
        Ok(at)
    }
}
