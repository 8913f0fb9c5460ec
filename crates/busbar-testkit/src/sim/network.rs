//! Connections that carry bytes between two ends, late, in pieces, and not always to the end.
//!
//! Of two ends, 0 is the dialer. What an end writes is on its way at once; when it arrives is drawn
//! by lot. A fault strikes when so many bytes have been written in one direction.

use busbar_proto::frame;

use super::world::Wire;
use crate::Random;

/// What goes wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Both ends learn that it is gone. What is on its way is lost, too, in both directions.
    Cut,
    /// Nothing arrives any more. Whoever expects nothing learns of it only when the transport looks
    /// after its idle connections, seconds later.
    Swallow,
}

/// A fault, and when it strikes.
#[derive(Clone, Copy, Debug)]
pub struct Strike {
    /// Which.
    pub fault: Fault,
    /// The end whose bytes are counted.
    pub by: usize,
    /// After so many bytes, of which the last ones arrive perhaps.
    pub after: u64,
}

#[derive(Debug)]
pub(super) struct Connection {
    strike: Option<Strike>,
    lanes: [Lane; 2],
    is_swallowing: bool,
    is_cut: bool,
}

#[derive(Debug, Default)]
struct Lane {
    written: u64,
    /// When the last piece arrives: bytes do not overtake each other.
    last: u64,
    /// What of a frame has been written, where frames travel as such.
    partial: Vec<u8>,
}

/// A piece on its way: when it arrives, and what.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
}

/// What came of writing.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Bytes taken.
    pub(super) taken: usize,
    pub(super) pieces: Vec<Piece>,
    /// What struck the connection just now.
    pub(super) struck: Option<Fault>,
}

impl Connection {
    pub(super) fn new(strike: Option<Strike>) -> Self {
        Self { strike, lanes: Default::default(), is_swallowing: false, is_cut: false }
    }

    /// Bytes written by an end so far.
    pub(super) fn written(&self, by: usize) -> u64 {
        self.lanes[by].written
    }

    /// Whether nothing gets through any more.
    pub(super) fn is_swallowing(&self) -> bool {
        self.is_swallowing
    }

    /// It is lost from now on.
    pub(super) fn cut(&mut self) -> Fault {
        self.is_cut = true;
        self.strike = None;
        Fault::Cut
    }

    /// Takes some of `bytes` from end `by`.
    pub(super) fn write(
        &mut self,
        by: usize,
        bytes: &[u8],
        now: u64,
        wire: Wire,
        random: &mut Random,
    ) -> Written {
        if self.is_cut {
            return Written::default();
        }
        let mut taken = random.within(1..bytes.len() as u64 + 1);
        let strikes = self.strike.filter(|strike| strike.by == by);
        if let Some(strike) = strikes {
            taken = taken.min(strike.after.saturating_sub(self.lanes[by].written));
        }
        let taken = usize::try_from(taken).expect("invariant: part of a slice");
        let mut written = Written { taken, ..Written::default() };
        if !self.is_swallowing {
            self.lanes[by].send(&bytes[..taken], now, wire, random, &mut written.pieces);
        }
        self.lanes[by].written += taken as u64;
        if strikes.is_some_and(|strike| self.lanes[by].written >= strike.after) {
            written.struck = strikes.map(|strike| strike.fault);
            self.is_swallowing |= written.struck == Some(Fault::Swallow);
            self.is_cut |= written.struck == Some(Fault::Cut);
            self.strike = None;
        }
        written
    }
}

impl Lane {
    fn send(
        &mut self,
        bytes: &[u8],
        now: u64,
        wire: Wire,
        random: &mut Random,
        pieces: &mut Vec<Piece>,
    ) {
        if wire == Wire::Stream {
            self.last = self.last.max(now + random.within(1..3_000));
            return pieces.push(Piece { at: self.last, bytes: bytes.to_vec() });
        }
        self.partial.extend_from_slice(bytes);
        while let Some(head) = self.partial.first_chunk() {
            let len = frame::encoded_bytes(head);
            if self.partial.len() < len {
                break;
            }
            let frame: Vec<u8> = self.partial.drain(..len).collect();
            // HELLO comes first on any wire.
            if self.last == 0 {
                self.last = now + random.within(1..3_000);
                pieces.push(Piece { at: self.last, bytes: frame });
                continue;
            }
            let copies = if random.chance(10) { 2 } else { 1 };
            for _ in 0..copies {
                let at = self.last.max(now) + random.within(1..5_000);
                pieces.push(Piece { at, bytes: frame.clone() });
            }
        }
    }
}
