//! `sendmsg`, `sendmmsg` and `sendto`: messages pointed at, never copied, but for one small
//! datagram.

use std::ffi::c_void;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{checked, small};
use crate::io::address::KernelAddress;

/// One datagram, or one run that the kernel is to cut apart (`segment_bytes` above 0).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) address: &'a KernelAddress,
    pub(crate) slices: &'a [IoSlice<'a>],
    pub(crate) segment_bytes: u16,
}

/// The control message `UDP_SEGMENT`: a `cmsghdr` and the length of a segment as a `u16`.
#[repr(C)]
#[derive(Clone, Copy)]
struct SegmentControl {
    header: libc::cmsghdr,
    segment_bytes: u16,
    zero: [u16; 3],
}

// cmsg(3): "CMSG_LEN() returns the value to store in the cmsg_len member", "CMSG_SPACE() returns
// the number of bytes an ancillary element with payload of the passed data length occupies"; both
// "are constant expressions".
// SAFETY: arithmetic only.
const SEGMENT_LEN: u32 = unsafe { libc::CMSG_LEN(small(size_of::<u16>())) };
// SAFETY: arithmetic only.
const SEGMENT_SPACE: u32 = unsafe { libc::CMSG_SPACE(small(size_of::<u16>())) };
// SAFETY: arithmetic only.
const CONTROL_DATA: u32 = unsafe { libc::CMSG_LEN(0) };
const _: () = {
    assert!(size_of::<SegmentControl>() == SEGMENT_SPACE as usize);
    assert!(std::mem::offset_of!(SegmentControl, segment_bytes) == CONTROL_DATA as usize);
};

pub(crate) const fn empty_message() -> libc::mmsghdr {
    // SAFETY: a msghdr is integers and pointers, for which all zeros is a value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Points `header` at what `outgoing` names. sendmsg(2): "msg_name … points to a buffer containing
/// the address; the msg_namelen field should be set to the size of the address" (null and
/// 0 for a connected socket); "the msg_iov and
/// msg_iovlen fields specify scatter-gather locations, as for writev(2)"; control information goes
/// by "the msg_control and msg_controllen members"; "the msg_flags field is ignored".
#[inline]
fn point(header: &mut libc::msghdr, control: &mut SegmentControl, outgoing: Outgoing<'_>) {
    header.msg_name = outgoing.address.pointer().cast_mut().cast::<c_void>();
    header.msg_namelen = outgoing.address.length;
    // IoSlice "is guaranteed to be ABI compatible with the iovec type on Unix platforms".
    header.msg_iov = outgoing.slices.as_ptr().cast_mut().cast::<libc::iovec>();
    header.msg_iovlen = outgoing.slices.len();
    if outgoing.segment_bytes == 0 {
        header.msg_control = std::ptr::null_mut();
        header.msg_controllen = 0;
        return;
    }
    control.segment_bytes = outgoing.segment_bytes;
    let control: *mut SegmentControl = control;
    header.msg_control = control.cast::<c_void>();
    header.msg_controllen = SEGMENT_SPACE as usize;
}

const fn segment_control() -> SegmentControl {
    let header = libc::cmsghdr {
        cmsg_len: SEGMENT_LEN as usize,
        cmsg_level: libc::SOL_UDP,
        cmsg_type: libc::UDP_SEGMENT,
    };
    SegmentControl { header, segment_bytes: 0, zero: [0; 3] }
}

/// Sends one message; it goes as a whole or not at all.
#[inline]
pub(crate) fn send_message(socket: BorrowedFd<'_>, outgoing: Outgoing<'_>) -> io::Result<()> {
    let (mut message, mut control) = (empty_message(), segment_control());
    point(&mut message.msg_hdr, &mut control, outgoing);
    // sendmsg(2): MSG_DONTWAIT "enables nonblocking operation; if the operation would block, EAGAIN
    // or EWOULDBLOCK is returned"; MSG_NOSIGNAL: "don't generate a SIGPIPE signal".
    // SAFETY: everything the header points at (address, slices and their bytes by the lifetime of
    // `outgoing`, `control` on this stack) lives through the call, and the kernel only reads it.
    let result = unsafe {
        libc::sendmsg(
            socket.as_raw_fd(),
            &raw const message.msg_hdr,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    checked(libc::c_long::try_from(result).unwrap_or(-1)).map(|_| ())
}

/// A datagram up to this long is gathered first and sent as one piece.
pub(crate) const COPIED_BYTES_MAX: usize = 512;

/// Sends one short datagram of at most [`COPIED_BYTES_MAX`] bytes. The copy costs a few
/// nanoseconds; without it the kernel fetches a header, an address and a vector of slices before it
/// comes to the bytes, 0.3 µs of a round trip's 10.
#[inline]
pub(crate) fn send_copied(socket: BorrowedFd<'_>, outgoing: Outgoing<'_>) -> io::Result<()> {
    let mut bytes = [0_u8; COPIED_BYTES_MAX];
    let mut length = 0;
    for slice in outgoing.slices {
        bytes[length..length + slice.len()].copy_from_slice(slice);
        length += slice.len();
    }
    // sendto(2): "the message is found in buf and has length len"; "the address of the target is
    // given by dest_addr with addrlen specifying its size", NULL and 0 on a connected socket; the
    // flags as above.
    // SAFETY: `bytes` holds `length` bytes and the address `length` of its own; both live through
    // the call, and the kernel only reads them.
    let result = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            bytes.as_ptr().cast::<c_void>(),
            length,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            outgoing.address.pointer().cast::<libc::sockaddr>(),
            outgoing.address.length,
        )
    };
    checked(libc::c_long::try_from(result).unwrap_or(-1)).map(|_| ())
}

impl Outgoing<'_> {
    /// Whether [`send_copied`] takes it.
    #[inline]
    pub(crate) fn is_short(&self) -> bool {
        let bytes: usize = self.slices.iter().map(|slice| slice.len()).sum();
        self.segment_bytes == 0 && bytes <= COPIED_BYTES_MAX
    }
}

