//! Libraries that are wrong: each its own kind, its own message, and a host that goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use busbar_zone::{Error, ErrorKind, Mode, Options, Stage};

use crate::fixtures::{Fixture, folder, inline, load, loader, physics, registry};

/// Compiles the plugin with `defines`, and expects `kind` with `words` in its message.
fn check(defines: &[&str], kind: ErrorKind, stage: Stage, words: &[&str]) {
    let fixture = Fixture::plugin(defines);
    let error = load(&fixture.path, &Options::new(Mode::Inline)).expect_err("it is wrong");
    let seen = (error.kind(), error.stage());
    assert_eq!(seen, (kind, stage), "{defines:?}: {error}");
    for word in words {
        assert!(error.to_string().contains(word), "{defines:?}: {error} lacks {word}");
    }
    let file = fixture.path.to_string_lossy().into_owned();
    let names_it = error.subject().contains(&file) || error.subject() == "fixture.c";
    assert!(names_it, "{}", error.subject());
}

fn bad(defines: &[&str], kind: ErrorKind, words: &[&str]) {
    check(defines, kind, Stage::Bind, words);
}

/// [Z17 T31] the fixture as such is all right, so that each fault below is the one it is for
#[test]
fn without_a_fault_it_loads() {
    let fixture = Fixture::plugin(&[]);
    let zone = inline(&fixture.path);
    assert_eq!((zone.plugin_id(), zone.plugin_version()), ("fixture.c", String::from("1.2.3")));
    let mut out = [0; 8];
    let echo = zone.method("echo").expect("it has it");
    assert_eq!(zone.call(echo, b"abc", &mut out).expect("it echoes"), 3);
    assert_eq!(&out[..3], b"abc");
}

/// [Z17] every field of a manifest has a message of its own
#[test]
fn wrong_manifests() {
    bad(&["MAGIC=0x1234u"], ErrorKind::Magic, &["0x00001234", "0x31534242"]);
    bad(&["MANIFEST_SIZE=8"], ErrorKind::Size, &["busbar_manifest", "8 bytes"]);
    bad(&["PLUGIN_SIZE=16"], ErrorKind::Size, &["busbar_plugin", "16 bytes"]);
    bad(&["TYPE_SIZE=55"], ErrorKind::Size, &["PluginTypeDescriptor", "55 bytes"]);
    bad(&["MAJOR=2"], ErrorKind::Version, &["version 2", "this is 1"]);
    bad(&["MIN_HOST=9"], ErrorKind::Version, &["1.9", "this is 1.0"]);
    bad(&["POINTER_BITS=32"], ErrorKind::Target, &["32 bits", "64"]);
    bad(&["TARGET=\"sparc-solaris\""], ErrorKind::Target, &["sparc-solaris", "this is"]);
    bad(&["NO_MANIFEST"], ErrorKind::Null, &["busbar_plugin_v1 returns null"]);
    bad(&["CREATE=NULL"], ErrorKind::Null, &["create is"]);
    bad(&["TYPES=NULL"], ErrorKind::Null, &["types is null"]);
    bad(&["ID=NULL"], ErrorKind::Null, &["id is null"]);
    bad(&["ID=\"\\xff\\xfe\""], ErrorKind::Name, &["id is no UTF-8"]);
    bad(&["METHOD_NAME=\"\\xc3\""], ErrorKind::Name, &["methods[0].name is no UTF-8"]);
    bad(&["METHOD_NAME=\"\""], ErrorKind::Name, &["methods[0].name is no name"]);
    bad(&["TYPE_NAME=\"\\xff\""], ErrorKind::Name, &["types[0].type_name is no UTF-8"]);
    bad(&["TWICE"], ErrorKind::Name, &["methods[24] (again, id 10) is there twice"]);
    bad(&["HASH=7ULL"], ErrorKind::SchemaInvalid, &["fixture.Pair", "0000000000000007"]);
}

/// [Z17] instances that are not there, or not all there
#[test]
fn wrong_instances() {
    bad(&["CALL=NULL"], ErrorKind::Null, &["busbar_plugin.call is null"]);
    bad(&["DESTROY=NULL"], ErrorKind::Null, &["busbar_plugin.destroy is null"]);
    bad(&["WITH_START", "NO_CANCEL"], ErrorKind::Null, &["busbar_plugin.cancel alone is null"]);
    bad(&["CREATE_NOTHING"], ErrorKind::Null, &["the plugin that create gives is null"]);
    check(&["CREATE_FAILS"], ErrorKind::OutOfMemory, Stage::Ready, &["E_NOMEM"]);
    check(&["INIT_FAILS"], ErrorKind::Failed, Stage::Ready, &["no licence"]);
}

