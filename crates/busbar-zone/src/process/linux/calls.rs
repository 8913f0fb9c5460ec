//! Calls that were handed to a plugin's process and have not ended. A token is an index and a
//! generation, so that an answer to a call that nobody made is known for what it is.

use std::time::Instant;

use crate::pending::CallId;

/// A call on its way.
pub(super) struct InFlight {
    pub(super) id: CallId,
    pub(super) method: u32,
    pub(super) flags: u32,
    /// Its argument, if it may be needed again: the call was not sent, or may be sent twice.
    pub(super) input: Option<Vec<u8>>,
    pub(super) is_sent: bool,
    /// Whether calling twice does no harm and has not been tried.
    pub(super) may_retry: bool,
    /// When it was sent, if anybody wants to know.
    pub(super) since: Option<Instant>,
    /// Whether its caller sleeps until it has ended.
    pub(super) is_slept_on: bool,
    /// Which came first.
    order: u64,
}

impl InFlight {
    pub(super) fn new(id: CallId, method: u32, flags: u32, may_retry: bool) -> Self {
        let (input, is_sent, since, order) = (None, false, None, 0);
        let is_slept_on = false;
        Self { id, method, flags, input, is_sent, may_retry, since, is_slept_on, order }
    }
}

#[derive(Default)]
pub(super) struct Calls {
    slots: Vec<Slot>,
    free: Vec<u32>,
    next: u64,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    call: Option<InFlight>,
}

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// A token for `call`.
    pub(super) fn insert(&mut self, mut call: InFlight) -> u64 {
        call.order = self.next;
        self.next += 1;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("invariant: no queue is that long")
        });
        let slot = &mut self.slots[index as usize];
        slot.call = Some(call);
        u64::from(slot.generation) << 32 | u64::from(index)
    }

    pub(super) fn find(&mut self, token: u64) -> Option<&mut InFlight> {
        let slot = self.slots.get_mut(token as u32 as usize)?;
        slot.call.as_mut().filter(|_| slot.generation == (token >> 32) as u32)
    }

    /// The token of a call. This looks at all of them.
    pub(super) fn token_of(&self, id: CallId) -> Option<u64> {
        let is_it = |slot: &Slot| slot.call.as_ref().is_some_and(|call| call.id == id);
        let index = self.slots.iter().position(is_it)?;
        Some(u64::from(self.slots[index].generation) << 32 | index as u64)
    }

    /// The call of a token, once.
    pub(super) fn take(&mut self, token: u64) -> Option<InFlight> {
        let (index, generation) = (token as u32, (token >> 32) as u32);
        let slot = self.slots.get_mut(index as usize)?;
        let call = slot.call.take_if(|_| slot.generation == generation)?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        Some(call)
    }

    /// All tokens there are, oldest call first.
    pub(super) fn tokens(&self) -> Vec<u64> {
        let slots = self.slots.iter().enumerate();
        let mut open: Vec<_> = slots
            .filter_map(|(index, slot)| {
                let token = u64::from(slot.generation) << 32 | index as u64;
                slot.call.as_ref().map(|call| (call.order, token))
            })
            .collect();
        open.sort_unstable();
        open.into_iter().map(|(_, token)| token).collect()
    }

    /// The caller of this one sleeps until it has ended, if it has not.
    pub(super) fn sleep_on(&mut self, id: CallId) {
        let calls = self.slots.iter_mut().filter_map(|slot| slot.call.as_mut());
        calls.filter(|call| call.id == id).for_each(|call| call.is_slept_on = true);
    }

    /// Whether a caller sleeps until its call has ended. This looks at all of them.
    pub(super) fn are_slept_on(&self) -> bool {
        self.slots.iter().filter_map(|slot| slot.call.as_ref()).any(|call| call.is_slept_on)
    }

    /// When the oldest call that was sent was sent.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.slots.iter().filter_map(|slot| slot.call.as_ref()?.since).min()
    }
}
