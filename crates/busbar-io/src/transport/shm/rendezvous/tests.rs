//! Where the ends meet: whose directory it is, and whose socket.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::thread;

use rustix::net::{SocketAddrUnix, SocketType};

use super::*;
use crate::transport::unix_socket::{has_owner, socket};

/// A directory of its own, removed with everything in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let name = format!("busbar-rendezvous-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn name(&self) -> ShmName {
        ShmName::Path(self.at("s.sock"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// [D41] the directory is made for its user alone, and found again
#[test]
fn a_private_directory_is_made_and_reused() {
    let scratch = Scratch::new("made");
    let directory = scratch.at("runtime");
    for _ in 0..2 {
        assert_eq!(private_directory(directory.clone(), uid()).unwrap(), directory);
        assert_eq!(mode(&directory), 0o700);
    }
}

/// [D41] [D51] a directory that others could use to pose as a listener is refused
#[test]
fn a_directory_that_is_not_private_is_refused() {
    let scratch = Scratch::new("refused");
    let refused = |path: PathBuf, uid| {
        let error = private_directory(path, uid).unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied, "{error}");
        assert!(error.message().contains("BUSBAR_RUNTIME_DIR"), "{error}");
    };
    for mode in [0o755, 0o701, 0o770, 0o777] {
        let directory = scratch.at(&format!("{mode:o}"));
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        refused(directory, uid());
    }
    let private = private_directory(scratch.at("private"), uid()).unwrap();
    refused(private.clone(), uid() + 1);
    let link = scratch.at("link");
    symlink(&private, &link).unwrap();
    refused(link, uid());
    let file = scratch.at("file");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
    refused(file, uid());
}

/// [D37] a missing parent is an error that names the directory
#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let scratch = Scratch::new("orphan");
    let directory = scratch.at("no/such");
    let error = private_directory(directory.clone(), uid()).unwrap_err();
    assert!(error.message().contains(directory.to_str().unwrap()), "{error}");
}

/// [D37] the longest name fits the longest directory that is accepted, and no longer one
#[test]
fn paths_are_measured() {
    let path = |len| ShmName::Path(PathBuf::from(format!("/{}", "x".repeat(len - 1))));
    assert!(socket_path(&path(PATH_BYTES_MAX)).is_ok());
    let error = socket_path(&path(PATH_BYTES_MAX + 1)).unwrap_err();
    assert_eq!(error.code(), Code::InvalidAddress, "{error}");
    let scratch = Scratch::new("measured");
    let longest = scratch.at(&"x".repeat(PATH_BYTES_MAX - scratch.0.as_os_str().len() - 1));
    let bound = bind(&ShmName::Path(longest.clone())).unwrap();
    connect(&ShmName::Path(longest)).unwrap();
    drop(bound);
}

/// [D37] [D38] asking whether a socket has an owner leaves nothing in the owner's queue
#[test]
fn an_owner_is_not_disturbed_by_being_asked_for() {
    let scratch = Scratch::new("asked");
    let bound = bind(&scratch.name()).unwrap();
    assert!(has_owner(bound.path()));
    assert!(!remove_if_dead(bound.path()));
    assert_eq!(bind(&scratch.name()).unwrap_err().code(), Code::AddrInUse);
    bound.listener.set_nonblocking(true).unwrap();
    assert_eq!(bound.listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

/// [D37] [D38] a socket without an owner is removed, a bound one that does not listen yet is not
#[test]
fn only_the_dead_are_removed() {
    let scratch = Scratch::new("dead");
    let path = scratch.at("s.sock");
    let young = socket(SocketType::STREAM).unwrap();
    rustix::net::bind(&young, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    assert_eq!(connect(&scratch.name()).unwrap_err().code(), Code::NotFound);
    assert!(path.exists());
    drop(young);
    assert_eq!(connect(&scratch.name()).unwrap_err().code(), Code::NotFound);
    assert!(!path.exists());
}

/// [D37] whoever holds the lock on a directory that others can enter delays nobody for long
#[test]
fn a_lock_that_is_held_delays_but_does_not_block() {
    let scratch = Scratch::new("lock");
    let lock = lock_directory_of(&scratch.at("s.sock")).unwrap();
    assert_eq!(connect(&scratch.name()).unwrap_err().code(), Code::NotFound);
    let error = bind(&scratch.name()).unwrap_err();
    assert!(error.message().contains("locked"), "{error}");
    drop(lock);
    bind(&scratch.name()).unwrap();
}

/// [D37] of many that want a name at once, over a dead owner's socket, exactly one gets it
#[test]
fn one_of_many_takes_over() {
    let scratch = Scratch::new("many");
    for _ in 0..50 {
        // What a killed owner leaves.
        drop(UnixListener::bind(scratch.at("s.sock")).unwrap());
        let bound: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| bind(&scratch.name()))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let codes: Vec<_> =
            bound.iter().filter_map(|r| r.as_ref().err()).map(Error::code).collect();
        assert_eq!(codes, [Code::AddrInUse; 3]);
        connect(&scratch.name()).unwrap();
    }
    assert!(!scratch.at("s.sock").exists());
}

/// [D38 D45] what killed listeners have left goes; living sockets and other files stay
#[test]
fn the_dead_are_swept_and_the_living_are_not() {
    let scratch = Scratch::new("sweep");
    let living = UnixListener::bind(scratch.at("living.sock")).unwrap();
    // Closing a listener leaves its file, as being killed does.
    drop(UnixListener::bind(scratch.at("dead.sock")).unwrap());
    drop(UnixListener::bind(scratch.at("not-ours")).unwrap());
    fs::write(scratch.at("file.sock"), "no socket").unwrap();
    remove_dead_in(&scratch.0);
    let mut left: Vec<_> =
        fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["file.sock", "living.sock", "not-ours"]);
    drop(living);
}
