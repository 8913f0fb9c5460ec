//! Mapped files between processes. Each other process is this test binary again, which runs the
//! same test in another role: the role and the file are in its environment, and it talks over its
//! standard streams.

#![cfg(unix)]

use std::ffi::c_int;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use busbar_types::mapped::{self, Mapped, MappedFile, NewFile};
use busbar_types::registry::TypeEntry;
use busbar_types::rkyv::util::AlignedVec;
use busbar_types::{ErrorKind, Type, read};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::hostile::rounds;
use crate::random::Rng;

const ROLE: &str = "BUSBAR_TEST_ROLE";
const FILE: &str = "BUSBAR_TEST_FILE";

#[derive(Type, Clone, Debug, PartialEq)]
struct Track {
    id: u64,
    name: String,
    samples: Vec<u32>,
    tags: Vec<String>,
    note: Option<Box<str>>,
}

#[derive(Type)]
struct Unit;

fn track(samples: u32) -> Track {
    Track {
        id: 7,
        name: String::from("a name that is out of line"),
        samples: (0..samples).collect(),
        tags: vec![String::from("short"), String::from("not quite as short")],
        note: Some("a note".into()),
    }
}

/// A track of many pages.
fn large() -> Track {
    track(1 << 18)
}

/// The role of this process, if it is the other one.
fn role() -> Option<(String, PathBuf)> {
    let role = std::env::var(ROLE).ok()?;
    Some((role, PathBuf::from(std::env::var_os(FILE).expect("a file"))))
}

/// Runs the test `name` of this file in another process.
fn spawn(name: &str, role: &str, file: &Path) -> Child {
    Command::new(std::env::current_exe().expect("a path"))
        .args([&format!("mapped::{name}"), "--exact", "--nocapture"])
        .env(ROLE, role)
        .env(FILE, file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("itself")
}

/// Waits for the other process to say `ready`, does `act`, lets it go on, and returns its end.
fn meet(mut child: Child, act: impl FnOnce()) -> (ExitStatus, String) {
    let mut said = BufReader::new(child.stdout.take().expect("piped")).lines();
    let is_ready = said.by_ref().map_while(Result::ok).any(|line| line.contains("ready"));
    if is_ready {
        act();
    }
    drop(child.stdin.take());
    let rest: Vec<_> = said.map_while(Result::ok).collect();
    let mut errors = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut errors).expect("UTF-8");
    let status = child.wait().expect("its end");
    assert!(is_ready, "{status}: {rest:?}\n{errors}");
    (status, rest.join("\n"))
}

/// The other side of [`meet`].
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{line}").expect("a listener");
    out.flush().expect("a listener");
}

fn wait_for_the_other() {
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).expect("a pipe");
}

/// Truncates a file as a program does that knows nothing of what is in it.
fn truncate(path: &Path, bytes: u64) {
    let mode = fs::metadata(path).expect("a file").permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("own");
    let file = OpenOptions::new().write(true).open(path).expect("own");
    file.set_len(bytes).expect("own");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("own");
}

