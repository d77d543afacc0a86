//! A counting allocator, for the tests that measure memory. A test program uses it with `#[global_allocator]`.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicIsize, Ordering::Relaxed},
    },
};

/// The most that reading so many bytes may take.
pub fn allowed(num_bytes: usize) -> usize {
    4 * num_bytes + (64 << 20)
}

/// The number of bytes allocated and not yet freed, and its maximum.
struct Counts {
    live: AtomicIsize,
    peak: AtomicIsize,
}

impl Counts {
    const fn new() -> Self {
        Self {
            live: AtomicIsize::new(0),
            peak: AtomicIsize::new(0),
        }
    }
}

static OF_ALL: Counts = Counts::new();
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

thread_local! {
    // Neither set up nor torn down, which would allocate.
    static OF_THREAD: Counts = const { Counts::new() };
}

/// The system's allocator, with counters.
pub struct Counting {
    by_thread: bool,
}

impl Counting {
    /// Counts what all threads allocate. Tests that use it hold [`Self::alone`].
    pub const OF_ALL: Self = Self { by_thread: false };

    /// Counts for each thread by itself, so that tests can run side by side if the work of each is done by one thread. A
    /// thread may free what another allocated, so a count can be below zero.
    pub const BY_THREAD: Self = Self { by_thread: true };

    fn with<T>(&self, act: impl FnOnce(&Counts) -> T) -> T {
        match self.by_thread {
            true => OF_THREAD.with(act),
            false => act(&OF_ALL),
        }
    }

    /// While this is held, no other test allocates. One that failed spoils no other.
    pub fn alone(&self) -> MutexGuard<'static, ()> {
        ONE_AT_A_TIME
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What `work` gives, and the bytes it takes at its peak beyond what is there before it.
    pub fn measured<T>(&self, work: impl FnOnce() -> T) -> (T, usize) {
        let before = self.live_bytes();
        self.forget_peak();
        let outcome = work();
        (outcome, (self.peak_bytes() - before) as usize)
    }

    /// The number of bytes allocated and not yet freed.
    pub fn live_bytes(&self) -> isize {
        self.with(|counts| counts.live.load(Relaxed))
    }

    /// The maximum number of bytes allocated at a time since the program began, or since the last measurement did.
    pub fn peak_bytes(&self) -> isize {
        self.with(|counts| counts.peak.load(Relaxed))
    }

    fn forget_peak(&self) {
        self.with(|counts| counts.peak.store(counts.live.load(Relaxed), Relaxed));
    }
}

// SAFETY: the system's allocator does the work; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = layout.size() as isize;
        self.with(|counts| {
            let live = counts.live.fetch_add(size, Relaxed) + size;
            counts.peak.fetch_max(live, Relaxed);
        });
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.with(|counts| counts.live.fetch_sub(layout.size() as isize, Relaxed));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}
