//! What one channel has accepted for sending and the peer has not acknowledged, payloads included.
//!
//! | entry | becomes | when |
//! |---|---|---|
//! | held | acknowledged | the peer says so |
//! | held | given up | it was transmitted as often as allowed, and a new connection shows that it never arrived; its time was over before it was transmitted; it can never be |
//! | acknowledged, given up | gone | everything before it is, and for those given up the peer has passed it |

use std::collections::VecDeque;
use std::time::Instant;

use super::Seq;
use crate::frame::Ack;
use crate::{Code, Error};

#[derive(Debug)]
pub(super) struct SendWindow<P> {
    /// The number of the first entry.
    front: Seq,
    entries: VecDeque<Entry<P>>,
    /// Payload bytes held.
    bytes: usize,
    held: usize,
}

#[derive(Debug)]
struct Entry<P> {
    content: Content<P>,
    /// Place among the messages of all channels.
    order: u64,
    /// How often it was transmitted.
    attempts: u32,
    /// When it is of no more use.
    expires: Option<Instant>,
}

#[derive(Debug)]
enum Content<P> {
    Held(P),
    Acknowledged,
    GivenUp,
}

/// What is to be transmitted of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<P> {
    /// The message, and when it is of no more use.
    Message(P, Option<Instant>),
    /// It was given up, just now if its time `is_over`: the peer is to pass over it.
    Skip { is_over: bool },
    /// It has arrived.
    Nothing,
}

/// What a new connection has to transmit of a window.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Remainder {
    /// Messages and those to pass over, by their place among those of all channels.
    pub(super) resend: Vec<(u64, Seq)>,
    /// Those that were given up just now.
    pub(super) given_up: Vec<Seq>,
}

impl<P: AsRef<[u8]> + Clone> SendWindow<P> {
    pub(super) fn new(front: Seq) -> Self {
        Self { front, entries: VecDeque::new(), bytes: 0, held: 0 }
    }

    /// The number that the next message gets.
    pub(super) fn next(&self) -> Seq {
        self.front.plus(self.entries.len() as u64)
    }

