//! Rights that a process gives up for good.

use std::{ffi::CString, io};

use rustix::thread::{CapabilitySet, CapabilitySets};

use super::Subject;

/// New files are private, nothing is dumped, nothing can be gained by starting a program.
pub(super) fn harden() -> io::Result<()> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let nothing = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(rustix::process::Resource::Core, nothing)?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Root without its powers: the collector keeps the one to read call records that belong to the PBX, a session and its
/// shell keep it for log and config files, the archivist for config files; the keeper keeps the one to remove recordings from directories that belong to
/// the PBX. The supervisor keeps both for them, and hands them on where it is not root; everybody else keeps none. What
/// may be read and removed is decided by the file rules before that.
///
/// It allocates nothing, so that it may be called between fork and exec.
pub(super) fn drop_capabilities(subject: Subject) -> io::Result<()> {
    let keep = match subject {
        Subject::Supervisor | Subject::Keeper => CapabilitySet::DAC_READ_SEARCH | CapabilitySet::DAC_OVERRIDE,
        Subject::Collector | Subject::Session | Subject::Shell | Subject::Archivist => CapabilitySet::DAC_READ_SEARCH,
        Subject::Link | Subject::Web | Subject::Messenger | Subject::Command => CapabilitySet::empty(),
    };
    let now = rustix::thread::capabilities(None)?;
    if now.effective.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all().iter().filter(|capability| !keep.contains(*capability)) {
            // The kernel may be older than the newest capability.
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let sets = CapabilitySets {
        effective: now.effective & keep,
        permitted: now.permitted & keep,
        inheritable: if subject == Subject::Supervisor { now.inheritable & keep } else { CapabilitySet::empty() },
    };
    // Whoever has nothing to give up does not ask: a unit that grants nothing can then refuse the call altogether.
    if sets == now { Ok(()) } else { Ok(rustix::thread::set_capabilities(None, sets)?) }
}

/// The name that `ps` and `top` show; the kernel keeps 15 bytes of it.
pub fn name_process(name: &str) {
    if let Ok(name) = CString::new(name) {
        // A process without its name works as well.
        let _ = rustix::thread::set_name(&name);
    }
}