fn kind_of<T>(result: Result<T, busbar_types::Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Every byte, so that every page is touched; volatile, because it may change.
fn sum(file: &MappedFile) -> u64 {
    // SAFETY: all of these bytes are readable while the file is open.
    let byte = |at| unsafe { file.as_ptr().wrapping_add(at).read_volatile() };
    (0..file.len()).map(|at| u64::from(byte(at))).sum()
}

/// [T02 T35] one process writes a value into a file, another reads it there
#[test]
fn a_value_goes_through_a_file_to_another_process() {
    if let Some((_, path)) = role() {
        mapped::write(path, &large()).expect("written");
        return say("ready");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("track");
    let (status, _) =
        meet(spawn("a_value_goes_through_a_file_to_another_process", "writer", &path), || ());
    assert!(status.success());

    let mapped = Mapped::<Track>::open(&path).expect("valid");
    assert!(mapped.file().is_in_place());
    let archived = mapped.get();
    assert_eq!((archived.id.to_native(), &*archived.tags[1]), (7, "not quite as short"));
    let bytes = fs::read(&path).expect("readable");
    let mut aligned = AlignedVec::<16>::new();
    aligned.extend_from_slice(&bytes[64..]);
    assert_eq!(bytes.len(), 64 + mapped.file().len());
    // SAFETY: nobody else knows the file.
    assert_eq!(unsafe { mapped.file().bytes() }, &bytes[64..]);
    assert_eq!(read::<Track>(&aligned).expect("valid"), large());
    // Everything that is pointed to lies in the mapping.
    let range = mapped.file().as_ptr()..mapped.file().as_ptr().wrapping_add(mapped.file().len());
    assert!(range.contains(&archived.name.as_ptr()));
    assert!(range.contains(&archived.samples.as_ptr().cast()));
    assert!(range.contains(&archived.tags[1].as_ptr()));
    let names: Vec<_> = fs::read_dir(folder.path()).expect("readable").collect();
    assert_eq!(names.len(), 1, "nothing else is left");
}

/// [T35] the example writes in one process and reads in another, and refuses files of other types
#[test]
fn the_example_works() {
    let test = std::env::current_exe().expect("a path");
    let folder = test.ancestors().nth(2).expect("target/debug").join("examples");
    let program = folder.join(format!("mapped_file{}", std::env::consts::EXE_SUFFIX));
    let run = |what: &str, path: &Path| {
        let output = Command::new(&program).arg(what).arg(path).output().expect("the example");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("position");
    assert_eq!(run("write", &path).0, Some(0));
    let (code, said, _) = run("read", &path);
    assert_eq!((code, &*said), (Some(0), "7 Frauenkirche, Munich: 48.1386, 11.5736\n"));
    mapped::write(&path, &track(1)).expect("written");
    let (code, _, said) = run("read", &path);
    assert!(code == Some(1) && said.contains("SchemaMismatch"), "{code:?} {said}");
}

/// [T35] while another process replaces the file over and over, a reader has one value or another
#[test]
fn readers_see_the_old_or_the_new_file() {
    const VALUES: u32 = 200;
    if let Some((_, path)) = role() {
        say("ready");
        for samples in 1..=VALUES {
            mapped::write(&path, &track(samples * 100)).expect("written");
        }
        return say("done");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("track");
    mapped::write(&path, &track(0)).expect("written");
    let first = Mapped::<Track>::open(&path).expect("valid");
    let mut seen = Vec::new();
    let child = spawn("readers_see_the_old_or_the_new_file", "writer", &path);
    let (status, said) = meet(child, || {
        while seen.last() != Some(&(VALUES as usize * 100)) {
            let track = Mapped::<Track>::open(&path).expect("a whole one");
            let samples = &track.get().samples;
            assert!(samples.iter().zip(0..).all(|(sample, index)| sample.to_native() == index));
            seen.push(samples.len());
            track.verify().expect("still whole, though replaced");
        }
    });
    assert!(status.success() && said.contains("done"));
    assert!(seen.is_sorted());
    assert_eq!(first.get().samples.len(), 0, "who has the old one keeps it");
    first.verify().expect("unchanged");
}

/// [T35] a file that another process truncates while it is mapped is an error, and no signal
#[test]
fn truncation_while_mapped_is_an_error() {
    if let Some((_, path)) = role() {
        let file = MappedFile::open(&path).expect("valid");
        let writable = MappedFile::open_copy_on_write(&path).expect("valid");
        let typed = Mapped::<Track>::open(&path).expect("valid");
        let before = sum(&file);
        say("ready");
        wait_for_the_other();
        // Not touched yet: the length tells.
        assert_eq!(kind_of(typed.verify()), Some(ErrorKind::ArchiveInvalid));
        assert!(sum(&file) < before, "zeros stand in");
        for at in (0..writable.len()).step_by(1000) {
            let start = writable.as_mut_ptr().expect("writable").as_ptr();
            // SAFETY: inside of the archive, which may be written to.
            unsafe { start.wrapping_add(at).write_volatile(1) };
        }
        for file in [&file, &writable, typed.file()] {
            let error = file.verify().expect_err("truncated");
            assert_eq!(error.kind(), ErrorKind::ArchiveInvalid);
        }
        assert!(file.verify().expect_err("truncated").message().contains("gone"));
        assert_eq!(kind_of(MappedFile::open(&path)), Some(ErrorKind::ArchiveInvalid));
        return say("survived");
    }
    for left in [0, 64, 5000] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("track");
        mapped::write(&path, &large()).expect("written");
        let child = spawn("truncation_while_mapped_is_an_error", "reader", &path);
        let (status, said) = meet(child, || truncate(&path, left));
        assert!(status.success() && said.contains("survived"), "{left}: {status} {said}");
    }
}

/// [T35] bytes that were lost while they are written are an error of the writer, not a signal
#[test]
fn truncation_while_writing_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("track");
    let value = large();
    let bytes = value.archived_size().expect("writable");
    let mut new = NewFile::create(&path, Track::SCHEMA_HASH, bytes).expect("room");
    let entry = fs::read_dir(folder.path()).expect("readable").next().expect("one");
    truncate(&entry.expect("readable").path(), 4096);
    value.write_to_buffer(new.archive()).expect("room");
    assert_eq!(kind_of(new.publish()), Some(ErrorKind::Io));
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0, "nothing is left");
}

/// [T35] files that grow or are written to after they were opened are found out
#[test]
fn growth_and_writes_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("track");
    let open = || Mapped::<Track>::open(&path).expect("valid");

    mapped::write(&path, &large()).expect("written");
    let mapped = open();
    truncate(&path, fs::metadata(&path).expect("a file").len() + 1);
    assert_eq!(kind_of(mapped.verify()), Some(ErrorKind::ArchiveInvalid));
    assert_eq!(kind_of(Mapped::<Track>::open(&path)), Some(ErrorKind::ArchiveInvalid));

    mapped::write(&path, &large()).expect("written");
    let file = MappedFile::open(&path).expect("valid");
    file.verify().expect("unchanged");
    std::thread::sleep(std::time::Duration::from_millis(20)); // the granularity of file times
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("own");
    let writer = OpenOptions::new().write(true).open(&path).expect("own");
    writer.write_all_at(&[1], 70).expect("room");
    assert_eq!(kind_of(file.verify()), Some(ErrorKind::ArchiveInvalid));
}

