//! What a later Landlock would see to, seen to by filters on kernels with an earlier one, or none.
//!
//! Two gaps are closed here. Before version 3 a file may be cut off by whoever may write it, whatever his rules say:
//! `truncate` looks at no rule, and `open` takes `O_TRUNC` for neither reading nor writing. Before version 6 a process may
//! signal every other one of the same user. The rest is closed for every version: a session's shell makes no socket, so that
//! no port (4) and no name without a file (6) is in its reach, and of devices (5) it is let ask what a terminal answers.

use seccompiler::{BackendError, BpfProgram, SeccompCmpOp, SeccompRule};

use demarc_proto::support::Scope;

use super::{Rules, deny_always, dword, filter, rule};
use crate::confine::{Profile, Subject, layout::SCOPED_SIGNALS};

/// From this version on cutting a file off is a right of its own.
const TRUNCATES: u32 = 3;

/// Ways to signal another process, beside `kill` itself.
const SIGNALS: &[libc::c_long] = &[
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
];
/// `fcntl` that has the kernel signal whoever is named when a file has something to say, with any signal.
const OWNERS: &[libc::c_int] = &[libc::F_SETOWN, F_SETOWN_EX, F_SETSIG];
/// As the kernel numbers them; the C library's header for Rust does not.
const F_SETSIG: libc::c_int = 10;
const F_SETOWN_EX: libc::c_int = 15;

/// Which argument of a call holds the flags with which a file is opened.
const OPENS: &[(libc::c_long, u8)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1),
    (libc::SYS_openat, 2),
];
/// What is neither for reading nor for writing, and cuts a file off all the same.
const NEITHER: libc::c_int = libc::O_ACCMODE;

/// The filters that this kernel makes necessary, beyond those of every kernel.
pub(super) fn filters(profile: &Profile) -> Result<Vec<BpfProgram>, BackendError> {
    let version = profile.landlock.unwrap_or(0);
    let mut filters = Vec::new();
    if version < TRUNCATES {
        filters.push(filter(cut_off()?, libc::EPERM)?);
        // Its flags lie in memory, where a filter cannot look. The keeper goes through trees by it; the supervisor's children
        // inherit what binds it.
        if !matches!(profile.subject, Subject::Supervisor | Subject::Keeper | Subject::Command) {
            filters.push(filter(deny_always(&[libc::SYS_openat2]), libc::ENOSYS)?);
        }
    }
    let starts_programs = matches!(profile.scope, Some(Scope::Shell | Scope::Diagnose));
    match profile.subject {
        _ if version >= SCOPED_SIGNALS => {}
        Subject::Shell => filters.push(filter(signals(true)?, libc::EPERM)?),
        // A worker that starts programs has to end them.
        Subject::Session if !starts_programs => filters.push(filter(signals(false)?, libc::EPERM)?),
        _ => {}
    }
    Ok(filters)
}

fn cut_off() -> Result<Rules, BackendError> {
    let mut rules = deny_always(&[libc::SYS_truncate]);
    for (call, flags) in OPENS {
        rules.insert(*call, vec![cuts(*flags, libc::O_RDONLY)?, cuts(*flags, NEITHER)?]);
    }
    Ok(rules)
}

/// Flags that cut a file off while it is opened in that mode, which takes no right to write it.
fn cuts(flags: u8, mode: libc::c_int) -> Result<SeccompRule, BackendError> {
    let mask = u64::from((libc::O_TRUNC | libc::O_ACCMODE).unsigned_abs());
    rule(&[dword(flags, SeccompCmpOp::MaskedEq(mask), libc::O_TRUNC | mode)])
}

/// Every way to signal another process. Whoever leads a session of processes of its own may signal its own process group: that
/// is inherited, and can be left for another one of the same session alone, so that no outsider is in it.
fn signals(leads: bool) -> Result<Rules, BackendError> {
    let mut rules = deny_always(SIGNALS);
    let own_group = if leads { vec![rule(&[dword(0, SeccompCmpOp::Ne, 0)])?] } else { Vec::new() };
    rules.insert(libc::SYS_kill, own_group);
    let owners = OWNERS.iter().map(|command| rule(&[dword(1, SeccompCmpOp::Eq, *command)]));
    rules.insert(libc::SYS_fcntl, owners.collect::<Result<_, _>>()?);
    Ok(rules)
}