    /// Entries, of which the peer must be able to tell each from those before.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Payload bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages of which it is not known what became of them.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn push(&mut self, payload: P, order: u64, expires: Option<Instant>) -> Seq {
        let seq = self.next();
        self.bytes += payload.as_ref().len();
        self.held += 1;
        let content = Content::Held(payload);
        self.entries.push_back(Entry { content, order, attempts: 0, expires });
        seq
    }

    /// The next transmission of a message, at `now`.
    pub(super) fn transmit(&mut self, seq: Seq, now: Instant) -> Turn<P> {
        let entry = self.index(seq).and_then(|at| self.entries.get_mut(at));
        let Some(entry) = entry else { return Turn::Nothing };
        match &entry.content {
            Content::Acknowledged => return Turn::Nothing,
            Content::GivenUp => return Turn::Skip { is_over: false },
            Content::Held(payload) if entry.expires.is_none_or(|expires| now < expires) => {
                entry.attempts = entry.attempts.saturating_add(1);
                return Turn::Message(payload.clone(), entry.expires);
            }
            Content::Held(_) => {}
        }
        self.give_up(seq);
        Turn::Skip { is_over: true }
    }

    /// Gives up a message; `false` if there is no need any more.
    pub(super) fn give_up(&mut self, seq: Seq) -> bool {
        let entry = self.index(seq).and_then(|at| self.entries.get_mut(at));
        let Some(entry) = entry else { return false };
        let Content::Held(payload) = &entry.content else { return false };
        self.bytes -= payload.as_ref().len();
        self.held -= 1;
        entry.content = Content::GivenUp;
        // The peer will know its number, by being told to pass over it.
        entry.attempts = entry.attempts.max(1);
        true
    }

    /// # Errors
    /// `Protocol` if it acknowledges what was never transmitted.
    pub(super) fn handle_ack(&mut self, ack: Ack) -> Result<(), Error> {
        // An acknowledgement older than what is known says nothing new.
        let below = Seq(ack.cumulative).since(self.front).unwrap_or(0);
        let below = usize::try_from(below).unwrap_or(usize::MAX);
        if below > self.entries.len() {
            return Err(never_sent());
        }
        for at in 0..below {
            self.acknowledge(at)?;
        }
        let mut bits = ack.bitmap;
        while bits != 0 {
            let seq = Seq(ack.cumulative).plus(1 + u64::from(bits.trailing_zeros()));
            if let Some(at) = self.index(seq) {
                self.acknowledge(at)?;
            }
            bits &= bits - 1;
        }
        self.retire(Seq(ack.cumulative));
        Ok(())
    }

    /// Whether `received` can have arrived at the peer.
    ///
    /// # Errors
    /// `Protocol` if the peer knows more than was sent, or less than it has acknowledged.
    pub(super) fn check_position(&self, received: Ack) -> Result<(), Error> {
        let Some(below) = Seq(received.cumulative).since(self.front) else {
            let message = "the peer has forgotten messages that it had acknowledged";
            return Err(Error::new(Code::Protocol, message));
        };
        let was_sent = |at: u64| {
            let entry = usize::try_from(at).ok().and_then(|at| self.entries.get(at));
            entry.is_some_and(|entry| entry.attempts > 0)
        };
        // Messages are sent in order, so the last one says it of all before it.
        let last_bit = 64 - u64::from(received.bitmap.leading_zeros());
        let highest = if last_bit > 0 { Some(below + last_bit) } else { below.checked_sub(1) };
        if highest.is_none_or(was_sent) { Ok(()) } else { Err(never_sent()) }
    }

    /// A new connection stands, and `received`, which was checked, has arrived at the peer over
    /// earlier ones.
    pub(super) fn handle_position(&mut self, received: Ack, attempts_max: u32) -> Remainder {
        let below = Seq(received.cumulative).since(self.front).unwrap_or(0);
        let mut remainder = Remainder::default();
        for (at, entry) in self.entries.iter_mut().enumerate() {
            let seq = self.front.plus(at as u64);
            let has_arrived = match (at as u64).checked_sub(below) {
                None => true,
                Some(0) => false,
                Some(ahead) => ahead <= 64 && received.bitmap >> (ahead - 1) & 1 == 1,
            };
            if has_arrived {
                continue;
            }
            if let Content::Held(payload) = &entry.content
                && entry.attempts >= attempts_max
            {
                self.bytes -= payload.as_ref().len();
                self.held -= 1;
                entry.content = Content::GivenUp;
                remainder.given_up.push(seq);
            }
            match entry.content {
                Content::Held(_) | Content::GivenUp => remainder.resend.push((entry.order, seq)),
                // Acknowledged out of order, and beyond what the peer's bitmap shows.
                Content::Acknowledged => {}
            }
        }
        self.retire(Seq(received.cumulative));
        remainder
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        usize::try_from(seq.since(self.front)?).ok()
    }

    fn acknowledge(&mut self, at: usize) -> Result<(), Error> {
        let entry = self.entries.get_mut(at).ok_or_else(never_sent)?;
        if let Content::Held(payload) = &entry.content {
            if entry.attempts == 0 {
                return Err(never_sent());
            }
            self.bytes -= payload.as_ref().len();
            self.held -= 1;
            entry.content = Content::Acknowledged;
        }
        Ok(())
    }

    /// Forgets entries at the front of which nothing more is to be said. What was given up stays
    /// until the peer is past it: it may have to be told again.
    fn retire(&mut self, passed: Seq) {
        while let Some(entry) = self.entries.front() {
            let is_done = match entry.content {
                Content::Held(_) => false,
                Content::Acknowledged => true,
                Content::GivenUp => passed.since(self.front).is_some_and(|ahead| ahead > 0),
            };
            if !is_done {
                break;
            }
            self.entries.pop_front();
            self.front = self.front.plus(1);
        }
    }
}

