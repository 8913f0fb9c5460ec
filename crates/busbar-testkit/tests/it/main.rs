//! Sessions on a network that fails on purpose.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "seeds and sums are for people")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use busbar_proto::session::{Acknowledge, SessionOptions};
use busbar_testkit::sim::{Fault, Plan, Report, Strike, Wire, run};
use busbar_testkit::{Random, seeds};

/// Runs `check` with each seed, and says which one it failed with.
fn for_each_seed(count: u64, mut check: impl FnMut(Random)) {
    for seed in seeds(count) {
        let outcome = catch_unwind(AssertUnwindSafe(|| check(Random::new(seed))));
        if let Err(panic) = outcome {
            eprintln!("failed with seed {seed}: BUSBAR_SIM_SEED={seed} runs it again");
            resume_unwind(panic);
        }
    }
}

/// A plan without faults.
fn plain() -> Plan {
    Plan {
        wire: Wire::Stream,
        messages: 6,
        large: 0,
        strikes: [].into(),
        options: [SessionOptions::default(); 2],
        impatience: 0,
        redial_micros: 20_000,
        ttl: None,
    }
}

fn with_strike(fault: Fault, by: usize, after: u64) -> Plan {
    Plan { strikes: [Some(Strike { fault, by, after })].into(), ..plain() }
}

/// [D30] [D32] [D34] every accepted message is delivered exactly once, whatever the network does:
/// cuts and silence at any byte, delays, pieces, repeated and overtaking frames, repeated attempts
#[test]
fn every_message_arrives_once_under_random_faults() {
    let (mut connections, mut delivered, mut failed, mut expired) = (0, 0, 0, 0);
    for_each_seed(300, |mut random| {
        let report = run(Plan::random(&mut random), &mut random);
        assert_eq!(report.lost, [None, None], "the sessions live long enough");
        connections += report.connections;
        delivered += report.delivered.iter().sum::<usize>();
        failed += report.failed.iter().sum::<usize>();
        expired += report.expired.iter().sum::<usize>();
    });
    println!(
        "{connections} connections, {delivered} delivered, {failed} given up, {expired} stale"
    );
    if seeds(300).count() >= 300 {
        assert!(failed > 0 && delivered > 20 * failed, "the plans cover both");
        assert!(expired > 0, "and what is stale");
    }
}

/// [D32] a cut, or silence, at every byte of the first connection, in either direction
#[test]
fn every_byte_boundary_of_a_connection() {
    let clean = run(plain(), &mut Random::new(7));
    assert_eq!((clean.connections, clean.delivered), (1, [6, 6]));
    for by in [0, 1] {
        for after in 0..=clean.first_bytes[by] {
            for fault in [Fault::Cut, Fault::Swallow] {
                let report = run(with_strike(fault, by, after), &mut Random::new(7));
                assert_eq!(report.delivered, [6, 6], "{fault:?} by {by} after {after}");
                assert_eq!(report.failed, [0, 0]);
            }
        }
    }
}

/// [D20] [D30] a run is a function of its seed, and a new connection is a new epoch
#[test]
fn runs_are_repeatable() {
    for_each_seed(10, |random| {
        let run_once = || -> Report {
            let mut random = random.clone();
            run(Plan::random(&mut random), &mut random)
        };
        assert_eq!(run_once(), run_once());
    });
}

/// [D32] a message that breaks every connection is given up after as many attempts as allowed, its
/// sender is told, and the others arrive
#[test]
fn attempts_are_bounded() {
    for_each_seed(30, |mut random| {
        // The HELLO of the dialer gets through, and some of the first message.
        let strike = Some(Strike { fault: Fault::Cut, by: 0, after: 180 });
        let mut plan = Plan { strikes: [strike; 12].into(), messages: 20, ..plain() };
        plan.options[0].attempts_max = 2;
        let report = run(plan, &mut random);
        assert!(report.failed[0] > 0, "{report:?}");
        assert_eq!(report.accepted[0], report.delivered[0] + report.failed[0]);
        assert_eq!((report.delivered[1], report.failed[1]), (20, 0));
    });
}

/// [D30] a session without a connection is over after its time, at both ends, and each says of how
/// many messages it does not know what became of them
#[test]
fn sessions_expire() {
    for_each_seed(30, |mut random| {
        let mut plan = with_strike(Fault::Cut, 0, 500 + random.within(0..500));
        plan.messages = 30;
        plan.options[1].timeout = Duration::from_millis(50);
        plan.options[0].acknowledge = Acknowledge::Received;
        // The dialer comes back only when everything is over.
        plan.redial_micros = 1;
        plan.strikes.extend([Some(Strike { fault: Fault::Swallow, by: 0, after: 0 }); 40]);
        let report = run(plan, &mut random);
        assert!(report.lost.iter().all(Option::is_some), "{report:?}");
    });
}