/// The reused headers of `sendmmsg`. Their pointers mean something only during a call.
pub(crate) struct SendBatch {
    headers: Box<[libc::mmsghdr]>,
    controls: Box<[SegmentControl]>,
}

// SAFETY: between calls the pointers in the headers are never followed; each call sets those it
// uses.
unsafe impl Send for SendBatch {}

impl std::fmt::Debug for SendBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendBatch").field("capacity", &self.headers.len()).finish_non_exhaustive()
    }
}

impl SendBatch {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            headers: vec![empty_message(); capacity].into(),
            controls: vec![segment_control(); capacity].into(),
        }
    }

    /// Points headers at messages, as many as there is room for; returns how many.
    #[inline]
    pub(crate) fn fill<'a>(&mut self, outgoing: impl Iterator<Item = Outgoing<'a>>) -> usize {
        let mut filled = 0;
        let places = self.headers.iter_mut().zip(self.controls.iter_mut());
        for ((header, control), outgoing) in places.zip(outgoing) {
            point(&mut header.msg_hdr, control, outgoing);
            filled += 1;
        }
        filled
    }

    /// The headers, for a ring, which is told of each by itself.
    #[cfg(feature = "io-uring")]
    pub(crate) fn headers(&self) -> impl Iterator<Item = *const libc::msghdr> {
        self.headers.iter().map(|header| &raw const header.msg_hdr)
    }
}

/// Sends messages in order, as many as the batch has room for; returns how many went. "An error is
/// returned only if no datagrams could be sent", so an error concerns the first one.
pub(crate) fn send_messages<'a>(
    socket: BorrowedFd<'_>,
    batch: &mut SendBatch,
    outgoing: impl Iterator<Item = Outgoing<'a>>,
) -> io::Result<usize> {
    let filled = batch.fill(outgoing);
    // sendmmsg(2): "The msgvec argument is a pointer to an array of mmsghdr structures. The size of
    // this array is specified in vlen." "The flags are the same as for sendmsg(2)."
    // SAFETY: the first `filled` headers were pointed just now at things that live for 'a, which
    // outlives this call, and at controls of this batch; the kernel writes only their msg_len.
    let result = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            batch.headers.as_mut_ptr(),
            small(filled),
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    checked(result.into())
}
