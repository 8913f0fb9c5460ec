//! Names of `shm://`: who owns them, and what is left of those who owned them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::sync::Arc;

use busbar_io::{Access, AccessList, Code, Event, ListenOptions, PipeOptions, dial, listen};

use crate::support::{Driven, PATIENCE, Role, Scratch, endpoint};

/// A socket file whose owner was killed.
fn stale(scratch: &Scratch) {
    let mut owner = Role::start("listen", &scratch.shm());
    owner.hears("listening");
    owner.kill();
    assert!(scratch.socket().exists());
}

/// [D37 D38] the next listener takes the name over from one that was killed
#[test]
fn a_stale_name_can_be_bound() {
    let scratch = Scratch::new("stale-bind");
    stale(&scratch);
    let mut driven = Driven::new();
    driven.listen(&scratch.shm(), &ListenOptions::default());
    driven.dial(&scratch.shm(), &PipeOptions::default());
    driven.accepted();
}

/// [D37 D38] whoever dials a dead listener is told so and cleans up
#[test]
fn a_stale_name_is_swept_by_dial() {
    let scratch = Scratch::new("stale-dial");
    stale(&scratch);
    let error = dial(&scratch.shm(), PipeOptions::default(), PATIENCE).err().unwrap();
    assert_eq!((error.code(), error.is_retryable()), (Code::NotFound, true));
    assert!(!scratch.socket().exists());
}

/// [D37 D38] no file is taken for a stale socket that is none
#[test]
fn other_files_are_left_alone() {
    let scratch = Scratch::new("file");
    fs::write(scratch.socket(), "precious").unwrap();
    let error = dial(&scratch.shm(), PipeOptions::default(), PATIENCE).err().unwrap();
    assert_eq!(error.code(), Code::NotFound);
    let error = listen(&scratch.shm(), ListenOptions::default()).err().unwrap();
    assert_eq!(error.code(), Code::AddrInUse);
    assert_eq!(fs::read_to_string(scratch.socket()).unwrap(), "precious");
}

/// [D37 I30] a name has one owner, who does not even notice that others want it
#[test]
fn a_second_listener_is_told_and_the_first_goes_on() {
    let scratch = Scratch::new("second");
    let mut driven = Driven::new();
    driven.listen(&scratch.shm(), &ListenOptions::default());
    for _ in 0..3 {
        let options = ListenOptions::default();
        let error = driven.engine.listen(&endpoint(&scratch.shm()), &options).unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), (Code::AddrInUse, false), "{error}");
    }
    driven.settle();
    assert!(driven.events.is_empty(), "{:?}", driven.events);
    driven.dial(&scratch.shm(), &PipeOptions::default());
    driven.accepted();
}

