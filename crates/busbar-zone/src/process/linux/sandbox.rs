//! What a host gives up before any code of a plugin runs: limits of resources, and system calls,
//! which fail with `EPERM` then.

use std::collections::BTreeMap;

use rustix::process::{Resource, Rlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::Sandbox;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Applies all of it to this process, which has one thread.
pub(super) fn apply(sandbox: &Sandbox) -> Result<(), String> {
    let limits = [
        (Resource::Data, sandbox.memory_bytes, "memory"),
        (Resource::Cpu, sandbox.cpu_seconds, "processor time"),
        (Resource::Nofile, sandbox.files, "files"),
    ];
    for (resource, limit, what) in limits {
        if limit.is_some() {
            let limit = Rlimit { current: limit, maximum: limit };
            rustix::process::setrlimit(resource, limit)
                .map_err(|errno| format!("limiting {what}: {errno}"))?;
        }
    }
    let rules = denied(sandbox).map_err(|error| error.to_string())?;
    if rules.is_empty() {
        return Ok(());
    }
    let target = std::env::consts::ARCH.try_into();
    let refuse = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let filter = target
        .and_then(|target| SeccompFilter::new(rules, SeccompAction::Allow, refuse, target))
        .and_then(BpfProgram::try_from)
        .map_err(|error| format!("making a filter of system calls: {error}"))?;
    // It gives up new privileges, too.
    seccompiler::apply_filter(&filter).map_err(|error| format!("filtering system calls: {error}"))
}

/// System calls that are refused, some for certain arguments only.
fn denied(sandbox: &Sandbox) -> Result<Rules, seccompiler::BackendError> {
    let mut rules = Rules::new();
    let mut deny = |calls: &[i64]| rules.extend(calls.iter().map(|call| (*call, Vec::new())));
    let Sandbox { deny_exec, deny_network, deny_write, .. } = *sandbox;
    if deny_exec || deny_network || deny_write {
        // Ways around: what others do for this process, and what kernels do without a system call.
        deny(&[libc::SYS_ptrace, libc::SYS_process_vm_writev, libc::SYS_process_vm_readv]);
        deny(&[libc::SYS_io_uring_setup, libc::SYS_pidfd_getfd]);
        // Signals to others; to itself, as `abort` does, a process sends them by `tgkill`.
        deny(&[libc::SYS_kill, libc::SYS_tkill, libc::SYS_pidfd_send_signal]);
        for call in [libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo] {
            rules.insert(call, to_others()?);
        }
    }
    let mut deny = |calls: &[i64]| rules.extend(calls.iter().map(|call| (*call, Vec::new())));
    if deny_exec {
        deny(&[libc::SYS_execve, libc::SYS_execveat]);
    }
    if deny_network {
        deny(&[libc::SYS_socket, libc::SYS_connect, libc::SYS_bind, libc::SYS_listen]);
    }
    if deny_write {
        deny(WRITING);
        #[cfg(target_arch = "x86_64")]
        deny(WRITING_OLD);
        rules.insert(libc::SYS_openat, opened_to_write(2)?);
        #[cfg(target_arch = "x86_64")]
        rules.insert(libc::SYS_open, opened_to_write(1)?);
    }
    Ok(rules)
}

/// What changes folders and files, by name or through what was opened to be read. (`openat2` hides
/// its flags from filters: whoever is refused it falls back on `openat`.) Binding a socket makes a
/// file, or not: filters do not see which.
const WRITING: &[i64] = &[
    libc::SYS_openat2,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_truncate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_bind,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_mount,
    libc::SYS_umount2,
];

#[cfg(target_arch = "x86_64")]
const WRITING_OLD: &[i64] = &[
    libc::SYS_creat,
    libc::SYS_unlink,
    libc::SYS_rmdir,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_mkdir,
    libc::SYS_mknod,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];

/// A rule that matches if the first argument is the number of another process.
fn to_others() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let own = u64::from(std::process::id());
    let others = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, own)?;
    Ok(vec![SeccompRule::new(vec![others])?])
}

/// Rules that match if the flags in this argument are for more than reading.
fn opened_to_write(argument: u8) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let flags = [
        (libc::O_ACCMODE, libc::O_WRONLY),
        (libc::O_ACCMODE, libc::O_RDWR),
        (libc::O_CREAT, libc::O_CREAT),
        (libc::O_TRUNC, libc::O_TRUNC),
    ];
    let rules = flags.map(|(mask, value)| {
        let mask = SeccompCmpOp::MaskedEq(u64::from(mask.cast_unsigned()));
        let value = u64::from(value.cast_unsigned());
        let width = SeccompCmpArgLen::Dword;
        SeccompRule::new(vec![SeccompCondition::new(argument, width, mask, value)?])
    });
    rules.into_iter().collect()
}
