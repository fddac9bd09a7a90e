//! Gives memory back that only the start needed.
//!
//! Reading the settings, confining itself and opening a store touches far more of the program than waiting for the next
//! call does. Those pages stay mapped, and count, until somebody lets go of them.

use std::time::Duration;

/// By then a process has started, and waits.
const FIRST: Duration = Duration::from_secs(3);
/// What a busy hour touched is let go of later.
const EVERY: Duration = Duration::from_secs(120);

/// How much free memory a process keeps that moves many bytes, until it is given back with the rest.
const KEPT: libc::c_int = 1 << 20;

/// For a process that moves many bytes through buffers: to give each back and to ask for it again would take longer than
/// to fill it.
pub fn keep_buffers() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the allocator.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

/// Keeps an idle process small for as long as it runs.
pub async fn stay_small() {
    tokio::time::sleep(FIRST).await;
    loop {
        give_back();
        tokio::time::sleep(EVERY).await;
    }
}

/// Gives free heap memory back to the system, and lets go of the program's own pages. A page that is needed again comes
/// from the cache of the file, without the disk.
fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number, and only frees what nobody uses.
    unsafe {
        libc::malloc_trim(0);
    }
    // SAFETY: the callback keeps to the callback's contract, below.
    unsafe { libc::dl_iterate_phdr(Some(let_go), std::ptr::null_mut()) };
}

/// Lets go of the read-only segments of the program, which is the first object that is listed.
///
/// # Safety
/// To be called by `dl_iterate_phdr` alone, with a description of an object that is loaded.
unsafe extern "C" fn let_go(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the description and its headers live for as long as the callback runs.
    let (base, headers) = unsafe {
        let object = &*object;
        (object.dlpi_addr, std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)))
    };
    // SAFETY: takes a number, and looks up another.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    for header in headers {
        // A segment that can be written has been: the loader put addresses into it, which are in no file.
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let (Ok(start), Ok(length)) = (usize::try_from(base + header.p_vaddr), usize::try_from(header.p_memsz)) else {
            continue;
        };
        let first = start / page * page;
        let end = (start + length).next_multiple_of(page);
        // SAFETY: the pages are a read-only mapping of the program's file: the next access reads the same bytes.
        unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_DONTNEED) };
    }
    // Not zero: the libraries that follow are shared with the whole machine.
    1
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_program_goes_on() {
        let before = String::from("a text on the heap");
        for _ in 0..3 {
            super::give_back();
        }
        assert_eq!(before, ["a", "text", "on", "the", "heap"].join(" "));
    }
}
