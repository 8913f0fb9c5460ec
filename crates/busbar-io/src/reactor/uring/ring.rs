//! The ring itself: everything that has to do with memory the kernel may use at any time.
//!
//! This is the only place of the crate with unsafe code, and there is one obligation: **what an
//! operation was given stays where it is, and nobody else writes to it (or, if the kernel writes,
//! touches it), until its last completion has been taken from the queue.** That is kept so:
//!
//! | memory | who has it |
//! |---|---|
//! | bytes to send | the ring, in `ops`, from [`Ring::send`] to the completion, which gives it back |
//! | the shared buffers | the kernel; of one that a completion names, the [`Filled`] that came with it, until [`Ring::give_back`] |
//! | the list of free buffers | the ring writes entries and the tail, the kernel reads |
//!
//! Closing and cancelling change nothing about that: a cancelled operation completes, too. A ring
//! that is dropped cancels everything and waits for what is left; should the kernel not answer, the
//! memory is leaked rather than freed.
//!
//! Descriptors are a matter of sense, not of memory: the kernel looks an operation's up when the
//! operation is submitted, so whoever closes one calls [`Ring::enter`] first.

#![expect(unsafe_code, reason = "memory is shared with the kernel")]

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use io_uring::types::{BufRingEntry, CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::{SendFlags, SocketFlags};

use crate::slots::{Handle, Slots};

/// Entries that are submitted at once; more wait here.
const SUBMISSIONS: u32 = 256;

/// Completions that the kernel keeps without having to allocate.
const COMPLETIONS: u32 = 4096;

/// Buffers to receive into, for all connections together.
pub(super) const BUFFERS: u16 = 64;

/// Bytes of each.
pub(super) const BUFFER_BYTES: usize = 16 * 1024;

/// The only group of buffers.
const GROUP: u16 = 0;

/// Of operations whose completion says nothing, such as cancelling another.
const NOBODY: u64 = u64::MAX;

/// Events as the ring takes and gives them. How wide they are differs between ways to the kernel.
pub(super) fn mask(events: PollFlags) -> u32 {
    u32::try_from(i64::from(events.bits())).expect("invariant: flags are not negative")
}

/// How long a dropped ring waits for the kernel to let go.
const PATIENCE: Duration = Duration::from_secs(1);

/// An operation that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpId(Handle);

/// Bytes that were received, in one of the shared buffers. If it is dropped, the buffer is used no
/// more.
#[derive(Debug)]
pub(super) struct Filled {
    id: u16,
    len: usize,
}

impl Filled {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// What became of an operation, for now or for good.
#[derive(Debug)]
pub(super) struct Done<T> {
    pub(super) tag: T,
    /// What the system call would have returned.
    pub(super) result: io::Result<u32>,
    /// Whether nothing more will come of it.
    pub(super) is_over: bool,
    /// What was to be sent, and from where on.
    pub(super) sent: Option<(Vec<u8>, usize)>,
    pub(super) received: Option<Filled>,
    pub(super) accepted: Option<OwnedFd>,
}

/// See the [module](self). `T` is what its user calls an operation.
pub(super) struct Ring<T: Copy> {
    io: ManuallyDrop<IoUring>,
    buffers: ManuallyDrop<Buffers>,
    ops: Slots<Op<T>>,
    /// What there was no room for in the submission queue.
    backlog: VecDeque<squeue::Entry>,
    /// Calls of the kernel.
    pub(super) enters: u64,
}

struct Op<T> {
    tag: T,
    sends: Option<(Vec<u8>, usize)>,
    accepts: bool,
}

impl<T: Copy> Ring<T> {
    /// A ring; if `single_thread`, only the thread that makes it may call [`Ring::enter`].
    ///
    /// # Errors
    /// What the kernel says: `ENOSYS`, `EPERM`, `ENOMEM`, or that it is too old.
    pub(super) fn new(single_thread: bool) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_clamp().setup_cqsize(COMPLETIONS).dontfork();
        if single_thread {
            // Completions are worked out when this thread is in the kernel anyway, instead of
            // interrupting it. Not DEFER_TASKRUN: what is deferred wakes nobody who polls the ring.
            builder.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag();
        }
        let io = builder.build(SUBMISSIONS)?;
        if !io.params().is_feature_nodrop() || !io.params().is_feature_ext_arg() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut buffers = Buffers::map()?;
        let at = buffers.base.as_ptr() as u64;
        // SAFETY: the list of free buffers, which begins at `at`, is mapped until it is
        // unregistered, or the ring is gone, in `drop`.
        unsafe { io.submitter().register_buf_ring_with_flags(at, BUFFERS, GROUP, 0) }?;
        for id in 0..BUFFERS {
            buffers.offer(id);
        }
        Ok(Self {
            io: ManuallyDrop::new(io),
            buffers: ManuallyDrop::new(buffers),
            ops: Slots::new(),
            backlog: VecDeque::new(),
            enters: 0,
        })
    }

    /// Tells of each change of a descriptor's readiness (`POLLIN` and so on): always, or once.
    pub(super) fn watch(&mut self, fd: RawFd, events: u32, always: bool, tag: T) -> Option<OpId> {
        let entry = opcode::PollAdd::new(Fd(fd), events).multi(always).build();
        self.begin(entry, Op { tag, sends: None, accepts: false })
    }

    /// Receives from a socket that waits (one without `O_NONBLOCK`), again and again, into the
    /// shared buffers.
    pub(super) fn receive(&mut self, fd: RawFd, tag: T) -> Option<OpId> {
        let entry = opcode::RecvMulti::new(Fd(fd), GROUP).build();
        self.begin(entry, Op { tag, sends: None, accepts: false })
    }

    /// Accepts connections, again and again.
    pub(super) fn accept(&mut self, fd: RawFd, tag: T) -> Option<OpId> {
        let entry = opcode::AcceptMulti::new(Fd(fd)).flags(accept_flags()).build();
        self.begin(entry, Op { tag, sends: None, accepts: true })
    }

    /// Sends `bytes` from `from` on to a socket that waits.
    ///
    /// # Panics
    /// If `from` is not within `bytes`.
    pub(super) fn send(&mut self, fd: RawFd, bytes: Vec<u8>, from: usize, tag: T) -> Option<OpId> {
        let rest = &bytes[from..];
        let len = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let flags = SendFlags::NOSIGNAL.bits().cast_signed();
        let entry = opcode::Send::new(Fd(fd), rest.as_ptr(), len).flags(flags).build();
        // Moving the vector does not move its bytes.
        self.begin(entry, Op { tag, sends: Some((bytes, from)), accepts: false })
    }

    /// What an operation is to send, and from where on: the kernel reads it, too.
    pub(super) fn sends(&self, op: OpId) -> Option<(&[u8], usize)> {
        let (bytes, from) = self.ops.get(op.0)?.sends.as_ref()?;
        Some((bytes, *from))
    }

    /// Ends an operation, which completes all the same.
    pub(super) fn cancel(&mut self, op: OpId) {
        let entry = opcode::AsyncCancel::new(u64::from(op.0.0)).build().user_data(NOBODY);
        self.push(entry);
    }

    /// Whether [`Ring::enter`] has something to do, apart from waiting.
    pub(super) fn wants_enter(&mut self) -> bool {
        let submissions = self.io.submission();
        !submissions.is_empty() || submissions.taskrun() || submissions.cq_overflow()
    }

    /// Submits what was begun, and waits up to `timeout` (`None`: for ever) for a completion.
    ///
    /// # Errors
    /// Those that repeating it does not cure, such as that this is another thread's ring.
    pub(super) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.refill();
        let wait = timeout.unwrap_or(Duration::MAX).min(Duration::from_secs(1 << 30));
        let until = Timespec::from(wait);
        let args = SubmitArgs::new();
        let args = if timeout.is_some() { args.timespec(&until) } else { args };
        let want = u32::from(timeout.is_none_or(|timeout| !timeout.is_zero()));
        let count = u32::try_from(self.io.submission().len()).unwrap_or(u32::MAX);
        let flags = (EnterFlags::GETEVENTS | EnterFlags::EXT_ARG).bits();
        self.enters += 1;
        // SAFETY: what the entries of the queue refer to is kept, as the module says; `args` is
        // what EXT_ARG asks for, and outlives the call.
        let entered = unsafe { self.io.submitter().enter(count, want, flags, Some(&args)) };
        let Err(error) = entered else { return Ok(()) };
        match error.kind() {
            // Nothing came in time; a signal came; completions have to be taken first.
            io::ErrorKind::TimedOut
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ResourceBusy
            | io::ErrorKind::WouldBlock => Ok(()),
            _ if error.raw_os_error() == Some(Errno::TIME.raw_os_error()) => Ok(()),
            _ => Err(error),
        }
    }

    /// The next completion that is there.
    pub(super) fn next(&mut self) -> Option<Done<T>> {
        loop {
            let completion = self.io.completion().next()?;
            if completion.user_data() != NOBODY {
                return Some(self.done(&completion));
            }
        }
    }

    /// What was received.
    pub(super) fn bytes(&self, filled: &Filled) -> &[u8] {
        self.buffers.filled(filled)
    }

    /// Lets the kernel use a buffer again.
    pub(super) fn give_back(&mut self, filled: Filled) {
        self.buffers.offer(filled.id);
    }

    fn begin(&mut self, entry: squeue::Entry, op: Op<T>) -> Option<OpId> {
        let id = self.ops.insert_with(|_| Ok::<_, ()>(op))?.ok()?;
        self.push(entry.user_data(u64::from(id.0)));
        Some(OpId(id))
    }

    fn push(&mut self, entry: squeue::Entry) {
        self.backlog.push_back(entry);
        self.refill();
        if self.io.submission().is_full() {
            // What is not submitted now, because completions have to be taken first, is later.
            let _ = self.enter(Some(Duration::ZERO));
        }
    }

    fn refill(&mut self) {
        let mut submissions = self.io.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: what an operation refers to is in `ops` until it completes, see the module.
            if unsafe { submissions.push(entry) }.is_err() {
                break;
            }
            self.backlog.pop_front();
        }
    }

    fn done(&mut self, completion: &cqueue::Entry) -> Done<T> {
        let (result, flags) = (completion.result(), completion.flags());
        let handle = Handle(u32::try_from(completion.user_data()).unwrap_or(u32::MAX));
        let is_over = !cqueue::more(flags);
        let op = self.ops.get_mut(handle).expect("invariant: an operation that is over is quiet");
        let tag = op.tag;
        let accepted = (op.accepts && result >= 0).then(|| {
            // SAFETY: the kernel has just made this descriptor, for us alone.
            unsafe { OwnedFd::from_raw_fd(result) }
        });
        let sent = if is_over { self.ops.remove(handle).and_then(|op| op.sends) } else { None };
        let len = usize::try_from(result).unwrap_or(0);
        let received = cqueue::buffer_select(flags).map(|id| Filled { id, len });
        let result = u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
        Done { tag, result, is_over, sent, received, accepted }
    }

    /// Cancels everything and waits; whether the kernel has let go of all memory.
    fn drain(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        // Nothing has been begun that was not submitted.
        while !self.backlog.is_empty() && Instant::now() < deadline {
            if self.enter(Some(Duration::ZERO)).is_err() {
                return false;
            }
            while self.next().is_some() {}
        }
        while self.ops.values().next().is_some() && Instant::now() < deadline {
            let everything = CancelBuilder::any().all();
            self.push(opcode::AsyncCancel2::new(everything).build().user_data(NOBODY));
            if self.enter(Some(Duration::from_millis(10))).is_err() {
                return false;
            }
            while self.next().is_some() {}
        }
        self.ops.values().next().is_none()
    }
}

