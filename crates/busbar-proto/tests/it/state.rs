//! Connection states: the whole table, and random walks against an independent idea of what is
//! legal.

use busbar_proto::{ConnectionInput, ConnectionState};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// [D16] the names and numbers that programs see
#[test]
fn names_and_numbers() {
    let names: Vec<_> =
        ConnectionState::ALL.iter().map(|state| (state.number(), state.to_string())).collect();
    let expected = ["CONNECTING", "CONNECTED", "DISCONNECTED", "RECONNECTING", "CLOSED"];
    assert_eq!(names, (0u8..).zip(expected.map(String::from)).collect::<Vec<_>>());
}

/// [D16] every input in every state does what the table in the module documentation says
#[test]
fn transitions_match_the_documented_table() {
    let source = include_str!("../../src/state.rs");
    let mut rows = source
        .lines()
        .filter_map(|line| line.strip_prefix("//! |"))
        .map(|row| row.trim_end_matches('|').split('|').map(|c| c.trim().replace('`', "")));
    let heading: Vec<String> = rows.next().expect("a heading").skip(1).collect();
    let names: Vec<_> = ConnectionState::ALL.iter().map(|state| state.as_str()).collect();
    assert_eq!(heading, names);
    let rows: Vec<Vec<String>> = rows.skip(1).map(Iterator::collect).collect();
    assert_eq!(rows.len(), ConnectionInput::ALL.len());
    for (row, &input) in rows.iter().zip(ConnectionInput::ALL) {
        assert_eq!((row[0].clone(), row.len()), (format!("{input:?}"), names.len() + 1));
        for (cell, &state) in row[1..].iter().zip(ConnectionState::ALL) {
            let next = state.next(input).map_or("", ConnectionState::as_str);
            assert_eq!(next, cell, "{state} on {input:?}");
        }
    }
}

/// What a connection is, in the model: two facts instead of five states.
#[derive(Clone, Copy)]
struct Model {
    transport: Transport,
    has_been_down: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Trying,
    Up,
    Down,
    Gone,
}

impl Model {
    /// Whether `input` can happen now; applies it if so.
    fn apply(&mut self, input: ConnectionInput) -> bool {
        use ConnectionInput as I;
        let (possible, after) = match input {
            I::Established => (self.transport == Transport::Trying, Transport::Up),
            I::AttemptFailed => (self.transport == Transport::Trying, Transport::Down),
            I::Lost => (self.transport == Transport::Up, Transport::Down),
            I::RetryStarted => (self.transport == Transport::Down, Transport::Trying),
            // One gives up trying, not something that works.
            I::GaveUp => {
                (matches!(self.transport, Transport::Trying | Transport::Down), Transport::Gone)
            }
            I::ClosedLocally => (self.transport != Transport::Gone, Transport::Gone),
            // It takes a transport to hear from the peer.
            I::ClosedByPeer => {
                (matches!(self.transport, Transport::Trying | Transport::Up), Transport::Gone)
            }
            other => panic!("an input that the model does not know: {other:?}"),
        };
        if possible {
            self.transport = after;
            self.has_been_down |= after == Transport::Down;
        }
        possible
    }

    fn state(self) -> ConnectionState {
        match (self.transport, self.has_been_down) {
            (Transport::Trying, false) => ConnectionState::Connecting,
            (Transport::Trying, true) => ConnectionState::Reconnecting,
            (Transport::Up, _) => ConnectionState::Connected,
            (Transport::Down, _) => ConnectionState::Disconnected,
            (Transport::Gone, _) => ConnectionState::Closed,
        }
    }
}

proptest! {
    /// [D16] random inputs never produce an illegal transition, and CLOSED is the end
    #[test]
    fn random_inputs_follow_the_model(inputs in vec(select(ConnectionInput::ALL), 0..200)) {
        let mut model = Model { transport: Transport::Trying, has_been_down: false };
        let mut state = ConnectionState::Connecting;
        for input in inputs {
            let next = state.next(input);
            prop_assert_eq!(next.is_some(), model.apply(input), "{} on {:?}", state, input);
            if let Some(next) = next {
                prop_assert_ne!(state, ConnectionState::Closed, "CLOSED is the end");
                prop_assert_ne!(next, state, "a transition changes the state");
                state = next;
            }
            prop_assert_eq!(state, model.state());
        }
    }
}
