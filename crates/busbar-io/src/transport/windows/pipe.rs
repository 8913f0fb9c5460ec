//! `pipe://`: processes of one machine over a named pipe of Windows.
//!
//! A listener's thread keeps some instances of the pipe to which nobody is connected yet. Whoever
//! opens the name gets one of them, and another takes its place. The first instance claims the
//! name. Other machines are turned away by the system, and so are other users unless
//! [`Access::Anyone`] says otherwise; a dialer makes sure that its own user has made the pipe, as
//! any program may make one of a name that is free.

use std::fs::OpenOptions;
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use busbar_proto::{Code, Error};
use mio::windows::NamedPipe;
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_FILE_NOT_FOUND, ERROR_INVALID_NAME, ERROR_PIPE_BUSY,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_APPEND_DATA, FILE_FLAG_OVERLAPPED, FILE_GENERIC_READ, FILE_GENERIC_WRITE,
    SECURITY_IDENTIFICATION,
};

use crate::connection::{Acceptor, Identity, Incoming};
use crate::endpoint::Endpoint;
use crate::options::{Access, ListenOptions, PipeOptions};
use crate::os::os_error;
use crate::reactor::{Reactor, Token};

use super::START_IT;
use super::pipe_system::{self, Descriptor, Event, Instance, Woken};
use super::stream::{Answering, Dialing, Socket};

/// Instances that wait at most: so many may dial within the moment that making another takes.
const INSTANCES_MAX: usize = 16;

/// Between attempts to make one, when that has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// What a dialer may do: read and write. To append is to make further instances of the pipe.
const DIALER_RIGHTS: u32 = (FILE_GENERIC_READ | FILE_GENERIC_WRITE) & !FILE_APPEND_DATA;

/// Makes the pipe `name`. `waker` is woken when somebody has come.
///
/// # Errors
/// `AddrInUse`, `NotSupported` for a list of users, `InvalidAddress`, `OutOfMemory`, `Io`.
pub(super) fn listen(
    name: &str,
    options: &ListenOptions,
    waker: &Waker,
) -> Result<Box<dyn Acceptor>, Error> {
    let access = descriptor(&options.pipe.access)?;
    let first = Instance::new(&path(name), &access, true);
    let first = first.map_err(|error| bind_error(name, error))?;
    let failed = |error| os_error("waiting for dialers of a named pipe", error);
    let stop = Arc::new(Event::new().map_err(failed)?);
    let (come, came) = sync_channel(options.backlog.max(1));
    let doorkeeper = Doorkeeper {
        path: path(name),
        access,
        waiting: vec![first],
        instances: options.backlog.clamp(1, INSTANCES_MAX),
        come,
        stop: Arc::clone(&stop),
        waker: waker.clone(),
    };
    let thread = thread::Builder::new().name("busbar-pipe".into()).spawn(|| doorkeeper.run());
    let (name, options) = (name.to_owned(), options.clone());
    let thread = Some(thread.map_err(failed)?);
    Ok(Box::new(PipeListener { name, options, came: Some(came), stop, thread }))
}

/// Connects to `name`.
///
/// # Errors
/// `NotFound` if nobody listens, `ConnectionRefused` if too many dial at once, `PermissionDenied`,
/// `NotSupported` for a list of users.
pub(super) fn dial(
    name: &str,
    options: &PipeOptions,
    identity: Identity,
) -> Result<Incoming, Error> {
    check_access(&options.access)?;
    let opened = OpenOptions::new()
        .access_mode(DIALER_RIGHTS)
        .custom_flags(FILE_FLAG_OVERLAPPED)
        // The listener may ask who this is, but not act in its name.
        .security_qos_flags(SECURITY_IDENTIFICATION)
        .open(path(name));
    let pipe = opened.map_err(|error| dial_error(name, error))?;
    if options.access != Access::Anyone {
        check_owner(name, &pipe)?;
    }
    let socket = Socket::pipe(pipe_system::adopt(OwnedHandle::from(pipe)));
    let dialing = Dialing::over(socket, options.clone(), identity)?;
    Ok(Incoming::Handshake(Box::new(dialing)))
}

struct PipeListener {
    name: String,
    options: ListenOptions,
    /// Those that have come. Taken first when all ends.
    came: Option<Receiver<io::Result<NamedPipe>>>,
    stop: Arc<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor for PipeListener {
    fn register(&mut self, _: &Reactor, _: Token) -> Result<(), Error> {
        Ok(())
    }

    fn deregister(&mut self, _: &Reactor) {}

    fn accept(&mut self, _: &Waker) -> Result<Option<Incoming>, Error> {
        let Some(Ok(came)) = self.came.as_ref().map(Receiver::try_recv) else { return Ok(None) };
        let pipe = came.map_err(|error| os_error("accepting a connection", error))?;
        let answering = Answering::new(Socket::pipe(pipe), None, &self.options, |_, _| Ok(()))?;
        Ok(Some(Incoming::Handshake(Box::new(answering))))
    }

    fn address(&self) -> String {
        Endpoint::Pipe(self.name.clone()).to_string()
    }
}

impl Drop for PipeListener {
    fn drop(&mut self) {
        // A thread that has no room for what came waits for that.
        self.came = None;
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has no more to say than its message.
            let _ = thread.join();
        }
    }
}

