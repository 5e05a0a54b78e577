//! Encoding and checked access allocate nothing: an allocator that counts says so.

mod derive_sample;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use derive_sample::{FLAT, Flat, Rich, aligned, archive, rich};
use wireloom::Event;
use wireloom::decode::{access, to_owned};
use wireloom::encode::{EncodeError, Scratch, encode};

struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    CALLS.with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged; the counter does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract, which is the same one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller keeps the contract, which is the same one.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract, which is the same one.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls of the allocator, of any kind, while `work` ran on this thread.
fn calls_during<R>(work: impl FnOnce() -> R) -> (u64, R) {
    let before = CALLS.with(Cell::get);
    let result = work();
    (CALLS.with(Cell::get) - before, result)
}

fn encodes_and_reads_without_allocating<E: Event>(event: &E) {
    let mut into = aligned(&[0; 16 * 1024]);
    let mut scratch = Scratch::default();
    let (calls, length) = calls_during(|| encode(event, &mut into, &mut scratch));
    let length = length.expect("fits");
    assert_eq!(calls, 0, "encode of {}", E::TYPE);
    let (calls, archived) = calls_during(|| access::<E>(&into[..length]).is_ok());
    assert!(archived);
    assert_eq!(calls, 0, "access of {}", E::TYPE);
}

#[test]
fn nothing_is_allocated() {
    encodes_and_reads_without_allocating(&FLAT);
    encodes_and_reads_without_allocating(&rich());
    let many = Rich { table: (0..200).map(|key| (key.to_string(), vec![key])).collect(), ..rich() };
    encodes_and_reads_without_allocating(&many);
}

#[test]
fn refusals_allocate_nothing_either() {
    let event = rich();
    let mut into = aligned(&[0; 16 * 1024]);
    let mut scratch = Scratch::default();
    let (calls, result) = calls_during(|| encode(&event, &mut into[..100], &mut scratch));
    assert_eq!((calls, result), (0, Err(EncodeError::DoesNotFit)));
    let mut none = Scratch::new(0);
    let (calls, result) = calls_during(|| encode(&event, &mut into, &mut none));
    assert_eq!((calls, result), (0, Err(EncodeError::ScratchExhausted)));

    let bytes = archive(&event);
    let (calls, refused) = calls_during(|| {
        (0..bytes.len()).filter(|cut| access::<Rich>(&bytes[..*cut]).is_err()).count()
    });
    assert_eq!((calls, refused), (0, bytes.len()));
}

/// The counter counts: without this the tests above would prove nothing.
#[test]
fn owning_does_allocate() {
    let bytes = archive(&rich());
    let (calls, _) =
        calls_during(|| to_owned::<Rich>(access::<Rich>(&bytes).expect("sound")).expect("owns"));
    assert!(calls > 20, "{calls}");
    let flat = archive(&FLAT);
    let (calls, _) = calls_during(|| to_owned::<Flat>(access::<Flat>(&flat).expect("sound")));
    assert_eq!(calls, 0, "a flat event owns nothing");
}