/// [T35] a file that others may change is read into memory, where they cannot
#[test]
fn files_of_others_are_copied() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("track");
    mapped::write(&path, &large()).expect("written");
    assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o333, 0, "nobody may write");
    for mode in [0o664, 0o646] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("own");
        let mapped = Mapped::<Track>::open(&path).expect("valid");
        assert!(!mapped.file().is_in_place(), "{mode:o}");
        // SAFETY: nobody changes it before it is closed.
        let in_place = unsafe { Mapped::<Track>::open_in_place(&path) }.expect("valid");
        assert!(in_place.file().is_in_place());
        assert_eq!(in_place.get().samples, mapped.get().samples);
        drop(in_place);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("own");
        let copy = Mapped::<Track>::open_copy(&path).expect("valid");
        assert!(!copy.file().is_in_place(), "though it could be");
        truncate(&path, 64);
        assert_eq!(mapped.get().samples.len(), 1 << 18);
        assert!(mapped.get().samples.iter().zip(0..).all(|(sample, index)| *sample == index));
        assert_eq!(copy.get().samples, mapped.get().samples);
        mapped.verify().expect("a copy stays");
        mapped::write(&path, &large()).expect("written");
    }
}

/// [T35] what is written to a copy-on-write mapping stays in the process
#[test]
fn copy_on_write_leaves_the_file_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bytes");
    mapped::write_bytes(&path, 5, &[1, 2, 3]).expect("written");
    let file = MappedFile::open_copy_on_write(&path).expect("valid");
    let start = file.as_mut_ptr().expect("writable");
    // SAFETY: the first byte of the archive, which may be written to.
    unsafe { start.write_volatile(9) };
    assert_eq!(sum(&file), 9 + 2 + 3);
    file.verify().expect("the file is unchanged");
    let other = MappedFile::open(&path).expect("valid");
    assert!(other.as_mut_ptr().is_none());
    assert_eq!((sum(&other), other.len(), other.schema_hash()), (6, 3, 5));
}