fn never_sent() -> Error {
    Error::new(Code::Protocol, "the peer acknowledged a message that was never sent")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Seq = Seq(u64::MAX - 1);

    /// Four messages around the end of the range, of which three are transmitted.
    fn window() -> SendWindow<&'static [u8]> {
        let mut window = SendWindow::new(LAST);
        for (order, payload) in [&b"a"[..], b"bb", b"ccc", b"dddd"].into_iter().enumerate() {
            assert_eq!(window.push(payload, order as u64, None), LAST.plus(order as u64));
        }
        for n in 0..3 {
            let turn = window.transmit(LAST.plus(n), Instant::now());
            assert!(matches!(turn, Turn::Message(..)));
        }
        window
    }

    fn ack(ahead: u64, bitmap: u64) -> Ack {
        Ack { cumulative: LAST.plus(ahead).0, bitmap }
    }

    /// [D31] cumulative and selective acknowledgement, across the end of the range
    #[test]
    fn acknowledgements_free_the_window() {
        let mut window = window();
        window.handle_ack(ack(0, 0b01)).unwrap();
        assert_eq!((window.len(), window.bytes(), window.held()), (4, 8, 3));
        let turn = window.transmit(LAST.plus(1), Instant::now());
        assert_eq!(turn, Turn::Nothing, "nobody needs it again");
        window.handle_ack(ack(1, 0)).unwrap();
        assert_eq!((window.len(), window.bytes(), window.held()), (2, 7, 2));
        window.handle_ack(ack(0, 0b10)).unwrap();
        assert_eq!((window.len(), window.bytes()), (1, 4), "an old one may say something new");
        window.handle_ack(ack(0, 0)).unwrap();
        assert_eq!((window.next(), window.len()), (LAST.plus(4), 1));
    }

    /// [D31] nobody acknowledges what was not sent
    #[test]
    fn acknowledgements_of_the_future_are_refused() {
        let check = |ack| {
            assert_eq!(window().handle_ack(ack).unwrap_err().code(), Code::Protocol, "{ack:?}");
        };
        check(ack(4, 0));
        check(ack(5, 0));
        check(ack(1 << 40, 0));
        check(ack(0, 0b100));
        check(ack(2, 1 << 63));
    }

    /// [D32] a new connection repeats what has not arrived, in order
    #[test]
    fn only_what_did_not_arrive_is_repeated() {
        let mut it = window();
        let rest = it.handle_position(ack(1, 0), 9);
        assert_eq!(rest.resend, [1, 2, 3].map(|n| (n, LAST.plus(n))));
        assert_eq!((rest.given_up.len(), it.len()), (0, 4), "not acknowledged");
        let rest = it.handle_position(ack(1, 0b1), 9);
        assert_eq!(rest.resend, [1, 3].map(|n| (n, LAST.plus(n))));
        it.check_position(ack(3, 0)).unwrap();
        it.check_position(ack(0, 0b11)).unwrap();
        let check = |ack| {
            assert_eq!(window().check_position(ack).unwrap_err().code(), Code::Protocol);
        };
        check(ack(4, 0));
        check(ack(5, 0));
        check(ack(2, 0b1));
        check(ack(3, 1 << 63));
        it.handle_ack(ack(1, 0)).unwrap();
        let error = it.check_position(ack(0, 0)).unwrap_err();
        assert!(error.message().contains("forgotten"), "{error}");
    }

    /// [D32] attempts are bounded; the peer is told to pass over what was given up, until it has
    #[test]
    fn gives_up_after_the_last_attempt() {
        let mut it = window();
        let now = Instant::now();
        it.transmit(LAST, now);
        let rest = it.handle_position(ack(0, 0), 2);
        assert_eq!((rest.given_up, rest.resend.len()), (vec![LAST], 4));
        assert_eq!(it.transmit(LAST, now), Turn::Skip { is_over: false });
        assert_eq!((it.len(), it.bytes(), it.held()), (4, 9, 3));
        let rest = it.handle_position(ack(0, 0), 2);
        assert_eq!((rest.given_up.len(), rest.resend.len()), (0, 4), "told again");
        it.handle_ack(ack(1, 0)).unwrap();
        assert_eq!(it.len(), 3);
        let rest = it.handle_position(ack(1, 0), 1);
        assert_eq!(rest.given_up, [1, 2].map(|n| LAST.plus(n)));
        assert_eq!(rest.resend, [1, 2, 3].map(|n| (n, LAST.plus(n))));
        let turn = it.transmit(LAST.plus(3), now);
        assert_eq!(turn, Turn::Message(&b"dddd"[..], None), "never transmitted, so not given up");
    }
}
