//! Tables of functions that a plugin may have besides its own, by name.

use std::ffi::CStr;

use busbar_abi::{BatchExtension, Growing, ObjectsExtension, StateExtension, extension};

/// What a plugin may have by name.
pub(crate) trait Extension: Growing {
    const NAME: &'static CStr;
}

impl Extension for ObjectsExtension {
    const NAME: &'static CStr = extension::OBJECTS;
}

impl Extension for BatchExtension {
    const NAME: &'static CStr = extension::BATCH;
}

impl Extension for StateExtension {
    const NAME: &'static CStr = extension::STATE;
}
