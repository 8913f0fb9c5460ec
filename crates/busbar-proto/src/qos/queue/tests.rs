//! Shares and order between channels, and the queue against a naive model.

use std::num::NonZeroUsize;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn options(priority: u8, weight: u16) -> ChannelOptions {
    let weight = NonZeroU16::new(weight).unwrap();
    ChannelOptions { priority, weight, ..ChannelOptions::default() }
}

fn marked(messages: usize, backpressure: Backpressure) -> ChannelOptions {
    let marks = HighWaterMarks { messages: NonZeroUsize::new(messages), bytes: None };
    ChannelOptions { marks, backpressure, ..ChannelOptions::default() }
}

/// Takes `count` messages while each of `channels` always has one of its size waiting; returns how
/// many of each went out.
fn saturate(
    queue: &mut Queue<u16>,
    channels: &[(u16, usize)],
    count: usize,
) -> HashMap<u16, usize> {
    let now = Duration::ZERO;
    for &(channel, size) in channels {
        queue.offer(channel, size, Terms::default(), now, || channel);
        queue.offer(channel, size, Terms::default(), now, || channel);
    }
    let mut taken = HashMap::new();
    for _ in 0..count {
        let channel = queue.take().unwrap();
        *taken.entry(channel).or_default() += 1;
        let size = channels.iter().find(|it| it.0 == channel).unwrap().1;
        queue.offer(channel, size, Terms::default(), now, || channel);
    }
    taken
}

/// [D27] weights 1 to 3 give a quarter and three quarters, whatever the size of the messages
#[test]
fn weights_are_shares() {
    for size in [0, 1, 100, 10_000, 1 << 20] {
        let mut queue = Queue::new(options(0, 1), [(1, options(0, 3))]);
        let taken = saturate(&mut queue, &[(0, size), (1, size)], 10_000);
        assert!(taken[&0].abs_diff(2500) <= 2, "{} of 10,000 with weight 1", taken[&0]);
    }
}

/// [D27] shares are of bytes: a channel of large messages does not get more than one of small ones
#[test]
fn shares_are_of_bytes() {
    let mut queue = Queue::new(options(0, 1), [(1, options(0, 1))]);
    let taken = saturate(&mut queue, &[(0, 936), (1, 9936)], 11_000);
    assert!(taken[&0].abs_diff(10_000) <= 11, "{} small for {} large", taken[&0], taken[&1]);
}

/// [D27] a higher priority goes first, always; those below share what is left
#[test]
fn priorities_are_strict() {
    let channels = [(1, options(7, 1)), (2, options(0, 3))];
    let mut queue = Queue::new(options(0, 1), channels);
    let taken = saturate(&mut queue, &[(0, 10), (1, 10), (2, 10)], 100);
    assert_eq!(taken.get(&1), Some(&100));
    while queue.peek(Duration::ZERO).is_some_and(|next| *next.message == 1) {
        queue.take();
    }
    let taken = saturate(&mut queue, &[(0, 10), (2, 10)], 1000);
    assert!(taken[&0].abs_diff(250) <= 2);
}

/// [D27] nobody starves, and nobody saves up: a channel that was silent gets its share and no more
#[test]
fn silence_is_not_saved_up() {
    let mut queue = Queue::new(options(0, 1), [(1, options(0, 1)), (2, options(0, 100))]);
    saturate(&mut queue, &[(1, 100), (2, 100)], 100_000);
    let taken = saturate(&mut queue, &[(0, 100), (1, 100), (2, 100)], 1020);
    assert!(taken[&0].abs_diff(10) <= 2 && taken[&1].abs_diff(10) <= 3, "{taken:?}");
}

/// [D27] [D04] a full channel does not keep another from anything
#[test]
fn a_full_channel_does_not_hold_up_another() {
    let full = marked(1, Backpressure::Block);
    let mut queue = Queue::new(full, [(1, full), (2, marked(1, Backpressure::DropOld))]);
    let mut offer =
        |channel, n| queue.offer(channel, 1, Terms::default(), Duration::ZERO, || (channel, n));
    assert_eq!(offer(0, 0), Admission::Queued);
    assert_eq!(offer(0, 1), Admission::Refused);
    assert_eq!(offer(5, 1), Admission::Refused, "shares the lane of channel 0");
    assert_eq!(offer(1, 0), Admission::Queued);
    for n in 0..100 {
        assert_eq!(offer(2, n), Admission::Queued);
    }
    let taken: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
    assert_eq!(taken, [(0, 0), (1, 0), (2, 99)]);
    assert_eq!(queue.drops(), Drops { old: 99, ..Drops::default() });
    assert!(queue.is_writable());
}

/// [D04] a lane that is held lets all others pass, in their order, and loses nothing
#[test]
fn a_held_lane_lets_others_pass() {
    let mut queue = Queue::new(options(0, 1), [(1, options(7, 1))]);
    queue.separate(2);
    queue.separate(2);
    assert_eq!(queue.options(2), options(0, 1));
    for n in 0..2 {
        for channel in [0, 1, 2] {
            queue.offer(channel, 1, Terms::default(), Duration::ZERO, || (channel, n));
        }
    }
    queue.hold();
    assert!(queue.has_held());
    assert_eq!(queue.take(), Some((0, 0)), "the lane of the higher priority is held");
    queue.hold();
    assert_eq!([queue.take(), queue.take()], [Some((0, 1)), None], "channel 2 is held, too");
    queue.offer_control((9, 9));
    queue.hold();
    assert_eq!(queue.take(), Some((9, 9)), "what goes before all others is never held");
    assert_eq!(queue.len(), 4);
    queue.release();
    assert!(!queue.has_held());
    let taken: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
    assert_eq!(taken, [(1, 0), (1, 1), (2, 0), (2, 1)]);
}

