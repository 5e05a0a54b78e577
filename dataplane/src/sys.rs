//! The system calls; with two files of `io/uring` the only unsafe code of this crate.
//!
//! One plain function for each call; what a caller must know stands in the types, so that every
//! function here is safe to call. Each argument is governed by a sentence of its man page, quoted
//! where the argument is made. Why not safe code: neither the standard library nor socket2 offers
//! sendmmsg, recvmmsg, UDP_SEGMENT, UDP_GRO, SO_RXQ_OVFL, membarrier or epoll_pwait2. For 64-bit
//! Linux with glibc; other layouts of the structures fail to compile.

use std::ffi::{CStr, c_int, c_void};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::time::Duration;

use crate::io::address::{ADDRESS_BYTES_MAX, KernelAddress};

/// A call's result: "On error, -1 is returned, and errno is set to indicate the error."
fn checked(result: libc::c_long) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// A length as the kernel's `unsigned int`.
#[expect(clippy::cast_possible_truncation, reason = "sizes of structures and of our small arrays")]
const fn small(length: usize) -> libc::socklen_t {
    length as libc::socklen_t
}

// ---------------------------------------------------------------------------------------- time

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // clock_gettime(2): "The clockid argument is the identifier of the particular clock on which to
    // act"; the time goes into the timespec that tp points to.
    // SAFETY: `time` is a timespec that lives through the call. The clocks asked for exist on every
    // Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec).cast_unsigned()
}

/// `CLOCK_MONOTONIC`: "a nonsettable system-wide clock that represents monotonic time since some
/// unspecified point in the past", ns.
#[inline]
pub(crate) fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// `CLOCK_REALTIME`: "its time represents seconds and nanoseconds since the Epoch", ns.
pub(crate) fn realtime_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

/// Sleeps for `pause`, woken by nothing: the `Sleep` idle policy.
#[expect(clippy::disallowed_methods, reason = "the one place that may sleep")]
pub(crate) fn sleep(pause: Duration) {
    std::thread::sleep(pause);
}

// ---------------------------------------------------------------------------------- membarrier

fn membarrier_command(command: c_int) -> io::Result<()> {
    let none: c_int = 0;
    // membarrier(2): "glibc provides no wrapper for membarrier(), necessitating the use of
    // syscall(2)". "The flags argument must be specified as 0 unless the command is
    // MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ"; "the cpu_id argument is ignored unless flags is
    // MEMBARRIER_CMD_FLAG_CPU".
    // SAFETY: the call takes three integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, command, none, none) };
    checked(result).map(|_| ())
}

/// Registers this process: "A process must register its intent to use the private expedited command
/// prior to using it."
pub(crate) fn register_membarrier() -> io::Result<()> {
    membarrier_command(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
}

/// "Upon return from the system call, the calling thread has a guarantee that all its running
/// thread siblings have passed through a state where all memory accesses to user-space addresses
/// match program order between entry to and return from the system call."
pub(crate) fn membarrier() -> io::Result<()> {
    membarrier_command(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
}

// --------------------------------------------------------------------------------------- epoll

/// Room for the notices of one epoll wait.
#[derive(Clone)]
pub(crate) struct Notices {
    events: Box<[libc::epoll_event]>,
    filled: usize,
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notices").field("filled", &self.filled).finish_non_exhaustive()
    }
}

impl Notices {
    /// "The maxevents argument must be greater than zero."
    pub(crate) fn new(capacity: usize) -> Self {
        let none = libc::epoll_event { events: 0, u64: 0 };
        Self { events: vec![none; capacity.max(1)].into(), filled: 0 }
    }

    /// The tokens the last wait gave, each the one its descriptor was registered with.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = usize> {
        self.events[..self.filled].iter().map(|e| usize::try_from(e.u64).unwrap_or(usize::MAX))
    }
}

/// The kernel's 64-bit timespec, on every architecture.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

