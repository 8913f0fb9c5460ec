//! Sessions on a network that fails on purpose.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "seeds and sums are for people")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use busbar_proto::session::{Acknowledge, SessionOptions};
use busbar_testkit::sim::{Farewell, Fault, Plan, Report, Strike, Wire, run};
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
        farewell: Farewell::None,
        loss: 0,
        lossy_every: None,
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
        // A run ends where all of an end's messages have arrived, and it waits for nothing.
        let is_told = |end: usize| {
            report.lost[end].is_some() || report.delivered[end] == report.accepted[end]
        };
        assert!(report.lost[0].is_some() && is_told(1), "{report:?}");
    });
}

/// Less than a session is kept without a connection, and more than silence takes to be found out.
const SOON: Duration = Duration::from_secs(20);

/// [D30] a cut, or silence, at every byte of a connection that is closed, by one end or by both at
/// once: both learn of the end, and soon
#[test]
fn an_orderly_end_gets_through_whatever_is_cut() {
    for who in [[true, false], [false, true], [true, true]] {
        let plan = || Plan { messages: 2, farewell: Farewell::Orderly(who), ..plain() };
        let clean = run(plan(), &mut Random::new(7));
        assert_eq!((clean.connections, clean.delivered), (1, [2, 2]));
        for by in [0, 1] {
            for after in 0..=clean.first_bytes[by] {
                for fault in [Fault::Cut, Fault::Swallow] {
                    let strikes = [Some(Strike { fault, by, after })].into();
                    let report = run(Plan { strikes, ..plan() }, &mut Random::new(7));
                    let what = format!("{fault:?} by {by} after {after}, closed by {who:?}");
                    assert_eq!((report.delivered, report.lost), ([2, 2], [None; 2]), "{what}");
                    assert!(report.took < SOON, "{what}: {:?}", report.took);
                }
            }
        }
    }
}

/// [D30] [D31] ends that receive no more, at whatever time and perhaps at once, wait for nothing
/// that does not come, and know of all that the other has acknowledged
#[test]
fn ends_that_leave_do_not_wait_for_each_other() {
    let mut ended = 0;
    for_each_seed(300, |mut random| {
        let mut plan = Plan::random(&mut random);
        plan.wire = Wire::Stream;
        let at = [0, 1].map(|_| random.within(0..150_000));
        let who = random.within(0..3);
        let times = [0, 1].map(|end| (who != end as u64).then_some(at[end]));
        // Who does not leave is done with what it gets, or nobody would be.
        plan.farewell = Farewell::Abrupt(times);
        let report = run(plan, &mut random);
        assert_eq!(report.lost, [None, None]);
        ended += 1;
    });
    assert!(ended > 0);
}

/// [D04] one in ten pieces is lost, and a connection with each. Nothing reliable is lost; what is
/// sent without the session, over the same connections, takes no longer with reliable messages that
/// wait for their windows, and for connections, beside it than without
#[test]
fn lossy_latency_does_not_suffer_from_reliable_messages() {
    let (mut alone, mut beside, mut reliable) = (Vec::new(), Vec::new(), Vec::new());
    let mut connections = 0;
    for_each_seed(40, |mut random| {
        let lossy_every = Some(Duration::from_millis(5));
        let mut plan = Plan { loss: 10, messages: 150, large: 10, lossy_every, ..plain() };
        for options in &mut plan.options {
            (options.window_messages, options.attempts_max) = (4, u32::MAX);
        }
        let report = run(plan, &mut random);
        assert_eq!((report.delivered, report.failed), ([150, 150], [0, 0]));
        assert_eq!(report.lost, [None, None]);
        connections += report.connections;
        beside.extend(report.lossy_latencies);
        reliable.extend(report.latencies);
        // The same network with nothing reliable on it but the end of the run.
        let mut plan = Plan { loss: 10, messages: 0, lossy_every, ..plain() };
        plan.farewell = Farewell::Abrupt([Some(1_000_000); 2]);
        alone.extend(run(plan, &mut random).lossy_latencies);
    });
    if seeds(40).count() < 40 {
        return;
    }
    let [alone, beside, reliable] = [alone, beside, reliable].map(|mut all| {
        all.sort_unstable();
        assert!(all.len() > 1000, "{}", all.len());
        all[all.len() * 99 / 100]
    });
    println!("p99: lossy alone {alone:?}, beside reliable {beside:?}, reliable {reliable:?}");
    assert!(connections > 1000);
    // What may lie ahead of it is what an end has encoded for the wire, a message or two.
    assert!(beside < alone + Duration::from_millis(5), "{beside:?} instead of {alone:?}");
    assert!(reliable > 5 * beside, "{reliable:?}: reliable messages do wait");
}
