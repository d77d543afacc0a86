//! A counting allocator, for the tests that measure memory. A test program uses it with `#[global_allocator]`.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// While this is held, no other test allocates. One that failed spoils no other.
pub fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What `work` gives, and the bytes it takes at its peak beyond what is there before it.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = live_bytes();
    forget_peak();
    let outcome = work();
    (outcome, peak_bytes() - before)
}

/// The most that reading so many bytes may take.
pub fn allowed(num_bytes: usize) -> usize {
    4 * num_bytes + (64 << 20)
}

/// The number of bytes allocated and not yet freed.
pub fn live_bytes() -> usize {
    LIVE.load(Relaxed)
}

/// The maximum number of bytes allocated at a time since [`forget_peak`].
pub fn peak_bytes() -> usize {
    PEAK.load(Relaxed)
}

pub fn forget_peak() {
    PEAK.store(live_bytes(), Relaxed);
}

/// The system's allocator, with counters.
pub struct Counting;

// SAFETY: the system's allocator does the work; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}
