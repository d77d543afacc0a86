//! The threads that help the one that computes.
//!
//! A training step consists of hundreds of short products with nothing to do in between; a generated token, of as many
//! that take some tens of microseconds each. Pools that queue jobs put their threads to sleep in every gap, and waking
//! them again took half of an answer's time. Here a helper looks for work for a while before it sleeps, the caller
//! works along, and work is a counter that all take pieces from.

use std::{
    cell::UnsafeCell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// How often to look for work, or for its end, at about a nanosecond each: longer than the gaps between products, and
/// far shorter than anything a person notices.
const LOOKS: u32 = 50_000;
/// How long the caller then sleeps at a time, because the system has suspended a helper.
const NAP: Duration = Duration::from_micros(20);
/// The bit of [`Pool::state`] that lets helpers in. The other bits count those inside.
const OPEN: u32 = 1 << 31;

/// What is done with each piece.
type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// A pool of helper threads. It serves one caller at a time; another caller does its work alone.
pub struct Pool {
    state: AtomicU32,
    /// The open work. Valid while `state` is not zero.
    work: UnsafeCell<*const Work<'static>>,
    num_pieces: AtomicUsize,
    next_piece: AtomicUsize,
    has_panicked: AtomicBool,
    /// Counts pieces of work, for those that wait for the next one.
    epoch: AtomicU32,
    num_helpers: AtomicUsize,
    num_asleep: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    caller: Mutex<()>,
}

// SAFETY: `work` is written by the one caller while `state` is zero, and read by helpers that have entered while it was
// open, which the caller waits for before it goes on.
unsafe impl Sync for Pool {}

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    // It holds nothing that a panic could have left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub const fn new() -> Self {
        Self {
            state: AtomicU32::new(0),
            work: UnsafeCell::new(&(|_| ()) as *const Work<'static>),
            num_pieces: AtomicUsize::new(0),
            next_piece: AtomicUsize::new(0),
            has_panicked: AtomicBool::new(false),
            epoch: AtomicU32::new(0),
            num_helpers: AtomicUsize::new(0),
            num_asleep: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            caller: Mutex::new(()),
        }
    }

    /// The helpers and the caller.
    pub fn num_threads(&self) -> usize {
        self.num_helpers.load(Ordering::Relaxed) + 1
    }

    /// Calls `work` with every number below `num_pieces`, on all threads.
    ///
    /// # Panics
    /// If `work` panics, on any thread.
    pub fn run(&self, num_pieces: usize, work: &Work<'_>) {
        let Ok(_caller) = self.caller.try_lock() else {
            return (0..num_pieces).for_each(work);
        };
        // SAFETY: `state` is zero, so that nobody reads it; and `Open` upholds the lifetime: it waits for everyone who
        // may use the reference before this function returns, even in a panic.
        unsafe {
            *self.work.get() = std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work);
        }
        self.num_pieces.store(num_pieces, Ordering::Relaxed);
        self.next_piece.store(0, Ordering::Relaxed);
        self.state.store(OPEN, Ordering::Release);
        let open = Open(self);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        // Whoever goes to sleep counts itself first and then looks at the epoch, so that one of the two sees the other.
        if self.num_asleep.load(Ordering::SeqCst) > 0 {
            let _sleep = lock(&self.sleep);
            self.wake.notify_all();
        }
        self.take_pieces(work);
        drop(open);
        if self.has_panicked.swap(false, Ordering::Relaxed) {
            panic!("a piece of work panicked on another thread");
        }
    }

    fn take_pieces(&self, work: &Work<'_>) {
        let num_pieces = self.num_pieces.load(Ordering::Relaxed);
        loop {
            let piece = self.next_piece.fetch_add(1, Ordering::Relaxed);
            if piece >= num_pieces {
                return;
            }
            work(piece);
        }
    }

    /// Makes this thread a helper, for good.
    pub fn help(&self) -> ! {
        let mut seen = self.epoch.load(Ordering::SeqCst);
        self.num_helpers.fetch_add(1, Ordering::Relaxed);
        loop {
            self.await_epoch_after(seen);
            seen = self.epoch.load(Ordering::SeqCst);
            if !self.enter() {
                continue;
            }
            // SAFETY: entered while it was open.
            let work = unsafe { &*(*self.work.get()) };
            let done = catch_unwind(AssertUnwindSafe(|| self.take_pieces(work)));
            if done.is_err() {
                self.has_panicked.store(true, Ordering::Relaxed);
            }
            self.state.fetch_sub(1, Ordering::Release);
        }
    }

    /// Counts this helper in, unless the work has been closed already.
    fn enter(&self) -> bool {
        let entered = |state: u32| (state & OPEN != 0).then_some(state + 1);
        let update = self
            .state
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, entered);
        update.is_ok()
    }

    fn await_epoch_after(&self, seen: u32) {
        for _ in 0..LOOKS {
            if self.epoch.load(Ordering::Relaxed) != seen {
                return;
            }
        }
        let mut sleep = lock(&self.sleep);
        self.num_asleep.fetch_add(1, Ordering::SeqCst);
        while self.epoch.load(Ordering::SeqCst) == seen {
            sleep = self
                .wake
                .wait(sleep)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.num_asleep.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Work that helpers may enter; closed, and awaited, when dropped.
struct Open<'a>(&'a Pool);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let state = &self.0.state;
        state.fetch_and(!OPEN, Ordering::Relaxed);
        let mut looks = 0;
        // What the helpers wrote is seen once they have left.
        while state.load(Ordering::Acquire) != 0 {
            looks += 1;
            if looks > LOOKS {
                std::thread::sleep(NAP);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicU64, thread};

    use super::*;
    use crate::testing::Random;

    fn pool(helpers: usize) -> &'static Pool {
        // Helpers never end, nor may what they help.
        let pool: &Pool = Box::leak(Box::new(Pool::new()));
        for _ in 0..helpers {
            thread::spawn(|| pool.help());
        }
        while pool.num_threads() <= helpers {
            thread::yield_now();
        }
        pool
    }

    #[test]
    fn every_piece_is_done_once() {
        let mut random = Random::new();
        for helpers in [0, 1, 3] {
            let pool = pool(helpers);
            for round in 0..2_000 {
                let pieces = random.size(0..40);
                let counts: Vec<AtomicU64> = (0..pieces).map(|_| AtomicU64::new(0)).collect();
                pool.run(pieces, &|piece| {
                    counts[piece].fetch_add(1, Ordering::Relaxed);
                });
                let done = counts
                    .iter()
                    .all(|count| count.load(Ordering::Relaxed) == 1);
                assert!(done, "round {round} of {pieces} pieces");
                if round % 500 == 0 {
                    // Long enough for helpers to fall asleep.
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }

    #[test]
    fn what_helpers_write_is_there_afterwards() {
        let pool = pool(3);
        for round in 1..500u64 {
            let mut values = vec![0u64; 64];
            let start = values.as_mut_ptr() as usize;
            pool.run(values.len(), &|piece| {
                // SAFETY: every piece writes its own element.
                unsafe { *(start as *mut u64).add(piece) = round * piece as u64 };
            });
            let expected: Vec<u64> = (0..64).map(|piece| round * piece).collect();
            assert_eq!(values, expected);
        }
    }

    #[test]
    fn two_callers_do_not_disturb_each_other() {
        let pool = pool(2);
        let callers: Vec<_> = (0..4)
            .map(|_| {
                thread::spawn(|| {
                    for _ in 0..500 {
                        let sum = AtomicU64::new(0);
                        pool.run(50, &|piece| {
                            sum.fetch_add(piece as u64, Ordering::Relaxed);
                        });
                        assert_eq!(sum.into_inner(), 49 * 25);
                    }
                })
            })
            .collect();
        callers
            .into_iter()
            .for_each(|caller| caller.join().unwrap());
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = pool(2);
        for bad in 0..8 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(8, &|piece| assert_ne!(piece, bad));
            }));
            assert!(result.is_err());
            let sum = AtomicU64::new(0);
            pool.run(10, &|piece| {
                sum.fetch_add(piece as u64, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 45);
        }
    }
}
