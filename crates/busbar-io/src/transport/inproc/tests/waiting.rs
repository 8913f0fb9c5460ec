//! Waiting without a runtime, in tokio, and in an event loop of our own.

use std::task::{Context, Poll};
use std::thread;
use std::time::Instant;

use super::*;

/// Serves one connection of `name` with replies until the client goes.
async fn serve(name: &str) {
    let mut listener = bind_inproc(name, capacity(4)).unwrap();
    let mut server = listener.accept().await.unwrap();
    loop {
        match server.recv().await {
            Ok(request) => server.send(number(as_number(&request) + 1)).await.unwrap(),
            Err(error) => return assert_eq!(error.code(), Code::Closed),
        }
    }
}

/// Asks `name` a few thousand times, with more requests under way than the queue holds.
async fn ask(name: &str) {
    let mut client = loop {
        match connect_inproc(name, capacity(4)) {
            Ok(client) => break client,
            Err(error) => assert_eq!(error.code(), Code::NotFound),
        }
        thread::yield_now();
    };
    for round in 0..1000 {
        for n in 0..8 {
            client.send(number(round * 8 + n)).await.unwrap();
        }
        for n in 0..8 {
            assert_eq!(as_number(&client.recv().await.unwrap()), round * 8 + n + 1);
        }
    }
}

/// [I03] [I11] plain threads, with no runtime anywhere
#[test]
fn std_threads() {
    let server = thread::spawn(|| {
        let mut listener = bind_inproc("flavour-std", capacity(4)).unwrap();
        let mut server = listener.accept_blocking(PATIENCE).unwrap();
        while let Ok(request) = server.recv_blocking(PATIENCE) {
            server.send_blocking(number(as_number(&request) + 1), PATIENCE).unwrap();
        }
    });
    let mut client = loop {
        match connect_inproc("flavour-std", capacity(4)) {
            Ok(client) => break client,
            Err(error) => assert_eq!(error.code(), Code::NotFound),
        }
        thread::yield_now();
    };
    for n in 0..5000 {
        client.send_blocking(number(n), PATIENCE).unwrap();
        assert_eq!(as_number(&client.recv_blocking(PATIENCE).unwrap()), n + 1);
    }
    drop(client);
    server.join().unwrap();
}

/// [I03] tokio, one runtime on each side
#[test]
fn tokio_runtimes() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let server = thread::spawn(move || runtime().block_on(serve("flavour-tokio")));
    runtime().block_on(async {
        tokio::time::timeout(PATIENCE.unwrap(), ask("flavour-tokio")).await.expect("in time");
    });
    server.join().unwrap();
}

/// [I03] both ends as tasks of one tokio thread
#[test]
fn tokio_tasks_of_one_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let both = async { tokio::join!(biased; serve("flavour-tasks"), ask("flavour-tasks")) };
        tokio::time::timeout(PATIENCE.unwrap(), both).await.expect("in time");
    });
}

/// [I03] an event loop that sleeps in the kernel, woken through an eventfd
#[cfg(target_os = "linux")]
#[test]
fn event_loop() {
    let server = thread::spawn(|| event_loop::run(serve("flavour-loop")));
    event_loop::run(ask("flavour-loop"));
    server.join().unwrap();
}

/// [I03] the flavours mix: a tokio server, an event-loop client
#[cfg(target_os = "linux")]
#[test]
fn flavours_mix() {
    let server = thread::spawn(|| {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(serve("flavour-mixed"));
    });
    event_loop::run(ask("flavour-mixed"));
    server.join().unwrap();
}

/// The smallest event loop: one future, one descriptor.
#[cfg(target_os = "linux")]
mod event_loop {
    use std::future::Future;
    use std::pin::pin;

    use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
    use rustix::fd::OwnedFd;

    use super::*;

    struct Bell(OwnedFd);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            rustix::io::write(&self.0, &1_u64.to_le_bytes()).expect("room in the eventfd");
        }
    }

    pub(super) fn run(future: impl Future<Output = ()>) {
        let bell = Arc::new(Bell(eventfd(0, EventfdFlags::NONBLOCK).expect("an eventfd")));
        let waker = Waker::from(Arc::clone(&bell));
        let mut future = pin!(future);
        let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
        while future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            let mut wait = [PollFd::new(&bell.0, PollFlags::IN)];
            assert_eq!(poll(&mut wait, Some(&patience)).expect("poll"), 1, "nobody woke the loop");
            rustix::io::read(&bell.0, &mut [0; 8]).expect("a counter");
        }
    }
}

