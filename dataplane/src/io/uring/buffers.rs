//! The buffers a multishot receive fills, and the ring through which the kernel is given them.
//!
//! Owned by one receiving ring. A buffer is the kernel's until a completion names it, and ours, as
//! a [`Filled`], until that is given back.

use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::io::address::{ADDRESS_BYTES_MAX, KernelAddress};
use crate::sys::{Arrived, Line, RawArray, empty_message};

/// What a multishot writes, by linux/io_uring.h and io_uring_recvmsg_out(3): a `struct
/// io_uring_recvmsg_out` of four u32 (length of name, control and payload, flags), the name in a
/// field of the `msg_namelen` asked for, the control messages in one of `msg_controllen`, the
/// payload.
const OUT_BYTES: usize = 16;
const NAME_BYTES: usize = 32;
const CONTROL_BYTES: usize = 144;
const PAYLOAD_AT: usize = OUT_BYTES + NAME_BYTES + CONTROL_BYTES;
const LINE_BYTES: usize = size_of::<Line>();
const _: () = {
    assert!(NAME_BYTES >= ADDRESS_BYTES_MAX);
    // The payload is aligned as its buffer is.
    assert!(PAYLOAD_AT.is_multiple_of(LINE_BYTES));
};

/// io_uring_register_buf_ring(3): "The memory must be page aligned".
#[repr(C, align(4096))]
#[derive(Clone, Copy)]
struct Page([u8; 4096]);

/// Buffers the kernel chooses from, and the ring through which it is given them.
pub(super) struct Buffers {
    lines: RawArray<Line>,
    lines_each: usize,
    count: u16,
    ring: RawArray<Page>,
    tail: u16,
    /// What a multishot is told of names and control messages.
    template: RawArray<libc::msghdr>,
}

// SAFETY: they own everything their pointers point at, and a buffer is ours or the kernel's, never
// both's.
unsafe impl Send for Buffers {}

/// A buffer that holds an arrival until it is given back.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) slot: u16,
    pub(super) bytes: usize,
}

impl Buffers {
    /// `count` buffers, a power of two, for payloads of `slot_bytes` (rounded up to 64); all
    /// touched.
    pub(super) fn new(count: u16, slot_bytes: usize) -> Self {
        let lines_each = PAYLOAD_AT / LINE_BYTES + slot_bytes.div_ceil(LINE_BYTES).max(1);
        let mut template = empty_message();
        template.msg_hdr.msg_namelen = u32::try_from(NAME_BYTES).unwrap_or(0);
        template.msg_hdr.msg_controllen = CONTROL_BYTES;
        Self {
            lines: RawArray::new(Line([0; LINE_BYTES]), usize::from(count) * lines_each),
            lines_each,
            count,
            ring: RawArray::new(Page([0; 4096]), 1),
            tail: 0,
            template: RawArray::new(template.msg_hdr, 1),
        }
    }

    fn entry(&self, index: u16) -> *mut BufRingEntry {
        let first: *mut BufRingEntry = self.ring.at(0).cast();
        let index = usize::from(index % self.count);
        assert!((index + 1) * size_of::<BufRingEntry>() <= size_of::<Page>());
        // SAFETY: the assertion keeps it inside the page.
        unsafe { first.add(index) }
    }

    /// Gives every buffer to the kernel; once, before the first receive.
    pub(super) fn give_all(&mut self) {
        (0..self.count).for_each(|slot| self.give(slot));
    }

    /// Gives a buffer back to the kernel.
    #[inline]
    pub(super) fn give_back(&mut self, filled: Filled) {
        let Filled { slot, bytes: _ } = filled;
        self.give(slot);
    }

    /// io_uring_register_buf_ring(3): `tail` "is the index at which the application can insert new
    /// buffers for consumption by requests"; io_uring_buf_ring_advance(3): storing it makes them
    /// "visible to the kernel and hence consumable".
    #[inline]
    fn give(&mut self, slot: u16) {
        assert!(slot < self.count, "buffer {slot} of {}", self.count);
        let address = self.lines.at(usize::from(slot) * self.lines_each);
        let pointer = self.entry(self.tail);
        // SAFETY: the entry lies inside the page, and the kernel does not read behind the tail.
        let entry = unsafe { &mut *pointer };
        entry.set_addr(address.expose_provenance() as u64);
        entry.set_len(u32::try_from(self.lines_each * LINE_BYTES).unwrap_or(u32::MAX));
        entry.set_bid(slot);
        self.tail = self.tail.wrapping_add(1);
        let first = self.entry(0);
        // SAFETY: the first entry exists; the tail lies in its unused part.
        let tail = unsafe { BufRingEntry::tail(first) }.cast_mut();
        // SAFETY: aligned, inside the page, and the kernel only reads it.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        tail.store(self.tail, Ordering::Release);
    }

    /// The bytes of a filled buffer.
    #[inline]
    fn bytes(&self, filled: &Filled) -> &[u8] {
        assert!(filled.slot < self.count, "buffer {} of {}", filled.slot, self.count);
        let pointer = self.lines.at(usize::from(filled.slot) * self.lines_each).cast::<u8>();
        let length = filled.bytes.min(self.lines_each * LINE_BYTES);
        // SAFETY: the buffer is that long, initialised, and ours until it is given back, which
        // needs `&mut self`.
        unsafe { std::slice::from_raw_parts(pointer, length) }
    }

    /// How many there are, which is also the length of their ring.
    pub(super) const fn count(&self) -> u16 {
        self.count
    }

    /// Where the ring lies: a page of zeros at first, then entries.
    pub(super) fn ring_address(&self) -> u64 {
        self.ring.at(0).expose_provenance() as u64
    }

    /// What a multishot is to be told.
    pub(super) fn template(&self) -> *const libc::msghdr {
        self.template.at(0)
    }

    /// What a filled buffer holds.
    #[inline]
    pub(super) fn arrived(&self, filled: &Filled) -> Arrived<'_> {
        let bytes = self.bytes(filled);
        let word = |at: usize| {
            let word = bytes.get(at..).and_then(<[u8]>::first_chunk::<4>);
            word.map_or(0, |word| u32::from_ne_bytes(*word))
        };
        let part = |at: usize, length: usize| {
            let rest = bytes.get(at..).unwrap_or(&[]);
            &rest[..length.min(rest.len())]
        };
        let [name, control, payload, flags] = [word(0), word(4), word(8), word(12)];
        let name = part(OUT_BYTES, (name as usize).min(ADDRESS_BYTES_MAX));
        let mut source = KernelAddress::EMPTY;
        source.bytes[..name.len()].copy_from_slice(name);
        source.length = u32::try_from(name.len()).unwrap_or(0);
        Arrived {
            bytes: part(PAYLOAD_AT, payload as usize),
            source,
            control: part(OUT_BYTES + NAME_BYTES, (control as usize).min(CONTROL_BYTES)),
            truncated: flags & libc::MSG_TRUNC.cast_unsigned() != 0,
        }
    }
}
