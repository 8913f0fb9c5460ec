//! Connections that come in: accepted, introduced, or turned away.
//!
//! Strangers are bounded per listener: at most `backlog` connections may be setting up, each with
//! `handshake_timeout` to say who it is, and when one too many comes, the oldest goes. So whoever
//! connects and says nothing cannot keep out those who do.

use std::time::{Duration, Instant};

use busbar_proto::{Code, Error};

use crate::engine::pipe::{Origin, Phase, PipeEntry};
use crate::engine::timers::Timer;
use crate::engine::{Engine, too_many};
use crate::event::{Event, ListenerId, PipeId};
use crate::notice::Subject;

/// How long a listener that ran out of descriptors or memory pauses.
const STALL: Duration = Duration::from_millis(100);

/// Events that wait for the owner of a shared engine, above which nobody is accepted.
const PENDING_MAX: usize = 4096;

/// Connections that are accepted in a row before others get their turn.
const ACCEPTS_MAX: usize = 64;

impl Engine {
    /// Takes the connections that wait at a listener, some at a time: there may be more of them as
    /// fast as they are taken.
    pub(super) fn accept(&mut self, id: ListenerId) {
        for _ in 0..ACCEPTS_MAX {
            let Some(entry) = self.listeners.get_mut(id.0) else { return };
            if self.is_shared && self.pending.len() >= PENDING_MAX {
                // An owner that is busy takes nothing: who comes has to wait.
                return self.stall(id);
            }
            let (options, qos) = (entry.options.pipe.clone(), entry.qos.clone());
            let board = &self.board;
            let accepted = self.pipes.insert_with(|handle| {
                let waker = board.waker(Subject::Pipe(handle));
                match entry.acceptor.accept(&waker) {
                    Ok(Some(incoming)) => {
                        let origin = Origin::Accepted { listener: id };
                        Ok(PipeEntry::new(Some(incoming), origin, &options))
                    }
                    Ok(None) => Err(None),
                    Err(error) => Err(Some(error)),
                }
            });
            match accepted {
                None => {
                    self.pending.push(Event::Warning(id, too_many()));
                    return self.stall(id);
                }
                Some(Err(None)) => return,
                Some(Err(Some(error))) if error.code() == Code::Closed => {
                    self.close_listener(id);
                    return self.pending.push(Event::ListenerClosed(id));
                }
                Some(Err(Some(error))) => {
                    let out_of_resources = matches!(error.code(), Code::OutOfMemory | Code::Io);
                    self.pending.push(Event::Warning(id, error));
                    if out_of_resources {
                        return self.stall(id);
                    }
                }
                Some(Ok(handle)) => {
                    self.install(PipeId(handle), &qos);
                    self.accepted(id, PipeId(handle));
                }
            }
        }
        self.timers.set(Timer::Stall(id), Instant::now());
    }

    /// Asks a listener again after a pause: what waits there is not announced twice.
    fn stall(&mut self, id: ListenerId) {
        self.timers.set(Timer::Stall(id), Instant::now() + STALL);
    }

    fn accepted(&mut self, listener: ListenerId, pipe: PipeId) {
        let Some(entry) = self.pipes.get(pipe.0) else { return };
        if matches!(entry.phase, Phase::Connected(_)) {
            self.pending.push(Event::Accepted { listener, pipe });
        } else {
            self.give_time(listener, pipe);
        }
        if let Err(error) = self.start(pipe) {
            self.drop_pipe(pipe);
            self.pending.push(Event::Warning(listener, error));
        }
    }

    /// Gives a newcomer time to introduce itself, if need be at the expense of the oldest.
    fn give_time(&mut self, listener: ListenerId, pipe: PipeId) {
        let Some(entry) = self.listeners.get_mut(listener.0) else { return };
        let deadline = Instant::now() + entry.options.handshake_timeout;
        entry.handshakes.push_back(pipe);
        let is_full = entry.handshakes.len() > entry.options.backlog;
        // Those who have said who they are, and wait to be let in, stay if they can.
        let is_mute = |pipe: &&PipeId| self.pipes.get(pipe.0).is_some_and(|it| !it.is_asked);
        let oldest = entry.handshakes.iter().find(is_mute).or(entry.handshakes.front());
        let surplus = oldest.copied().filter(|_| is_full);
        self.timers.set(Timer::Handshake(pipe), deadline);
        if let Some(oldest) = surplus {
            // Dropping the socket is an answer the dialer understands: refused, try again.
            self.drop_pipe(oldest);
        }
    }

    pub(super) fn expire_handshake(&mut self, pipe: PipeId) {
        let Some(Phase::Handshaking { origin: Origin::Accepted { listener }, .. }) =
            self.pipes.get(pipe.0).map(|entry| &entry.phase)
        else {
            return;
        };
        let listener = *listener;
        self.drop_pipe(pipe);
        let message = "a connecting peer did not introduce itself in time";
        self.pending.push(Event::Warning(listener, Error::new(Code::TimedOut, message)));
    }

    /// A connection of `listener` is no longer being set up.
    pub(super) fn handshake_over(&mut self, listener: ListenerId, pipe: PipeId) {
        self.timers.cancel(Timer::Handshake(pipe));
        let Some(entry) = self.listeners.get_mut(listener.0) else { return };
        if let Some(at) = entry.handshakes.iter().position(|&it| it == pipe) {
            entry.handshakes.remove(at);
        }
    }
}