/// Accepted sockets are not inherited, and wait.
fn accept_flags() -> i32 {
    SocketFlags::CLOEXEC.bits().cast_signed()
}

impl<T: Copy> AsFd for Ring<T> {
    /// Readable when there is a completion, or something to work out.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open for as long as the ring is.
        unsafe { BorrowedFd::borrow_raw(self.io.as_raw_fd()) }
    }
}

impl<T: Copy> Drop for Ring<T> {
    fn drop(&mut self) {
        let is_drained = self.drain();
        if is_drained {
            let _ = self.io.submitter().unregister_buf_ring(GROUP);
        }
        // SAFETY: nobody uses it after this.
        unsafe { ManuallyDrop::drop(&mut self.io) };
        if is_drained {
            // SAFETY: nobody uses it after this: no operation is left that could.
            unsafe { ManuallyDrop::drop(&mut self.buffers) };
            return;
        }
        // The kernel may still use it.
        for handle in self.ops.handles() {
            std::mem::forget(self.ops.remove(handle).and_then(|op| op.sends));
        }
    }
}

/// The list of free buffers, one page, and the buffers behind it. No memory before it is used.
struct Buffers {
    base: NonNull<u8>,
    page: usize,
    /// Buffers that were offered, ever; the kernel's view of it is in the list.
    tail: u16,
}

