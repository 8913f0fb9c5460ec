//! Where Cap'n Proto puts the fields of a struct: sizes go in, in ordinal order, offsets come out.
//!
//! The rules are those of the schema compiler, which other implementations must repeat bit for bit:
//! a field takes the smallest hole it fits into or else a new word; members of a union share
//! locations, the smallest free one first, then one that can grow into the hole behind it, and the
//! union's tag is placed just before its second member. Names and types are none of its business.

/// The size of a 64-bit word, as a power of two in bits.
const LG_WORD: usize = 6;
/// The size of a union's tag: 16 bits.
const LG_TAG: usize = 4;

/// A place that fields are added to: the struct itself, or one member of a union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope(Option<usize>);

impl Scope {
    /// The struct itself.
    pub(super) const TOP: Self = Self(None);
}

/// A union in a struct.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnionId(usize);

/// A struct being laid out.
#[derive(Debug, Default)]
pub(super) struct Layout {
    data_words: u32,
    pointers: u32,
    holes: Holes,
    unions: Vec<Union>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Union {
    parent: Scope,
    members: u32,
    tag: Option<u32>,
    data: Vec<Location>,
    pointers: Vec<u32>,
}

/// Space in the struct that the members of a union share.
#[derive(Clone, Copy, Debug)]
struct Location {
    lg: usize,
    offset: u32,
}

#[derive(Debug)]
struct Member {
    of: UnionId,
    /// What it uses of each location of its union.
    usages: Vec<Usage>,
    pointers: usize,
    is_counted: bool,
}

/// How much of a location a member of the union takes; offsets count from the location's start.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    /// Covers everything taken so far; `None` while nothing is.
    lg: Option<usize>,
    holes: Holes,
}

impl Layout {
    /// Words of data so far.
    pub(super) fn data_words(&self) -> u32 {
        self.data_words
    }

    /// Pointers so far.
    pub(super) fn pointers(&self) -> u32 {
        self.pointers
    }

    /// Begins a union in `parent`. It takes no space before its second member.
    pub(super) fn add_union(&mut self, parent: Scope) -> UnionId {
        let union = Union { parent, members: 0, tag: None, data: Vec::new(), pointers: Vec::new() };
        self.unions.push(union);
        UnionId(self.unions.len() - 1)
    }

    /// Begins a member of a union: a group or a single field.
    pub(super) fn add_member(&mut self, of: UnionId) -> Scope {
        let member = Member { of, usages: Vec::new(), pointers: 0, is_counted: false };
        self.members.push(member);
        Scope(Some(self.members.len() - 1))
    }

    /// Where the tag of a union stands, in multiples of 16 bits; `None` before its second member.
    pub(super) fn tag(&self, union: UnionId) -> Option<u32> {
        self.unions[union.0].tag
    }

    /// Adds a field without size. It counts as a member of the union it is in.
    pub(super) fn add_void(&mut self, scope: Scope) {
        if let Some(member) = scope.0 {
            self.count(member);
            let parent = self.unions[self.members[member].of.0].parent;
            self.add_void(parent);
        }
    }

    /// Adds a field of 2^`lg` bits and returns its offset in multiples of its size.
    pub(super) fn add_data(&mut self, scope: Scope, lg: usize) -> u32 {
        let Some(member) = scope.0 else {
            return self.holes.take(lg).unwrap_or_else(|| {
                let offset = self.data_words << (LG_WORD - lg);
                self.data_words += 1;
                self.holes.leave(lg, offset + 1, LG_WORD);
                offset
            });
        };
        self.count(member);
        let of = self.members[member].of;
        let locations = self.unions[of.0].data.clone();
        self.members[member].usages.resize(locations.len(), Usage::default());
        let best = (0..locations.len())
            .filter_map(|index| {
                let usage = &self.members[member].usages[index];
                usage.hole_for(locations[index].lg, lg).map(|hole| (hole, index))
            })
            .min();
        if let Some((_, index)) = best {
            return self.members[member].usages[index].allocate(locations[index], lg);
        }
        for index in 0..locations.len() {
            if let Some(offset) = self.allocate_by_growing(member, index, lg) {
                return offset;
            }
        }
        let offset = self.add_data(self.unions[of.0].parent, lg);
        self.unions[of.0].data.push(Location { lg, offset });
        self.members[member].usages.push(Usage { lg: Some(lg), holes: Holes::default() });
        offset
    }

    /// Adds a pointer and returns its index.
    pub(super) fn add_pointer(&mut self, scope: Scope) -> u32 {
        let Some(member) = scope.0 else {
            self.pointers += 1;
            return self.pointers - 1;
        };
        self.count(member);
        let of = self.members[member].of;
        let used = self.members[member].pointers;
        self.members[member].pointers += 1;
        if let Some(&index) = self.unions[of.0].pointers.get(used) {
            return index;
        }
        let index = self.add_pointer(self.unions[of.0].parent);
        self.unions[of.0].pointers.push(index);
        index
    }

