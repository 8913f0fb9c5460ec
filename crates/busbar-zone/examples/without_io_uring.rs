//! Runs a program that is not allowed to use io_uring, as in many containers:
//! `without_io_uring PROGRAM ARGUMENTS…`. Specs run Node by it.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::collections::BTreeMap;
    use std::env;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    let mut arguments = env::args_os().skip(1);
    let program = arguments.next().ok_or("usage: without_io_uring PROGRAM ARGUMENTS…")?;
    // `io_uring_setup`, `io_uring_enter`, `io_uring_register`: the same numbers everywhere.
    let rules: BTreeMap<_, _> = (425..=427).map(|call| (call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let target = env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, target)?;
    seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
    Err(Command::new(program).args(arguments).exec().into())
}

#[cfg(not(target_os = "linux"))]
fn main() {}