// SAFETY: the memory is this value's own; no thread is tied to it.
unsafe impl Send for Buffers {}

impl Buffers {
    fn map() -> io::Result<Self> {
        let page = rustix::param::page_size();
        let len = Self::len(page);
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: new memory, somewhere; nothing is replaced.
        let base = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, access, flags) }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, page, tail: 0 })
    }

    fn len(page: usize) -> usize {
        page + usize::from(BUFFERS) * BUFFER_BYTES
    }

    /// Where a buffer begins.
    fn at(&self, id: u16) -> *mut u8 {
        assert!(id < BUFFERS, "there is no such buffer");
        // SAFETY: within the mapping, as `id` is one of its buffers'.
        unsafe { self.base.as_ptr().add(self.page + usize::from(id) * BUFFER_BYTES) }
    }

    fn filled(&self, filled: &Filled) -> &[u8] {
        // SAFETY: the kernel is done with the buffer: it has named it in the completion that
        // `filled` comes from, and it is not offered again while that exists.
        unsafe { std::slice::from_raw_parts(self.at(filled.id), filled.len.min(BUFFER_BYTES)) }
    }

    /// Lets the kernel fill a buffer, which nobody else may touch from now on.
    fn offer(&mut self, id: u16) {
        let address = self.at(id) as u64;
        let entries = self.base.as_ptr().cast::<BufRingEntry>();
        let index = usize::from(self.tail % BUFFERS);
        // SAFETY: within the list, which has as many entries as there are buffers.
        let entry = unsafe { entries.add(index) };
        // SAFETY: the kernel reads only entries before the tail that it has not used yet, and there
        // are never more buffers on offer than the list has entries.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(u32::try_from(BUFFER_BYTES).expect("invariant: far below 4 GiB"));
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the list begins at `entries`, and lies in zeroed memory.
        let tail = unsafe { BufRingEntry::tail(entries) };
        // SAFETY: a number of two bytes, aligned, in memory that we may write; the kernel only
        // reads it, and we only write it here.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // SYNC POINT: buffers. The kernel acquires what the entry says.
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped; nothing refers to it, as whoever drops this has seen to.
        let unmapped =
            unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), Self::len(self.page)) };
        debug_assert!(unmapped.is_ok());
    }
}
