//! The boot clock: it counts from the machine's start, goes on while the machine sleeps, and nobody can set it.

use std::{fs, io, time::Duration};

/// A moment of this boot.
pub fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The name of this boot: another one after each start of the machine.
///
/// # Errors
/// When the kernel does not tell.
pub fn id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on_and_the_boot_has_a_name() {
        let before = now();
        assert!(now() >= before && before > Duration::ZERO);
        assert_eq!(id().unwrap(), id().unwrap());
        assert!(!id().unwrap().is_empty());
    }
}
