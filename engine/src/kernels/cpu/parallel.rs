//! Work in pieces: on all threads of the pool in the builds that have one, one after the other elsewhere.
//!
//! Which thread does a piece never changes a result: every piece writes its own output, and sums over pieces are taken
//! in the pieces' order.

/// Threads that work at a time.
pub fn num_threads() -> usize {
    #[cfg(feature = "threads")]
    let threads = rayon::current_num_threads();
    #[cfg(not(feature = "threads"))]
    let threads = 1;
    threads
}

/// Calls `work` with the number of every piece.
pub fn for_each(num_pieces: usize, work: impl Fn(usize) + Send + Sync) {
    #[cfg(feature = "threads")]
    if num_pieces > 1 && num_threads() > 1 {
        use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
        return (0..num_pieces)
            .into_par_iter()
            .with_max_len(1)
            .for_each(work);
    }
    (0..num_pieces).for_each(work);
}

/// Calls `work` with ranges that cover `0..len`, each at least `smallest` long (but the last).
pub fn for_ranges(
    len: usize,
    smallest: usize,
    work: impl Fn(std::ops::Range<usize>) + Send + Sync,
) {
    // A few ranges a thread, so that one that is late does not keep the others waiting.
    const RANGES_PER_THREAD: usize = 4;
    let ranges = if num_threads() == 1 {
        1
    } else {
        RANGES_PER_THREAD * num_threads()
    };
    let each = len.div_ceil(ranges).max(smallest).max(1);
    for_each(len.div_ceil(each), |piece| {
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

    /// # Safety
    /// No two parts alive at one time overlap.
    pub unsafe fn part(&self, range: std::ops::Range<usize>) -> &'a mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: inside the slice, and nobody else's, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// A pointer to an element.
    pub fn at(&self, index: usize) -> *mut f32 {
        assert!(index <= self.len);
        // SAFETY: inside the slice or one past its end.
        unsafe { self.start.add(index) }
    }
}
