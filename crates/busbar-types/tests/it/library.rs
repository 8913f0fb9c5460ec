//! Types out of a real library: examples/exported_types.rs, which cargo builds with the tests.

use std::path::PathBuf;
use std::process::Command;

use busbar_types::library::{SYMBOL, describe_library};
use busbar_types::registry::{Origin, Registry, TypeEntry};
use busbar_types::schema::{Field, Kind, Schema, Shape, TypeSchema};
use busbar_types::{Error, ErrorKind};
use tempfile::TempDir;

fn library() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let folder = test.ancestors().nth(2).expect("target/debug").join("examples");
    let name =
        format!("{}exported_types{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    folder.join(name)
}

/// A library that gives these bytes for its text. `flags` are for the compiler.
fn fixture(text: &[u8], flags: &[&str]) -> (TempDir, PathBuf) {
    const SOURCE: &str = r#"
        #[repr(C)]
        pub struct Text { ptr: *const u8, len: usize }
        unsafe impl Sync for Text {}
        static BYTES: &[u8] = include_bytes!("text");
        static TEXT: Text = Text {
            ptr: if cfg!(no_bytes) { std::ptr::null() } else { BYTES.as_ptr() },
            len: BYTES.len(),
        };
        #[unsafe(no_mangle)]
        pub extern "C" fn busbar_types_v1() -> *const Text {
            if cfg!(no_text) { std::ptr::null() } else { &TEXT }
        }
    "#;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(format!("fixture{}", std::env::consts::DLL_SUFFIX));
    std::fs::write(folder.path().join("text"), text).expect("written");
    std::fs::write(folder.path().join("fixture.rs"), SOURCE).expect("written");
    let status = Command::new("rustc")
        .current_dir(folder.path())
        .args(["--edition=2024", "--crate-type=cdylib", "-Aunexpected_cfgs", "-o"])
        .args([path.as_os_str(), "fixture.rs".as_ref()])
        .args(flags)
        .status();
    assert!(status.expect("rustc").success());
    (folder, path)
}

#[track_caller]
fn check_refused(text: &[u8], flags: &[&str], words: &str) {
    let (_folder, path) = fixture(text, flags);
    let error = describe(path.to_str().expect("UTF-8")).expect_err(words);
    assert_eq!(error.kind(), ErrorKind::SchemaInvalid, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    assert!(error.to_string().contains("fixture"), "{error}");
    let registry = Registry::new();
    // SAFETY: the fixture does no harm.
    unsafe { registry.load(&path, false) }.expect_err(words);
    assert!(registry.entries().is_empty());
}

/// [T23 T38] a library that lies or says nothing of use is refused, and told from others
#[test]
fn libraries_that_lie_are_refused() {
    check_refused(b"[]", &["--cfg", "no_text"], "gives no text");
    check_refused(b"[]", &["--cfg", "no_bytes"], "gives no text");
    check_refused(b"[\xff]", &[], "not UTF-8 from byte 1 on");
    check_refused(b"[{]", &[], "no array of descriptors");
    check_refused(b"{}", &[], "no array of descriptors");

    let honest = TypeSchema::new_struct("game.Lie", Shape::Unit, Vec::new());
    let honest = Schema::new("game.Lie", [honest]).expect("valid");
    let hash = format!("{:016x}", honest.root().hash);
    let lie = honest.to_json().replace(&hash, "0123456789abcdef");
    check_refused(format!("[{},{lie}]", honest.to_json()).as_bytes(), &[], "game.Lie");

    let (_folder, path) = fixture(format!("[{}]", honest.to_json()).as_bytes(), &[]);
    assert_eq!(describe(path.to_str().expect("UTF-8")).expect("the truth"), [honest]);
}

fn describe(path: &str) -> Result<Vec<Schema>, Error> {
    // SAFETY: nothing that these tests name does harm when it is loaded.
    unsafe { describe_library(path) }
}

/// [T06 T23] a library with three types says what they are
#[test]
fn a_library_says_what_types_it_has() {
    let path = library();
    let bytes = std::fs::read(&path).expect("the library");
    assert!(bytes.windows(SYMBOL.len()).any(|window| window == SYMBOL.as_bytes()));
    let schemas = describe(path.to_str().expect("UTF-8")).expect("types");
    let names: Vec<_> = schemas.iter().map(|schema| schema.root().name.as_str()).collect();
    assert_eq!(names, ["game.Position", "game.Happening", "game.Event"]);
    assert!(schemas[2].types().any(|mentioned| mentioned.name == "game.Happening"));
}

/// [T04 T09 T41] types are known after loading a library, and gone after taking them out
#[test]
fn loading_registers() {
    let registry = Registry::new();
    assert!(registry.lookup("game.Event", None).is_none());
    // SAFETY: the example does no harm.
    let entries = unsafe { registry.load(&library(), false) }.expect("types");
    assert_eq!(entries.len(), 3);
    let event = registry.lookup("game.Event", None).expect("registered");
    assert_eq!(event.origin, Origin::Plugin(library().display().to_string()));
    // SAFETY: as above.
    let again = unsafe { registry.load(&library(), false) }.expect("the same types");
    assert!(entries.iter().zip(&again).all(|(one, other)| std::sync::Arc::ptr_eq(one, other)));
    assert_eq!(registry.unregister_origin(&event.origin).len(), 3);
    assert!(registry.lookup("game.Event", None).is_none());
}

/// [T10] of a library with a type that conflicts, nothing is registered
#[test]
fn a_conflict_registers_nothing() {
    let registry = Registry::new();
    let other =
        TypeSchema::new_struct("game.Event", Shape::Named, vec![Field::new("a", Kind::String)]);
    let other = Schema::new("game.Event", [other]).expect("valid");
    let origin = Origin::Descriptor(String::from("the test"));
    registry.register_entry(TypeEntry::of_schema(other, origin), false).expect("the first");
    // SAFETY: the example does no harm.
    let error = unsafe { registry.load(&library(), false) }.expect_err("another version");
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    assert_eq!(registry.entries().len(), 1, "{:?}", registry.entries());
}

/// [T06] what is no library with types is an error that says so
#[test]
fn what_is_no_library_is_refused() {
    let error = describe("/nowhere/libnothing.so").expect_err("no file");
    assert_eq!(
        (error.kind(), error.to_string().contains("no such file")),
        (ErrorKind::NotFound, true)
    );
    let error =
        describe(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).expect_err("no library");
    assert_eq!(error.kind(), ErrorKind::Io);
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let libc = std::fs::read_to_string("/proc/self/maps").expect("maps");
        let libc = libc.lines().find_map(|line| {
            line.split_whitespace().nth(5).filter(|path| path.contains("libc.so"))
        });
        let error = describe(libc.expect("the C library")).expect_err("no types");
        assert_eq!(error.kind(), ErrorKind::TypeNotFound);
        assert!(error.to_string().contains(SYMBOL), "{error}");
    }
}
