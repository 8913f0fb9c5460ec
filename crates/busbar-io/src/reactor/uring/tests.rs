//! What nobody can be made to do from outside.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::net::sockopt;

use super::*;

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Far more than a small socket takes at once.
const BYTES: usize = 1 << 20;

/// [D48] who submits until there is nothing more to do, and then waits for the descriptor, sends
/// everything, in whatever parts the socket takes it
#[test]
fn what_a_socket_takes_in_parts_is_sent() {
    for single_thread in [false, true] {
        if check(single_thread).is_err() {
            return;
        }
        let uring = Uring::new(single_thread).unwrap();
        let (here, mut there) = UnixStream::pair().unwrap();
        sockopt::set_socket_send_buffer_size(&here, 1 << 16).unwrap();
        there.set_nonblocking(true).unwrap();
        let port = uring.adopt(here.as_fd(), Token(0)).unwrap();
        let mut edges = Vec::new();
        uring.wait(Some(Duration::ZERO), &mut edges);
        port.write_queue(&mut vec![7; BYTES], 0).unwrap();
        let (mut received, mut part) = (0, vec![0; 1 << 16]);
        while received < BYTES {
            while uring.submit() {
                uring.wait(Some(Duration::ZERO), &mut edges);
            }
            while let Ok(len) = there.read(&mut part) {
                received += len;
            }
            if received < BYTES {
                assert!(is_readable(&uring), "{received} bytes were sent, and nothing follows");
                uring.wait(Some(Duration::ZERO), &mut edges);
            }
        }
        drop(port);
    }
}

/// Whether the ring's descriptor tells whoever waits for it to look.
fn is_readable(uring: &Uring) -> bool {
    let mut set = mio::Poll::new().unwrap();
    let mut fd = mio::unix::SourceFd(&uring.as_raw_fd());
    set.registry().register(&mut fd, mio::Token(0), mio::Interest::READABLE).unwrap();
    let mut told = mio::Events::with_capacity(1);
    // io_uring interrupts the thread when one of its operations has come to an end.
    while set.poll(&mut told, Some(PATIENCE)).is_err() {}
    !told.is_empty()
}
