//! Holds readers to their memory and time: what one input allocates is counted, and how long it
//! takes is looked at. Owns the process' allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

/// What may be allocated at a time for one input, bytes.
pub const HELD_BYTES_MAX: usize = 4 << 20;

/// How much of a processor's time one input may take: a hundred times what the longest take.
pub const TIME_MAX: Duration = Duration::from_secs(1);

thread_local! {
    /// Bytes that are held, and the most that were.
    static HELD: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

struct Counting;

// SAFETY: the system's allocator, asked as we are asked.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = HELD.try_with(|held| {
            let (now, most) = held.get();
            let now = now.wrapping_add(layout.size());
            held.set((now, most.max(now)));
        });
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| {
            let (now, most) = held.get();
            held.set((now.saturating_sub(layout.size()), most));
        });
        // SAFETY: as the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Gives `bytes` to a reader and panics when it takes too much memory or time.
pub fn bounded(bytes: &[u8], reader: fn(&[u8])) {
    HELD.set((0, 0));
    let begun = processor_time();
    reader(bytes);
    let most = HELD.get().1;
    assert!(most <= HELD_BYTES_MAX, "{most} bytes of memory for {} bytes", bytes.len());
    let took = processor_time().saturating_sub(begun);
    assert!(took <= TIME_MAX, "{took:?} for {} bytes", bytes.len());
}

/// What this thread has had of a processor: a machine with other work does not count.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes one timespec, which is there.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
