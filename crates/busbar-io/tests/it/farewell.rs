//! How reliable pipes end, whatever becomes of the connection that carries the end.

use std::time::Duration;

use busbar_io::{CloseReason, Code, ConnectionState, Event, PipeId, PipeOptions, SessionOptions};

use crate::reliable::{Ends, reliable};
use crate::support::Driven;

/// Nobody waits so long, so that whoever waits for the end of it fails.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// The dialer's end, or the listener's.
const DIALER: usize = 0;

fn patient() -> PipeOptions {
    let mut session = SessionOptions::default();
    session.timeout = FOR_EVER;
    let mut options = reliable(session);
    options.linger = FOR_EVER;
    options
}

impl Ends {
    fn end(&mut self, side: usize) -> (&mut Driven, PipeId) {
        match side {
            DIALER => (&mut self.here, self.out),
            _ => (&mut self.there, self.back),
        }
    }

    fn close(&mut self, side: usize) {
        let reason = CloseReason { code: None, status: 7, text: "match over".to_owned() };
        let (end, pipe) = self.end(side);
        end.engine.close_within(pipe, &reason, FOR_EVER);
        end.settle();
    }

    fn until_closed(&mut self, side: usize) {
        let (_, pipe) = self.end(side);
        let is_this = move |event: &Event| matches!(event, Event::Closed(of) if *of == pipe);
        self.until(|ends| ends.end(side).0.events.iter().any(is_this));
    }

    fn until_nothing_lingers(&mut self, side: usize) {
        self.until(|ends| !ends.end(side).0.engine.is_lingering());
    }

    /// Waits until both ends know that the connection is gone: nothing of it can be heard any more.
    fn cut(&mut self) {
        let before = self.here.engine.stats(self.out).map(|stats| stats.reconnects);
        self.relay.cut();
        self.relay.hush([false, false]);
        if before.is_some() {
            let out = self.out;
            let is_up =
                |ends: &mut Self| ends.here.engine.state(out) == Some(ConnectionState::Connected);
            self.until(|ends| !is_up(ends));
        }
    }
}

/// [D22 D30] CLOSE is lost with its connection: the other end, whose session lasts for an hour,
/// hears of it over the next one, with its reason
#[test]
fn a_close_that_is_lost_is_said_again() {
    for closer in [0, 1] {
        let mut ends = Ends::with(&patient());
        assert!(ends.here.engine.send(ends.out, 0, b"before").unwrap());
        assert_eq!(ends.received_there(1), [b"before"]);
        ends.there.engine.processed(ends.back, 1).unwrap();
        ends.until(|ends| ends.unconfirmed() == 0);
        ends.relay.hush([true, true]);
        ends.close(closer);
        ends.relay.cut();
        ends.relay.hush([false, false]);
        ends.until_closed(1 - closer);
        let (end, pipe) = ends.end(1 - closer);
        let reason = end.engine.reason(pipe).unwrap().clone();
        assert_eq!((reason.code, reason.status, &*reason.text), (None, 7, "match over"));
        ends.until_nothing_lingers(closer);
    }
}

/// [D30] the answer to CLOSE is lost: a dialer asks again and learns that there is nobody any more;
/// a listener can only wait, unseen, for as long as it lingers
#[test]
fn an_answer_that_is_lost_holds_nobody_up() {
    for closer in [0, 1] {
        let mut options = patient();
        if closer != DIALER {
            options.linger = Duration::from_millis(200);
        }
        let mut ends = Ends::with(&options);
        let mut hushed = [true, true];
        hushed[closer] = false;
        ends.relay.hush(hushed);
        ends.close(closer);
        ends.until_closed(1 - closer);
        if closer == DIALER {
            assert!(ends.end(closer).0.engine.is_lingering(), "nobody has answered");
        }
        ends.relay.cut();
        ends.relay.hush([false, false]);
        ends.until_nothing_lingers(closer);
        let (end, pipe) = ends.end(1 - closer);
        assert_eq!(end.engine.reason(pipe).unwrap().code, None);
        end.engine.close(pipe, &CloseReason::default());
        ends.until_nothing_lingers(1 - closer);
    }
}

