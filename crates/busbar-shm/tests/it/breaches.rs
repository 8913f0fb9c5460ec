//! Each thing that no correct peer does, one at a time, and what it is called.

use busbar_shm::record::{INLINE_MAX, Kind};
use busbar_shm::{Breach, Channel, Error, Settings};

use crate::forge::{
    Forge, RELEASE_HEAD, RELEASE_TAIL, RX_HEAD, TX_TAIL, descriptor, first, record,
};
use crate::pair::{SETTINGS, geometry, pair};

const SLAB: u64 = 131_072;

fn forge() -> Forge {
    Forge::new(geometry(SLAB))
}

fn receive(channel: &mut Channel) -> Result<usize, Breach> {
    let mut count = 0;
    channel.receive(&mut [0; 65_536], usize::MAX, |_, _| count += 1).map(|_| count)
}

/// What a channel makes of these records, followed by a good one.
fn judge_with(settings: Settings, records: &[Vec<u8>]) -> Result<usize, Breach> {
    let forge = forge();
    let bytes = [&records.concat()[..], &record(Kind::Inline, 0, b"good")].concat();
    forge.publish(&bytes);
    let mut channel = forge.victim(settings);
    assert!(channel.is_readable());
    receive(&mut channel)
}

fn judge(records: &[Vec<u8>]) -> Result<usize, Breach> {
    let trusting = judge_with(SETTINGS, records);
    assert_eq!(trusting, judge_with(Settings { hostile: true, ..SETTINGS }, records));
    trusting
}

/// [D42 D45] The judge lets good records pass; otherwise the tests below would show nothing.
#[test]
fn correct_records_are_no_breach() {
    let records = [
        record(Kind::Inline, 1, b""),
        record(Kind::Inline, 2, &[1; INLINE_MAX]),
        record(Kind::Chunk, 3, &descriptor(0, 1, SLAB - 2048)),
        record(Kind::Chunk, 4, &descriptor(63, 1, 2048)),
        record(Kind::FragmentFirst, 5, &first(6, b"abc")),
        record(Kind::FragmentNext, 5, b"def"),
        record(Kind::FragmentFirst, 6, &first(6, b"abc")),
        record(Kind::Abandon, 0, b""),
    ];
    assert_eq!(judge(&records), Ok(6));
    assert_eq!(judge(&[record(Kind::Chunk, 0, &descriptor(0, 1, SLAB))]), Ok(2));
}

/// [D43 D45] However large the peer's slab is, one call copies no more of it than was agreed.
#[test]
fn chunks_are_copied_in_bounds() {
    let forge = Forge::new(geometry(16 * SLAB));
    let chunks = (0..16).map(|n| record(Kind::Chunk, 0, &descriptor(64 * n, 1, SLAB)));
    forge.publish(&chunks.collect::<Vec<_>>().concat());
    let hostile = Settings { hostile: true, ..SETTINGS };
    let (mut channel, _) = forge.victim_with(geometry(SLAB), hostile);
    let bounded = SETTINGS.message_bytes_max / usize::try_from(SLAB).expect("it is small");
    assert_eq!(receive(&mut channel), Ok(bounded));
    assert_eq!(receive(&mut channel), Ok(bounded), "the rest");
}

/// [D43 D45] A few bytes of the ring do not make a receiver copy the same chunk over and over.
#[test]
fn memory_that_is_out_already_is_not_lent_again() {
    for (first, second) in [(SLAB, SLAB), (SLAB, 1), (SLAB / 2 + 1, SLAB / 2)] {
        let records = [first, second].map(|len| record(Kind::Chunk, 0, &descriptor(0, 1, len)));
        assert_eq!(judge(&records), Err(Breach::Chunk), "{first} and {second} bytes");
    }
}

/// [D43 D45] The same when returns are taken: a peer that has ended can lend nothing anew.
#[test]
fn memory_that_is_taken_back_after_the_end_stays_out() {
    let forge = forge();
    forge.publish(&record(Kind::Chunk, 0, &descriptor(0, 1, SLAB)).repeat(3));
    let mut channel = forge.victim(Settings { hostile: true, ..SETTINGS });
    let receive_one = |channel: &mut Channel, taken| {
        forge.set(RELEASE_HEAD, taken);
        channel.receive(&mut [0; 4096], 1, |_, _| {}).map(|_| ())
    };
    assert_eq!(receive_one(&mut channel, 0), Ok(()));
    assert_eq!(receive_one(&mut channel, 1), Ok(()), "it was taken back");
    channel.end();
    assert_eq!(receive_one(&mut channel, 2), Err(Breach::Chunk));
}

