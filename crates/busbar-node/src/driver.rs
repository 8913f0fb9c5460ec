//! When the engine gets its turn: by libuv itself where that can be reached, else by a
//! thread-safe function.
//!
//! | | wakes by | spins | used |
//! |---|---|---|---|
//! | [`uv`] | `uv_poll` on the engine's descriptor | in `uv_prepare` | Node on Linux |
//! | [`tsfn`] | a thread that waits for the engine and rings one coalesced thread-safe function | no | elsewhere, or with `BUSBAR_WAKE=tsfn` |

mod tsfn;
#[cfg(target_os = "linux")]
pub(crate) mod uv;

use std::rc::Rc;

use busbar_io::Error;

use crate::port::Port;

pub(crate) enum Driver {
    #[cfg(target_os = "linux")]
    Uv(Rc<uv::UvDriver>),
    Tsfn(Rc<tsfn::TsfnDriver>),
}

impl Driver {
    /// Begins to drive a port, until its environment ends.
    pub(crate) fn start(port: &Rc<Port>) -> Result<Self, Error> {
        #[cfg(target_os = "linux")]
        if std::env::var_os("BUSBAR_WAKE").is_none_or(|kind| kind != "tsfn")
            && let Some(driver) = uv::UvDriver::start(port)
        {
            return Ok(Self::Uv(driver));
        }
        tsfn::TsfnDriver::start(port).map(Self::Tsfn)
    }

    /// A call by JavaScript has ended and may have given the engine something to do.
    #[inline]
    pub(crate) fn after_call(&self, port: &Port) {
        match self {
            // Its prepare hook runs before the loop waits, whatever happened.
            #[cfg(target_os = "linux")]
            Self::Uv(_) => {}
            Self::Tsfn(driver) => driver.after_call(port),
        }
    }

    /// Whether the event loop is kept alive.
    pub(crate) fn keep_alive(&self, port: &Port, wanted: bool) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Uv(driver) => driver.keep_alive(wanted),
            Self::Tsfn(driver) => driver.keep_alive(port.env, wanted),
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            #[cfg(target_os = "linux")]
            Self::Uv(_) => "uv_poll",
            Self::Tsfn(_) => "threadsafe-function",
        }
    }
}

/// A panic in a loop callback has nobody to be reported to: it ends the process with a message,
/// instead of unwinding into libuv.
pub(crate) fn guard(body: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_err() {
        std::process::abort();
    }
}