/// [D37 D38] a listener leaves no file, but never takes another's with it
#[test]
fn dropping_a_listener_removes_its_own_file_only() {
    let scratch = Scratch::new("drop");
    let bind = || listen(&scratch.shm(), ListenOptions::default()).unwrap();
    drop(bind());
    assert!(!scratch.socket().exists());
    let first = bind();
    fs::remove_file(scratch.socket()).unwrap();
    let second = bind();
    drop(first);
    assert!(scratch.socket().exists(), "it belongs to the second");
    drop(second);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

/// [D37] every name that parses either fits a socket address or says that it does not
#[test]
fn a_path_that_is_too_long_says_so() {
    let address = format!("shm:///tmp/{}", "x".repeat(120));
    let error = listen(&address, ListenOptions::default()).err().unwrap();
    assert_eq!(error.code(), Code::InvalidAddress, "{error}");
    let error = dial(&address, PipeOptions::default(), PATIENCE).err().unwrap();
    assert_eq!(error.code(), Code::InvalidAddress, "{error}");
}

/// [D41] a process of another user may neither dial nor be dialed, whatever the path's mode allows
#[test]
fn another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "skipped: only root can become another user");
        return;
    }
    let open = |scratch: &Scratch| {
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
    };
    let as_nobody = |role, scratch: &Scratch| {
        // The build directory may be in a place that only its owner can enter.
        let binary = scratch.path().join("it");
        fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
        let mut command = Role::command_of(&binary, role, &scratch.shm());
        Role::spawn(command.uid(65_534).gid(65_534))
    };

    // They dial us.
    let scratch = Scratch::new("dialed");
    open(&scratch);
    let mut driven = Driven::new();
    driven.listen(&scratch.shm(), &ListenOptions::default());
    fs::set_permissions(scratch.socket(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut stranger = as_nobody("stranger", &scratch);
    let outcome = std::thread::spawn(move || {
        let outcome = stranger.hears("outcome");
        stranger.finish();
        outcome
    });
    let warning = driven.warning();
    assert_eq!(warning.code(), Code::PermissionDenied, "{warning}");
    assert!(warning.message().contains("65534"), "{warning}");
    assert_eq!(outcome.join().unwrap(), "ERR_PERMISSION_DENIED");

    // We dial them.
    let scratch = Scratch::new("dialing");
    open(&scratch);
    let mut stranger = as_nobody("listen", &scratch);
    stranger.hears("listening");
    let error = dial(&scratch.shm(), PipeOptions::default(), PATIENCE).err().unwrap();
    assert_eq!((error.code(), error.is_retryable()), (Code::PermissionDenied, false), "{error}");
}

/// [D51] at a unix socket, users and groups can be listed; who is not listed is told so
#[test]
fn users_and_groups_can_be_listed() {
    if !rustix::process::geteuid().is_root() {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "skipped: only root can become another user");
        return;
    }
    let listed = |uids: &[u32], gids: &[u32]| {
        let mut list = AccessList::default();
        (list.uids, list.gids) = (uids.to_vec(), gids.to_vec());
        Access::Listed(Arc::new(list))
    };
    for (access, expected) in [
        (listed(&[65_534], &[]), "connected"),
        (listed(&[], &[65_534]), "connected"),
        (listed(&[0], &[0]), "ERR_PERMISSION_DENIED"),
        (listed(&[], &[]), "ERR_PERMISSION_DENIED"),
        (Access::SameUser, "ERR_PERMISSION_DENIED"),
        (Access::Anyone, "connected"),
    ] {
        let scratch = Scratch::new("listed");
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let binary = scratch.path().join("it");
        fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
        let mut options = ListenOptions::default();
        options.mode = 0o666;
        options.pipe.access = access;
        let mut driven = Driven::new();
        let address = scratch.address("uds");
        driven.listen(&address, &options);
        let mut command = Role::command_of(&binary, "guest", &address);
        let guest = Role::spawn(command.uid(65_534).gid(65_534));
        assert_eq!(outcome_of(guest, &mut driven), expected, "{:?}", options.pipe.access);
        let is_accepted = |event: &Event| matches!(event, Event::Accepted { .. });
        assert_eq!(driven.events.iter().any(is_accepted), expected == "connected");
    }
}

/// What the guest says came of it.
fn outcome_of(mut guest: Role, driven: &mut Driven) -> String {
    let outcome = std::thread::spawn(move || {
        let outcome = guest.hears("outcome");
        guest.finish();
        outcome
    });
    while !outcome.is_finished() {
        driven.settle();
    }
    outcome.join().unwrap()
}

/// [D51] a process belongs to all of its groups, not only to the first
#[test]
fn every_group_of_a_peer_counts() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let is_root = rustix::process::geteuid().is_root();
    if !is_root || Command::new("setpriv").arg("--version").output().is_err() {
        let _ = writeln!(std::io::stderr(), "skipped: only root can join groups, by setpriv");
        return;
    }
    for (groups, expected) in [
        ("4242", "connected"),
        ("4241,4243", "ERR_PERMISSION_DENIED"),
        (
            "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,\
          33,34,4242",
            "connected",
        ),
    ] {
        let scratch = Scratch::new("groups");
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let binary = scratch.path().join("it");
        fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
        let mut options = ListenOptions::default();
        options.mode = 0o666;
        let mut list = AccessList::default();
        list.gids = vec![4242];
        options.pipe.access = Access::Listed(Arc::new(list));
        let mut driven = Driven::new();
        let address = scratch.address("uds");
        driven.listen(&address, &options);
        let plain = Role::command_of(&binary, "guest", &address);
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--groups", groups]);
        command.arg(plain.get_program()).args(plain.get_args()).stdout(Stdio::piped());
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let outcome = outcome_of(Role::spawn(&mut command), &mut driven);
        assert_eq!(outcome, expected, "{groups}");
    }
}