/// [D45] A breach is the end: the channel does not go on as if nothing had been.
#[test]
fn every_operation_reports_the_first_breach_again() {
    let forge = forge();
    forge.publish(&[record(Kind::Inline, 0, b"good"), vec![9; 8]].concat());
    let mut channel = forge.victim(SETTINGS);
    assert_eq!(receive(&mut channel), Err(Breach::Record));
    forge.set(RX_HEAD, u64::MAX);
    assert_eq!(receive(&mut channel), Err(Breach::Record));
    assert_eq!(channel.collect(), Err(Breach::Record));
    let again = |error: Error| matches!(error, Error::Breach(Breach::Record));
    assert!(channel.send(0, b"").is_err_and(again));
    assert!(channel.send_run(&[]).is_err_and(again));
    assert!(channel.loan(1).is_err_and(again));
    assert!(channel.is_readable() && channel.is_writable(), "there is a breach to report");
    assert!(!channel.park(busbar_shm::Wants::DATA));
}

/// [D45] What a peer publishes after its end is not received, so that its end is reached.
#[test]
fn nothing_is_received_that_was_published_after_the_end() {
    let forge = forge();
    let one = record(Kind::Inline, 0, b"before");
    forge.publish(&one);
    let mut channel = forge.victim(SETTINGS);
    channel.end();
    forge.publish(&one.repeat(2));
    assert_eq!(receive(&mut channel), Ok(1));
    assert!(!channel.is_readable());
    forge.set(TX_TAIL, u64::MAX);
    assert_eq!(receive(&mut channel), Ok(0));
}

/// [D45] The last look is a look like any other.
#[test]
fn a_breach_found_at_the_end_is_reported() {
    let forge = forge();
    forge.set(TX_TAIL, 7);
    let mut channel = forge.victim(SETTINGS);
    channel.end();
    assert!(channel.is_readable());
    assert_eq!(receive(&mut channel), Err(Breach::Position));
}

/// [D42] [D45]
#[test]
fn chunks_outside_the_slab_or_beyond_the_limit_are_refused() {
    for (index, len) in [
        (0, SLAB + 1),
        (63, 2049),
        (64, 1),
        (65, 0),
        (u32::MAX, 0),
        (u32::MAX, u64::MAX),
        (0, u64::MAX),
        (1, u64::MAX - 2047),
    ] {
        let chunk = record(Kind::Chunk, 0, &descriptor(index, 1, len));
        assert_eq!(judge(&[chunk]), Err(Breach::Chunk), "{index} {len}");
    }
    let settings = Settings { message_bytes_max: 4095, ..SETTINGS };
    let chunk = record(Kind::Chunk, 0, &descriptor(0, 1, 4096));
    assert_eq!(judge_with(settings, &[chunk]), Err(Breach::Chunk));
}

/// [D42] [D45]
#[test]
fn records_of_unknown_kind_or_wrong_length_are_refused() {
    let patched = |at: usize, byte: u8| {
        let mut bytes = record(Kind::Inline, 0, b"12345678");
        bytes[at] = byte;
        bytes
    };
    let bad = [
        patched(6, 6),
        patched(6, 255),
        patched(7, 1),
        patched(2, 1),   // longer than the ring
        patched(3, 255), // 4 GiB
        patched(1, 1),   // longer than what is published
        record(Kind::Inline, 0, &[0; INLINE_MAX + 1]),
        record(Kind::Chunk, 0, &[0; 15]),
        record(Kind::Abandon, 0, &[0; 1]),
        record(Kind::FragmentFirst, 0, &[0; 7]),
        record(Kind::Deadline, 0, &[0; 7]),
    ];
    for bad in bad {
        assert_eq!(judge(std::slice::from_ref(&bad)), Err(Breach::Record), "{:?}", &bad[..8]);
    }
}

