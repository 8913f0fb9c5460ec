//! Reading structs of which the other side may know an older, shorter, or a newer, longer form.

use core::mem::MaybeUninit;
use core::ptr;

/// A struct that says its own size, and that later versions append to.
///
/// # Safety
/// 1. The type is `repr(C)`, and all zeros is a value of it.
/// 2. There is a `u32` at [`Self::SIZE_AT`]: the size as its maker compiled it.
/// 3. [`Self::SIZE_MIN`] is at most its size, and more than `SIZE_AT + 4`.
pub unsafe trait Growing: Copy {
    /// Where the size lies.
    const SIZE_AT: usize;
    /// Its size in version 1.0: no maker knows less.
    const SIZE_MIN: usize;
}

/// The struct at `from`, with zeros for what its maker did not know yet; without what we do not.
///
/// # Errors
/// The size it says, if that is less than any version ever had.
///
/// # Safety
/// 1. `from` is aligned, and points to a struct of the C type that `T` stands for, in any version.
/// 2. As many bytes as it says, and [`Growing::SIZE_MIN`] at least, are readable and unchanged
///    during the call.
pub unsafe fn read_growing<T: Growing>(from: *const T) -> Result<T, usize> {
    // SAFETY: 2.; it lies within the first `SIZE_MIN` bytes.
    let size = unsafe { from.byte_add(T::SIZE_AT) }.cast::<u32>();
    // SAFETY: as above; it is aligned because the struct is.
    let size = unsafe { size.read() } as usize;
    if size < T::SIZE_MIN {
        return Err(size);
    }
    let mut value = MaybeUninit::<T>::zeroed();
    let known = size.min(size_of::<T>());
    // SAFETY: 2. for reading; the value has room for `known` bytes.
    unsafe { ptr::copy_nonoverlapping(from.cast::<u8>(), value.as_mut_ptr().cast(), known) };
    // SAFETY: zeros are a value, and what was copied over them are whole fields of one.
    Ok(unsafe { value.assume_init() })
}
