//! Libraries to load: `physics`, which cargo builds with the tests, and libraries in C that are
//! compiled here, each a little wrong in its own way.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use busbar_types::registry::Registry;
use busbar_types::schema::hash_of;
use busbar_zone::{Error, Loader, Mode, Options, ProcessOptions, Trust, Zone};
use tempfile::TempDir;

/// A plugin in C: `fixtures/plugin.c`.
pub(crate) const PLUGIN: &str = include_str!("fixtures/plugin.c");

/// What `plugin.c` gives as the text of its type.
pub(crate) const TEXT: &str = "a text, as far as C cares";

/// Longer than anything takes that these tests wait for.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Waits for what other threads or processes do soon.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LONG, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A folder that only its owner can write to.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("allowed");
    folder
}

/// The example of the SDK, a `cdylib`.
pub(crate) fn physics() -> PathBuf {
    example("physics")
}

/// Another one, a `dylib`.
pub(crate) fn quirks() -> PathBuf {
    example("quirks")
}

fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let examples = test.ancestors().nth(2).expect("target/debug").join("examples");
    let file = format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    examples.join(file)
}

/// Compiles a library from C.
pub(crate) fn compile(source: &str, into: &Path, defines: &[&str]) {
    let file = into.with_extension("c");
    fs::write(&file, source).expect("written");
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include");
    let output = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-unused", "-O1"])
        .args(["-fPIC", "-shared", "-I"])
        .arg(include)
        .args(defines.iter().map(|define| format!("-D{define}")))
        .arg("-o")
        .args([into, &file])
        .arg("-lpthread")
        .output()
        .expect("a C compiler is needed for this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::set_permissions(into, fs::Permissions::from_mode(0o755)).expect("allowed");
}

/// A library in a folder of its own.
pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) path: PathBuf,
}

impl Fixture {
    pub(crate) fn new(source: &str, defines: &[&str]) -> Self {
        let folder = folder();
        let path = folder.path().join(format!("fixture{}", std::env::consts::DLL_SUFFIX));
        compile(source, &path, defines);
        Self { folder, path }
    }

    /// The plugin in C.
    pub(crate) fn plugin(defines: &[&str]) -> Self {
        let hash = format!("HASH={}ULL", hash_of(TEXT.as_bytes()));
        let is_lying = defines.iter().any(|define| define.starts_with("HASH="));
        let hash = (!is_lying).then_some(&*hash);
        Self::new(PLUGIN, &[defines, hash.as_slice()].concat())
    }
}

/// A file that a plugin in C waits for: what `GATE` is defined as.
pub(crate) struct Gate {
    folder: TempDir,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { folder: folder() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("gate")
    }

    pub(crate) fn define(&self) -> String {
        format!("GATE={:?}", self.path())
    }

    /// Waits until somebody waits for it.
    pub(crate) fn await_reached(&self) {
        let reached = self.path().with_extension("reached");
        until("somebody waits", || reached.exists());
    }

    pub(crate) fn open(&self) {
        fs::write(self.path(), "").expect("written");
    }
}

/// A registry of a test's own.
pub(crate) fn registry() -> &'static Registry {
    Box::leak(Box::new(Registry::new()))
}

pub(crate) fn loader() -> Loader {
    Loader::new(registry(), trusting())
}

/// What cargo builds may be writable by a group: that is not what these tests are about.
pub(crate) fn trusting() -> Trust {
    let mut trust = Trust::default();
    trust.allow_insecure();
    trust
}

pub(crate) fn load(path: &Path, options: &Options<'_>) -> Result<Zone, Error> {
    // SAFETY: our own fixtures, whose faults are those that the loader finds.
    unsafe { loader().load(path, options) }
}

/// Of this mode, with a process where it needs one.
pub(crate) fn options(mode: Mode) -> Options<'static> {
    static PROCESS: LazyLock<ProcessOptions> = LazyLock::new(process);
    let mut options = Options::new(mode);
    options.process = Some(&PROCESS);
    options
}

/// A process of the executable that was built with this test.
pub(crate) fn process() -> ProcessOptions {
    let mut process = ProcessOptions::new(env!("CARGO_BIN_EXE_busbar-host"));
    if let Some(mut options) = address_sanitizer() {
        // A host inherits no variable; and what of it crashes on purpose is to end by its signal.
        options.push(":handle_segv=0:handle_sigbus=0:handle_sigfpe=0");
        process.env = Some(vec![(ASAN_OPTIONS.into(), options)]);
    }
    process
}

/// The options of AddressSanitizer, if these tests run under it (`cargo asan`).
pub(crate) fn address_sanitizer() -> Option<OsString> {
    std::env::var_os(ASAN_OPTIONS)
}

const ASAN_OPTIONS: &str = "ASAN_OPTIONS";

pub(crate) fn inline(path: &Path) -> Zone {
    load(path, &Options::new(Mode::Inline)).expect("it loads")
}

/// An address or thread, as a plugin writes it.
#[expect(clippy::host_endian_bytes, reason = "the plugin is in this process")]
pub(crate) fn word(bytes: &[u8]) -> usize {
    usize::from_ne_bytes(bytes.try_into().expect("8 bytes"))
}

/// How many instances of the plugin in C there are.
#[expect(clippy::host_endian_bytes, reason = "the plugin is in this process")]
pub(crate) fn alive(zone: &Zone) -> i32 {
    let mut count = [0; 4];
    let method = zone.method("alive").expect("it has it");
    zone.call(method, &[], &mut count).expect("it counts");
    i32::from_ne_bytes(count)
}
