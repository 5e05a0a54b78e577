//! The system calls; with two files of `io/uring` the only unsafe code of this crate.
//!
//! One plain function for each call; what a caller must know stands in the types, so that every
//! function here is safe to call. Each argument is governed by a sentence of its man page, quoted
//! where the argument is made. Why not safe code: neither the standard library nor socket2 offers
//! sendmmsg, recvmmsg, UDP_SEGMENT, UDP_GRO, SO_RXQ_OVFL, membarrier or epoll_pwait2. For 64-bit
//! Linux with glibc; other layouts of the structures fail to compile.

mod receive;
mod send;

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

pub(crate) use receive::{Arrived, ReceiveBatch};
#[cfg(feature = "io-uring")]
pub(crate) use receive::{Line, RawArray};
pub(crate) use send::{
    Outgoing, SendBatch, empty_message, send_copied, send_message, send_messages,
};

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
