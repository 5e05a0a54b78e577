//! `recvmmsg` and `recvmsg`: slots laid out once, filled by the kernel, lent to the caller.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use super::{checked, empty_message, small};
use crate::io::address::{ADDRESS_BYTES_MAX, KernelAddress};

/// Bytes for the control messages of one arrival: UDP_GRO (an int) and SO_RXQ_OVFL (a u32) take 24
/// each; the rest is for options a socket may have been given by somebody else.
const CONTROL_BYTES: usize = 128;

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

/// A cache line: what arrivals are aligned to.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(crate) struct Line(pub(crate) [u8; 64]);

/// Heap memory reached only through one raw pointer, because the kernel holds copies of it.
pub(crate) struct RawArray<T>(NonNull<[T]>);

impl<T: Copy> RawArray<T> {
    pub(crate) fn new(value: T, length: usize) -> Self {
        Self(NonNull::from(Box::leak(vec![value; length].into_boxed_slice())))
    }

    /// Pointer to element `index`, which must exist.
    pub(crate) fn at(&self, index: usize) -> *mut T {
        assert!(index < self.0.len(), "element {index} of {}", self.0.len());
        let first: *mut T = self.0.as_ptr().cast();
        // SAFETY: the assertion above keeps it inside the allocation.
        unsafe { first.add(index) }
    }
}

impl<T> Drop for RawArray<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a leaked Box and is freed once; the kernel is done with it,
        // since calls borrow the batch that owns this, and a ring takes its buffers back first.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// What one slot holds after a receive call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) source: KernelAddress,
    /// The control messages, one after the other.
    pub(crate) control: &'a [u8],
    /// MSG_TRUNC: "the trailing portion of a datagram was discarded because the datagram was larger
    /// than the buffer supplied".
    pub(crate) truncated: bool,
}

/// The slots of `recvmmsg`: buffers, addresses, control messages and the headers over them, laid
/// out once.
pub(crate) struct ReceiveBatch {
    bytes: RawArray<u8>,
    names: RawArray<KernelAddress>,
    controls: RawArray<Control>,
    vectors: RawArray<libc::iovec>,
    headers: RawArray<libc::mmsghdr>,
    slot_lines: usize,
    /// The first so many headers have an arrival, in the order of arrival; the others are armed.
    filled: usize,
    /// The slot of each header.
    slot_of: Box<[usize]>,
}

// SAFETY: the batch owns everything its headers point at, and its methods need `&mut self` to let
// the kernel write there.
unsafe impl Send for ReceiveBatch {}

impl std::fmt::Debug for ReceiveBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveBatch")
            .field("slots", &self.headers.0.len())
            .field("slot_bytes", &self.slot_bytes())
            .finish_non_exhaustive()
    }
}

impl ReceiveBatch {
    /// `slots` slots of `slot_bytes` (rounded up to 64), each touched when it is first filled: most
    /// nodes never have as many arrivals at once.
    pub(crate) fn new(slots: usize, slot_bytes: usize) -> Self {
        let (slots, slot_lines) = (slots.max(1), slot_bytes.div_ceil(64).max(1));
        // One line between slots, so that equal places of them do not compete for one cache set.
        let bytes = RawArray::new(0_u8, (slots * (slot_lines + 1) + 1) * size_of::<Line>());
        let names = RawArray::new(KernelAddress::EMPTY, slots);
        let controls = RawArray::new(Control([0; CONTROL_BYTES]), slots);
        let no_vector = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let vectors = RawArray::new(no_vector, slots);
        let headers = RawArray::new(empty_message(), slots);
        let slot_of = (0..slots).collect();
        let filled = 0;
        let batch = Self { bytes, names, controls, vectors, headers, slot_lines, filled, slot_of };
        for index in 0..slots {
            batch.lay_out(index);
        }
        batch
    }

    /// Where slot `index` begins: at a line of the cache.
    #[inline]
    fn slot(&self, index: usize) -> *mut u8 {
        let first = self.bytes.at(0).align_offset(align_of::<Line>());
        self.bytes.at(first + index * (self.slot_lines + 1) * size_of::<Line>())
    }

    /// Points header `index` at its slot. recvmsg(2): "The msg_name field points to a
    /// caller-allocated buffer that is used to return the source address"; "the fields msg_iov and
    /// msg_iovlen describe scatter-gather locations"; msg_control "points to a buffer for other
    /// protocol control-related messages".
    fn lay_out(&self, index: usize) {
        let vector =
            libc::iovec { iov_base: self.slot(index).cast::<c_void>(), iov_len: self.slot_bytes() };
        // SAFETY: `at` gives a pointer to an element that nobody else refers to.
        unsafe { self.vectors.at(index).write(vector) };
        let mut message = empty_message();
        message.msg_hdr.msg_name = self.names.at(index).cast::<c_void>();
        message.msg_hdr.msg_iov = self.vectors.at(index);
        message.msg_hdr.msg_iovlen = 1;
        message.msg_hdr.msg_control = self.controls.at(index).cast::<c_void>();
        // SAFETY: as above.
        unsafe { self.headers.at(index).write(message) };
        self.arm(index);
    }

