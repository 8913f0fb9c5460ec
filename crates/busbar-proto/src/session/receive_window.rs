//! What of one channel has arrived, and what of it is acknowledged.

use super::marks::Marks;
use super::{Arrival, Seq};
use crate::frame::Ack;
use crate::{Code, Error};

#[derive(Debug)]
pub(super) struct ReceiveWindow {
    received: Marks,
    acknowledged: Marks,
    /// An acknowledgement waits to be sent.
    pub(super) is_ack_due: bool,
}

impl ReceiveWindow {
    pub(super) fn new(first: Seq) -> Self {
        let marks = Marks::from(first);
        Self { received: marks.clone(), acknowledged: marks, is_ack_due: false }
    }

    /// A message has arrived; the peer has at most `width` under way that are not acknowledged.
    ///
    /// # Errors
    /// `Protocol` if it is beyond that.
    pub(super) fn handle_data(&mut self, seq: Seq, width: u32) -> Result<Arrival, Error> {
        if self.ahead(seq) >= u64::from(width) {
            return Err(beyond());
        }
        if self.received.insert(seq) {
            return Ok(Arrival::New);
        }
        // Whoever repeats it may not know yet.
        self.is_ack_due |= self.acknowledged.has(seq);
        Ok(Arrival::Duplicate)
    }

    /// What is below `seq` and has not come will not come.
    ///
    /// # Errors
    /// `Protocol` if it passes over more than may be under way.
    pub(super) fn handle_skip(&mut self, seq: Seq, width: u32) -> Result<(), Error> {
        if self.ahead(seq) > u64::from(width) {
            return Err(beyond());
        }
        // Nobody will process it, so nobody else will acknowledge it.
        for (from, to) in self.received.gaps(seq) {
            self.acknowledged.insert_range(from, to);
        }
        self.received.insert_below(seq);
        self.is_ack_due = true;
        Ok(())
    }

    /// The message is done with. Only what has arrived can be.
    pub(super) fn acknowledge(&mut self, seq: Seq) {
        if self.received.has(seq) && self.acknowledged.insert(seq) {
            self.is_ack_due = true;
        }
    }

    /// How far `seq` is ahead of what is acknowledged. That is what a sender has room for: one that
    /// goes on without has memory kept here, for each message that is not acknowledged.
    ///
    /// Numbers come round: what is behind one base must be behind the other, or it is half the
    /// range ahead of that, which is not near anything.
    fn ahead(&self, seq: Seq) -> u64 {
        let is_behind = seq.since(self.received.base()).is_none();
        let otherwise = if is_behind { 0 } else { u64::MAX };
        seq.since(self.acknowledged.base()).unwrap_or(otherwise)
    }

    /// The acknowledgement to send.
    pub(super) fn to_ack(&self) -> Ack {
        self.acknowledged.to_ack()
    }

    /// What has arrived, for the peer to know at a new connection.
    pub(super) fn position(&self) -> Ack {
        self.received.to_ack()
    }
}

