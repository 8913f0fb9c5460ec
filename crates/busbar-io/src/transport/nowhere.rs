//! The link of a pipe that has no connection at present: it takes nothing and gives nothing.

use busbar_proto::{CloseReason, Error};

use crate::connection::Connection;
use crate::inbox::Inbox;
use crate::link::{Interest, Link, LinkStats};
use crate::loan::Loan;
use crate::peer::Peer;
use crate::reactor::{Reactor, Token};

pub(crate) struct Nowhere {
    message_bytes_max: u64,
}

impl Nowhere {
    /// With the largest message that it accepts.
    pub(crate) fn new(message_bytes_max: u64) -> Self {
        Self { message_bytes_max }
    }
}

impl Link for Nowhere {
    fn send_run(&mut self, _: &[u8]) -> Result<usize, Error> {
        Ok(0)
    }

    fn send(&mut self, _: u16, _: &[u8]) -> Result<bool, Error> {
        Ok(false)
    }

    fn abandon(&mut self) -> bool {
        false
    }

    fn loan(&mut self, _: usize) -> Result<Option<Loan>, Error> {
        Ok(None)
    }

    fn commit(&mut self, _: u16, loan: Loan, _: usize) -> Result<Option<Loan>, Error> {
        Ok(Some(loan))
    }

    fn receive(&mut self, _: &mut Inbox<'_>, _: usize) -> Result<(), Error> {
        Ok(())
    }

    fn is_readable(&mut self) -> bool {
        false
    }

    fn is_writable(&mut self) -> bool {
        false
    }

    fn park(&mut self, _: Interest) -> bool {
        true
    }

    fn unpark(&mut self) {}

    fn collect(&mut self) {}

    fn stats(&self) -> LinkStats {
        LinkStats::default()
    }
}

impl Connection for Nowhere {
    fn register(&mut self, _: &Reactor, _: Token) -> Result<(), Error> {
        Ok(())
    }

    fn deregister(&mut self, _: &Reactor) {}

    fn handle_notice(&mut self) -> Option<CloseReason> {
        None
    }

    fn handle_control(&mut self) -> Result<Option<CloseReason>, Error> {
        Ok(None)
    }

    fn close(&mut self, _: &CloseReason) {}

    fn message_bytes_max(&self) -> u64 {
        self.message_bytes_max
    }

    fn peer(&self) -> Option<Peer> {
        None
    }
}
