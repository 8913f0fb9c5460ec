//! What only bare calls of Windows do for named pipes: who may connect is said when a pipe is made,
//! somebody is waited for, and who has made a pipe is asked of its handle.
//!
//! Handles are owned from the moment they are made; text and descriptors that the system allocates
//! are freed by [`Local`]. One thing outlives a call: the system writes to the `OVERLAPPED` of an
//! [`Instance`] until its wait is over, so that it has a place of its own, and is freed only after
//! the wait was cancelled and its end was heard of.

#![expect(unsafe_code, reason = "neither std nor mio makes pipes with a security descriptor")]

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::io;
use std::iter;
use std::mem::MaybeUninit;
use std::os::windows::io::{AsRawHandle, FromRawHandle, IntoRawHandle, OwnedHandle};
use std::ptr;
use std::time::Duration;

use mio::windows::NamedPipe;
use windows_sys::Win32::Foundation::{
    ERROR_IO_PENDING, ERROR_NO_DATA, ERROR_PIPE_CONNECTED, HANDLE, HLOCAL, INVALID_HANDLE_VALUE,
    LocalFree, WAIT_OBJECT_0,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo,
    SDDL_REVISION_1, SE_KERNEL_OBJECT,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, OWNER_SECURITY_INFORMATION, PSID, SECURITY_ATTRIBUTES,
    SECURITY_MAX_SID_SIZE, TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, PIPE_ACCESS_DUPLEX,
};
use windows_sys::Win32::System::IO::{CancelIoEx, OVERLAPPED};
use windows_sys::Win32::System::Pipes::{
    ConnectNamedPipe, CreateNamedPipeW, PIPE_READMODE_BYTE, PIPE_REJECT_REMOTE_CLIENTS,
    PIPE_TYPE_BYTE, PIPE_UNLIMITED_INSTANCES, PIPE_WAIT,
};
use windows_sys::Win32::System::Threading::{
    CreateEventW, GetCurrentProcess, INFINITE, OpenProcessToken, SetEvent, WaitForMultipleObjects,
    WaitForSingleObject,
};

/// Bytes that the system keeps for each direction of a pipe.
const BUFFER_BYTES: u32 = 1 << 16;

/// Who may connect to a pipe.
pub(super) struct Descriptor(Local);

impl Descriptor {
    /// From the system's language for it.
    pub(super) fn parse(text: &str) -> io::Result<Self> {
        let text = wide(text);
        let mut made = ptr::null_mut();
        // SAFETY: the text ends with a zero; the out-pointer is a live local, and the size is not
        // asked for.
        let is_made = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut made,
                ptr::null_mut(),
            )
        };
        if is_made == 0 { Err(io::Error::last_os_error()) } else { Ok(Self(Local(made))) }
    }
}

/// An instance of a pipe for which somebody may come.
pub(super) struct Instance {
    pipe: OwnedHandle,
    came: Event,
    /// The system's, until `came` is set.
    wait: Box<UnsafeCell<OVERLAPPED>>,
}

// SAFETY: handles may be used by any thread, and so may memory that is used by one at a time.
unsafe impl Send for Instance {}

impl Instance {
    /// Makes one of the pipe at `path`; `is_first`: fails if there is one already, whosoever.
    pub(super) fn new(path: &str, access: &Descriptor, is_first: bool) -> io::Result<Self> {
        let pipe = create(path, access, is_first)?;
        let came = Event::new()?;
        let overlapped = OVERLAPPED { hEvent: came.0.as_raw_handle(), ..OVERLAPPED::default() };
        let instance = Self { pipe, came, wait: Box::new(UnsafeCell::new(overlapped)) };
        // SAFETY: the pipe was made for overlapped use; the place stays until `drop` has heard of
        // the end of the wait.
        unsafe { ConnectNamedPipe(instance.pipe.as_raw_handle(), instance.wait.get()) };
        match io::Error::last_os_error().raw_os_error().map_or(0, i32::cast_unsigned) {
            ERROR_IO_PENDING => {}
            // Somebody was quicker than the call, and may be gone again.
            ERROR_PIPE_CONNECTED | ERROR_NO_DATA => instance.came.set(),
            code => {
                // There is no end of a wait to hear of.
                instance.came.set();
                return Err(io::Error::from_raw_os_error(code.cast_signed()));
            }
        }
        Ok(instance)
    }

    /// The connection, once somebody has come.
    pub(super) fn connected(self) -> io::Result<NamedPipe> {
        self.pipe.try_clone().map(adopt)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and the place that of this instance's one operation. With
        // none under way, this does nothing.
        unsafe { CancelIoEx(self.pipe.as_raw_handle(), self.wait.get()) };
        // Set by the end of the wait, cancelled or not, or by `new`.
        self.came.wait();
    }
}

/// Something that has happened, once it has.
pub(super) struct Event(OwnedHandle);

impl Event {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no attributes and no name: nothing is read. It stays set once it is.
        let handle = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was just made, and nobody else has it.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(handle) }))
    }

    pub(super) fn set(&self) {
        // SAFETY: the handle is open.
        unsafe { SetEvent(self.0.as_raw_handle()) };
    }

    fn wait(&self) {
        // SAFETY: the handle is open.
        unsafe { WaitForSingleObject(self.0.as_raw_handle(), INFINITE) };
    }
}

