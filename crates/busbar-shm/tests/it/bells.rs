//! When the peer is rung: only while it sleeps, and once.

use busbar_shm::Wants;

use crate::pair::{SETTINGS, geometry, pair, receive_all};

/// [D44] No bell while the reader is awake, one when it sleeps, none more until it sleeps again.
#[test]
fn a_sleeping_reader_is_rung_once() {
    let (mut left, mut right) = pair(geometry(0), SETTINGS);
    let mut send = || {
        assert!(left.send(0, b"message").unwrap());
        left.take_ring()
    };
    assert!(!send(), "awake");
    assert!(!right.park(Wants::DATA), "there is something to read");
    assert!(!send(), "awake again");
    assert_eq!(receive_all(&mut right).len(), 2);
    for _ in 0..5 {
        assert!(right.park(Wants::DATA));
        assert!(send());
        assert!((0..10).all(|_| !send()), "rung already");
        right.unpark();
        assert!(!send(), "awake");
        assert_eq!(receive_all(&mut right).len(), 12);
    }
    assert_eq!((left.counters().bells, right.counters().parks), (5, 6));
}

/// [D44]
#[test]
fn a_sleeping_writer_is_rung_once() {
    let (mut left, mut right) = pair(geometry(0), SETTINGS);
    let mut buffer = vec![0; 9072];
    let mut receive = || {
        right.receive(&mut buffer, 9, |_, _| {}).unwrap();
        right.take_ring()
    };
    assert!(!left.park(Wants::SPACE), "there is space");
    for _ in 0..5 {
        while left.send(0, &[5; 1000]).unwrap() {}
        assert!(left.park(Wants::SPACE));
        assert!(receive());
        assert!((0..10).all(|_| !receive()), "rung already");
        left.unpark();
    }
}

/// [D44] Space is given back by eighths of the ring: the writer is not woken for each message, and
/// finds room for several.
#[test]
fn a_sleeping_writer_is_rung_for_an_eighth_of_the_ring() {
    let (mut left, mut right) = pair(geometry(0), SETTINGS);
    while left.send(0, &[5; 1016]).unwrap() {}
    assert!(left.park(Wants::SPACE));
    for count in 1..=8 {
        assert_eq!(right.receive(&mut [0; 2048], 1, |_, _| {}), Ok(1024));
        assert_eq!(right.take_ring(), count == 8, "{count}");
    }
    left.unpark();
    assert_eq!((0..99).filter(|_| left.send(0, &[5; 1016]).unwrap()).count(), 8);
}

/// [D44] A bell is for what the sleeper wants.
#[test]
fn a_writer_that_waits_for_space_is_not_rung_for_data() {
    let (mut left, mut right) = pair(geometry(0), SETTINGS);
    while left.send(0, &[5; 1000]).unwrap() {}
    assert!(left.park(Wants::SPACE));
    assert!(right.send(0, b"not what it waits for").unwrap());
    assert!(!right.take_ring());
    left.unpark();
    assert!(!left.park(Wants::SPACE.or(Wants::DATA)), "there is data");
}

/// [D43 D44] A lease that is dropped rings the writer that waits for it, through `collect`.
#[test]
fn a_dropped_lease_wakes_both_ends() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use busbar_shm::{Channel, PeerSegment};

    use crate::pair::segment;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let geometry = geometry(65_536);
    let ((left, left_fd), (right, right_fd)) = (segment(geometry), segment(geometry));
    let open = |fd| PeerSegment::open(&fd, geometry).unwrap();
    let woken = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut left = Channel::new(left, open(right_fd), SETTINGS, Waker::noop());
    let mut right = Channel::new(right, open(left_fd), SETTINGS, &waker);
    assert!(left.send(0, &[1; 5000]).unwrap());
    let mut held = None;
    right.receive(&mut [0; 2048], 1, |_, received| held = Some(received)).unwrap();
    while left.send(0, &[5; 1000]).unwrap() {}
    assert!(left.park(Wants::SPACE));
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    drop(held);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    right.collect().unwrap();
    assert!(right.take_ring());
}
