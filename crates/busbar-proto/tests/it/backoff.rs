//! Delays between attempts, from seeds.

use std::time::Duration;

use busbar_proto::{Backoff, Code, Retries};
use proptest::prelude::*;

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn policy(change: impl FnOnce(&mut Backoff)) -> Backoff {
    let mut policy = Backoff::default();
    change(&mut policy);
    policy
}

/// [D13] 100 ms, doubling, at most 30 s
#[test]
fn delays_double_up_to_their_maximum() {
    let plain = policy(|it| it.jitter = 0.0);
    let delays: Vec<_> = (0..11).map(|n| plain.delay(n, u64::MAX).as_millis()).collect();
    let expected = [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000];
    assert_eq!(delays, expected);
    assert_eq!(plain.delay(u32::MAX, 7), Duration::from_secs(30));
}

/// [D13] jitter is from nothing to half of the delay, and evenly spread
#[test]
fn jitter_lies_within_half_the_delay() {
    let policy = Backoff::default();
    assert_eq!((policy.delay(3, 0), policy.delay(3, u64::MAX)), (millis(800), millis(1200)));
    let mut seed = 42_u64;
    let mut eighths = [0; 8];
    for _ in 0..8000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let extra = policy.delay(0, seed) - millis(100);
        eighths[(extra.as_micros() * 8 / 50_001) as usize] += 1;
    }
    assert!(eighths.iter().all(|&count| (800..1200).contains(&count)), "{eighths:?}");
}

/// [D13 D19] a row of attempts ends where it should, and begins anew after a real connection
#[test]
fn attempts_are_bounded_and_begin_anew() {
    let mut retries = Retries::new(policy(|it| (it.jitter, it.attempts_max) = (0.0, 3)));
    let row = |retries: &mut Retries| -> Vec<_> {
        std::iter::from_fn(|| retries.next(0)).map(|delay| delay.as_millis()).collect()
    };
    assert_eq!(row(&mut retries), [100, 200, 400]);
    assert_eq!(retries.next(0), None, "and stays ended");
    retries.lost(millis(399));
    assert_eq!(retries.next(0), None, "gone at once: another failure");
    retries.lost(millis(400));
    assert_eq!(row(&mut retries), [100, 200, 400]);
    let mut endless = Retries::new(policy(|it| it.max = millis(100)));
    assert!((0..10_000).all(|_| endless.next(1).is_some()));
}

/// [D13] values that make no sense are refused
#[test]
fn senseless_policies_are_refused() {
    let check = |change: &dyn Fn(&mut Backoff)| {
        let error = policy(change).validate().expect_err("refused");
        assert_eq!(error.code(), Code::InvalidArgument);
    };
    Backoff::default().validate().expect("the standard");
    check(&|it| it.initial = Duration::ZERO);
    check(&|it| it.initial = millis(30_001));
    check(&|it| it.max = Duration::from_secs(86_401));
    check(&|it| it.factor = 0.5);
    check(&|it| it.factor = f64::NAN);
    check(&|it| it.jitter = 1.5);
    check(&|it| it.jitter = -0.1);
}

proptest! {
    /// [D13] no delay is ever outside its bounds
    #[test]
    fn delays_are_within_bounds(
        initial in 1u64..100_000,
        more in 0u64..1_000_000,
        factor in 1.0f64..100.0,
        jitter in 0.0f64..=1.0,
        n in any::<u32>(),
        entropy in any::<u64>(),
    ) {
        let policy = policy(|it| {
            (it.initial, it.max) = (millis(initial), millis(initial + more));
            (it.factor, it.jitter) = (factor, jitter);
        });
        policy.validate().expect("valid");
        let delay = policy.delay(n, entropy);
        prop_assert!(delay >= policy.initial);
        prop_assert!(delay <= policy.max.mul_f64(1.0 + jitter) + Duration::from_micros(1));
    }
}