/// Why a wait is over.
pub(super) enum Woken {
    Stopped,
    /// Somebody has come to this instance.
    Came(usize),
    /// Nothing has happened.
    InVain,
}

/// Waits until somebody has come to one of `instances`, 63 at most, or `stop` is set.
pub(super) fn wait(stop: &Event, instances: &[Instance], patience: Option<Duration>) -> Woken {
    let events = iter::once(stop).chain(instances.iter().map(|it| &it.came));
    let handles: Vec<HANDLE> = events.map(|event| event.0.as_raw_handle()).collect();
    let count = u32::try_from(handles.len()).unwrap_or(u32::MAX);
    let millis = |patience: Duration| u32::try_from(patience.as_millis()).unwrap_or(INFINITE);
    let millis = patience.map_or(INFINITE, millis);
    // SAFETY: the handles are open while `stop` and `instances` are borrowed.
    let which = unsafe { WaitForMultipleObjects(count, handles.as_ptr(), 0, millis) };
    // The first that is set.
    match usize::try_from(which.wrapping_sub(WAIT_OBJECT_0)).unwrap_or(usize::MAX) {
        0 => Woken::Stopped,
        which if which <= instances.len() => Woken::Came(which - 1),
        _ => Woken::InVain,
    }
}

fn create(path: &str, access: &Descriptor, is_first: bool) -> io::Result<OwnedHandle> {
    let path = wide(path);
    let first = if is_first { FILE_FLAG_FIRST_PIPE_INSTANCE } else { 0 };
    let attributes = SECURITY_ATTRIBUTES {
        nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(u32::MAX),
        lpSecurityDescriptor: access.0.0,
        bInheritHandle: 0,
    };
    // SAFETY: the path ends with a zero; the descriptor lives as long as `access`.
    let handle = unsafe {
        CreateNamedPipeW(
            path.as_ptr(),
            PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | first,
            PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS,
            PIPE_UNLIMITED_INSTANCES,
            BUFFER_BYTES,
            BUFFER_BYTES,
            0,
            &raw const attributes,
        )
    };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made, and nobody else has it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// A pipe that was opened for overlapped use.
pub(super) fn adopt(handle: OwnedHandle) -> NamedPipe {
    // SAFETY: the handle is an owned one, which the pipe takes over.
    unsafe { NamedPipe::from_raw_handle(handle.into_raw_handle()) }
}

/// The user that this process runs as, in the system's text form.
pub(super) fn own_user() -> io::Result<String> {
    let mut token = ptr::null_mut();
    // SAFETY: a pseudo-handle, which need not be closed.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the out-pointer is a live local.
    if unsafe { OpenProcessToken(process, TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made, and nobody else has it.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    let mut user = MaybeUninit::<UserInformation>::uninit();
    let size = u32::try_from(size_of::<UserInformation>()).unwrap_or(u32::MAX);
    let mut len = 0;
    // SAFETY: the memory is as large as said, and aligned for what is written to its beginning.
    let is_told = unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            user.as_mut_ptr().cast(),
            size,
            &raw mut len,
        )
    };
    if is_told == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded, so that the beginning is initialised.
    let user = unsafe { &*user.as_ptr().cast::<TOKEN_USER>() };
    text_of(user.User.Sid)
}

/// Who has made a pipe that is open here, as [`own_user`] tells users.
pub(super) fn owner(pipe: &impl AsRawHandle) -> io::Result<String> {
    let (mut owner, mut descriptor) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the handle is open while `pipe` is borrowed; the out-pointers are live locals, and
    // those that are null are not asked for.
    let status = unsafe {
        GetSecurityInfo(
            pipe.as_raw_handle(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    if status != 0 {
        return Err(io::Error::from_raw_os_error(status.cast_signed()));
    }
    // `owner` points into it.
    let _descriptor = Local(descriptor);
    text_of(owner)
}

/// A `TOKEN_USER` and the SID to which it points.
#[repr(C)]
struct UserInformation {
    user: TOKEN_USER,
    sid: [u8; SECURITY_MAX_SID_SIZE as usize],
}

/// Memory that the system has allocated for us to free.
struct Local(HLOCAL);

// SAFETY: the memory belongs to this value alone, whichever thread has it.
unsafe impl Send for Local {}

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: allocated by a call that says to free it so, and freed once.
        unsafe { LocalFree(self.0) };
    }
}

fn text_of(sid: PSID) -> io::Result<String> {
    if sid.is_null() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut text = ptr::null_mut();
    // SAFETY: the callers have a valid SID; the out-pointer is a live local.
    if unsafe { ConvertSidToStringSidW(sid, &raw mut text) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let _memory = Local(text.cast::<c_void>());
    let mut units = Vec::new();
    loop {
        // SAFETY: the text ends with a zero, and nothing is read behind that.
        let place = unsafe { text.add(units.len()) };
        // SAFETY: as above.
        match unsafe { place.read() } {
            0 => return Ok(String::from_utf16_lossy(&units)),
            unit => units.push(unit),
        }
    }
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}