/// [T02 T13] a function out of the registry writes straight into the mapping, and so do types
/// without content
#[test]
fn function_pointers_write_into_mappings() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("track");
    let value = track(10);
    let write = TypeEntry::of::<Track>().expect("a type").writer.expect("compiled in");
    let bytes = value.archived_size().expect("writable");
    let mut new = NewFile::create(&path, Track::SCHEMA_HASH, bytes).expect("room");
    assert_eq!(write(&value, new.archive()).expect("room"), bytes);
    new.sync().expect("a disk");
    new.publish().expect("a name");
    assert_eq!(Mapped::<Track>::open(&path).expect("valid").get().name, value.name);
    // SAFETY: just written, and nobody else knows it.
    let unchecked = unsafe { Mapped::<Track>::open_unchecked(&path) }.expect("there");
    assert_eq!(unchecked.get().name, value.name);

    let direct: fn(&Track, &mut [u8]) -> _ = Track::write_to_buffer;
    let mut new = NewFile::create(&path, Track::SCHEMA_HASH, bytes).expect("room");
    assert_eq!(direct(&value, new.archive()).expect("room"), bytes);
    drop(new);
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1, "not published");

    assert_eq!(mapped::write(&path, &Unit).expect("written"), 0);
    let unit = Mapped::<Unit>::open(&path).expect("valid");
    assert!(unit.file().is_empty());
    assert_eq!(size_of_val(unit.get()), 0);
}

/// [T35] whatever else is wrong has a kind of its own, and both hashes are named
#[test]
fn errors_have_kinds() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("track");
    let kind = |path: &Path| kind_of(Mapped::<Track>::open(path));
    assert_eq!(kind(&path), Some(ErrorKind::NotFound));
    assert_eq!(kind(folder.path()), Some(ErrorKind::ArchiveInvalid));
    assert_eq!(kind(&path.join("deeper")), Some(ErrorKind::NotFound));
    fs::write(&path, b"").expect("own");
    assert_eq!(kind(&path), Some(ErrorKind::ArchiveInvalid));
    assert_eq!(kind(&path.join("deeper")), Some(ErrorKind::Io), "a file is no folder");

    // A file that takes no room but announces 32 GiB is not mapped, and not copied either.
    let sparse = folder.path().join("sparse");
    mapped::write(&sparse, &Unit).expect("written");
    truncate(&sparse, (32 << 30) + 64);
    fs::set_permissions(&sparse, fs::Permissions::from_mode(0o600)).expect("own");
    let file = OpenOptions::new().write(true).open(&sparse).expect("own");
    file.write_all_at(&(32_u64 << 30).to_le_bytes(), 24).expect("own");
    for error in [MappedFile::open(&sparse).err(), Mapped::<Unit>::open_copy(&sparse).err()] {
        let error = error.expect("too long");
        assert_eq!(error.kind(), ErrorKind::ArchiveInvalid);
        assert!(error.message().contains("34359738368 bytes"), "{error}");
    }

    let pipe = folder.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    assert_eq!(kind(&pipe), Some(ErrorKind::ArchiveInvalid), "and does not wait");

    mapped::write(&path, &Unit).expect("written");
    let error = Mapped::<Track>::open(&path).expect_err("another type");
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    for hash in [Unit::SCHEMA_HASH, Track::SCHEMA_HASH] {
        assert!(error.message().contains(&format!("{hash:016x}")), "{error}");
    }

    let missing = folder.path().join("missing").join("track");
    assert_eq!(kind_of(mapped::write(&missing, &track(1))), Some(ErrorKind::NotFound));
    assert_eq!(kind_of(NewFile::create(&path, 0, usize::MAX)), Some(ErrorKind::Io));
    // More than archives have: found before a byte is written.
    for bytes in [1 << 31, 1 << 60] {
        assert_eq!(kind_of(NewFile::create(&path, 0, bytes)), Some(ErrorKind::Io), "{bytes}");
    }
    Mapped::<Unit>::open(&path).expect("unharmed");
}

