//! Starting a host: an executable, given one socket and what goes through it, and nothing else.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use busbar_abi as abi;
use busbar_shm::{Geometry, PeerSegment, Segment};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::line::{Line, bell};
use super::output::Printed;
use super::wire::{self, Answer, BUILD, Bound, Go, Launch};
use super::{Output, ProcessOptions};
use crate::image::inspect;
use crate::source::Source;
use crate::trust::FileHash;
use crate::{Error, ErrorKind, Result, Stage, deadline};

/// What of this process's environment a host has, if nothing is said.
const ENVIRONMENT: [&str; 3] = ["LD_LIBRARY_PATH", "LANG", "TZ"];
/// What a library cannot change any more.
const SEALS: SealFlags =
    SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::WRITE).union(SealFlags::SEAL);
/// How long a host that has closed its socket may take to be gone.
const END: Duration = Duration::from_millis(500);

/// How hosts of one library are started, the first one and all that follow.
#[derive(Clone)]
pub(super) struct Recipe {
    options: ProcessOptions,
    config: String,
    source: std::path::PathBuf,
    /// The verified bytes, which nobody can change.
    library: Arc<OwnedFd>,
    /// Of these bytes.
    pub(super) hash: FileHash,
    has_parent: bool,
}

/// A host that runs.
pub(super) struct Child {
    process: Process,
    pub(super) pidfd: Arc<OwnedFd>,
    /// Rung by the host, and by this process for itself.
    pub(super) bell: Arc<OwnedFd>,
    /// The host ends when this is closed.
    control: UnixStream,
    pub(super) printed: Vec<Printed>,
    is_gone: bool,
}

/// A host that was told what for: it loads the library, and then waits until it is to make an
/// instance. No code of the plugin runs but what libraries do when they are loaded.
pub(super) struct Launched {
    child: Child,
    segment: Segment,
    their_bell: OwnedFd,
}

impl Recipe {
    /// # Errors
    /// As those of loading: `Damaged`, `Target`, `Symbol`, `Io`.
    pub(super) fn new(
        source: &Source,
        config: &str,
        has_parent: bool,
        options: &ProcessOptions,
    ) -> Result<Self> {
        inspect(&source.bytes, &[abi::ENTRY])?;
        let library = seal(&source.bytes).map_err(|errno| os("copying the library", errno))?;
        let (options, config) = (options.clone(), config.to_owned());
        let (library, hash) = (Arc::new(library), source.hash);
        Ok(Self { options, config, source: source.path.clone(), library, hash, has_parent })
    }

    /// What types of the plugin `id` are from.
    pub(super) fn origin(&self, id: &str) -> String {
        format!("{id} ({})", self.source.display())
    }