/// Waits for readiness, with nanosecond resolution.
pub(crate) fn epoll_wait(
    poll: &mio::Poll,
    notices: &mut Notices,
    timeout: Duration,
) -> io::Result<()> {
    notices.filled = 0;
    let time = KernelTimespec {
        seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: i64::from(timeout.subsec_nanos()),
    };
    let no_mask: *const c_void = std::ptr::null();
    // epoll_wait(2): "The buffer pointed to by events is used to return information from the ready
    // list"; "up to maxevents are returned"; epoll_pwait2 "takes an argument of type timespec";
    // "the sigmask argument may be specified as NULL"; the raw call has "a sixth argument, size_t
    // sigsetsize", unread without a mask. The raw call because glibc has a wrapper only since 2.35.
    // SAFETY: `poll` owns the descriptor; `events` has room for `events.len()` notices and `time`
    // is a timespec, both alive through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            poll.as_raw_fd(),
            notices.events.as_mut_ptr(),
            small(notices.events.len()),
            &raw const time,
            no_mask,
            0_usize,
        )
    };
    notices.filled = checked(result)?.min(notices.events.len());
    Ok(())
}

// -------------------------------------------------------------------------------------- options

/// Sets a socket option of type `T`, a plain C structure without padding or an integer.
fn set<T: Copy>(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let pointer: *const T = value;
    // setsockopt(2): "The arguments optval and optlen are used to access option values"; "most
    // socket-level options utilize an int argument for optval".
    // SAFETY: `pointer` is valid for `size_of::<T>()` bytes; the kernel reads no more than that.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            pointer.cast::<c_void>(),
            small(size_of::<T>()),
        )
    };
    checked(result.into()).map(|_| ())
}

/// Sets an integer option.
pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    set(socket, level, name, &value)
}

/// Reads an integer option.
pub(crate) fn option(socket: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<c_int> {
    let [value] = get::<1>(socket, level, name)?;
    Ok(value.cast_signed())
}

/// Reads an option of up to `N` 32-bit words; words the kernel does not give are 0.
fn get<const N: usize>(socket: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<[u32; N]> {
    let mut words = [0_u32; N];
    let mut length = small(size_of::<[u32; N]>());
    // getsockopt(2): "optlen is a value-result argument, initially containing the size of the
    // buffer pointed to by optval, and modified on return to indicate the actual size of the value
    // returned".
    // SAFETY: `words` is writable for `length` bytes and any bit pattern of it is a value.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            words.as_mut_ptr().cast::<c_void>(),
            &raw mut length,
        )
    };
    checked(result.into()).map(|_| words)
}

/// What the socket has dropped since its creation (`SO_MEMINFO`, Linux 4.12): the number that
/// `SO_RXQ_OVFL` attaches to arrivals, readable without one. Modulo 2^32.
pub(crate) fn dropped(socket: BorrowedFd<'_>) -> io::Result<u32> {
    const DROPS: usize = libc::SK_MEMINFO_DROPS as usize;
    let words = get::<{ DROPS + 1 }>(socket, libc::SOL_SOCKET, libc::SO_MEMINFO)?;
    Ok(words[DROPS])
}

/// Chooses the interface for outgoing IPv4 multicast by index. ip(7), IP_MULTICAST_IF: "the
/// argument for setsockopt(2) is an ip_mreqn"; its `imr_ifindex` alone decides when not 0.
pub(crate) fn set_multicast_interface(socket: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let none = libc::in_addr { s_addr: libc::INADDR_ANY };
    let index = c_int::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    let request = libc::ip_mreqn { imr_multiaddr: none, imr_address: none, imr_ifindex: index };
    set(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request)
}

