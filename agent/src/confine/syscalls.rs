//! seccomp: system calls that no role has a use for, and the sockets that each may make.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, sock_filter,
};

mod older;
mod session;

use super::{Profile, Subject};

/// What nobody here needs, and what helps whoever broke in: looking into other processes, changing mounts and
/// namespaces, loading code into the kernel, opening files by handle past the file rules, and io_uring, whose
/// operations no filter sees.
const NEVER: &[libc::c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_personality,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
];

/// `fchmodat2`, `setxattrat` and `removexattrat` have one number on all architectures.
const SYS_FCHMODAT2: libc::c_long = 452;
const SYS_SETXATTRAT: libc::c_long = 463;
const SYS_REMOVEXATTRAT: libc::c_long = 466;

/// The file rules decide who opens a file. They say nothing about who changes its mode, owner, attributes or times; and
/// the user that demarc runs as owns many files, all of them where it is root.
const MODES_AND_OWNERS: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    SYS_FCHMODAT2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    SYS_SETXATTRAT,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    SYS_REMOVEXATTRAT,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
    libc::SYS_utimensat,
];

/// The argument that holds the family in `socket(family, type, protocol)`.
const FAMILY: u8 = 0;
const TYPE: u8 = 1;
const PROTOCOL: u8 = 2;
/// The bits of a socket's type beside `SOCK_NONBLOCK` and `SOCK_CLOEXEC`.
const TYPE_MASK: u64 = 0xf;

/// Puts the profile's filters in force for this thread and those it starts later.
pub(super) fn enforce(profile: &Profile) -> Result<(), seccompiler::Error> {
    filters(profile)?.iter().try_for_each(|filter| seccompiler::apply_filter(filter))
}

/// The profile's filters, in the order in which they are put in force.
pub(super) fn filters(profile: &Profile) -> Result<Vec<BpfProgram>, BackendError> {
    let subject = profile.subject;
    let mut filters = Vec::new();
    let mut refused = deny_always(NEVER);
    if matches!(subject, Subject::Collector | Subject::Link | Subject::Web | Subject::Keeper | Subject::Archivist) {
        refused.extend(no_programs()?);
        refused.extend(deny_always(MODES_AND_OWNERS));
        refused.extend(deny_always(&[libc::SYS_listen]));
        // What serves pages is given one socket to take connections from, and makes none.
        if subject != Subject::Web {
            refused.extend(deny_always(&[libc::SYS_accept, libc::SYS_accept4]));
        }
        filters.push(no_clone3()?);
    }
    if subject == Subject::Messenger {
        refused.extend(deny_always(MODES_AND_OWNERS));
    }
    if matches!(subject, Subject::Session | Subject::Shell) {
        refused.extend(deny_always(MODES_AND_OWNERS));
        refused.extend(session::refused(profile)?);
        filters.push(no_clone3()?);
    }
    filters.push(filter(refused, libc::EPERM)?);
    filters.extend(older::filters(profile)?);
    let sockets = match subject {
        Subject::Collector | Subject::Web | Subject::Command => only_unix_sockets()?,
        Subject::Link => only_internet_sockets()?,
        Subject::Session | Subject::Shell => session::sockets(profile)?,
        // It speaks over the one that it was born with.
        Subject::Keeper | Subject::Archivist => no_sockets(),
        // Its child, the link, could otherwise make none; the supervisor itself only speaks over pairs. The owner's program
        // may tell whom it likes.
        Subject::Supervisor | Subject::Messenger => no_raw_sockets()?,
    };
    filters.push(filter(sockets, libc::EACCES)?);
    filters.extend(no_x32());
    Ok(filters)
}

/// Neither programs nor processes.
fn no_programs() -> Result<Rules, BackendError> {
    let mut refused = deny_always(&[libc::SYS_execve, libc::SYS_execveat]);
    // A thread is welcome, a process is not.
    let thread = SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64);
    refused.insert(libc::SYS_clone, vec![rule(&[(0, SeccompCmpArgLen::Qword, thread, 0)])?]);
    #[cfg(target_arch = "x86_64")]
    refused.extend(deny_always(&[libc::SYS_fork, libc::SYS_vfork]));
    Ok(refused)
}

