//! Many calls at once, in an arena: where arguments and results lie is checked before anything is
//! called. Plugins that run several by one call are given as many as there are, up to the next that
//! fails; all others are called one by one.

use busbar_abi::{Buf, Record, Status};

use crate::instance::Instance;
use crate::{Error, ErrorKind, Result, Stage, State};

/// Calls that a plugin is given at once.
const TOGETHER: usize = 64;

/// Runs calls in order, inside `instance`; those that failed, by their index.
///
/// # Errors
/// `InvalidArgument`, `MethodNotFound`, `NotSupported`, when none was run; `Panic`, when those
/// behind it were not.
pub(crate) fn run(
    instance: &Instance,
    records: &mut [Record],
    arena: &mut [u8],
) -> Result<Vec<(usize, Error)>> {
    for (index, record) in records.iter().enumerate() {
        instance.inline_target(record.method)?;
        check(record, arena.len()).map_err(|message| {
            let message = format!("record {index}: {message}");
            instance.say(Error::new(ErrorKind::InvalidArgument, Stage::Call, message))
        })?;
    }
    let mut run = Run { instance, records, ended: 0, failed: Vec::new() };
    while run.ended < run.records.len() {
        if !run.together(arena)? {
            run.one(arena)?;
        }
    }
    Ok(run.failed)
}

/// A batch that runs.
struct Run<'a> {
    instance: &'a Instance,
    records: &'a mut [Record],
    /// The first so many have.
    ended: usize,
    failed: Vec<(usize, Error)>,
}

impl Run<'_> {
    /// Runs the next call.
    fn one(&mut self, arena: &mut [u8]) -> Result<()> {
        let record = self.records[self.ended];
        let target = self.instance.target(record.method)?;
        let (input, out) = split(&record, arena);
        let result = self.instance.call_inside(target, input, out);
        self.end(result)
    }

    /// Has the plugin run the next calls; `false` if it cannot, or must not now.
    fn together(&mut self, arena: &mut [u8]) -> Result<bool> {
        if !self.instance.has_batch() {
            return Ok(false);
        }
        let next = &self.records[self.ended..];
        let next = &next[..next.len().min(TOGETHER)];
        // A copy: what the plugin writes beside its two words is nothing to anybody.
        let (mut given, mut serial) = ([Record::default(); TOGETHER], None);
        for (to, from) in given.iter_mut().zip(next) {
            let target = self.instance.target(from.method)?;
            if !target.is_thread_safe() {
                serial = Some(target);
            }
            *to = Record { method: target.id(), status: Status::PENDING.0, ..*from };
            to.out_length = 0;
        }
        let given = &mut given[..next.len()];
        let Ok(status) = self.instance.call_batch(serial, given, arena) else { return Ok(false) };
        for given in given {
            let target = self.instance.target(self.records[self.ended].method)?;
            let has_run = given.status == Status::OK.0;
            let status = if has_run || !status.is_error() { Status(given.status) } else { status };
            let (len, cap) = (given.out_length as usize, given.out_room as usize);
            let ended = if has_run && len <= cap {
                Ok(len)
            } else {
                let buf = Buf { ptr: std::ptr::null_mut(), cap, len };
                Err(self.instance.failed(target, status, &buf))
            };
            self.end(ended)?;
            if !has_run {
                break;
            }
        }
        Ok(true)
    }

    /// The next call has ended.
    fn end(&mut self, result: Result<usize>) -> Result<()> {
        let record = &mut self.records[self.ended];
        let error = match result {
            Ok(length) => {
                // Within the room, which is a `u32`.
                (record.out_length, record.status) = (length as u32, Status::OK.0);
                self.ended += 1;
                return Ok(());
            }
            Err(error) => error,
        };
        record.out_length = u32::try_from(error.needed()).unwrap_or(u32::MAX);
        let status = error.status();
        record.status = if status.is_error() { status } else { Status::INTERNAL }.0;
        if self.instance.state() == State::Faulted {
            return Err(error);
        }
        self.failed.push((self.ended, error));
        self.ended += 1;
        Ok(())
    }
}

/// Whether a record lies within an arena of so many bytes, and its result not in its input.
fn check(record: &Record, arena: usize) -> Result<(), String> {
    let end = |offset: u32, length: u32| offset as usize + length as usize;
    let (in_end, out_end) =
        (end(record.in_offset, record.in_length), end(record.out_offset, record.out_room));
    if in_end > arena || out_end > arena {
        return Err(format!("it ends at {}, the arena at {arena}", in_end.max(out_end)));
    }
    let is_apart = in_end <= record.out_offset as usize || out_end <= record.in_offset as usize;
    if is_apart || record.in_length == 0 || record.out_room == 0 {
        return Ok(());
    }
    Err(String::from("its result would lie in its input"))
}

/// Input and room of a checked record.
fn split<'a>(record: &Record, arena: &'a mut [u8]) -> (&'a [u8], &'a mut [u8]) {
    let (input, in_length) = (record.in_offset as usize, record.in_length as usize);
    let (out, room) = (record.out_offset as usize, record.out_room as usize);
    if in_length == 0 {
        return (&[], &mut arena[out..out + room]);
    }
    if room == 0 {
        return (&arena[input..input + in_length], &mut []);
    }
    if input < out {
        let (before, after) = arena.split_at_mut(out);
        return (&before[input..input + in_length], &mut after[..room]);
    }
    let (before, after) = arena.split_at_mut(input);
    (&after[..in_length], &mut before[out..out + room])
}