/// What waits for dialers: a thread, since a pipe that one engine has waited for could not be
/// another's.
struct Doorkeeper {
    path: String,
    access: Descriptor,
    waiting: Vec<Instance>,
    /// So many are to wait.
    instances: usize,
    come: SyncSender<io::Result<NamedPipe>>,
    stop: Arc<Event>,
    waker: Waker,
}

impl Doorkeeper {
    fn run(mut self) {
        // The first instance waits alone.
        let mut patience = Some(Duration::ZERO);
        loop {
            let came = match pipe_system::wait(&self.stop, &self.waiting, patience) {
                Woken::Stopped => return,
                Woken::Came(index) => Some(self.waiting.swap_remove(index).connected()),
                Woken::InVain => None,
            };
            // Memory or handles may be short: nothing says when that is over.
            let refilled = self.refill();
            patience = refilled.as_ref().err().map(|_| PAUSE);
            let failure = refilled.err().filter(|_| self.waiting.is_empty()).map(Err);
            for news in came.into_iter().chain(failure) {
                if self.come.send(news).is_err() {
                    return;
                }
                self.waker.wake_by_ref();
            }
        }
    }

    /// Has as many instances wait as are to.
    fn refill(&mut self) -> io::Result<()> {
        while self.waiting.len() < self.instances {
            self.waiting.push(Instance::new(&self.path, &self.access, false)?);
        }
        Ok(())
    }
}

fn path(name: &str) -> String {
    format!(r"\\.\pipe\{name}")
}

/// Who may connect, as the system is told.
fn descriptor(access: &Access) -> Result<Descriptor, Error> {
    check_access(access)?;
    let failed = |error| os_error("saying who may connect to a named pipe", error);
    let user = pipe_system::own_user().map_err(failed)?;
    let anyone = match access {
        Access::Anyone => format!("(A;;{DIALER_RIGHTS:#x};;;WD)"),
        _ => String::new(),
    };
    // The owner, all rights for the owner, and nothing that is inherited.
    Descriptor::parse(&format!("O:{user}D:P(A;;GA;;;{user}){anyone}")).map_err(failed)
}

fn check_access(access: &Access) -> Result<(), Error> {
    if !matches!(access, Access::Listed(_)) {
        return Ok(());
    }
    let message =
        "Windows has no numbers for users: `access` at pipe:// is 'same-user' or 'anyone'";
    Err(Error::new(Code::NotSupported, message))
}

/// Whether the user that this process runs as has made the pipe.
fn check_owner(name: &str, pipe: &impl AsRawHandle) -> Result<(), Error> {
    let failed = |error| os_error("asking who has made a named pipe", error);
    let (own, owner) = (pipe_system::own_user(), pipe_system::owner(pipe));
    if own.map_err(failed)? == owner.map_err(failed)? {
        return Ok(());
    }
    let message = format!(
        "pipe://{name} belongs to another user; only processes of this one are allowed unless \
         `access` says otherwise"
    );
    Err(Error::new(Code::PermissionDenied, message))
}

fn bind_error(name: &str, error: io::Error) -> Error {
    let (code, message) = match raw(&error) {
        // Of the first instance: there is another, whoever has it.
        ERROR_ACCESS_DENIED | ERROR_PIPE_BUSY => {
            let message = "already has a listener, or pipes that one which is closed has accepted";
            (Code::AddrInUse, format!("pipe://{name} {message}"))
        }
        ERROR_INVALID_NAME => (Code::InvalidAddress, format!("no pipe can be called {name:?}")),
        _ => return os_error(&format!("binding pipe://{name}"), error),
    };
    Error::new(code, message).with_source(error)
}

fn dial_error(name: &str, error: io::Error) -> Error {
    let (code, message) = match raw(&error) {
        ERROR_FILE_NOT_FOUND => {
            (Code::NotFound, format!("nobody listens at pipe://{name}; {START_IT}"))
        }
        ERROR_PIPE_BUSY => (
            Code::ConnectionRefused,
            format!("too many connections wait at pipe://{name}; dial again later"),
        ),
        ERROR_ACCESS_DENIED => {
            (Code::PermissionDenied, format!("pipe://{name} belongs to another user"))
        }
        ERROR_INVALID_NAME => (Code::InvalidAddress, format!("no pipe can be called {name:?}")),
        _ => return os_error(&format!("connecting to pipe://{name}"), error),
    };
    Error::new(code, message).with_source(error)
}

fn raw(error: &io::Error) -> u32 {
    error.raw_os_error().map_or(0, i32::cast_unsigned)
}