/// Its flags lie in memory, where a filter cannot look; the C library then falls back to `clone`.
fn no_clone3() -> Result<BpfProgram, BackendError> {
    filter(deny_always(&[libc::SYS_clone3]), libc::ENOSYS)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn deny_always(calls: &[libc::c_long]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

fn only_unix_sockets() -> Result<Rules, BackendError> {
    let other = rule(&[dword(FAMILY, SeccompCmpOp::Ne, libc::AF_UNIX)])?;
    Ok(Rules::from([(libc::SYS_socket, vec![other.clone()]), (libc::SYS_socketpair, vec![other])]))
}

fn no_sockets() -> Rules {
    deny_always(&[libc::SYS_socket, libc::SYS_socketpair, libc::SYS_connect, libc::SYS_bind])
}

/// TCP and UDP, and the routing table that the resolver sorts addresses by. No unix sockets: the link has no business
/// with the daemons of this machine.
fn only_internet_sockets() -> Result<Rules, BackendError> {
    let other = rule(&[
        dword(FAMILY, SeccompCmpOp::Ne, libc::AF_INET),
        dword(FAMILY, SeccompCmpOp::Ne, libc::AF_INET6),
        dword(FAMILY, SeccompCmpOp::Ne, libc::AF_NETLINK),
    ])?;
    let mut rules = vec![other];
    for family in [libc::AF_INET, libc::AF_INET6] {
        rules.push(rule(&[
            dword(FAMILY, SeccompCmpOp::Eq, family),
            dword(TYPE, SeccompCmpOp::MaskedEq(TYPE_MASK), libc::SOCK_RAW),
        ])?);
    }
    rules.push(rule(&[
        dword(FAMILY, SeccompCmpOp::Eq, libc::AF_NETLINK),
        dword(PROTOCOL, SeccompCmpOp::Ne, libc::NETLINK_ROUTE),
    ])?);
    let pair = rule(&[dword(FAMILY, SeccompCmpOp::Ne, libc::AF_UNIX)])?;
    Ok(Rules::from([(libc::SYS_socket, rules), (libc::SYS_socketpair, vec![pair])]))
}

fn no_raw_sockets() -> Result<Rules, BackendError> {
    let packet = rule(&[dword(FAMILY, SeccompCmpOp::Eq, libc::AF_PACKET)])?;
    let mut rules = vec![packet];
    for family in [libc::AF_INET, libc::AF_INET6] {
        rules.push(rule(&[
            dword(FAMILY, SeccompCmpOp::Eq, family),
            dword(TYPE, SeccompCmpOp::MaskedEq(TYPE_MASK), libc::SOCK_RAW),
        ])?);
    }
    Ok(Rules::from([(libc::SYS_socket, rules)]))
}

type Condition = (u8, SeccompCmpArgLen, SeccompCmpOp, u64);

fn dword(argument: u8, operator: SeccompCmpOp, value: libc::c_int) -> Condition {
    (argument, SeccompCmpArgLen::Dword, operator, u64::from(value.unsigned_abs()))
}

/// A rule that holds when all its conditions do.
fn rule(conditions: &[Condition]) -> Result<SeccompRule, BackendError> {
    let conditions = conditions
        .iter()
        .map(|(argument, length, operator, value)| {
            SeccompCondition::new(*argument, length.clone(), operator.clone(), *value)
        })
        .collect::<Result<_, _>>()?;
    SeccompRule::new(conditions)
}

/// A filter that answers these calls with that error. It ends a process that calls in the manner of another
/// architecture, whose numbers mean other calls.
fn filter(rules: Rules, error: libc::c_int) -> Result<BpfProgram, BackendError> {
    let refuse = SeccompAction::Errno(error.unsigned_abs());
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)?.try_into()
}

/// On x86-64 every call has a second number (x32), which a filter by number would miss; using one ends the process.
fn no_x32() -> Option<BpfProgram> {
    const LOAD: u16 = 0x20;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const X32_BIT: u32 = 0x4000_0000;
    cfg!(target_arch = "x86_64").then(|| {
        vec![
            sock_filter { code: LOAD, jt: 0, jf: 0, k: 0 },
            sock_filter { code: JUMP_IF_SET, jt: 0, jf: 1, k: X32_BIT },
            sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_KILL_PROCESS },
            sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
        ]
    })
}