    /// A host, for a start now or later. This does not wait for it.
    ///
    /// # Errors
    /// `Host`, `Io`, `OutOfMemory`.
    pub(super) fn launch(&self) -> Result<Launched> {
        let (control, theirs) = UnixStream::pair().map_err(io_error)?;
        // A configuration may be longer than what a socket holds.
        control.set_write_timeout(Some(self.options.start_timeout)).map_err(io_error)?;
        let bell = Arc::new(bell().map_err(|errno| os("making a bell", errno))?);
        let mut process = self.spawn(theirs)?;
        let pidfd = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        let pidfd = pidfd.ok_or(Errno::SRCH);
        let pidfd = pidfd.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()));
        let pidfd = match pidfd {
            Ok(pidfd) => Arc::new(pidfd),
            Err(errno) => {
                let _ = process.kill();
                let _ = process.wait();
                return Err(os("watching the process", errno));
            }
        };
        let printed = Printed::of(&mut process);
        // From here on, whatever fails ends the process.
        let mut child = Child { process, pidfd, bell, control, printed, is_gone: false };
        match self.tell(&child) {
            Ok((segment, their_bell)) => Ok(Launched { child, segment, their_bell }),
            Err(failure) => Err(child.judge(failure, self.options.start_timeout)),
        }
    }

    /// Starts a host, or has one that was launched go on, and whether its instance has state.
    /// `born` is told of its process at once, `bound` what the library says of itself, before any
    /// instance is made.
    ///
    /// # Errors
    /// What the host says; `Crashed`, `TimedOut`, `Host`, `Io`.
    pub(super) fn start(
        &self,
        launched: Option<Launched>,
        generation: u32,
        born: impl FnOnce(u32, &Arc<OwnedFd>),
        bound: impl FnOnce(Bound) -> Result<()>,
    ) -> Result<(Child, Line, bool)> {
        let deadline = deadline::after(self.options.start_timeout);
        let launched = match launched.filter(|it| !it.child.has_ended()) {
            Some(launched) => launched,
            None => self.launch()?,
        };
        let Launched { mut child, segment, their_bell } = launched;
        born(child.process.id(), &child.pidfd);
        match self.greet(&child, generation, deadline, bound) {
            Ok((peer, has_state)) => Ok((child, Line::new(segment, peer, their_bell), has_state)),
            Err(failure) => Err(child.judge(failure, self.options.start_timeout)),
        }
    }

    fn spawn(&self, control: UnixStream) -> Result<Process> {
        let ProcessOptions { host, env, output, .. } = &self.options;
        let stdio = || match output {
            Output::Inherit => Stdio::inherit(),
            Output::Ignore => Stdio::null(),
            Output::Log => Stdio::piped(),
        };
        let inherited = || {
            let present = |name| Some((OsString::from(name), std::env::var_os(name)?));
            ENVIRONMENT.into_iter().filter_map(present).collect()
        };
        let mut command = Command::new(host);
        command
            .env_clear()
            .envs(env.clone().unwrap_or_else(inherited))
            .stdin(OwnedFd::from(control))
            .stdout(stdio())
            .stderr(stdio())
            // What interrupts this process at a terminal is not for the plugin.
            .process_group(0);
        command.spawn().map_err(|error| {
            let message = format!("{} cannot be run: {error}", host.display());
            Error::new(ErrorKind::Host, Stage::Ready, message).with_source(error)
        })
    }

    fn geometry(&self) -> Geometry {
        wire::geometry(self.options.ring_bytes, self.options.slab_bytes)
    }

    /// The first word: what it is for. What this end has of the memory that both share.
    fn tell(&self, child: &Child) -> Result<(Segment, OwnedFd), Failure> {
        let ProcessOptions { threads, spin, sandbox, ring_bytes, slab_bytes, .. } = &self.options;
        let launch = Launch {
            build: BUILD.to_owned(),
            path: self.source.clone(),
            config: self.config.clone(),
            threads: threads.get(),
            spin_nanos: u64::try_from(spin.as_nanos()).unwrap_or(u64::MAX),
            log_level: log::max_level() as usize,
            sandbox: sandbox.clone(),
            has_parent: self.has_parent,
            ring_bytes: *ring_bytes,
            slab_bytes: *slab_bytes,
        };
        let (segment, segment_fd) = Segment::create(self.geometry()).map_err(memory)?;
        let their_bell = bell().map_err(|errno| Failure::Own(os("making a bell", errno)))?;
        let fds =
            [self.library.as_fd(), segment_fd.as_fd(), child.bell.as_fd(), their_bell.as_fd()];
        wire::send(&child.control, &launch, &fds)?;
        Ok((segment, their_bell))
    }

    /// From what it says of the library to an active plugin; and whether that has state.
    fn greet(
        &self,
        child: &Child,
        generation: u32,
        deadline: Instant,
        bound: impl FnOnce(Bound) -> Result<()>,
    ) -> Result<(PeerSegment, bool), Failure> {
        let control = &child.control;
        let (answer, fds) = wire::receive::<Answer>(control, Some(deadline))?;
        let said = match answer {
            Answer::Bound(said) => said,
            Answer::Failed(error) => return Err(Failure::Own(error.into())),
            Answer::Ready { .. } => {
                return Err(Failure::Told("it is ready before it is asked to be"));
            }
        };
        let [fd] = <[OwnedFd; 1]>::try_from(fds).map_err(|_| Failure::Told("it has no segment"))?;
        let peer = PeerSegment::open(&fd, self.geometry()).map_err(memory)?;
        bound(said).map_err(Failure::Own)?;
        wire::send(control, &Go { generation }, &[])?;
        match wire::receive::<Answer>(control, Some(deadline))?.0 {
            Answer::Ready { has_state } => Ok((peer, has_state)),
            Answer::Failed(error) => Err(Failure::Own(error.into())),
            Answer::Bound(_) => Err(Failure::Told("it is bound twice")),
        }
    }
}

