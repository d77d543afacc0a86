//! Work in pieces: on all threads of the pool in the builds that have one, sequentially elsewhere.
//!
//! Which thread does a piece never changes the result: every piece writes its own output, and sums over pieces are
//! taken in the pieces' order.

#[cfg(feature = "threads")]
mod pool;

/// The one pool of this program.
#[cfg(feature = "threads")]
static POOL: pool::Pool = pool::Pool::new();

/// The number of threads that work at the same time.
pub fn num_threads() -> usize {
    #[cfg(feature = "threads")]
    let threads = pool().num_threads();
    #[cfg(not(feature = "threads"))]
    let threads = 1;
    threads
}

/// Natively the first use starts the helpers; in a worker they start by themselves (`worker::threads`).
#[cfg(feature = "threads")]
fn pool() -> &'static pool::Pool {
    #[cfg(not(feature = "web"))]
    {
        static START: std::sync::Once = std::sync::Once::new();
        START.call_once(|| {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            for _ in 1..cores {
                // A thread that cannot be started does not help.
                let _ = std::thread::Builder::new().spawn(|| POOL.help());
            }
        });
    }
    &POOL
}

/// Makes this thread help whoever computes, for good.
#[cfg(all(feature = "threads", feature = "web"))]
pub fn help() -> ! {
    POOL.help()
}

/// Multiplications that are worth the other threads' attention: some microseconds of them.
#[cfg(feature = "threads")]
const SMALLEST_WORK: usize = 1 << 17;

/// Calls `work` with the number of every piece. `multiplications` is roughly the total amount of work; if it is small,
/// this thread works alone.
pub fn for_each(num_pieces: usize, multiplications: usize, work: impl Fn(usize) + Send + Sync) {
    #[cfg(feature = "threads")]
    if num_pieces > 1 && multiplications >= SMALLEST_WORK {
        return pool().run(num_pieces, &work);
    }
    let _ = multiplications;
    (0..num_pieces).for_each(work);
}

/// Calls `work` with ranges that cover `0..len`; each of the `len` parts takes about `multiplications`.
pub fn for_ranges(
    len: usize,
    multiplications: usize,
    work: impl Fn(std::ops::Range<usize>) + Send + Sync,
) {
    // A few ranges per thread, so that a late one does not keep the others waiting.
    const RANGES_PER_THREAD: usize = 4;
    let ranges = match num_threads() {
        1 => 1,
        threads => RANGES_PER_THREAD * threads,
    };
    let each = len.div_ceil(ranges).max(1);
    for_each(len.div_ceil(each), len * multiplications, |piece| {
        let start = piece * each;
        work(start..(start + each).min(len));
    });
}

/// A slice of which several threads write parts that do not overlap.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    _slice: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: the parts are disjoint, as `part`'s callers promise; floats may be written from any thread.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn new(slice: &'a mut [f32]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            _slice: std::marker::PhantomData,
        }
    }

    /// A shared slice of uninitialized elements: each must be written before [`Self::part`] covers it.
    pub fn unwritten(slice: &'a mut [std::mem::MaybeUninit<f32>]) -> Self {
        Self {
            start: slice.as_mut_ptr().cast(),
            len: slice.len(),
            _slice: std::marker::PhantomData,
        }
    }

    /// # Safety
    /// No two parts alive at one time overlap, and all elements of the part have values.
    pub unsafe fn part(&self, range: std::ops::Range<usize>) -> &'a mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: inside the slice, and nobody else's, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// # Panics
    /// If the slice ends before `end`, which is a bug in the caller.
    pub fn check(&self, end: usize) {
        assert!(end <= self.len);
    }

    /// A pointer to an element.
    pub fn at(&self, index: usize) -> *mut f32 {
        assert!(index <= self.len);
        // SAFETY: inside the slice or one past its end.
        unsafe { self.start.add(index) }
    }
}
