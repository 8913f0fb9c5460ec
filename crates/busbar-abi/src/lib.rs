//! The C contract between Busbar and plugin libraries: `include/busbar_plugin.h` in Rust, field by
//! field. Declarations only; what the functions must do is said in the header, and a test compares
//! the layouts. Allocates nothing and links to nothing.
#![no_std]

mod constants;
mod growth;
mod plugin;
mod status;
mod types;

pub use constants::{extension, log_level, method, plugin as plugin_flag, runtime};
pub use growth::{Growing, read_growing};
pub use plugin::{
    Answer, BatchExtension, Create, Host, LEGACY_GET_DESCRIPTORS, LEGACY_REGISTER,
    LegacyGetDescriptors, LegacyRegister, Manifest, ManifestEntry, Method, ObjectsExtension,
    ParentExtension, Plugin, Record, RequestExtension, StateExtension,
};
pub use status::Status;
pub use types::{
    Buf, ContextDrop, LegacyTypeDescriptor, SchemaText, SerializeInto, Slice, TypeDescriptor,
    formats,
};

/// Begins every manifest: "BBS1".
pub const MAGIC: u32 = 0x3153_4242;
/// The version of the contract that breaks with others; part of [`ENTRY`].
pub const ABI_MAJOR: u16 = 1;
/// The version of the contract that only adds.
pub const ABI_MINOR: u16 = 0;
/// The function that a plugin library exports, of type [`ManifestEntry`].
pub const ENTRY: &str = "busbar_plugin_v1";

/// What this was compiled for, as manifests say it: architecture and system.
pub const TARGET: &core::ffi::CStr = target::TARGET;

mod target {
    use core::ffi::CStr;

    macro_rules! target {
        ($($arch:literal, $os:literal => $text:literal;)*) => {
            $(#[cfg(all(target_arch = $arch, target_os = $os))]
            pub(crate) const TARGET: &CStr = $text;)*
            #[cfg(not(any($(all(target_arch = $arch, target_os = $os)),*)))]
            pub(crate) const TARGET: &CStr = c"unknown-unknown";
        };
    }

    target! {
        "x86_64", "linux" => c"x86_64-linux";
        "x86_64", "macos" => c"x86_64-macos";
        "x86_64", "windows" => c"x86_64-windows";
        "aarch64", "linux" => c"aarch64-linux";
        "aarch64", "macos" => c"aarch64-macos";
        "aarch64", "windows" => c"aarch64-windows";
    }
}