fn beyond() -> Error {
    Error::new(Code::Protocol, "the peer sent a message beyond its window")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Seq = Seq(u64::MAX);

    /// [D34] each message is new once, whatever is repeated, across the end of the range
    #[test]
    fn duplicates_are_recognised() {
        let mut window = ReceiveWindow::new(FIRST);
        for n in [0, 2, 1, 3, 99] {
            assert_eq!(window.handle_data(FIRST.plus(n), 100).unwrap(), Arrival::New);
        }
        for n in [3, 2, 1, 0, 99] {
            assert_eq!(window.handle_data(FIRST.plus(n), 100).unwrap(), Arrival::Duplicate);
        }
        assert_eq!(window.position().cumulative, FIRST.plus(4).0);
        (0..4).for_each(|n| window.acknowledge(FIRST.plus(n)));
        assert_eq!(window.handle_data(FIRST.plus(104), 100).unwrap_err().code(), Code::Protocol);
        assert_eq!(window.handle_data(FIRST.plus(103), 100).unwrap(), Arrival::New);
    }

    /// [D31] processed is not received, and may happen in any order
    #[test]
    fn acknowledgements_follow_processing() {
        let mut window = ReceiveWindow::new(FIRST);
        window.acknowledge(FIRST);
        assert!(!window.is_ack_due, "nothing has arrived");
        for n in 0..4 {
            window.handle_data(FIRST.plus(n), 8).unwrap();
        }
        assert_eq!(window.to_ack(), Ack { cumulative: FIRST.0, bitmap: 0 });
        window.acknowledge(FIRST.plus(2));
        assert_eq!(window.to_ack(), Ack { cumulative: FIRST.0, bitmap: 0b10 });
        window.acknowledge(FIRST);
        assert_eq!(window.to_ack(), Ack { cumulative: FIRST.plus(1).0, bitmap: 0b1 });
        assert!(std::mem::take(&mut window.is_ack_due));
        window.handle_data(FIRST, 8).unwrap();
        assert!(window.is_ack_due, "the peer has not heard");
    }

    /// [D33] a number half the range away, which is behind what is acknowledged and ahead of what
    /// has arrived, is beyond the window
    #[test]
    fn half_the_range_is_not_near() {
        let mut window = ReceiveWindow::new(FIRST);
        window.handle_data(FIRST, 100).unwrap();
        let half = FIRST.plus(1 << 63);
        assert_eq!(window.handle_data(half, 100).unwrap_err().code(), Code::Protocol);
        assert_eq!(window.handle_skip(half, 100).unwrap_err().code(), Code::Protocol);
        assert_eq!(window.handle_data(FIRST, 100).unwrap(), Arrival::Duplicate);
    }

    /// [D33] a peer that does not wait for acknowledgements is told so, whatever has arrived, and
    /// what it skips costs nothing
    #[test]
    fn nothing_is_beyond_what_is_acknowledged() {
        const WIDTH: u32 = 65_536;
        let far = |n: u64| FIRST.plus(n * u64::from(WIDTH));
        let mut window = ReceiveWindow::new(FIRST);
        for n in 1..20_000 {
            window.handle_skip(far(n), WIDTH).unwrap();
        }
        let at = |n: u64| far(19_999).plus(n);
        for n in 0..WIDTH.into() {
            assert_eq!(window.handle_data(at(n), WIDTH).unwrap(), Arrival::New);
        }
        assert_eq!(window.handle_data(far(20_000), WIDTH).unwrap_err().code(), Code::Protocol);
        window.acknowledge(at(1));
        assert_eq!(window.handle_data(far(20_000), WIDTH).unwrap_err().code(), Code::Protocol);
        window.handle_skip(far(20_000), WIDTH).unwrap();
        let error = window.handle_skip(far(20_000).plus(1), WIDTH).unwrap_err();
        assert_eq!(error.code(), Code::Protocol);
        window.acknowledge(at(0));
        window.handle_skip(far(20_000).plus(2), WIDTH).unwrap();
        assert_eq!(window.to_ack().cumulative, at(2).0);
    }

    /// [D32] what the peer gave up is passed over; what arrived still wants to be processed
    #[test]
    fn skips_pass_over_what_did_not_arrive() {
        let mut window = ReceiveWindow::new(FIRST);
        window.handle_data(FIRST.plus(1), 8).unwrap();
        window.handle_skip(FIRST.plus(3), 8).unwrap();
        assert_eq!(window.position().cumulative, FIRST.plus(3).0);
        assert_eq!(window.to_ack(), Ack { cumulative: FIRST.plus(1).0, bitmap: 0b1 });
        window.acknowledge(FIRST.plus(1));
        assert_eq!(window.to_ack().cumulative, FIRST.plus(3).0);
        window.handle_skip(FIRST, 8).unwrap();
        assert_eq!(window.handle_skip(FIRST.plus(12), 8).unwrap_err().code(), Code::Protocol);
    }
}
