//! Loans and leases as `ArrayBuffer`s of their own.
//!
//! Each is an external `ArrayBuffer`, so that giving it back can detach it: what is stale reads as
//! empty instead of as somebody else's message. V8 tells us, through the finalizer, when nothing
//! refers to the memory any more; until then the Rust value that keeps it mapped is held, whatever
//! JavaScript did with the buffer in between (`transfer()` moves the memory to another buffer and
//! leaves ours detached, which is recognised here).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::rc::Rc;

use busbar_io::{Lease, Loan, PipeId};
use napi::sys;

use crate::raw;

/// All loans and leases of one port, by id.
#[derive(Default)]
pub(super) struct Memory {
    items: RefCell<HashMap<u32, Rc<Item>>>,
    last: Cell<u32>,
}

/// One of them.
struct Item {
    id: u32,
    memory: Rc<Memory>,
    content: RefCell<Content>,
    buffer: Cell<Option<sys::napi_ref>>,
}

/// What keeps the memory behind a buffer alive.
pub(super) enum Content {
    Loan(PipeId, Loan),
    Lease(Lease),
    /// Given back; the buffer is detached.
    Nothing,
}

/// Why a buffer could not be made.
pub(super) enum Refused {
    /// This runtime forbids external buffers (Electron does): copy instead.
    Forbidden(Content),
    Failed,
}

impl Memory {
    /// Makes the `ArrayBuffer` of `content`, whose id is then [`Memory::last`].
    pub(super) fn lend(
        self: &Rc<Self>,
        env: sys::napi_env,
        mut content: Content,
    ) -> Result<sys::napi_value, Refused> {
        let (start, len) = match &mut content {
            Content::Loan(_, loan) => (loan.as_mut_ptr(), loan.len()),
            Content::Lease(lease) => (lease.as_ptr().cast_mut(), lease.len()),
            Content::Nothing => return Err(Refused::Failed),
        };
        let id = self.next_id();
        let (memory, buffer) = (Rc::clone(self), Cell::new(None));
        let item = Rc::new(Item { id, memory, content: RefCell::new(content), buffer });
        let hint = Rc::into_raw(Rc::clone(&item)).cast_mut();
        let mut value = std::ptr::null_mut();
        // SAFETY: on thread. `start..start + len` stays valid until the finalizer has run, because
        // `item` holds the content until then or until the buffer has been detached.
        let status = unsafe {
            sys::napi_create_external_arraybuffer(
                env,
                start.cast(),
                len,
                Some(finalize),
                hint.cast(),
                &raw mut value,
            )
        };
        if status != sys::Status::napi_ok {
            // SAFETY: the finalizer will not be called, so the count it would have taken is ours.
            drop(unsafe { Rc::from_raw(hint.cast_const()) });
            let content = item.content.replace(Content::Nothing);
            return Err(if status == sys::Status::napi_no_external_buffers_allowed {
                Refused::Forbidden(content)
            } else {
                Refused::Failed
            });
        }
        item.buffer.set(raw::reference(env, value, true));
        self.items.borrow_mut().insert(id, item);
        Ok(value)
    }

    /// Id of the last buffer made.
    pub(super) fn last(&self) -> u32 {
        self.last.get()
    }

    /// Takes a loan back from JavaScript, to be sent. `None` if it has been given back, belongs to
    /// another pipe, or if its memory has moved to another buffer and may still be written. Then
    /// call [`Memory::sent`] or [`Memory::restore`].
    pub(super) fn take_loan(&self, env: sys::napi_env, id: u32, pipe: PipeId) -> Option<Loan> {
        let item = self.items.borrow().get(&id).map(Rc::clone)?;
        let ours = matches!(&*item.content.borrow(), Content::Loan(of, _) if *of == pipe);
        if !ours || item.attached(env).is_none() {
            return None;
        }
        match item.content.replace(Content::Nothing) {
            Content::Loan(_, loan) => Some(loan),
            _ => None,
        }
    }

    /// The loan was sent: JavaScript must not write it any more.
    pub(super) fn sent(&self, env: sys::napi_env, id: u32) {
        if let Some(item) = self.items.borrow().get(&id).map(Rc::clone) {
            item.detach(env);
        }
    }

    /// The loan could not be sent: it is JavaScript's again.
    pub(super) fn restore(&self, id: u32, pipe: PipeId, loan: Loan) {
        if let Some(item) = self.items.borrow().get(&id) {
            item.content.replace(Content::Loan(pipe, loan));
        }
    }

    /// Ends a loan or a lease now, if its memory is still where it was made; the finalizer ends it
    /// otherwise.
    pub(super) fn give_back(&self, env: sys::napi_env, id: u32) {
        let item = self.items.borrow().get(&id).map(Rc::clone);
        if let Some(item) = item
            && item.detach(env)
        {
            item.finish();
        }
    }

    fn next_id(&self) -> u32 {
        let mut id = self.last.get();
        loop {
            id = id.wrapping_add(1) & (u32::MAX >> 1);
            if id != 0 && !self.items.borrow().contains_key(&id) {
                self.last.set(id);
                return id;
            }
        }
    }
}

impl Item {
    /// The buffer, unless somebody has detached it, so that another buffer may have its memory.
    fn attached(&self, env: sys::napi_env) -> Option<sys::napi_value> {
        let buffer = raw::referenced(env, self.buffer.get()?)?;
        let mut gone = true;
        // SAFETY: on thread; the out-pointer is a live local.
        unsafe { sys::napi_is_detached_arraybuffer(env, buffer, &raw mut gone) };
        (!gone).then_some(buffer)
    }

    /// Empties the buffer; `false` if it was detached before.
    fn detach(&self, env: sys::napi_env) -> bool {
        self.attached(env).is_some_and(|buffer| {
            // SAFETY: on thread; the value is an ArrayBuffer.
            unsafe { sys::napi_detach_arraybuffer(env, buffer) == sys::Status::napi_ok }
        })
    }

    fn finish(&self) {
        if let Content::Lease(lease) = &*self.content.borrow() {
            lease.discard_writes();
        }
        self.content.replace(Content::Nothing);
    }
}

/// Called by Node on the environment's thread once no buffer refers to the memory any more.
unsafe extern "C" fn finalize(env: sys::napi_env, _: *mut c_void, hint: *mut c_void) {
    // SAFETY: `lend` made the hint from an `Rc` for exactly this call.
    let item = unsafe { Rc::from_raw(hint.cast_const().cast::<Item>()) };
    item.finish();
    item.memory.items.borrow_mut().remove(&item.id);
    if let Some(buffer) = item.buffer.take() {
        // SAFETY: on thread; the reference was made in `lend` and is deleted once.
        unsafe { sys::napi_delete_reference(env, buffer) };
    }
}