/// [Z16 T15] a library without an entry names the one looked for; none of its code runs
#[test]
fn no_entry() {
    check(&["NO_ENTRY"], ErrorKind::Symbol, Stage::Load, &["busbar_plugin_v1"]);
    let fixture = Fixture::plugin(&["NO_ENTRY"]);
    // SAFETY: our own fixture.
    let error = unsafe { loader().load_types(&fixture.path, false) }.expect_err("it has none");
    for name in ["busbar_plugin_v1", "com_my_plugin_get_descriptors", "com_my_plugin_register"] {
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// [Z17 T31] a library that is cut off anywhere is an error, and never a crash of the loader
#[test]
fn truncated_library() {
    let whole = fs::read(Fixture::plugin(&[]).path).expect("read");
    let folder = folder();
    let path = folder.path().join(format!("cut{}", std::env::consts::DLL_SUFFIX));
    for length in [0, 1, 63, 64, 200, 1000, 4096, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).expect("written");
        let error = load(&path, &Options::new(Mode::Inline)).expect_err("it is cut off");
        assert_eq!(error.kind(), ErrorKind::Damaged, "{length}: {error}");
        assert_eq!(error.stage(), Stage::Load);
    }
    fs::write(&path, b"#!/bin/sh\necho no library\n").expect("written");
    let error = load(&path, &Options::new(Mode::Inline)).expect_err("it is a script");
    assert_eq!(error.kind(), ErrorKind::Damaged);
}

/// [Z17] a library for another machine is told apart from a damaged one
#[test]
fn other_machine() {
    let fixture = Fixture::plugin(&[]);
    let mut bytes = fs::read(&fixture.path).expect("read");
    // ELF: e_machine. 40 is ARM of 32 bits, 243 RISC-V.
    bytes[18] = 243;
    fs::write(&fixture.path, bytes).expect("written");
    let error = load(&fixture.path, &Options::new(Mode::Inline)).expect_err("it is for others");
    assert_eq!((error.kind(), error.stage()), (ErrorKind::Target, Stage::Load), "{error}");
    assert!(error.message().contains("riscv"), "{error}");
}

/// [Z17] files and folders that others can change are refused, before anything of them is used
#[test]
fn writable_by_others() {
    let fixture = Fixture::plugin(&[]);
    // SAFETY: our own fixture.
    let load = || unsafe {
        let strict = busbar_zone::Loader::new(registry(), busbar_zone::Trust::default());
        strict.load(&fixture.path, &Options::new(Mode::Inline))
    };
    let chmod = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("allowed");
    };
    let insecure = |error: Error, what: &str| {
        assert_eq!((error.kind(), error.stage()), (ErrorKind::Insecure, Stage::Verify), "{error}");
        assert!(error.message().contains(what) && error.message().contains("chmod"), "{error}");
    };
    load().expect("nobody else can");
    chmod(&fixture.path, 0o775);
    insecure(load().expect_err("a group can"), "it can be written to by others (mode 775)");
    chmod(&fixture.path, 0o757);
    insecure(load().expect_err("all can"), "mode 757");
    chmod(&fixture.path, 0o755);
    chmod(fixture.folder.path(), 0o770);
    insecure(load().expect_err("the folder can"), "its folder can be written to");
    chmod(fixture.folder.path(), 0o700);
    load().expect("nobody else can, again");
}