/// [D30] a pipe that is closed while it has no connection tells its peer over the next one
#[test]
fn closing_without_a_connection_is_told() {
    for closer in [0, 1] {
        let mut ends = Ends::with(&patient());
        ends.cut();
        ends.close(closer);
        ends.until_closed(1 - closer);
        let (end, pipe) = ends.end(1 - closer);
        assert_eq!(end.engine.reason(pipe).unwrap().code, None);
        ends.until_nothing_lingers(closer);
    }
}

/// [D30] [D31] both ends close at once, each with messages that the other never acknowledges:
/// neither waits for that, with the connection or over a cut
#[test]
fn two_that_close_at_once_do_not_wait_for_each_other() {
    for is_cut in [false, true] {
        let mut ends = Ends::with(&patient());
        assert!(ends.here.engine.send(ends.out, 0, b"there").unwrap());
        assert!(ends.there.engine.send(ends.back, 0, b"back").unwrap());
        ends.relay.hush([is_cut; 2]);
        ends.close(0);
        ends.close(1);
        assert!(ends.here.engine.is_lingering() && ends.there.engine.is_lingering());
        if is_cut {
            ends.relay.cut();
            ends.relay.hush([false, false]);
        }
        ends.until_nothing_lingers(0);
        ends.until_nothing_lingers(1);
    }
}

/// [D31] acknowledgements that were lost with the connection come before CLOSE over the next one
#[test]
fn what_was_acknowledged_before_the_end_is_known() {
    for closer in [0, 1] {
        let mut ends = Ends::with(&patient());
        let (sender, sending) = ends.end(1 - closer);
        for n in 0..3 {
            assert!(sender.engine.send(sending, 0, &[n]).unwrap());
        }
        let mut received = 0;
        ends.until(|ends| {
            let (end, pipe) = ends.end(closer);
            received += end.receive(pipe).len();
            received == 3
        });
        ends.relay.hush([true, true]);
        let (end, pipe) = ends.end(closer);
        end.engine.processed(pipe, 2).unwrap();
        ends.close(closer);
        ends.relay.cut();
        ends.relay.hush([false, false]);
        ends.until_closed(1 - closer);
        let (sender, sending) = ends.end(1 - closer);
        assert_eq!(sender.engine.stats(sending).unwrap().messages_unconfirmed, 1);
        ends.until_nothing_lingers(closer);
    }
}

/// [D30] a pipe whose time to linger is over, or that has none, waits for no acknowledgement, but
/// its peer is told
#[test]
fn who_does_not_linger_says_goodbye() {
    for closer in [0, 1] {
        let mut ends = Ends::with(&patient());
        let (end, pipe) = ends.end(closer);
        assert!(end.engine.send(pipe, 0, b"never acknowledged").unwrap());
        ends.cut();
        let (end, pipe) = ends.end(closer);
        end.engine.close_within(pipe, &CloseReason::default(), Duration::ZERO);
        ends.until_closed(1 - closer);
        ends.until_nothing_lingers(closer);
    }
}

/// [D30] a listener's process is gone when its peer comes to say goodbye: that is no reason to wait
#[test]
fn a_peer_that_has_forgotten_needs_no_goodbye() {
    let mut ends = Ends::with(&patient());
    ends.relay.hush([true, true]);
    let (there, back) = ends.end(1);
    there.engine.close(back, &CloseReason::lost());
    ends.close(DIALER);
    ends.relay.cut();
    ends.relay.hush([false, false]);
    ends.until_nothing_lingers(DIALER);
}

/// [D12] who closed is told nothing of what happens afterwards
#[test]
fn a_pipe_that_says_goodbye_is_silent() {
    let mut ends = Ends::with(&patient());
    ends.relay.hush([true, true]);
    ends.close(DIALER);
    ends.here.events.clear();
    ends.relay.cut();
    ends.relay.hush([false, false]);
    ends.until_nothing_lingers(DIALER);
    assert!(ends.here.events.is_empty(), "{:?}", ends.here.events);
    let gone = ends.here.engine.send(ends.out, 0, b"x").unwrap_err();
    assert_eq!(gone.code(), Code::Closed);
}