extern "C" fn ignore(_: c_int) {}

/// [T35] signals that arrive while the bytes of a file are reserved are no errors
#[test]
fn signals_do_not_stop_a_writer() {
    // SAFETY: a zeroed action is one without flags and mask: without SA_RESTART, too.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = ignore as *const () as usize;
    // SAFETY: the handler does nothing.
    let installed = unsafe { libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut()) };
    assert_eq!(installed, 0);
    // Where memory is the disk, reserving it is what signals interrupt.
    let shm = Path::new("/dev/shm");
    let base = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::tempdir_in(base).expect("a folder");
    let path = folder.path().join("large");
    // SAFETY: it asks for nothing.
    let writer = unsafe { libc::pthread_self() } as usize;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..200 {
                // SAFETY: the writer waits for this thread, so it is alive.
                unsafe { libc::pthread_kill(writer as libc::pthread_t, libc::SIGUSR2) };
                std::thread::sleep(std::time::Duration::from_micros(300));
            }
        });
        for _ in 0..8 {
            let mut file = NewFile::create(&path, 7, 32 << 20).expect("room, in spite of signals");
            file.archive()[..4].fill(1);
            file.publish().expect("a name");
        }
    });
    assert_eq!(MappedFile::open(&path).expect("written").len(), 32 << 20);
}

/// [T35] 100,000 damaged files give a value or a typed error
#[test]
fn damaged_files_are_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("track");
    mapped::write(&path, &track(4)).expect("written");
    let intact = fs::read(&path).expect("readable");
    fs::remove_file(&path).expect("own");
    let file = OpenOptions::new().write(true).create_new(true).open(&path).expect("own");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("own");
    let mut rng = Rng(35);
    let mut random = |below| rng.below(below);
    let mut refused = 0;
    let rounds = rounds(100_000);
    for round in 0..rounds {
        let mut bytes = intact.clone();
        // Every other one has an intact header, so that its archive is looked at.
        let from = if round % 2 == 0 { 64 } else { 0 };
        for _ in 0..=random(4) {
            let at = from + random(bytes.len() - from);
            bytes[at] = if random(2) == 0 { random(256) as u8 } else { bytes[at] ^ 1 << random(8) };
        }
        if random(16) == 0 {
            bytes.resize(random(2 * intact.len()), random(256) as u8);
        }
        file.set_len(bytes.len() as u64).expect("own");
        file.write_all_at(&bytes, 0).expect("room");
        match Mapped::<Track>::open(&path) {
            Ok(mapped) => {
                let track = mapped.get();
                let text = track.tags.iter().map(|tag| tag.chars().count()).sum::<usize>();
                assert!(text + track.samples.len() <= intact.len());
            }
            Err(error) => {
                let kind = error.kind();
                let expected = [ErrorKind::ArchiveInvalid, ErrorKind::SchemaMismatch];
                assert!(expected.contains(&kind), "{error}");
                refused += 1;
            }
        }
    }
    assert!((rounds / 5..rounds).contains(&refused), "{refused}");
}