/// [I03] a waiter is woken by a message, by room, by a connection and by every kind of close, and
/// by each of them once
#[test]
fn each_event_wakes_once() {
    let (bells, waker) = Bells::new();
    let mut context = Context::from_waker(&waker);
    let (mut a, mut b) = connected(capacity(1));

    assert!(b.poll_recv(&mut context).is_pending());
    a.try_send(number(1)).unwrap();
    assert_eq!(bells.count(), 1);
    let mut second = number(2);
    assert!(a.poll_send(&mut context, &mut second).is_pending());
    assert!(matches!(b.poll_recv(&mut context), Poll::Ready(Ok(_))));
    assert_eq!(bells.count(), 2);
    assert!(a.poll_send(&mut context, &mut second).is_ready());
    assert!(second.is_empty());

    assert!(a.poll_recv(&mut context).is_pending());
    assert!(a.poll_send(&mut context, &mut number(3)).is_pending());
    b.close(CloseReason::default());
    assert_eq!(bells.count(), 4, "the reader and the writer of the other end");
    assert!(a.poll_recv(&mut context).is_ready());
    assert!(a.poll_send(&mut context, &mut number(3)).is_ready());

    let mut listener = bind_inproc("woken", capacity(1)).unwrap();
    assert!(listener.poll_accept(&mut context).is_pending());
    let _client = connect_inproc("woken", capacity(1)).unwrap();
    assert_eq!(bells.count(), 5);
    assert!(listener.poll_accept(&mut context).is_ready());
    assert!(listener.poll_accept(&mut context).is_pending());
    unbind_inproc("woken").unwrap();
    assert_eq!(bells.count(), 6);
    assert!(matches!(listener.poll_accept(&mut context), Poll::Ready(Err(_))));
}

/// [I03] nobody is woken while nobody sleeps
#[test]
fn awake_ends_are_not_woken() {
    let (mut a, mut b) = connected(capacity(4));
    for n in 0..10_000 {
        a.try_send(number(n)).unwrap();
        b.try_recv().unwrap().expect("a message");
    }
    assert_eq!((a.stats().wakes, b.stats().wakes), (0, 0));
    assert_eq!((a.stats().parks, b.stats().parks), (0, 0));
}

/// [D08] timeouts: nothing is lost by one, and a timeout of zero only looks
#[test]
fn blocking_calls_time_out() {
    let timeout = Duration::from_millis(20);
    let soon = Some(timeout);
    let (mut a, mut b) = connected(capacity(1));
    let start = Instant::now();
    assert_eq!(b.recv_blocking(soon).unwrap_err().code(), Code::TimedOut);
    assert!(start.elapsed() >= timeout);
    assert_eq!(b.recv_blocking(Some(Duration::ZERO)).unwrap_err().code(), Code::TimedOut);
    a.send_blocking(number(1), Some(Duration::ZERO)).unwrap();
    assert_eq!(a.send_blocking(number(2), soon).unwrap_err().code(), Code::TimedOut);
    assert_eq!(as_number(&b.recv_blocking(Some(Duration::MAX)).unwrap()), 1);
    assert_eq!(b.try_recv().unwrap(), None);
    assert_eq!(a.stats().wakes + b.stats().wakes, 0, "whoever gave up is not woken");

    let mut listener = bind_inproc("late", capacity(1)).unwrap();
    assert_eq!(listener.accept_blocking(soon).unwrap_err().code(), Code::TimedOut);
}

/// [D08] closing wakes a thread that waits
#[test]
fn close_wakes_blocked_threads() {
    let (mut a, mut b) = connected(capacity(1));
    let reader = thread::spawn(move || a.recv_blocking(PATIENCE).unwrap_err().code());
    thread::sleep(Duration::from_millis(20));
    b.close(reason("enough"));
    assert_eq!(reader.join().unwrap(), Code::Closed);
}
