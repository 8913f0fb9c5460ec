//! Calls in an arena: where arguments and results lie, checked before anything is called.

/// One call of a batch: where in an arena its input is, and where its result goes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(clippy::exhaustive_structs, reason = "callers make it; `busbar.batch/1` has this layout")]
pub struct Record {
    /// [`MethodId::index`].
    pub method: u32,
    /// Where its input begins.
    pub in_offset: u32,
    /// Bytes of it.
    pub in_length: u32,
    /// Where its result begins; not within its input.
    pub out_offset: u32,
    /// Room for it.
    pub out_room: u32,
    /// Set: bytes of the result, or how much room it takes.
    pub out_length: u32,
    /// Set: 0, or what the call returned.
    pub status: i32,
    /// 0.
    pub reserved: u32,
}

/// Whether a record lies within an arena of so many bytes, and its result not in its input.
pub(crate) fn check(record: &Record, arena: usize) -> Result<(), String> {
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
pub(crate) fn split<'a>(record: &Record, arena: &'a mut [u8]) -> (&'a [u8], &'a mut [u8]) {
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