/// [T35] bus errors that are not ours do what they did before
#[test]
fn other_bus_errors_are_passed_on() {
    if let Some((role, path)) = role() {
        return raise_a_bus_error(&role, &path);
    }
    let killed = (Some(libc::SIGBUS), None);
    for (role, end) in [
        ("sent, by default", killed),
        ("sent, ignored", (None, Some(0))),
        ("sent, handled", (None, Some(41))),
        ("fault", killed),
        ("fault, by default", killed),
        ("fault, ignored", killed),
        ("fault, handled", (None, Some(41))),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("track");
        mapped::write(&path, &large()).expect("written");
        let child = spawn("other_bus_errors_are_passed_on", role, &path);
        let (status, said) = meet(child, || truncate(&path, 8192));
        assert_eq!((status.signal(), status.code()), end, "{role}: {said}");
    }
}

fn raise_a_bus_error(role: &str, path: &Path) {
    let no_core = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, no_core).expect("less is allowed");
    let previous = match role.split_once(", ") {
        Some((_, "by default")) => Some(libc::SIG_DFL),
        Some((_, "ignored")) => Some(libc::SIG_IGN),
        Some((_, "handled")) => Some(end_by_41 as extern "C" fn(c_int) as usize),
        _ => None,
    };
    if let Some(previous) = previous {
        // SAFETY: an action of zeros is valid.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = previous;
        // SAFETY: the action is valid, and its handler ends the process as handlers may.
        unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) };
    }
    let file = MappedFile::open(path).expect("valid");
    let foreign = fs::File::open(path).expect("there");
    // SAFETY: read by volatile reads only, which are meant to fail.
    let foreign = unsafe { memmap2::Mmap::map(&foreign) }.expect("mapped");
    say("ready");
    wait_for_the_other();
    if role.starts_with("sent") {
        // SAFETY: what comes of it is the test.
        unsafe { libc::raise(libc::SIGBUS) };
    }
    assert!(sum(&file) > 0, "this one is guarded");
    if role.starts_with("fault") {
        // SAFETY: as above.
        let last = unsafe { foreign.as_ptr().add(foreign.len() - 1) };
        // SAFETY: as above.
        unsafe { last.read_volatile() };
    }
}

extern "C" fn end_by_41(_: c_int) {
    // SAFETY: ends the process, as handlers may.
    unsafe { libc::_exit(41) };
}

/// [T35] beyond the number of files that can be guarded, files are read and written as a whole
#[test]
fn more_files_than_guards_are_copied() {
    const GUARDS_MAX: usize = 1024;
    let Some((_, path)) = role() else {
        // Of its own, so that nobody else needs guards.
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("track");
        mapped::write(&path, &track(3)).expect("written");
        let child = spawn("more_files_than_guards_are_copied", "alone", &path);
        let (status, said) = meet(child, || ());
        assert!(status.success(), "{said}");
        return;
    };
    say("ready");
    let maximum = getrlimit(Resource::Nofile).maximum;
    assert!(maximum.is_none_or(|maximum| maximum > 2000), "needs as many files");
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the maximum");
    let open = |_| Mapped::<Track>::open(&path).expect("valid");
    let mut files: Vec<_> = (0..GUARDS_MAX + 2).map(open).collect();
    let in_place = |file: &Mapped<Track>| file.file().is_in_place();
    assert_eq!(files.iter().filter(|file| in_place(file)).count(), GUARDS_MAX);
    assert!(!in_place(&files[GUARDS_MAX]));
    assert_eq!(files[GUARDS_MAX].get().name, files[0].get().name);

    // A writer without a guard gets its bytes into the file as well.
    mapped::write(&path, &track(4)).expect("written");
    assert_eq!(open(0).get().samples.len(), 4);
    files.swap_remove(0);
    assert!(in_place(&open(0)), "there is a guard again");
}