/// [Z17] calls that fail, lie, or return what no call may
#[test]
fn wrong_calls() {
    let fixture = Fixture::plugin(&[]);
    let zone = inline(&fixture.path);
    let mut out = [0; 16];
    let mut error = |name: &str| {
        let method = zone.method(name).expect("it has it");
        zone.call(method, b"", &mut out).expect_err("it fails")
    };
    let failed = error("fail");
    assert_eq!((failed.kind(), failed.status().0), (ErrorKind::Failed, -1042));
    assert_eq!(failed.to_string(), "fixture.c: on purpose");
    let quiet = error("quiet");
    assert_eq!((quiet.kind(), quiet.message()), (ErrorKind::Again, "E_AGAIN"));
    assert!(quiet.is_retryable());
    let lie = error("lie");
    assert_eq!(lie.kind(), ErrorKind::Failed);
    assert!(lie.message().contains("17 bytes into 16"), "{lie}");
    assert!(error("strange").message().contains("strange returned PENDING"));
    let large = error("large");
    assert_eq!((large.kind(), large.needed()), (ErrorKind::BufferTooSmall, 100_000));
    let stuck = error("stuck");
    assert_eq!(stuck.kind(), ErrorKind::NotSupported, "it may wait: {stuck}");
    assert_eq!(zone.method("nothing").expect_err("none").kind(), ErrorKind::MethodNotFound);
    let beyond = zone.call(busbar_zone::MethodId::from_index(99), b"", &mut out);
    assert_eq!(beyond.expect_err("none").kind(), ErrorKind::MethodNotFound);
}

/// [Z17 T40] a panic in init, activate or a call is an error with its text; after that the
/// instance is not called again, and a new one works
#[test]
fn panics() {
    let mut options = Options::new(Mode::Inline);
    options.config = "\"panic\"";
    let loader = loader();
    // SAFETY: our own fixture.
    let load = |options: &Options<'_>| unsafe { loader.load(&physics(), options) };
    let error = load(&options).expect_err("it panics");
    assert_eq!((error.kind(), error.stage()), (ErrorKind::Panic, Stage::Activate));
    assert!(error.message().contains("asked to, when activated"), "{error}");
    options.config = "\"refuse\"";
    let error = load(&options).expect_err("it refuses");
    assert_eq!((error.kind(), error.status().0), (ErrorKind::Failed, -1007));

    options.config = "null";
    let zone = load(&options).expect("it loads");
    let nothing = zone.method("nothing").expect("it has it");
    let panic = zone.method("panic").expect("it has it");
    zone.call(nothing, &[], &mut []).expect("it does nothing");
    let error = zone.call(panic, &crate::sdk::text("oh no"), &mut [0; 64]).expect_err("it panics");
    assert_eq!((error.kind(), error.message()), (ErrorKind::Panic, "oh no"));
    let error = zone.call(nothing, &[], &mut []).expect_err("it is not called again");
    assert_eq!(error.kind(), ErrorKind::Faulted);
    zone.close(std::time::Duration::from_secs(5)).expect("it is destroyed");
    assert_eq!(zone.state(), busbar_zone::State::Destroyed);

    let again = load(&options).expect("a new image");
    again.call(nothing, &[], &mut []).expect("it works");
}

/// [Z17] a plugin that panics and is loaded again leaves an image each time: not for ever
#[test]
fn images_that_are_left_have_a_budget() {
    let (fixture, loader) = (Fixture::plugin(&[]), loader());
    let again = || {
        // SAFETY: our own fixture.
        let zone = unsafe { loader.load(&fixture.path, &Options::new(Mode::Inline)) }?;
        let panic = zone.method("panic").expect("it has it");
        assert_eq!(zone.call(panic, &[], &mut []).expect_err("it does").kind(), ErrorKind::Panic);
        zone.close(std::time::Duration::from_secs(20))
    };
    let (count, error) = (0..).find_map(|n| again().err().map(|error| (n, error))).expect("no end");
    assert_eq!((count, error.kind()), (64, ErrorKind::Budget), "{error}");
    assert!(error.to_string().contains("process of their own"), "{error}");
}

/// [D10 Z17] errors say which plugin, method and generation they are of, and its own status
#[test]
fn errors_say_whose_they_are() {
    let fixture = Fixture::plugin(&[]);
    for mode in crate::modes::all() {
        let zone = load(&fixture.path, &Options::new(mode())).expect("it loads");
        let error = crate::modes::wait(&zone, "fail", b"").expect_err("it fails");
        assert_eq!((error.plugin_id(), error.method()), ("fixture.c", "fail"));
        assert_eq!((error.status().0, error.generation()), (-1042, 1));
        assert_eq!(error.subject(), "fixture.c");
    }
    let fixture = Fixture::plugin(&["INIT_FAILS"]);
    let error = load(&fixture.path, &Options::new(Mode::Shared)).expect_err("it fails");
    let whose = (error.plugin_id(), error.method(), error.status().0);
    assert_eq!(whose, ("fixture.c", "", -1007));
}
