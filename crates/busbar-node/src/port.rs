//! The port: everything that one JavaScript environment has of Busbar.
//!
//! It owns a [`PortEngine`], hands its events to JavaScript in batches (four words each in an array
//! that both sides know) and lets a [`Driver`] decide when the engine gets its turn.
//!
//! Who may touch what: everything here happens on the environment's thread. `state` is never
//! borrowed while JavaScript runs, so callbacks may call back in.

mod cold;
mod engine;
mod hot;
mod memory;
mod registers;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use busbar_io::{Error, Event, Lease, Readiness};
use napi::bindgen_prelude::{Int32Array, Uint32Array};
use napi::sys;

use crate::driver::Driver;
use crate::raw;
pub(crate) use engine::PortEngine;
use memory::Memory;
use registers::Registers;

/// Words of one entry in the event array.
const EVENT_WORDS: usize = 4;

pub(crate) struct Port {
    pub(crate) env: sys::napi_env,
    on_wake: sys::napi_ref,
    event_words: RefCell<Uint32Array>,
    slots: RefCell<Uint32Array>,
    registers: Registers,
    pub(crate) state: RefCell<State>,
    memory: Rc<Memory>,
    driver: RefCell<Option<Driver>>,
    closed: Cell<bool>,
    /// Whether JavaScript wants the loop to go on.
    is_wanted: Cell<bool>,
    /// Until when closed pipes may keep the loop alive to deliver what was sent.
    lingers_until: Cell<Option<Instant>>,
    /// Whether the driver has been told to keep the loop alive.
    is_alive: Cell<bool>,
}

pub(crate) struct State {
    pub(crate) engine: PortEngine,
    pub(crate) events: Vec<Event>,
    /// `events[..delivered]` have been handed to JavaScript.
    delivered: usize,
    warnings: VecDeque<Error>,
    /// Large payloads of the last `receive`. What JavaScript has not asked for by the time it
    /// returns to the loop goes back to the sender.
    leases: Vec<Option<Lease>>,
    received: Vec<Lease>,
}

/// Memory that JavaScript and the port share. Never exposed to users, never detached.
pub(crate) struct Arrays {
    pub(crate) events: Uint32Array,
    pub(crate) slots: Uint32Array,
    pub(crate) registers: Int32Array,
}

/// Fills `object` with the functions of a new port.
pub(crate) fn open(
    env: sys::napi_env,
    on_wake: sys::napi_value,
    arrays: Arrays,
    has_thread: bool,
    backend: &str,
    object: sys::napi_value,
) -> napi::Result<()> {
    let failed = |what: &str| napi::Error::from_reason(what.to_owned());
    let backend = if backend.is_empty() { Ok(None) } else { backend.parse().map(Some) };
    let engine = match backend.and_then(|backend| PortEngine::new(has_thread, backend)) {
        Ok(engine) => engine,
        Err(error) => {
            raw::throw(env, &error);
            return Err(napi::Error::new(napi::Status::PendingException, ""));
        }
    };
    let on_wake = raw::reference(env, on_wake, false).ok_or_else(|| failed("onWake"))?;
    let Arrays { events, slots, registers } = arrays;
    let registers = Registers::new(registers).ok_or_else(|| failed("registers"))?;
    let state = State {
        engine,
        events: Vec::new(),
        delivered: 0,
        warnings: VecDeque::new(),
        leases: Vec::new(),
        received: Vec::new(),
    };
    let port = Rc::new(Port {
        env,
        on_wake,
        event_words: RefCell::new(events),
        slots: RefCell::new(slots),
        registers,
        state: RefCell::new(state),
        memory: Rc::default(),
        driver: RefCell::new(None),
        closed: Cell::new(false),
        is_wanted: Cell::new(false),
        lingers_until: Cell::new(None),
        is_alive: Cell::new(false),
    });
    let driver = Driver::start(&port).map_err(|error| failed(error.message()))?;
    *port.driver.borrow_mut() = Some(driver);
    // The functions live as long as the environment, and so must the port: see `Port::release`.
    let data = Rc::into_raw(port).cast_mut().cast();
    cold::define(env, object, data);
    hot::define(env, object, data);
    Ok(())
}

impl Port {
    /// Lets the engine look at everything and tells JavaScript. For wake-ups.
    pub(crate) fn turn(&self) {
        if self.closed.get() {
            return;
        }
        {
            let mut state = self.state.borrow_mut();
            let State { engine, events, leases, .. } = &mut *state;
            leases.clear();
            engine.turn(events);
        }
        self.deliver();
        self.keep_alive();
    }