/// [D42 D45] What is published ends with a whole record, of every kind.
#[test]
fn records_that_are_cut_are_refused() {
    let whole = [
        (record(Kind::Inline, 0, b"12345678"), 8),
        (record(Kind::Chunk, 0, &descriptor(0, 1, 1)), 16),
        (record(Kind::FragmentFirst, 0, &first(100, &[1; 20])), 8),
        (record(Kind::FragmentFirst, 0, &first(100, &[1; 20])), 16),
        (record(Kind::FragmentFirst, 0, &first(100, &[1; 20])), 32),
    ];
    for (bytes, cut) in whole {
        let forge = forge();
        forge.publish(&bytes[..cut]);
        assert_eq!(receive(&mut forge.victim(SETTINGS)), Err(Breach::Record), "{cut}");
    }
}

/// [D42] [D45]
#[test]
fn fragments_that_do_not_add_up_are_refused() {
    let begin = || record(Kind::FragmentFirst, 1, &first(8, b"abc"));
    let next = |bytes: &[u8]| record(Kind::FragmentNext, 1, bytes);
    let bad: [&[Vec<u8>]; 12] = [
        &[next(b"out of nowhere")],
        &[record(Kind::Abandon, 0, b"")],
        &[begin(), begin()],
        &[begin(), next(b"too long")],
        &[begin(), next(b"")],
        &[begin(), record(Kind::FragmentNext, 2, b"other")],
        &[begin(), record(Kind::Inline, 1, b"between")],
        &[begin(), record(Kind::Inline, 1, b"")],
        &[begin(), record(Kind::Chunk, 1, &descriptor(0, 1, 1))],
        &[record(Kind::FragmentFirst, 1, &first(8, b""))],
        &[record(Kind::FragmentFirst, 1, &first(0, b""))],
        &[record(Kind::FragmentFirst, 1, &first(2, b"abc"))],
    ];
    for records in bad {
        assert_eq!(judge(records), Err(Breach::Fragment), "{records:?}");
    }
}

/// [D42 D45] A message that is announced too large is refused before memory is set aside for it.
#[test]
fn fragments_of_a_message_beyond_the_limit_are_refused() {
    for total in [SETTINGS.message_bytes_max as u64 + 1, u64::MAX] {
        let records = [record(Kind::FragmentFirst, 1, &first(total, b"abc"))];
        assert_eq!(judge(&records), Err(Breach::Fragment));
    }
}

/// [D42] [D45]
#[test]
fn a_tail_that_cannot_be_is_refused() {
    for tail in [1, 7, 65_536 + 8, 1 << 40, u64::MAX, u64::MAX - 7] {
        let forge = forge();
        forge.set(TX_TAIL, tail);
        let mut channel = forge.victim(SETTINGS);
        assert!(channel.is_readable(), "there is a breach to report");
        assert!(!channel.park(busbar_shm::Wants::DATA), "also before sleeping");
        assert_eq!(receive(&mut channel), Err(Breach::Position), "{tail}");
    }
    let forge = forge();
    forge.publish(&record(Kind::Inline, 0, b"12345678"));
    let mut channel = forge.victim(SETTINGS);
    assert_eq!(receive(&mut channel), Ok(1));
    forge.set(TX_TAIL, 8);
    assert_eq!(receive(&mut channel), Err(Breach::Position), "backwards");
}

/// [D42] [D45]
#[test]
fn a_head_that_cannot_be_is_refused() {
    let refused =
        |result: Result<bool, Error>| matches!(result, Err(Error::Breach(Breach::Position)));
    for head in [65_537, 1 << 40, u64::MAX] {
        let forge = forge();
        let mut channel = forge.victim(SETTINGS);
        while channel.send(0, &[0; 1000]).unwrap() {}
        forge.set(RX_HEAD, head);
        assert!(channel.is_writable(), "there is a breach to report");
        assert!(!channel.park(busbar_shm::Wants::SPACE), "also before sleeping");
        assert!(refused(channel.send(0, &[0; 1000])), "{head}");
    }
    let forge = forge();
    let mut channel = forge.victim(SETTINGS);
    while channel.send(0, &[0; 1000]).unwrap() {}
    forge.set(RX_HEAD, 2016);
    while channel.send(0, &[0; 1000]).unwrap() {}
    forge.set(RX_HEAD, 1008);
    assert!(refused(channel.send(0, &[0; 1000])), "backwards");
}