/// "The if_nametoindex() function returns the index of the network interface corresponding to the
/// name ifname"; "on error, 0 is returned and errno is set".
pub(crate) fn interface_index(name: &CStr) -> io::Result<u32> {
    // SAFETY: `name` is a string with its terminator.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

// --------------------------------------------------------------------------------------- send

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
/// the address; the msg_namelen field should be set to the size of the address"; "the msg_iov and
/// msg_iovlen fields specify scatter-gather locations, as for writev(2)"; control information goes
/// by "the msg_control and msg_controllen members"; "the msg_flags field is ignored".
#[inline]
fn point(header: &mut libc::msghdr, control: &mut SegmentControl, outgoing: Outgoing<'_>) {
    header.msg_name = outgoing.address.bytes.as_ptr().cast_mut().cast::<c_void>();
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

// ------------------------------------------------------------------------------------- receive

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
    bytes: RawArray<Line>,
    names: RawArray<KernelAddress>,
    controls: RawArray<Control>,
    vectors: RawArray<libc::iovec>,
    headers: RawArray<libc::mmsghdr>,
    slot_lines: usize,
    filled: usize,
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
    /// `slots` slots of `slot_bytes` (rounded up to 64), all touched.
    pub(crate) fn new(slots: usize, slot_bytes: usize) -> Self {
        let (slots, slot_lines) = (slots.max(1), slot_bytes.div_ceil(64).max(1));
        // One line between slots, so that equal places of them do not compete for one cache set.
        let bytes = RawArray::new(Line([0; 64]), slots * (slot_lines + 1));
        let names = RawArray::new(KernelAddress::EMPTY, slots);
        let controls = RawArray::new(Control([0; CONTROL_BYTES]), slots);
        let no_vector = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let vectors = RawArray::new(no_vector, slots);
        let headers = RawArray::new(empty_message(), slots);
        let batch = Self { bytes, names, controls, vectors, headers, slot_lines, filled: 0 };
        for index in 0..slots {
            batch.lay_out(index);
        }
        batch
    }

    /// Points header `index` at its slot. recvmsg(2): "The msg_name field points to a
    /// caller-allocated buffer that is used to return the source address"; "the fields msg_iov and
    /// msg_iovlen describe scatter-gather locations"; msg_control "points to a buffer for other
    /// protocol control-related messages".
    fn lay_out(&self, index: usize) {
        let vector = libc::iovec {
            iov_base: self.bytes.at(index * (self.slot_lines + 1)).cast::<c_void>(),
            iov_len: self.slot_bytes(),
        };
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

    pub(crate) const fn slots(&self) -> usize {
        self.headers.0.len()
    }

    /// Fills the slots from the front with what is there; returns how many. Fewer than all of them
    /// means that the socket was empty then. An empty socket is the error `WouldBlock`.
    #[inline]
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        for index in 0..std::mem::take(&mut self.filled) {
            self.arm(index);
        }
        // recvmmsg(2): "The msgvec argument is a pointer to an array of mmsghdr structures. The
        // size of this array is specified in vlen." "A nonblocking call reads as many messages as
        // are available (up to the limit specified by vlen) and returns immediately." "If timeout
        // is NULL" there is none.
        // SAFETY: every header points at buffers of its own with the lengths it states, owned by
        // this batch and borrowed by nobody while `self` is borrowed mutably.
        let result = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.at(0),
                small(self.headers.0.len()),
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        self.filled = checked(result.into())?.min(self.slots());
        Ok(self.filled)
    }

    /// What arrived in slot `index`; it must be below what the last [`Self::receive`] returned.
    #[inline]
    pub(crate) fn arrived(&self, index: usize) -> Arrived<'_> {
        assert!(index < self.filled, "slot {index} of {} filled", self.filled);
        // SAFETY: the element exists; the kernel is done with it and wrote only integers.
        let message = unsafe { *self.headers.at(index) };
        let (length, header) = (message.msg_len as usize, message.msg_hdr);
        let pointer = self.bytes.at(index * (self.slot_lines + 1)).cast::<u8>();
        // SAFETY: the slot is that long, initialised, and not written before `self` is borrowed
        // mutably again.
        let bytes = unsafe { std::slice::from_raw_parts(pointer, length.min(self.slot_bytes())) };
        let pointer = self.controls.at(index).cast::<u8>();
        let length = header.msg_controllen.min(CONTROL_BYTES);
        // SAFETY: as for the bytes.
        let control = unsafe { std::slice::from_raw_parts(pointer, length) };
        // SAFETY: the element exists; the kernel is done with it and any bytes are an address.
        let mut source = unsafe { *self.names.at(index) };
        source.length = header.msg_namelen;
        Arrived { bytes, source, control, truncated: header.msg_flags & libc::MSG_TRUNC != 0 }
    }
}
