//! Park words: how a sleeper tells its peer what to ring for, and how the peer rings only then.
//!
//! The word is `epoch << 2 | wants space << 1 | wants data`. Its owner raises it before sleeping
//! and lowers it on waking; each change is a new epoch. The peer rings at most once per epoch, so
//! a sleeper that takes long to wake is rung once.
//!
//! No wake-up is lost, because both sides write, fence and only then look:
//!
//! | sleeper | peer |
//! |---|---|
//! | word := wants | tail (or head) := new |
//! | fence(SeqCst) SYNC POINT: park | fence(SeqCst) SYNC POINT: park |
//! | look at tail (or head) again | look at word |
//!
//! In every interleaving at least one of the two looks sees the other's write.
//!
//! A hostile peer can make us ring often (a system call on our side) or not ring us at all
//! (it could as well send nothing); it cannot make us miss our own words.

use crate::control::Word;
use crate::sync::{AtomicU32, Ordering, fence};

/// What a sleeper wants to be rung for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants(u32);

impl Wants {
    /// Awake.
    pub const NOTHING: Self = Self(0);
    /// A record was published.
    pub const DATA: Self = Self(1);
    /// Ring space or a chunk was given back.
    pub const SPACE: Self = Self(2);

    /// Both.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is wanted.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The sleeping end's half: writes its own park word.
pub struct Sleeper {
    own: Word<AtomicU32>,
    epoch: u32,
    wants: Wants,
}

impl Sleeper {
    pub(crate) fn new(own: Word<AtomicU32>) -> Self {
        Self { own, epoch: 0, wants: Wants::NOTHING }
    }

    /// Announces sleep. The caller must now look once more at what it waits for, and
    /// [`Sleeper::unpark`] instead of sleeping if it is there.
    pub fn park(&mut self, wants: Wants) {
        self.set(wants);
        // SYNC POINT: park
        fence(Ordering::SeqCst);
    }

    /// Withdraws the announcement.
    pub fn unpark(&mut self) {
        if self.wants != Wants::NOTHING {
            self.set(Wants::NOTHING);
        }
    }

    /// Whether sleep is announced.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.wants != Wants::NOTHING
    }

    fn set(&mut self, wants: Wants) {
        self.wants = wants;
        self.epoch = self.epoch.wrapping_add(1) & (u32::MAX >> 2);
        self.own.store(self.epoch << 2 | wants.0, Ordering::Relaxed);
    }
}

/// The waking end's half: reads the peer's park word.
pub struct Bell {
    peer: Word<AtomicU32>,
    rung: u32,
}

impl Bell {
    pub(crate) fn new(peer: Word<AtomicU32>) -> Self {
        Self { peer, rung: 0 }
    }

    /// Whether the bell must be rung now that `happened` has been published.
    #[inline]
    #[must_use]
    pub fn must_ring(&mut self, happened: Wants) -> bool {
        // SYNC POINT: park
        fence(Ordering::SeqCst);
        let word = self.peer.load(Ordering::Relaxed);
        if word & happened.0 == 0 || word == self.rung {
            return false;
        }
        self.rung = word;
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::rig::{self, Rig};

    /// [D42] [D44] The word is laid out as docs/formats/segment.md says, and never repeats.
    #[test]
    fn every_change_is_a_new_epoch() {
        let rig = Rig::new();
        let (mut sleeper, _) = rig::sleep(&rig.left);
        let word = || rig.left.park().load(Ordering::Relaxed);
        assert_eq!(word(), 0);
        sleeper.park(Wants::DATA);
        assert_eq!(word(), 1 << 2 | 0b01);
        sleeper.unpark();
        assert_eq!(word(), 2 << 2);
        sleeper.unpark();
        assert_eq!(word(), 2 << 2, "already awake");
        sleeper.park(Wants::SPACE);
        assert_eq!(word(), 3 << 2 | 0b10);
        sleeper.park(Wants::DATA.or(Wants::SPACE));
        assert_eq!(word(), 4 << 2 | 0b11);
        assert!(sleeper.is_parked());
    }

    /// [D44]
    #[test]
    fn the_epoch_starts_over_after_thirty_bits() {
        let rig = Rig::new();
        let (mut sleeper, mut bell) = rig::sleep(&rig.left);
        sleeper.epoch = u32::MAX >> 2;
        sleeper.park(Wants::DATA);
        assert_eq!(rig.left.park().load(Ordering::Relaxed), 1);
        assert!(bell.must_ring(Wants::DATA));
    }

    /// [D44] One ring an epoch, and only for what is wanted.
    #[test]
    fn a_bell_rings_once_per_epoch() {
        let rig = Rig::new();
        let (mut sleeper, mut bell) = rig::sleep(&rig.left);
        assert!(!bell.must_ring(Wants::DATA), "awake");
        for _ in 0..3 {
            sleeper.park(Wants::DATA);
            assert!(!bell.must_ring(Wants::SPACE), "not wanted");
            assert!(bell.must_ring(Wants::DATA));
            assert!(!bell.must_ring(Wants::DATA), "rung already");
            sleeper.unpark();
            assert!(!bell.must_ring(Wants::DATA), "awake");
        }
        sleeper.park(Wants::DATA.or(Wants::SPACE));
        assert!(bell.must_ring(Wants::SPACE));
        assert!(!bell.must_ring(Wants::DATA), "one ring wakes for both");
    }
}