/// [D42 D45] A head between records harms nobody: the writer keeps to its own alignment.
#[test]
fn a_misaligned_head_only_wastes_space() {
    let forge = forge();
    let mut channel = forge.victim(SETTINGS);
    while channel.send(0, &[0; 1000]).unwrap() {}
    forge.set(RX_HEAD, 1008 + 3);
    assert!(channel.send(0, &[0; 1000]).unwrap());
    assert!(!channel.send(0, &[0; 1000]).unwrap());
}

/// [D43] [D45]
#[test]
fn returns_of_chunks_that_were_not_lent_are_refused() {
    for (index, generation) in [(0_u64, 1_u64), (0, 2), (1, 1), (64, 1), (u64::from(u32::MAX), 1)] {
        let forge = forge();
        let mut channel = forge.victim(SETTINGS);
        let entry = |n: usize| forge.releases() + 8 * n;
        assert!(channel.send(0, &[1; 5000]).unwrap());
        let lent = 1 << 32; // generation 1 of block 0
        forge.set(entry(0), lent);
        forge.set(RELEASE_TAIL, 1);
        assert_eq!(channel.collect(), Ok(()), "the only chunk that is out");
        forge.set(entry(1), index | generation << 32);
        forge.set(RELEASE_TAIL, 2);
        assert_eq!(channel.collect(), Err(Breach::Release), "{index} {generation}");
    }
}

/// [D43 D45] A chunk that is on loan to the writer itself is not the peer's to return.
#[test]
fn returns_of_unsent_loans_are_refused() {
    let forge = forge();
    let mut channel = forge.victim(SETTINGS);
    let _loan = channel.loan(5000).unwrap().unwrap();
    forge.set(forge.releases(), 1 << 32);
    forge.set(RELEASE_TAIL, 1);
    assert!(matches!(channel.loan(1), Err(Error::Breach(Breach::Release))));
}

/// [D43] [D45]
#[test]
fn positions_of_the_release_ring_are_checked() {
    for tail in [65, 1 << 40, u64::MAX] {
        let forge = forge();
        let mut channel = forge.victim(SETTINGS);
        forge.set(RELEASE_TAIL, tail);
        assert_eq!(channel.collect(), Err(Breach::Position), "{tail}");
    }
    // The other direction: returns of ours that the peer claims to have taken.
    let forge = forge();
    let mut channel = forge.victim(Settings { hostile: true, ..SETTINGS });
    let chunks = record(Kind::Chunk, 0, &descriptor(0, 1, 8)).repeat(65);
    forge.publish(&chunks);
    forge.set(RELEASE_HEAD, 1);
    assert_eq!(receive(&mut channel), Err(Breach::Position));
}

/// [D43 D45] A peer that lends more chunks than there is room to return has broken the rules.
#[test]
fn more_chunks_than_may_be_out_are_refused() {
    let forge = forge();
    let chunks = record(Kind::Chunk, 0, &descriptor(0, 1, 8)).repeat(65);
    forge.publish(&chunks);
    let hostile = Settings { hostile: true, ..SETTINGS };
    assert_eq!(receive(&mut forge.victim(hostile)), Err(Breach::Release));
    assert_eq!(receive(&mut forge.victim(SETTINGS)), Err(Breach::Release), "as leases");
}

/// [D42] Messages in front of a breach have been delivered.
#[test]
fn what_came_before_a_breach_is_delivered() {
    for bad in [vec![9; 8], record(Kind::Inline, 0, &[0; INLINE_MAX + 1])] {
        let forge = forge();
        forge.publish(&[record(Kind::Inline, 0, b"good"), bad].concat());
        let mut channel = forge.victim(SETTINGS);
        let mut count = 0;
        let mut receive = || channel.receive(&mut [0; 4096], 9, |_, _| count += 1);
        assert_eq!(receive(), Err(Breach::Record));
        assert_eq!(receive(), Err(Breach::Record));
        assert_eq!(count, 1, "once");
    }
}

/// [D45] Every breach says what the peer did.
#[test]
fn breaches_describe_themselves() {
    let all = [
        Breach::Chunk,
        Breach::Fragment,
        Breach::Memory,
        Breach::Position,
        Breach::Record,
        Breach::Release,
    ];
    for breach in all {
        let text = Error::from(breach).to_string();
        assert!(text.starts_with("the peer ") && text.contains(breach.as_str()), "{text}");
    }
    let (left, _right) = pair(geometry(0), SETTINGS);
    assert_eq!(left.counters(), busbar_shm::Counters::default());
}
