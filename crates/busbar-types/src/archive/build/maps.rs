//! Maps in archives: a hash table as rkyv lays it out, and a B-tree of full nodes.
//!
//! Entries come in any order. In a hash map each goes to the bucket that its hash asks for; in a
//! B-tree they are sorted, where the order of keys is known, and else taken to be in order. Keys
//! that occur twice are refused. See `key` for what is known of keys.

use std::collections::BTreeSet;

use super::key::{self, Digest, Key};
use super::{Builder, Values};
use crate::archive::source::{
    EntryLayout, GROUP, NODE_ENTRIES, NOWHERE, NodeLayout, broken, count,
};
use crate::schema::{Place, prefix};
use crate::{Error, ErrorKind};

/// A control byte without an entry.
const EMPTY: u8 = 0xff;

/// How many buckets `len` entries get: seven of eight are full at most, and one is free.
pub(super) fn buckets(len: usize) -> usize {
    if len == 0 { 0 } else { (len * 8 / 7).max(len + 1) }
}

impl<'a, V: Values<'a>> Builder<'a, '_, V> {
    pub(super) fn hash_map(
        &mut self,
        key: &'a Place,
        value: &'a Place,
        items: &V::Items,
    ) -> Result<(), Error> {
        let pairs = self.pairs(key, value, items)?;
        if pairs.is_empty() {
            return Ok(());
        }
        let table = self.table(key, &pairs)?;
        let layout = EntryLayout::new(key, value);
        let base = self.notes.len();
        let mut first_notes = Vec::with_capacity(pairs.len());
        for &index in table.buckets.iter().flatten() {
            first_notes.push(self.notes.len());
            self.pair_before(key, value, pairs[index])?;
        }
        let size = table.buckets.len().saturating_mul(layout.size);
        let start = self.alloc(layout.align, size)?;
        let mut first_notes = first_notes.into_iter();
        for (bucket, index) in table.buckets.iter().enumerate() {
            let Some(index) = *index else { continue };
            // The last bucket is first.
            let at = start + (table.buckets.len() - 1 - bucket) * layout.size;
            let mut note = first_notes.next().expect("invariant: one for each full bucket");
            self.pair_place(key, value, pairs[index], [at, at + layout.value], &mut note)?;
        }
        let controls_at = self.alloc(1, table.controls.len())?;
        self.put(controls_at, &table.controls);
        self.note_instead(base, controls_at);
        Ok(())
    }

    /// Finds a bucket for every entry.
    fn table(&self, key: &'a Place, pairs: &[[V::Value; 2]]) -> Result<Table, Error> {
        if !key::is_known(self.schema, &key.kind) {
            let message = "the keys of the hash map contain maps or themselves: how they hash is \
                           not known here";
            return Err(Error::new(ErrorKind::FormatUnsupported, message).at("[key]"));
        }
        let mut table = Table::new(pairs.len());
        let mut seen = BTreeSet::new();
        for (index, pair) in pairs.iter().enumerate() {
            let digest = self.digest(key, pair)?;
            table.insert(digest.hash, index);
            if !seen.insert(digest.order) {
                return Err(doubled());
            }
        }
        Ok(table)
    }

    pub(super) fn tree_map(
        &mut self,
        key: &'a Place,
        value: &'a Place,
        items: &V::Items,
    ) -> Result<(), Error> {
        let mut pairs = self.pairs(key, value, items)?;
        if pairs.is_empty() {
            return Ok(());
        }
        if key::is_known(self.schema, &key.kind) {
            let mut keyed = Vec::with_capacity(pairs.len());
            for pair in pairs {
                keyed.push((self.digest(key, &pair)?.order, pair));
            }
            keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
            if keyed.windows(2).any(|two| two[0].0 == two[1].0) {
                return Err(doubled());
            }
            pairs = keyed.into_iter().map(|(_, pair)| pair).collect();
        }
        let base = self.notes.len();
        let layout = NodeLayout::new(key, value);
        let root = Tree { builder: self, key, value, layout }.write(&pairs)?;
        self.note_instead(base, root);
        Ok(())
    }