/// [D27] [T18] what must come first does, and is never dropped
#[test]
fn control_messages_go_first() {
    let mut queue = Queue::new(marked(1, Backpressure::DropNew), [(1, options(255, 1))]);
    queue.offer(1, 0, Terms::default(), Duration::ZERO, || 1);
    queue.offer(0, 0, Terms::default(), Duration::ZERO, || 2);
    queue.offer_control(3);
    queue.offer_control(4);
    assert_eq!(queue.len(), 2);
    let taken: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
    assert_eq!(taken, [3, 4, 1, 2]);
}

#[derive(Clone, Debug)]
enum Step {
    Offer { channel: u16, size: usize, ttl: Option<u64>, policy: Option<Backpressure> },
    Take,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let policy = || {
        prop::option::of(prop_oneof![
            Just(Backpressure::Block),
            Just(Backpressure::DropNew),
            Just(Backpressure::DropOld),
            Just(Backpressure::FailFast),
        ])
    };
    prop_oneof![
        5 => (0..3_u16, 0..50_usize, prop::option::of(0..30_u64), policy())
            .prop_map(|(channel, size, ttl, policy)| Step::Offer { channel, size, ttl, policy }),
        3 => Just(Step::Take),
        1 => (0..20_u64).prop_map(Step::Pass),
    ]
}

/// One channel of the naive model: everything is looked at every time.
#[derive(Default)]
struct Model {
    waiting: Vec<(usize, usize, Option<u64>)>,
    drops: Drops,
}

impl Model {
    fn expire(&mut self, now: u64) {
        let before = self.waiting.len();
        self.waiting.retain(|it| it.2.is_none_or(|at| at > now));
        self.drops.expired += (before - self.waiting.len()) as u64;
    }

    fn admits(&self, size: usize) -> bool {
        let bytes: usize = self.waiting.iter().map(|it| it.1).sum();
        self.waiting.is_empty() || (self.waiting.len() < 4 && bytes + size <= 100)
    }

    fn offer(&mut self, id: usize, size: usize, expires: Option<u64>, policy: Backpressure) {
        while policy == Backpressure::DropOld && !self.admits(size) {
            self.waiting.remove(0);
            self.drops.old += 1;
        }
        if self.admits(size) {
            self.waiting.push((id, size, expires));
        } else if policy == Backpressure::DropNew {
            self.drops.new += 1;
        }
    }
}

proptest! {
    /// [D24] [D25] [D26] [D27] every message is taken once, dropped once and counted, or refused
    #[test]
    fn agrees_with_a_naive_model(steps in vec(step(), 0..200)) {
        let (messages, bytes) = (NonZeroUsize::new(4), NonZeroUsize::new(100));
        let marks = HighWaterMarks { messages, bytes };
        let own = |priority, backpressure| ChannelOptions {
            marks, priority, backpressure, ..ChannelOptions::default()
        };
        let policies = [Backpressure::Block, Backpressure::DropOld, Backpressure::DropNew];
        let mut queue = Queue::new(
            own(0, policies[0]),
            [(1, own(1, policies[1])), (2, own(2, policies[2]))],
        );
        let mut models = [Model::default(), Model::default(), Model::default()];
        let mut now = 0;
        for (id, step) in steps.into_iter().enumerate() {
            let at = Duration::from_millis(now);
            match step {
                Step::Pass(ms) => now += ms,
                Step::Take => {
                    models.iter_mut().for_each(|model| model.expire(now));
                    let model = models.iter_mut().rev().find(|model| !model.waiting.is_empty());
                    let expected = model.map(|model| model.waiting.remove(0).0);
                    prop_assert_eq!(queue.peek(at).map(|next| *next.message), expected);
                    prop_assert_eq!(queue.take(), expected);
                }
                Step::Offer { channel, size, ttl, policy } => {
                    let model = &mut models[usize::from(channel)];
                    let expires = ttl.map(|ttl| now + ttl);
                    if ttl == Some(0) {
                        model.drops.expired += 1;
                    } else {
                        if !model.admits(size) {
                            model.expire(now);
                        }
                        let policy = policy.unwrap_or(policies[usize::from(channel)]);
                        model.offer(id, size, expires, policy);
                    }
                    let expires = expires.map(Duration::from_millis);
                    let terms = Terms { backpressure: policy, expires };
                    queue.offer(channel, size, terms, at, || id);
                }
            }
            let waiting: usize = models.iter().map(|model| model.waiting.len()).sum();
            prop_assert_eq!(queue.len(), waiting);
            let drops = models.iter().fold(Drops::default(), |sum, model| Drops {
                new: sum.new + model.drops.new,
                old: sum.old + model.drops.old,
                expired: sum.expired + model.drops.expired,
            });
            prop_assert_eq!(queue.drops(), drops);
        }
    }
}
