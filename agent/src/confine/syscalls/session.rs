//! What a support session and its shell may not ask of the kernel, beyond what nobody here may.

use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompRule};

use demarc_proto::support::Scope;

use super::{FAMILY, PROTOCOL, Rules, TYPE, TYPE_MASK, deny_always, dword, no_programs, no_sockets, rule};
use crate::confine::{Profile, Subject};

/// Requests of `ioctl` as the kernel numbers them; the C library's names have another type.
const TIOCSTI: libc::c_int = 0x5412;
const TIOCLINUX: libc::c_int = 0x541c;
const TIOCSETD: libc::c_int = 0x5423;

/// The bits of a request of `ioctl` that say what kind of thing it is for.
const TYPE_BITS: std::ops::Range<u32> = 8..16;
/// Terminals.
const TERMINALS: u64 = 0x54 << 8;

/// Being told of files that come and go: names of recordings tell much, and file rules do not see who watches.
const WATCHING: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_inotify_init,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
];

/// Ways to other processes of the same user that no file leads to: memory and queues that are shared by number, and
/// calls that reach into a process by its number.
const OTHER_PROCESSES: &[libc::c_long] = &[
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
];

/// Calls whose first argument is the number of a process, zero for the caller's own.
const ANOTHERS_SCHEDULING: &[libc::c_long] = &[
    libc::SYS_prlimit64,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setaffinity,
];

/// Calls whose first two arguments say whose priority is meant, with what the first is for one process.
const ANOTHERS_PRIORITY: &[(libc::c_long, libc::c_int)] = &[(libc::SYS_setpriority, 0), (libc::SYS_ioprio_set, 1)];

/// Every flag of `clone` that makes a namespace.
const NAMESPACES: &[libc::c_int] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// What is answered with "not permitted".
pub(super) fn refused(profile: &Profile) -> Result<Rules, BackendError> {
    let is_shell = profile.subject == Subject::Shell;
    let mut refused = deny_always(WATCHING);
    refused.extend(deny_always(&[libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4]));
    if is_shell || matches!(profile.scope, Some(Scope::Diagnose | Scope::Shell)) {
        let namespaces: Result<Vec<SeccompRule>, _> = NAMESPACES.iter().map(|flag| has_flag(*flag)).collect();
        refused.insert(libc::SYS_clone, namespaces?);
    } else {
        refused.extend(no_programs()?);
    }
    if is_shell {
        refused.extend(deny_always(OTHER_PROCESSES));
        for call in ANOTHERS_SCHEDULING {
            refused.insert(*call, vec![differs(0, 0)?]);
        }
        for (call, one_process) in ANOTHERS_PRIORITY {
            refused.insert(*call, vec![differs(0, *one_process)?, differs(1, 0)?]);
        }
        // Typing into a terminal on somebody's behalf, as if it came over the line; and having the kernel load a driver
        // for what lies behind a terminal.
        let of_terminals = [TIOCSTI, TIOCLINUX, TIOCSETD].map(|request| equals(1, request));
        let requests = of_terminals.into_iter().chain(TYPE_BITS.map(not_a_terminals));
        refused.insert(libc::SYS_ioctl, requests.collect::<Result<_, _>>()?);
        // A lease makes everybody else wait who opens the file.
        refused.insert(libc::SYS_fcntl, vec![equals(1, libc::F_SETLEASE)?, equals(1, libc::F_NOTIFY)?]);
    }
    Ok(refused)
}

fn has_flag(flag: libc::c_int) -> Result<SeccompRule, BackendError> {
    let flag = u64::from(flag.unsigned_abs());
    rule(&[(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag)])
}

/// A request whose kind differs in that bit from a terminal's. Others change flags of files, or freeze them for good, and
/// ask for no more than a file that is open for reading.
fn not_a_terminals(bit: u32) -> Result<SeccompRule, BackendError> {
    let mask = 1 << bit;
    rule(&[(1, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), !TERMINALS & mask)])
}

fn equals(argument: u8, value: libc::c_int) -> Result<SeccompRule, BackendError> {
    rule(&[dword(argument, SeccompCmpOp::Eq, value)])
}

fn differs(argument: u8, value: libc::c_int) -> Result<SeccompRule, BackendError> {
    rule(&[dword(argument, SeccompCmpOp::Ne, value)])
}

/// What is answered with "access denied": sockets, but for those that the scope cannot do without.
pub(super) fn sockets(profile: &Profile) -> Result<Rules, BackendError> {
    if profile.subject == Subject::Shell {
        // Even a pair can be pointed at somebody else's socket, where it takes datagrams.
        return Ok(no_sockets());
    }
    let allowed: &[(libc::c_int, libc::c_int, libc::c_int)] = match profile.scope {
        Some(Scope::Forward(_)) => &[
            (libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_TCP),
            (libc::AF_INET6, libc::SOCK_STREAM, libc::IPPROTO_TCP),
        ],
        // Asterisk's console is a unix socket; the way to the hub is measured, and its name looked up, by datagrams.
        Some(Scope::Diagnose) => &[
            (libc::AF_UNIX, libc::SOCK_STREAM, 0),
            (libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDP),
            (libc::AF_INET6, libc::SOCK_DGRAM, libc::IPPROTO_UDP),
        ],
        Some(Scope::Shell | Scope::Files) | None => &[],
    };
    let mut rules = Vec::new();
    // No rule at all refuses every call.
    if !allowed.is_empty() {
        let families: Vec<_> = allowed.iter().map(|(family, ..)| dword(FAMILY, SeccompCmpOp::Ne, *family)).collect();
        rules.push(rule(&families)?);
    }
    for (family, kind, protocol) in allowed {
        let of_family = dword(FAMILY, SeccompCmpOp::Eq, *family);
        // There is no "not equal under a mask": each other type is named.
        for other in (0..=i32::try_from(TYPE_MASK).unwrap_or(i32::MAX)).filter(|other| other != kind) {
            rules.push(rule(&[of_family.clone(), dword(TYPE, SeccompCmpOp::MaskedEq(TYPE_MASK), other)])?);
        }
        // Another protocol behind the same type (MPTCP, SCTP) would not be held to a port.
        let is_set = dword(PROTOCOL, SeccompCmpOp::Ne, 0);
        rules.push(rule(&[of_family, is_set, dword(PROTOCOL, SeccompCmpOp::Ne, *protocol)])?);
    }
    // The runtime keeps a pair of its own.
    let pair = rule(&[dword(FAMILY, SeccompCmpOp::Ne, libc::AF_UNIX)])?;
    Ok(Rules::from([(libc::SYS_socket, rules), (libc::SYS_socketpair, vec![pair])]))
}