    /// What to do before the loop waits. Has told JavaScript what there was.
    pub(crate) fn prepare_sleep(&self) -> Readiness {
        if self.closed.get() {
            return Readiness::Sleep;
        }
        let readiness = {
            let mut state = self.state.borrow_mut();
            let State { engine, events, leases, .. } = &mut *state;
            leases.clear();
            engine.prepare_sleep(events)
        };
        if readiness == Readiness::Events {
            self.deliver();
        }
        self.keep_alive();
        readiness
    }

    /// When the engine must have its turn even if nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let deadline = self.state.borrow().engine.next_deadline();
        [deadline, self.lingers_until.get()].into_iter().flatten().min()
    }

    /// As [`Port::keep_alive`], after a close that allows `linger` for what was sent.
    fn keep_alive_for(&self, linger: Duration) {
        let until = Instant::now() + linger;
        self.lingers_until.set(self.lingers_until.get().max(Some(until)));
        self.keep_alive();
    }

    /// Keeps the loop alive while JavaScript wants that, or what it has sent is being delivered.
    fn keep_alive(&self) {
        if let Some(until) = self.lingers_until.get()
            && (Instant::now() >= until || !self.is_lingering())
        {
            self.lingers_until.set(None);
        }
        let wanted = self.is_wanted.get() || self.lingers_until.get().is_some();
        if wanted == self.is_alive.get() || self.closed.get() {
            return;
        }
        if let Some(driver) = &*self.driver.borrow() {
            self.is_alive.set(wanted);
            driver.keep_alive(self, wanted);
        }
    }

    /// The environment ends, and pipes and listeners with it.
    pub(crate) fn shut_down(&self) {
        self.closed.set(true);
        let mut state = self.state.borrow_mut();
        state.leases.clear();
        state.engine.hold().clear();
    }

    fn is_lingering(&self) -> bool {
        self.state.borrow_mut().engine.hold().is_lingering()
    }

    /// The driver has let go of the port, and JavaScript runs no more: descriptors and memory go.
    pub(crate) fn release(self: Rc<Self>) {
        // The driver holds the port and the port the driver.
        self.driver.take();
        // SAFETY: takes back the count that `open` gave to the functions, which nobody can call
        // any more; called once, by the driver, after `shut_down`.
        unsafe { Rc::decrement_strong_count(Rc::as_ptr(&self)) };
    }

    /// Lets the driver know that a call may have given the engine something to do.
    #[inline]
    fn after_call(&self) {
        if let Some(driver) = &*self.driver.borrow() {
            driver.after_call(self);
        }
    }

    fn deliver(&self) {
        let mut is_staged = false;
        loop {
            let count = self.write_events();
            if (count == 0 && !is_staged) || self.closed.get() {
                return;
            }
            self.registers.begin_call(count);
            // It says in a register that it has run.
            raw::call_back(self.env, self.on_wake);
            is_staged = self.registers.end_call();
        }
    }

    /// Moves events to the array that JavaScript reads; returns their number.
    fn write_events(&self) -> usize {
        let mut state = self.state.borrow_mut();
        let State { events, delivered, warnings, .. } = &mut *state;
        let mut array = self.event_words.borrow_mut();
        // SAFETY: the array is ours: JavaScript reads it only after we have returned to it.
        let words = unsafe { array.as_mut() };
        let mut count = 0;
        for (event, entry) in events[*delivered..].iter().zip(words.chunks_exact_mut(EVENT_WORDS)) {
            entry.copy_from_slice(&encode(event, warnings));
            count += 1;
        }
        *delivered += count;
        if *delivered == events.len() {
            events.clear();
            *delivered = 0;
        }
        count
    }
}

/// Four words; `lib/internal/binding.ts` lists them.
fn encode(event: &Event, warnings: &mut VecDeque<Error>) -> [u32; EVENT_WORDS] {
    match event {
        Event::Readable(pipe) => [1, pipe.number(), 0, 0],
        Event::Writable(pipe) => [2, pipe.number(), 0, 0],
        Event::Accepted { listener, pipe } => [3, listener.number(), pipe.number(), 0],
        Event::State(pipe, state) => [4, pipe.number(), u32::from(state.number()), 0],
        Event::Closed(pipe) => [5, pipe.number(), 0, 0],
        Event::Warning(listener, error) => {
            warnings.push_back(error.clone());
            [6, listener.number(), 0, 0]
        }
        Event::Asking { listener, pipe } => [8, listener.number(), pipe.number(), 0],
        Event::Dropped(pipe) => [9, pipe.number(), 0, 0],
        Event::DeliveryFailed(pipe) => [10, pipe.number(), 0, 0],
        Event::ListenerClosed(listener) => [7, listener.number(), 0, 0],
        // An event that this version does not know is one that JavaScript passes over.
        _ => [0; EVENT_WORDS],
    }
}