fn memory(error: busbar_shm::Error) -> Failure {
    Failure::Own(Error::new(ErrorKind::OutOfMemory, Stage::Ready, error.to_string()))
}

/// Why a host did not start.
enum Failure {
    /// Somebody knows why.
    Own(Error),
    /// It said something strange.
    Told(&'static str),
    /// It said nothing.
    Silent(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Silent(error)
    }
}

impl Child {
    /// Whether it has ended. It is waited for later: until then its number is its own.
    fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&*self.pidfd, PollFlags::IN)];
        let at_once = Some(&Timespec { tv_sec: 0, tv_nsec: 0 });
        // One that cannot be asked will not answer, either.
        rustix::event::poll(&mut fds, at_once).is_ok() && !fds[0].revents().is_empty()
    }

    /// Waits until it is gone; how it ended.
    pub(super) fn wait(&mut self) -> String {
        self.end_group();
        self.is_gone = true;
        match self.process.wait() {
            Ok(status) => describe(status),
            // A program that ignores SIGCHLD does not get to know.
            Err(error) => format!("ended: {error}"),
        }
    }

    fn judge(&mut self, failure: Failure, patience: Duration) -> Error {
        match failure {
            Failure::Own(error) => error,
            Failure::Told(what) => {
                let message = format!("its process broke the rules: {what}");
                Error::new(ErrorKind::Host, Stage::Ready, message)
            }
            Failure::Silent(error) if is_timeout(&error) => {
                let message = format!("it did not start within {} ms", patience.as_millis());
                Error::new(ErrorKind::TimedOut, Stage::Ready, message)
            }
            Failure::Silent(error) if is_hangup(&error) => {
                self.linger();
                let message = format!("its process {} when it started", self.wait());
                Error::new(ErrorKind::Crashed, Stage::Ready, message)
            }
            Failure::Silent(error) => {
                let message = format!("talking to its process: {error}");
                Error::new(ErrorKind::Host, Stage::Ready, message).with_source(error)
            }
        }
    }

    /// Ends what the plugin has started. As long as nobody has waited for the host, its number is
    /// nobody else's.
    fn end_group(&self) {
        if let Some(group) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            // There may be nobody.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }

    /// A process that crashes closes its files first, and is gone then.
    fn linger(&mut self) {
        let end = Instant::now() + END;
        let mut fds = [PollFd::new(&*self.pidfd, PollFlags::IN)];
        while fds[0].revents().is_empty() && Instant::now() < end {
            // Whoever is late, is ended.
            let _ = rustix::event::poll(&mut fds, END.try_into().ok().as_ref());
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Once it was waited for, this does nothing.
        if !self.is_gone {
            self.wait();
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

fn is_hangup(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// Such as `was killed by signal 11 (SIGSEGV)`.
fn describe(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("exited with code {}", status.code().unwrap_or(-1));
    };
    let name = match Signal::from_named_raw(signal) {
        Some(Signal::SEGV) => " (SIGSEGV)",
        Some(Signal::ABORT) => " (SIGABRT)",
        Some(Signal::BUS) => " (SIGBUS)",
        Some(Signal::ILL) => " (SIGILL)",
        Some(Signal::FPE) => " (SIGFPE)",
        Some(Signal::KILL) => " (SIGKILL)",
        Some(Signal::TERM) => " (SIGTERM)",
        Some(Signal::SYS) => " (SIGSYS)",
        Some(Signal::XCPU) => " (SIGXCPU)",
        Some(Signal::TRAP) => " (SIGTRAP)",
        _ => "",
    };
    format!("was killed by signal {signal}{name}")
}

fn seal(bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create("busbar-plugin", flags)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&fd, rest))?;
        rest = &rest[written..];
    }
    rustix::fs::fcntl_add_seals(&fd, SEALS)?;
    Ok(fd)
}

fn os(what: &str, errno: Errno) -> Error {
    Error::new(ErrorKind::Io, Stage::Ready, format!("{what}: {errno}"))
}

fn io_error(error: io::Error) -> Error {
    Error::new(ErrorKind::Io, Stage::Ready, error.to_string()).with_source(error)
}
