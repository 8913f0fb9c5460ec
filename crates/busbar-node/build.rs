//! Link settings of the addon.

fn main() {
    napi_build::setup();
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // A worker that ends unloads its addons, but thread-local destructors and detached
        // callbacks of a Rust addon still point into it: without this, Node crashes.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