    /// Sets again what a call overwrites: "the caller should set msg_namelen to the size of this
    /// buffer before this call"; "msg_controllen should contain the length of the available
    /// buffer".
    #[inline]
    fn arm(&self, index: usize) {
        // SAFETY: the element exists and nobody else refers to it.
        let header = unsafe { &mut (*self.headers.at(index)).msg_hdr };
        header.msg_namelen = small(ADDRESS_BYTES_MAX);
        header.msg_controllen = CONTROL_BYTES;
        header.msg_flags = 0;
    }

    pub(crate) const fn slot_bytes(&self) -> usize {
        self.slot_lines * 64
    }

    /// Arrivals that are here.
    #[inline]
    pub(crate) const fn filled(&self) -> usize {
        self.filled
    }

    pub(crate) const fn slots(&self) -> usize {
        self.headers.0.len()
    }

    /// Slots without an arrival.
    #[inline]
    pub(crate) const fn free(&self) -> usize {
        self.slots() - self.filled
    }

    /// Fills free slots, of which there must be one, with what is there; returns how many. Fewer
    /// than all of them means that the socket was empty then. An empty socket is the error
    /// `WouldBlock`.
    #[inline]
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        // recvmmsg(2): "The msgvec argument is a pointer to an array of mmsghdr structures. The
        // size of this array is specified in vlen." "A nonblocking call reads as many messages as
        // are available (up to the limit specified by vlen) and returns immediately." "If timeout
        // is NULL" there is none.
        // SAFETY: every header points at buffers of its own with the lengths it states, owned by
        // this batch and borrowed by nobody while `self` is borrowed mutably.
        let result = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.at(self.filled),
                small(self.free()),
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let filled = checked(result.into())?.min(self.free());
        self.filled += filled;
        Ok(filled)
    }

    /// Fills one free slot, which there must be. An empty socket is the error `WouldBlock`.
    #[inline]
    pub(crate) fn receive_one(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        // SAFETY: the element exists and nobody else refers to it.
        let header = unsafe { &mut *self.headers.at(self.filled) };
        // recvmsg(2): the call "uses a msghdr structure to minimize the number of directly supplied
        // arguments"; "all receive calls return the length of the message on successful
        // completion". SAFETY: as for `receive`, of one header.
        let result = unsafe {
            libc::recvmsg(socket.as_raw_fd(), &raw mut header.msg_hdr, libc::MSG_DONTWAIT)
        };
        let length = checked(libc::c_long::try_from(result).unwrap_or(-1))?;
        header.msg_len = small(length);
        self.filled += 1;
        Ok(1)
    }

    /// Gives the slot of arrival `index` back to the kernel; those behind it move up.
    #[inline]
    pub(crate) fn give_back(&mut self, index: usize) {
        assert!(index < self.filled, "arrival {index} of {}", self.filled);
        self.filled -= 1;
        for at in index..self.filled {
            let (one, next) = (self.headers.at(at), self.headers.at(at + 1));
            // SAFETY: both elements exist and nobody else refers to them. A header may lie
            // anywhere: what it points at stays where it is.
            unsafe { one.swap(next) };
            self.slot_of.swap(at, at + 1);
        }
        self.arm(self.filled);
    }

    /// Arrival `index`, below [`Self::filled`], in the order of arrival.
    #[inline]
    pub(crate) fn arrived(&self, index: usize) -> Arrived<'_> {
        assert!(index < self.filled, "arrival {index} of {}", self.filled);
        let slot = self.slot_of[index];
        // SAFETY: the element exists; the kernel is done with it and wrote only integers.
        let message = unsafe { *self.headers.at(index) };
        let (length, header) = (message.msg_len as usize, message.msg_hdr);
        let pointer = self.slot(slot);
        // SAFETY: the slot is that long, initialised, and not written before `self` is borrowed
        // mutably again.
        let bytes = unsafe { std::slice::from_raw_parts(pointer, length.min(self.slot_bytes())) };
        let pointer = self.controls.at(slot).cast::<u8>();
        let length = header.msg_controllen.min(CONTROL_BYTES);
        // SAFETY: as for the bytes.
        let control = unsafe { std::slice::from_raw_parts(pointer, length) };
        // SAFETY: the element exists; the kernel is done with it and any bytes are an address.
        let mut source = unsafe { *self.names.at(slot) };
        source.length = header.msg_namelen;
        Arrived { bytes, source, control, truncated: header.msg_flags & libc::MSG_TRUNC != 0 }
    }
}