    fn pairs(
        &self,
        key: &'a Place,
        value: &Place,
        items: &V::Items,
    ) -> Result<Vec<[V::Value; 2]>, Error> {
        let len = self.values.count(items);
        let smallest = count(key.size_bytes + value.size_bytes).max(1);
        self.check_room(self.out.len(), len.saturating_mul(smallest))?;
        (0..len).map(|index| self.values.entry(items, index)).collect()
    }

    fn digest(&self, key: &'a Place, pair: &[V::Value; 2]) -> Result<Key, Error> {
        let order_max = self.bytes_max - self.out.len();
        let digest = Digest { schema: self.schema, values: self.values, order_max };
        digest.of(&key.kind, pair[0]).map_err(|error| prefix("[key]", error))
    }

    fn pair_before(
        &mut self,
        key: &'a Place,
        value: &'a Place,
        pair: [V::Value; 2],
    ) -> Result<(), Error> {
        self.before(&key.kind, pair[0]).map_err(|error| prefix("[key]", error))?;
        self.before(&value.kind, pair[1]).map_err(|error| prefix("[]", error))
    }

    fn pair_place(
        &mut self,
        key: &'a Place,
        value: &'a Place,
        pair: [V::Value; 2],
        at: [usize; 2],
        note: &mut usize,
    ) -> Result<(), Error> {
        self.place(&key.kind, pair[0], at[0], note).map_err(|error| prefix("[key]", error))?;
        self.place(&value.kind, pair[1], at[1], note).map_err(|error| prefix("[]", error))
    }
}

fn doubled() -> Error {
    broken("a key of the map occurs twice").at("[key]")
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
struct Tree<'b, 'a, 'v, V: Values<'a>> {
    builder: &'b mut Builder<'a, 'v, V>,
    key: &'a Place,
    value: &'a Place,
    layout: NodeLayout,
}

/// An entry of an inner node, and the child in front of it.
type Separator<T> = ([T; 2], Option<usize>);

impl<'a, V: Values<'a>> Tree<'_, 'a, '_, V> {
    /// Writes all nodes and returns where the root is. Every node is full, except for the last
    /// leaf and the last inner nodes of the lowest levels: so rkyv fills its trees.
    fn write(&mut self, pairs: &[[V::Value; 2]]) -> Result<usize, Error> {
        let height = pairs.len().ilog(NODE_ENTRIES + 1);
        let lowest = pairs.len() - ((NODE_ENTRIES + 1).pow(height) - 1);
        let mut rest = pairs.iter().copied();
        let mut open: Vec<Vec<Separator<V::Value>>> = vec![Vec::new(); height as usize];
        let mut leaf: Vec<[V::Value; 2]> = Vec::new();
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

    fn leaf(&mut self, pairs: &[[V::Value; 2]]) -> Result<usize, Error> {
        let at = self.node(pairs.iter().copied(), self.layout.leaf_size)?;
        self.builder.put_count(at + self.layout.tail, pairs.len())?;
        Ok(at)
    }

    fn inner(
        &mut self,
        pairs: &[Separator<V::Value>],
        last: Option<usize>,
    ) -> Result<usize, Error> {
        let at = self.node(pairs.iter().map(|(pair, _)| *pair), self.layout.inner_size)?;
        self.builder.out[at] = 1;
        let children = pairs.iter().map(|(_, child)| *child).chain([last]);
        for (index, child) in children.enumerate() {
            let pointer = at + self.layout.tail + index * 4;
            let offset = child.map_or(NOWHERE.into(), |child| child as i64 - pointer as i64);
            self.builder.put(pointer, &offset.to_le_bytes()[..4]);
        }
        Ok(at)
    }

    /// Writes what is the same in both kinds of nodes.
    fn node(
        &mut self,
        pairs: impl Iterator<Item = [V::Value; 2]> + Clone,
        size: usize,
    ) -> Result<usize, Error> {
        let (key, value, layout) = (self.key, self.value, self.layout);
        let base = self.builder.notes.len();
        for pair in pairs.clone() {
            self.builder.pair_before(key, value, pair)?;
        }
        let at = self.builder.alloc(layout.align, size)?;
        let mut note = base;
        for (index, pair) in pairs.enumerate() {
            let (key_at, value_at) = layout.entry(index);
            let ats = [at + key_at, at + value_at];
            self.builder.pair_place(key, value, pair, ats, &mut note)?;
        }
        self.builder.notes.truncate(base);
        Ok(at)
    }
}
