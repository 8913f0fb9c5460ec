//! An arena whose keys go stale: integer handles that can be given to JavaScript.
//!
//! A handle is `generation << 18 | index`, below 2³¹ so that V8 keeps it as a small integer. A slot
//! is reused last-freed-last, so a stale handle is recognised for 8,192 reuses of its slot.

use std::collections::VecDeque;

const INDEX_BITS: u32 = 18;
const GENERATIONS: u32 = 1 << 13;

/// Names a slot and one use of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Handle(pub(crate) u32);

impl Handle {
    fn new(index: usize, generation: u32) -> Self {
        let index = u32::try_from(index).expect("invariant: slots are bounded by MAX");
        Self(generation << INDEX_BITS | index)
    }

    fn index(self) -> usize {
        (self.0 & ((1 << INDEX_BITS) - 1)) as usize
    }

    fn generation(self) -> u32 {
        self.0 >> INDEX_BITS
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: VecDeque<usize>,
}

impl<T> Slots<T> {
    pub(crate) const MAX: usize = 1 << INDEX_BITS;

    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: VecDeque::new() }
    }

    /// Stores what `make` returns for its handle; `None` if every slot is taken.
    pub(crate) fn insert_with<E>(
        &mut self,
        make: impl FnOnce(Handle) -> Result<T, E>,
    ) -> Option<Result<Handle, E>> {
        let index = match self.free.front() {
            Some(&index) => index,
            None if self.slots.len() < Self::MAX => {
                self.slots.push(Slot { generation: 0, value: None });
                self.free.push_back(self.slots.len() - 1);
                self.slots.len() - 1
            }
            None => return None,
        };
        let handle = Handle::new(index, self.slots[index].generation);
        Some(make(handle).map(|value| {
            let taken = self.free.pop_front();
            debug_assert_eq!(taken, Some(index));
            self.slots[index].value = Some(value);
            handle
        }))
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<&T> {
        let slot = self.slots.get(handle.index())?;
        (slot.generation == handle.generation()).then_some(slot.value.as_ref()).flatten()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let slot = self.slots.get_mut(handle.index())?;
        if slot.generation == handle.generation() { slot.value.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, handle: Handle) -> Option<T> {
        let slot = self.slots.get_mut(handle.index())?;
        if slot.generation != handle.generation() {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = (slot.generation + 1) % GENERATIONS;
        self.free.push_back(handle.index());
        Some(value)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref())
    }

    pub(crate) fn handles(&self) -> Vec<Handle> {
        let taken = self.slots.iter().enumerate().filter(|(_, slot)| slot.value.is_some());
        taken.map(|(index, slot)| Handle::new(index, slot.generation)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(slots: &mut Slots<&'static str>, value: &'static str) -> Handle {
        slots.insert_with(|_| Ok::<_, ()>(value)).unwrap().unwrap()
    }

    /// [D45] what was closed cannot be reached by its old handle
    #[test]
    fn a_stale_handle_finds_nothing() {
        let mut slots = Slots::new();
        let first = insert(&mut slots, "first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = insert(&mut slots, "second");
        assert_ne!(first, second);
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!(slots.handles(), [second]);
    }

    /// [D45] a pipe that could not be made takes no place
    #[test]
    fn a_failed_insert_leaves_the_slot_free() {
        let mut slots: Slots<&str> = Slots::new();
        assert_eq!(slots.insert_with(|_| Err("no")), Some(Err("no")));
        assert_eq!(insert(&mut slots, "yes"), Handle(0));
    }

    /// [D45] handles are small integers, and one names the same place again only after 8,192 uses
    #[test]
    fn generations_come_round() {
        let mut slots = Slots::new();
        let first = insert(&mut slots, "x");
        let mut last = first;
        for _ in 1..GENERATIONS {
            slots.remove(last).unwrap();
            last = insert(&mut slots, "x");
            assert_ne!(last, first);
            assert!(last.0 < 1 << 31);
        }
        slots.remove(last).unwrap();
        assert_eq!(insert(&mut slots, "x"), first);
    }

    /// [D45] slots are reused in the order in which they became free
    #[test]
    fn the_longest_free_slot_is_reused_first() {
        let mut slots = Slots::new();
        let handles: Vec<_> = (0..3).map(|_| insert(&mut slots, "x")).collect();
        for at in [1, 0, 2] {
            slots.remove(handles[at]).unwrap();
        }
        let order: Vec<_> = (0..3).map(|_| insert(&mut slots, "y").index()).collect();
        assert_eq!(order, [1, 0, 2]);
        assert_eq!(slots.values().count(), 3);
    }

    /// [D45] the arena is bounded
    #[test]
    fn there_is_an_end_to_it() {
        let mut slots = Slots::new();
        for _ in 0..Slots::<()>::MAX {
            slots.insert_with(|_| Ok::<_, ()>(())).unwrap().unwrap();
        }
        assert_eq!(slots.insert_with(|_| Ok::<_, ()>(())), None);
    }
}
