//! Memory for the buffers of waiting connections: of each, only the pages that were written cost anything.
//!
//! A tunnel that waits holds four buffers whose sizes its libraries fix (4, 4, 8 and 16 KiB), and uses a few hundred
//! bytes of them. From the ordinary heap these come as memory that was written before, by the handshake or by a
//! connection that is gone, so all of it is resident. Here each lies on pages of its own, which the kernel gives when
//! they are first written and takes back when the buffer is freed: 10,000 waiting tunnels need 100 MB less.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering},
};

/// The sizes of the buffers that connections keep while they wait.
const SIZES: [usize; 3] = [4096, 8192, 16_384];
/// So many buffers of each size; beyond that, and on machines without that much address space, the heap serves.
const SLOTS: u32 = 1 << 18;
/// No slot.
const NONE: u32 = u32::MAX;

/// The allocator: the heap, but for buffers of those sizes.
pub struct Pages {
    pools: [Pool; SIZES.len()],
}

/// The buffers of one size, in one range of addresses.
struct Pool {
    size: usize,
    /// Whether the machine would not give the range; it is asked once.
    refused: AtomicBool,
    /// The first address; null while the range is not there.
    base: AtomicPtr<u8>,
    /// For each free slot the next free one. It is kept apart, so that a free slot needs no page.
    next: AtomicPtr<AtomicU32>,
    /// Slots that were never used begin here.
    fresh: AtomicU32,
    /// The first free slot, with a count above it that tells an old head from a new one.
    head: AtomicU64,
}

impl Pages {
    /// Without any range yet; each is made when the first buffer of its size is asked for.
    pub const fn new() -> Self {
        Self { pools: [Pool::new(SIZES[0]), Pool::new(SIZES[1]), Pool::new(SIZES[2])] }
    }

    /// The pool for a buffer that is asked for.
    fn pool_for(&self, layout: Layout) -> Option<&Pool> {
        let pool = self.pools.iter().find(|pool| pool.size == layout.size())?;
        (layout.align() <= SIZES[0]).then_some(pool)
    }
}

impl Default for Pages {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: what `alloc` returns is either of the heap or a slot that nobody else has, large enough, and aligned to a
// page; `dealloc` tells the two apart by their addresses. Nothing here allocates by itself or panics.
unsafe impl GlobalAlloc for Pages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(slot) = self.pool_for(layout).and_then(Pool::take) {
            return slot;
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        match self.pool_for(layout) {
            Some(pool) if pool.give_back(memory) => {}
            // SAFETY: what is in no pool came from the heap, with this layout.
            _ => unsafe { System.dealloc(memory, layout) },
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size, rounded up to the alignment, does not overflow.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        if self.pool_for(layout).is_none() && self.pool_for(new_layout).is_none() {
            // SAFETY: this memory came from the heap, and what takes its place may too.
            return unsafe { System.realloc(memory, layout, new_size) };
        }
        // SAFETY: the new memory is another, at least as long as what is copied; the old is given back once.
        unsafe {
            let new_memory = self.alloc(new_layout);
            if !new_memory.is_null() {
                ptr::copy_nonoverlapping(memory, new_memory, layout.size().min(new_size));
                self.dealloc(memory, layout);
            }
            new_memory
        }
    }
}

impl Pool {
    const fn new(size: usize) -> Self {
        Self {
            size,
            refused: AtomicBool::new(false),
            base: AtomicPtr::new(ptr::null_mut()),
            next: AtomicPtr::new(ptr::null_mut()),
            fresh: AtomicU32::new(0),
            head: AtomicU64::new(NONE as u64),
        }
    }

