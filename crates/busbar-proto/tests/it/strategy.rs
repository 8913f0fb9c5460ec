//! Arbitrary values of the protocol's types, valid ones only.

use busbar_proto::frame::{Ack, Fragment, Header, Kind};
use busbar_proto::session::{Resume, ResumeToken};
use busbar_proto::{
    Capabilities, CloseReason, Code, Epoch, Hello, Limits, SessionId, ShmParameters, Trust,
    Versions,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

/// A header and a payload that belong together.
pub(crate) fn frame() -> impl Strategy<Value = (Header, Vec<u8>)> {
    let payload = || vec(any::<u8>(), 0..300);
    let control = prop_oneof![Just(Kind::Hello), Just(Kind::Reject), Just(Kind::Close)];
    let session = (any::<u16>(), any::<(u64, u64)>(), 0..5).prop_map(
        |(channel, (cumulative, bitmap), kind)| {
            let ack = Some(Ack { cumulative, bitmap });
            let header = match kind {
                0 => Header { channel, ack, ..Header::new(Kind::Ack) },
                1 => Header { channel, seq: cumulative, ..Header::new(Kind::Skip) },
                2 => Header { seq: cumulative, ..Header::new(Kind::Probe) },
                3 => Header { seq: cumulative, ..Header::new(Kind::Pong) },
                _ => Header::new(Kind::Leave),
            };
            (header, Vec::new())
        },
    );
    prop_oneof![
        1 => Just((Header::new(Kind::Ping), Vec::new())),
        1 => session,
        1 => (control, payload()).prop_map(|(kind, payload)| (Header::new(kind), payload)),
        4 => (payload(), data_header(), any::<bool>(), any::<(u32, u32, u16)>()).prop_map(
            |(payload, mut header, fragmented, (index, count, rest))| {
                if fragmented && !payload.is_empty() {
                    header.fragment = Some(fragment(payload.len(), index, count, rest));
                }
                (header, payload)
            }
        ),
    ]
}

fn data_header() -> impl Strategy<Value = Header> {
    let ack = option::of(any::<(u64, u64)>());
    let reliable = any::<(u16, u64, bool)>();
    (reliable, ack, any::<Option<u64>>(), any::<Option<u64>>()).prop_map(
        |((channel, seq, is_reliable), ack, deadline_micros, type_hash)| Header {
            channel,
            seq,
            is_reliable,
            ack: ack.map(|(cumulative, bitmap)| Ack { cumulative, bitmap }),
            deadline_micros,
            type_hash,
            ..Header::new(Kind::Data)
        },
    )
}

fn fragment(payload_bytes: usize, index: u32, count: u32, rest: u16) -> Fragment {
    let count = count % 10_000 + 1;
    let others = u64::from(count - 1);
    let rest = if others == 0 { 0 } else { u64::from(rest) };
    let total_bytes = payload_bytes as u64 + others + rest;
    Fragment { index: index % count, count, total_bytes }
}

pub(crate) fn hello() -> impl Strategy<Value = Hello> {
    let limits = (Limits::FRAME_PAYLOAD_BYTES_MIN.., 1u64..)
        .prop_map(|(frame, message)| Limits::new(frame, message).expect("in range"));
    let sections = (option::of(shm()), option::of(resume()), option::of(Hello::HEARTBEAT_MS_MIN..));
    (any::<[u8; 16]>(), any::<(u64, u64)>(), limits, 1u16.., sections).prop_map(
        |(session, (epoch, capabilities), limits, version_max, (shm, resume, heartbeat_ms))| {
            Hello {
                versions: Versions::new(1, version_max).expect("in range"),
                capabilities: Capabilities(capabilities | if resume.is_some() { 2 } else { 0 }),
                heartbeat_ms,
                shm,
                resume,
                ..Hello::new(SessionId(session), Epoch(epoch), limits)
            }
        },
    )
}

pub(crate) fn resume() -> impl Strategy<Value = Resume> {
    let positions = btree_map(any::<u16>(), any::<(u64, u64)>(), 0..=128);
    (any::<([u8; 16], u32, bool)>(), 1u32..=65_536, positions).prop_map(
        |((token, timeout_ms, is_established), window_messages, positions)| Resume {
            token: ResumeToken(token),
            timeout_ms,
            window_messages,
            is_established,
            positions: positions
                .into_iter()
                .map(|(channel, (cumulative, bitmap))| (channel, Ack { cumulative, bitmap }))
                .collect(),
        },
    )
}

fn shm() -> impl Strategy<Value = ShmParameters> {
    any::<(u16, bool, u32, u64, u64, u32)>().prop_map(
        |(segment_version, hostile, release_entries, ring_bytes, slab_bytes, page_bytes)| {
            ShmParameters {
                segment_version,
                trust: if hostile { Trust::Hostile } else { Trust::SameUser },
                release_entries,
                ring_bytes,
                slab_bytes,
                page_bytes,
            }
        },
    )
}

/// Reasons whose text is short enough to arrive whole.
pub(crate) fn reason() -> impl Strategy<Value = CloseReason> {
    let code = option::of(proptest::sample::select(Code::ALL));
    (code, any::<u32>(), vec(any::<char>(), 0..256)).prop_map(|(code, status, text)| CloseReason {
        code,
        status,
        text: text.into_iter().collect(),
    })
}
