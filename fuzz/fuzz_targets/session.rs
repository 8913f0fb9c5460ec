//! A peer of a session that says anything at any time: connections, frames, HELLOs. Whatever it
//! does, a message is delivered once, what was not acknowledged is kept, and windows hold.
//!
//! The input is a list of steps: a byte that says what happens, and what it needs.

#![no_main]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use busbar_proto::frame::{Decoder, Kind};
use busbar_proto::session::{
    Acknowledge, Arrival, Event, Resume, ResumeToken, Seq, Session, SessionOptions,
};
use busbar_proto::{Epoch, Hello, Limits, SessionId};
use libfuzzer_sys::fuzz_target;

const TOKEN: ResumeToken = ResumeToken([7; 16]);

fn options() -> SessionOptions {
    let mut options = SessionOptions::default();
    options.window_messages = 8;
    options.window_bytes = 256;
    options.attempts_max = 2;
    options
}

/// The bytes of one step, if they are there.
fn take<'a>(data: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = data.split_at_checked(len)?;
    *data = rest;
    Some(taken)
}

struct Fuzzed {
    session: Session<Vec<u8>>,
    now: Instant,
    delivered: HashSet<(u16, u64)>,
    accepted: usize,
}

impl Fuzzed {
    fn new(acknowledge: Acknowledge) -> Self {
        let first = Resume {
            token: TOKEN,
            timeout_ms: 1_000,
            window_messages: 16,
            is_established: false,
            positions: Vec::new(),
        };
        let mut options = options();
        options.acknowledge = acknowledge;
        let mut session = Session::answering(SessionId([1; 16]), &first, options).expect("new");
        session.handle_dial(Epoch(1), &first).expect("the first connection");
        let now = Instant::now();
        Self { session, now, delivered: HashSet::new(), accepted: 0 }
    }

    /// What the peer sends over the connection that there is.
    fn frames(&mut self, mut bytes: &[u8]) {
        let mut decoder = Decoder::new(Limits::default());
        while let Ok(Some(frame)) = decoder.decode(&mut bytes) {
            let header = frame.header;
            let (channel, seq) = (header.channel, Seq(header.seq));
            let session = &mut self.session;
            let result = match header.kind {
                Kind::Data if header.is_reliable => session.handle_data(channel, seq).map(|it| {
                    if it == Arrival::New {
                        let is_first = self.delivered.insert((channel, seq.0));
                        assert!(is_first, "{seq:?} on {channel} was delivered twice");
                    }
                }),
                Kind::Ack => session.handle_ack(channel, header.ack.expect("checked")),
                Kind::Skip => session.handle_skip(channel, seq),
                Kind::Leave => {
                    session.handle_leave();
                    Ok(())
                }
                Kind::Close => {
                    session.handle_close();
                    Ok(())
                }
                _ => Ok(()),
            };
            if result.is_err() {
                // What a driver does with a peer that breaks the rules.
                session.handle_disconnect(self.now);
                return;
            }
        }
    }

    fn step(&mut self, what: u8, data: &mut &[u8]) -> Option<()> {
        match what % 8 {
            0 => {
                let len = usize::from(take(data, 1)?[0]);
                let bytes = take(data, len.min(data.len()))?;
                if self.session.is_connected() {
                    self.frames(bytes);
                }
            }
            1 => {
                let len = usize::from(u16::from_be_bytes(take(data, 2)?.try_into().ok()?));
                let hello = Hello::decode(take(data, len.min(data.len()))?).ok()?;
                let mut resume = hello.resume?;
                resume.token = TOKEN;
                let epoch = Epoch(self.session.epoch().0 + u64::from(hello.epoch.0 as u8 % 3));
                let before = self.session.epoch();
                match self.session.handle_dial(epoch, &resume) {
                    Ok(answer) => assert!(epoch > before && answer.positions.len() <= 128),
                    Err(_) => assert_eq!(self.session.epoch(), before),
                }
            }
            2 => self.session.handle_disconnect(self.now),
            3 => {
                self.now += Duration::from_millis(u64::from(take(data, 1)?[0]) * 10);
                self.session.handle_timeout(self.now);
            }
            4 | 5 => {
                let [channel, len] = take(data, 2)? else { return None };
                let payload = vec![*channel; usize::from(*len)];
                if let Ok(Some(_)) = self.session.send(u16::from(channel % 4), payload, None) {
                    self.accepted += 1;
                }
            }
            6 => while self.session.poll_transmit(self.now).is_some() {},
            _ => {
                let [channel, seq] = take(data, 2)? else { return None };
                self.session.acknowledge(u16::from(*channel), Seq(u64::from(*seq)));
            }
        }
        self.check();
        Some(())
    }

    fn check(&mut self) {
        let unconfirmed = self.session.unconfirmed();
        assert!(unconfirmed <= 4 * 8 && unconfirmed <= self.accepted);
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Lost { unconfirmed } => assert!(unconfirmed <= self.accepted),
                Event::DeliveryFailed { .. } | Event::Expired { .. } => {}
                event => panic!("an unknown event: {event:?}"),
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, mut data)) = data.split_first() else { return };
    let acknowledge = if first % 2 == 0 { Acknowledge::Processed } else { Acknowledge::Received };
    let mut fuzzed = Fuzzed::new(acknowledge);
    while let Some(what) = take(&mut data, 1) {
        if fuzzed.step(what[0], &mut data).is_none() {
            break;
        }
    }
});