    /// A slot; `None` when there is none, or no range.
    fn take(&self) -> Option<*mut u8> {
        let (base, next) = self.range()?;
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let slot = head as u32;
            if slot == NONE {
                break;
            }
            // SAFETY: a slot that ever was a head lies below `SLOTS`, and so within `next`.
            let after = unsafe { (*next.add(slot as usize)).load(Ordering::Relaxed) };
            match self.head.compare_exchange_weak(head, with_count(head, after), Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: as above, within the range.
                Ok(_) => return Some(unsafe { base.add(slot as usize * self.size) }),
                Err(newer) => head = newer,
            }
        }
        let take_fresh = |fresh| (fresh < SLOTS).then_some(fresh + 1);
        let slot = self.fresh.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_fresh).ok()?;
        // SAFETY: below `SLOTS`, and so within the range.
        Some(unsafe { base.add(slot as usize * self.size) })
    }

    /// Takes a slot back and its pages from it; false when this memory is none of ours.
    fn give_back(&self, memory: *mut u8) -> bool {
        let (base, next) = (self.base.load(Ordering::Acquire), self.next.load(Ordering::Acquire));
        let distance = (memory as usize).wrapping_sub(base as usize);
        if base.is_null() || next.is_null() || distance >= self.size * SLOTS as usize {
            return false;
        }
        // SAFETY: a whole slot on page boundaries, which nobody uses any more. Should it fail, the pages stay.
        unsafe { libc::madvise(memory.cast(), self.size, libc::MADV_DONTNEED) };
        let slot = (distance / self.size) as u32;
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            // SAFETY: below `SLOTS`, and so within `next`.
            unsafe { (*next.add(slot as usize)).store(head as u32, Ordering::Relaxed) };
            match self.head.compare_exchange_weak(head, with_count(head, slot), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(newer) => head = newer,
            }
        }
    }

    /// The range and its list of free slots, made when first asked for.
    fn range(&self) -> Option<(*mut u8, *mut AtomicU32)> {
        if self.refused.load(Ordering::Relaxed) {
            return None;
        }
        let next = once(&self.next, SLOTS as usize * size_of::<AtomicU32>());
        let range = next.and_then(|next| Some((once(&self.base, self.size * SLOTS as usize)?, next)));
        if range.is_none() {
            self.refused.store(true, Ordering::Relaxed);
        }
        range
    }
}

/// A new head with the count of the one before, plus one.
fn with_count(before: u64, slot: u32) -> u64 {
    ((before >> 32).wrapping_add(1) << 32) | u64::from(slot)
}

/// The addresses that a pointer stands for, reserved by whoever comes first. `None` when they cannot be had.
fn once<T>(pointer: &AtomicPtr<T>, bytes: usize) -> Option<*mut T> {
    let known = pointer.load(Ordering::Acquire);
    if !known.is_null() {
        return Some(known);
    }
    // SAFETY: a new private mapping touches nothing that exists.
    let made = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if made == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping just made. One huge page for a few hundred bytes would be the opposite of what we want.
    unsafe { libc::madvise(made, bytes, libc::MADV_NOHUGEPAGE) };
    match pointer.compare_exchange(ptr::null_mut(), made.cast(), Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Some(made.cast()),
        Err(theirs) => {
            // SAFETY: the mapping just made, which nobody else has seen.
            unsafe { libc::munmap(made, bytes) };
            Some(theirs)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, thread};

    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 1).unwrap()
    }

    #[test]
    fn slots_are_apart_and_come_back_empty() {
        let pages = Pages::new();
        let size = SIZES[1];
        // SAFETY: each slot is written within its size, and freed once with its layout.
        unsafe {
            let slots: Vec<_> = (0..100).map(|_| pages.alloc(layout(size))).collect();
            for slot in &slots {
                assert!(slot.addr().is_multiple_of(4096));
                slot.write_bytes(7, size);
            }
            let starts: BTreeSet<_> = slots.iter().map(|slot| slot.addr()).collect();
            assert!(starts.iter().zip(starts.iter().skip(1)).all(|(one, two)| two - one >= size));
            slots.iter().for_each(|slot| pages.dealloc(*slot, layout(size)));
            let again: Vec<_> = (0..100).map(|_| pages.alloc(layout(size))).collect();
            assert_eq!(again.iter().map(|slot| slot.addr()).collect::<BTreeSet<_>>(), starts);
            assert!(again.iter().all(|slot| slot.read() == 0 && slot.add(size - 1).read() == 0));
            again.iter().for_each(|slot| pages.dealloc(*slot, layout(size)));
        }
    }

    #[test]
    fn growing_and_shrinking_keeps_what_was_written() {
        let pages = Pages::new();
        // SAFETY: each size is the one before's successor, and what is read was written.
        unsafe {
            let mut memory = pages.alloc(layout(100));
            memory.write_bytes(9, 100);
            let mut size = 100;
            for next in [4096, 5000, 8192, 16_384, 100_000, 4096, 200] {
                memory = pages.realloc(memory, layout(size), next);
                assert!((0..100).all(|at| memory.add(at).read() == 9), "{next}");
                size = next;
            }
            pages.dealloc(memory, layout(size));
        }
    }

    #[test]
    fn threads_never_share_a_slot() {
        let pages = Pages::new();
        thread::scope(|scope| {
            for mark in 1..=4u8 {
                let pages = &pages;
                scope.spawn(move || {
                    for round in 0..2000 {
                        let size = SIZES[round % SIZES.len()];
                        // SAFETY: written and read within its size, and freed once.
                        unsafe {
                            let slot = pages.alloc(layout(size));
                            slot.write(mark);
                            slot.add(size - 1).write(mark);
                            thread::yield_now();
                            assert_eq!((slot.read(), slot.add(size - 1).read()), (mark, mark));
                            pages.dealloc(slot, layout(size));
                        }
                    }
                });
            }
        });
    }
}
