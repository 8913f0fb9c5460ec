//! Where the result of a call goes.

use busbar_types::{SerializeError, Type};

use crate::{Error, Result};

/// Where a method writes its result: memory of the caller, or, if the caller does not wait, memory
/// that grows. Each `put` appends.
#[derive(Debug)]
pub struct Output<'a> {
    room: Room<'a>,
    written: usize,
}

#[derive(Debug)]
enum Room<'a> {
    Fixed(&'a mut [u8]),
    Growing(Vec<u8>),
}

impl<'a> Output<'a> {
    pub(crate) fn fixed(room: &'a mut [u8]) -> Self {
        Self { room: Room::Fixed(room), written: 0 }
    }

    pub(crate) fn growing() -> Self {
        Self { room: Room::Growing(Vec::new()), written: 0 }
    }

    /// Bytes written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.written
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// What was written.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.room {
            Room::Fixed(room) => &room[..self.written],
            Room::Growing(room) => &room[..self.written],
        }
    }

    /// Writes the archive of `value`.
    ///
    /// # Errors
    /// `BUFFER_TOO_SMALL` if the caller has too little room; what was written before stays.
    #[inline]
    pub fn put<T: Type>(&mut self, value: &T) -> Result<()> {
        match value.write_to_buffer(self.rest()) {
            Ok(length) => self.written += length,
            Err(SerializeError::BufferTooSmall { required, .. }) => {
                self.reserve(required)?;
                self.written += value.write_to_buffer(self.rest())?;
            }
            Err(other) => return Err(other.into()),
        }
        Ok(())
    }

    /// Writes `bytes` as they are.
    ///
    /// # Errors
    /// As [`Self::put`].
    #[inline]
    pub fn put_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.reserve(bytes.len())?;
        self.rest()[..bytes.len()].copy_from_slice(bytes);
        self.written += bytes.len();
        Ok(())
    }

    /// `length` bytes to write into, which count as written.
    ///
    /// # Errors
    /// As [`Self::put`].
    #[inline]
    pub fn claim(&mut self, length: usize) -> Result<&mut [u8]> {
        self.reserve(length)?;
        let start = self.written;
        self.written += length;
        Ok(&mut self.all()[start..start + length])
    }

    fn all(&mut self) -> &mut [u8] {
        match &mut self.room {
            Room::Fixed(room) => room,
            Room::Growing(room) => room,
        }
    }

    fn rest(&mut self) -> &mut [u8] {
        let written = self.written;
        &mut self.all()[written..]
    }

    fn reserve(&mut self, more: usize) -> Result<()> {
        let needed = self.written.saturating_add(more);
        match &mut self.room {
            Room::Fixed(room) if needed > room.len() => Err(Error::too_small(needed, room.len())),
            Room::Fixed(_) => Ok(()),
            Room::Growing(room) => {
                if needed > room.len() {
                    room.resize(needed.max(2 * room.len()), 0);
                }
                Ok(())
            }
        }
    }
}