    /// Notes that a member has a field; the second such member makes its union need a tag.
    fn count(&mut self, member: usize) {
        if std::mem::replace(&mut self.members[member].is_counted, true) {
            return;
        }
        let union = self.members[member].of.0;
        self.unions[union].members += 1;
        if self.unions[union].members == 2 {
            let tag = self.add_data(self.unions[union].parent, LG_TAG);
            self.unions[union].tag = Some(tag);
        }
    }

    /// Makes room by letting a location grow into the hole behind it.
    fn allocate_by_growing(&mut self, member: usize, index: usize, lg: usize) -> Option<u32> {
        let of = self.members[member].of;
        let mut usage = self.members[member].usages[index];
        let needed = usage.lg.map_or(lg, |used| used.max(lg) + 1);
        let location = self.unions[of.0].data[index];
        if needed > location.lg {
            let parent = self.unions[of.0].parent;
            if !self.grow(parent, location, needed) {
                return None;
            }
            let offset = location.offset >> (needed - location.lg);
            self.unions[of.0].data[index] = Location { lg: needed, offset };
        }
        let location = self.unions[of.0].data[index];
        let local = match usage.lg {
            None => {
                usage.lg = Some(lg);
                0
            }
            Some(used) => {
                usage.holes.leave(used, 1, needed);
                usage.lg = Some(needed);
                usage.holes.take(lg).expect("invariant: the space just added has the size")
            }
        };
        self.members[member].usages[index] = usage;
        Some((location.offset << (location.lg - lg)) + local)
    }

    /// Whether `location` in `scope` can grow to 2^`lg` bits; if so, it does.
    fn grow(&mut self, scope: Scope, location: Location, lg: usize) -> bool {
        // Unions inside unions are all of the form {none, some} with one field in the second
        // member, or with two of 64 bits: nothing in them is smaller than what follows.
        scope == Scope::TOP && self.holes.merge(location.lg, location.offset, lg)
    }
}

impl Usage {
    /// The smallest hole of at least 2^`lg` bits in a location of 2^`location_lg` bits, counting
    /// what comes free when the used part doubles.
    fn hole_for(&self, location_lg: usize, lg: usize) -> Option<usize> {
        let (fits, hole) = match self.lg {
            None => (lg <= location_lg, location_lg),
            Some(used) if lg >= used => (lg < location_lg, lg),
            Some(used) => match self.holes.smallest(lg) {
                Some(hole) => (true, hole),
                None => (used < location_lg, used),
            },
        };
        fits.then_some(hole)
    }

    /// Takes 2^`lg` bits that [`Self::hole_for`] said are there.
    fn allocate(&mut self, location: Location, lg: usize) -> u32 {
        let local = match self.lg {
            None => {
                self.lg = Some(lg);
                0
            }
            Some(used) if lg >= used => {
                self.holes.leave(used, 1, lg);
                self.lg = Some(lg + 1);
                1
            }
            Some(used) => self.holes.take(lg).unwrap_or_else(|| {
                let offset = 1 << (used - lg);
                self.holes.leave(lg, offset + 1, used);
                self.lg = Some(used + 1);
                offset
            }),
        };
        (location.offset << (location.lg - lg)) + local
    }
}

/// At most one hole of each size below a word, as its offset in multiples of its size. 0 is none:
/// what comes first is never a hole.
#[derive(Clone, Copy, Debug, Default)]
struct Holes([u32; LG_WORD]);

impl Holes {
    /// Takes 2^`lg` bits out of the smallest hole that has them.
    fn take(&mut self, lg: usize) -> Option<u32> {
        let hole = self.smallest(lg)?;
        let offset = std::mem::take(&mut self.0[hole]) << (hole - lg);
        self.leave(lg, offset + 1, hole);
        Some(offset)
    }

    /// The size of the smallest hole of at least 2^`lg` bits.
    fn smallest(&self, lg: usize) -> Option<usize> {
        (lg..LG_WORD).find(|&size| self.0[size] != 0)
    }

    /// Leaves the rest of 2^`limit` bits as holes, the first of 2^`lg` bits at `offset`.
    fn leave(&mut self, lg: usize, mut offset: u32, limit: usize) {
        for hole in &mut self.0[lg..limit.max(lg)] {
            *hole = offset;
            offset = offset.div_ceil(2);
        }
    }

    /// Joins what is at `offset` with the holes behind it, up to 2^`to` bits in all.
    fn merge(&mut self, lg: usize, offset: u32, to: usize) -> bool {
        let is_free = |step: usize| step < LG_WORD && self.0[step] == (offset >> (step - lg)) + 1;
        if !(lg..to).all(is_free) {
            return false;
        }
        self.0[lg..to].fill(0);
        true
    }
}
