//! The rings, and the only unsafe code of this backend.
//!
//! [`SendRing`] has a batch carried and waits for it; [`ReceiveRing`] owns the buffers the kernel
//! fills. Each belongs to one agent. A ring is made where the agent is made and enabled where it is
//! first used: "the task that enables the ring" is the only one that may enter it
//! (`IORING_SETUP_SINGLE_ISSUER`, io_uring_setup(2)).
//!
//! With `IORING_SETUP_DEFER_TASKRUN` the kernel does what has become possible only "when the
//! application calls io_uring_enter(2)", never behind our back; `IORING_SETUP_TASKRUN_FLAG` says in
//! shared memory that there is something to do, so that finding nothing costs no system call.

use std::ffi::c_int;
use std::io;
use std::mem::ManuallyDrop;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fixed};
use io_uring::{IoUring, cqueue, opcode, squeue};

use crate::io::address::{ADDRESS_BYTES_MAX, KernelAddress};
use crate::io::batch::BATCH_MESSAGES;
use crate::io::mio::SendCalls;
use crate::io::transmit::Carry;
use crate::sys::{Arrived, Line, Outgoing, RawArray, empty_message};

/// A ring and the sockets registered with it.
struct Ring {
    ring: IoUring,
    enabled: bool,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

impl Ring {
    /// Room for `entries` requests at a time. Sockets are known by their index from here on, which
    /// saves looking up and holding the descriptor for each request.
    fn new<'a>(sockets: impl Iterator<Item = &'a UdpSocket>, entries: usize) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
        let ring = builder.setup_r_disabled().build(u32::try_from(entries).unwrap_or(u32::MAX))?;
        let descriptors: Vec<c_int> = sockets.map(AsRawFd::as_raw_fd).collect();
        ring.submitter().register_files(&descriptors)?;
        Ok(Self { ring, enabled: false })
    }

    /// Gives the ring to this thread, the first time.
    #[inline]
    fn enable(&mut self) -> io::Result<()> {
        if !self.enabled {
            self.ring.submitter().register_enable_rings()?;
            self.enabled = true;
        }
        Ok(())
    }
}

/// What a ring wants of a socket's index.
fn fixed(index: usize) -> Fixed {
    Fixed(u32::try_from(index).unwrap_or(u32::MAX))
}

// --------------------------------------------------------------------------------------- send

/// Enters of one batch: one, and one more for each signal that came between. A ring that needs more
/// is given up.
const ENTERS_MAX: u32 = 1_000;

/// Carries a batch as linked requests and waits for all of them in one call.
#[derive(Debug)]
pub(super) struct SendRing {
    plain: SendCalls,
    /// `None` once an enter has failed: from then on the plain calls carry.
    ring: Option<Ring>,
}

/// How the requests of a batch came out.
struct Outcome {
    expected: usize,
    completed: usize,
    /// The first request that failed.
    failed: usize,
    /// The first error that is not only "an earlier one failed".
    error: Option<(usize, c_int)>,
}

impl Outcome {
    const fn of(expected: usize) -> Self {
        Self { expected, completed: 0, failed: expected, error: None }
    }

    fn note(&mut self, completion: &cqueue::Entry) {
        self.completed += 1;
        let index = usize::try_from(completion.user_data()).unwrap_or(usize::MAX);
        if completion.result() >= 0 {
            return;
        }
        self.failed = self.failed.min(index);
        let errno = -completion.result();
        if errno != libc::ECANCELED && self.error.is_none_or(|(earlier, _)| index < earlier) {
            self.error = Some((index, errno));
        }
    }

    /// As `sendmmsg`: how many went, and an error only if it is the first one's.
    fn result(&self) -> io::Result<usize> {
        if self.failed > 0 {
            return Ok(self.failed);
        }
        Err(io::Error::from_raw_os_error(self.error.map_or(libc::EAGAIN, |(_, errno)| errno)))
    }
}

impl SendRing {
    pub(super) fn new(sockets: Vec<UdpSocket>) -> io::Result<Self> {
        let ring = Ring::new(sockets.iter(), BATCH_MESSAGES)?;
        Ok(Self { plain: SendCalls::new(sockets), ring: Some(ring) })
    }

    /// Whether the ring carries, rather than plain calls.
    pub(super) const fn is_ring(&self) -> bool {
        self.ring.is_some()
    }

    /// Gives the ring up. What it was told and had not begun is never begun: the kernel reads no
    /// entry of a closed ring, and "cancels" what waits for an earlier request.
    #[cold]
    fn give_up(&mut self) {
        self.ring = None;
    }
}

impl Ring {
    /// Queues sends of the first `count` headers, each held back until the one before has gone.
    /// io_uring_enter(2), IOSQE_IO_LINK: "the next SQE will not be started before this one
    /// completes"; a failure in the chain "will break the chain" and the rest ends in ECANCELED.
    fn queue(&mut self, socket: usize, headers: impl Iterator<Item = *const libc::msghdr>) {
        let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL).cast_unsigned();
        let mut submission = self.ring.submission();
        let mut headers = (0_u64..).zip(headers).peekable();
        while let Some((index, header)) = headers.next() {
            let send = opcode::SendMsg::new(fixed(socket), header).flags(flags);
            let link = headers.peek().map_or(squeue::Flags::empty(), |_| squeue::Flags::IO_LINK);
            let entry = send.build().flags(link).user_data(index);
            // SAFETY: header, address, slices, bytes and control live until the completion is seen
            // or the ring is closed, since `carry` borrows them and waits.
            let pushed = unsafe { submission.push(&entry) };
            debug_assert!(pushed.is_ok(), "a batch fits the queue");
        }
    }

    /// Enters until all of `outcome` has completed. False: the ring cannot be used any more.
    fn finish(&mut self, outcome: &mut Outcome) -> bool {
        if self.enable().is_err() {
            return false;
        }
        for _ in 0..ENTERS_MAX {
            let entered = self.ring.submit_and_wait(outcome.expected - outcome.completed);
            self.ring.completion().for_each(|completion| outcome.note(&completion));
            if outcome.completed == outcome.expected {
                return true;
            }
            // A rest that is not submitted at once would start a chain of its own.
            let is_cut = !self.ring.submission().is_empty();
            let interrupted =
                entered.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::Interrupted);
            if is_cut || (entered.is_err() && !interrupted) {
                return false;
            }
        }
        false
    }
}

impl Carry for SendRing {
    fn sockets(&self) -> usize {
        self.plain.sockets()
    }

    #[inline]
    fn carry<'a>(
        &mut self,
        index: usize,
        outgoing: impl ExactSizeIterator<Item = Outgoing<'a>>,
    ) -> io::Result<usize> {
        let Some(ring) = &mut self.ring else { return self.plain.carry(index, outgoing) };
        let filled = self.plain.batch.fill(outgoing);
        ring.queue(index, self.plain.batch.headers().take(filled));
        let mut outcome = Outcome::of(filled);
        if !ring.finish(&mut outcome) {
            self.give_up();
            // What is known to have gone has gone; the rest was not begun.
            outcome.failed = outcome.failed.min(outcome.completed);
        }
        outcome.result()
    }
}

// ------------------------------------------------------------------------------------- receive

/// The one group of buffers of a ring.
const GROUP: u16 = 0;
/// io_uring_prep_recvmsg_multishot(3): a buffer begins with a `struct io_uring_recvmsg_out` (four
/// u32: name, control and payload length, flags); behind it come "the name, with the length of
/// msg_namelen", "the control data, with the length of msg_controllen", and the payload.
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

/// io_uring_register_buf_ring(3): the ring's memory "must be page aligned".
#[repr(C, align(4096))]
#[derive(Clone, Copy)]
struct Page([u8; 4096]);

/// Buffers the kernel chooses from, and the ring through which it is given them.
struct Buffers {
    lines: RawArray<Line>,
    lines_each: usize,
    count: u16,
    ring: RawArray<Page>,
    tail: u16,
    /// What a multishot is told of names and control messages.
    template: RawArray<libc::msghdr>,
}

/// Multishot receives of several sockets into one group of buffers.
pub(super) struct ReceiveRing {
    ring: Ring,
    buffers: ManuallyDrop<Buffers>,
}

// SAFETY: the ring owns everything its pointers point at, and every method needs `&mut self` to let
// the kernel write there.
unsafe impl Send for ReceiveRing {}

impl std::fmt::Debug for ReceiveRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveRing").field("slots", &self.buffers.count).finish_non_exhaustive()
    }
}

/// What the kernel says of one socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Completion {
    pub(super) socket: usize,
    /// The socket's multishot is over and must be armed again.
    pub(super) ended: bool,
    pub(super) outcome: Result<Filled, c_int>,
}

/// A buffer that holds an arrival until it is given back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filled {
    slot: u16,
    bytes: usize,
}

impl Buffers {
    /// `count` buffers, a power of two, for payloads of `slot_bytes` (rounded up to 64); all
    /// touched.
    fn new(count: u16, slot_bytes: usize) -> Self {
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

    /// Gives buffer `slot` to the kernel. io_uring_buf_ring_add(3) and _advance(3): the entry at
    /// the tail gets "addr, len and bid", and then the new tail is stored with release order.
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
    fn bytes(&self, filled: Filled) -> &[u8] {
        assert!(filled.slot < self.count, "buffer {} of {}", filled.slot, self.count);
        let pointer = self.lines.at(usize::from(filled.slot) * self.lines_each).cast::<u8>();
        let length = filled.bytes.min(self.lines_each * LINE_BYTES);
        // SAFETY: the buffer is that long, initialised, and ours until it is given back, which
        // needs `&mut self`.
        unsafe { std::slice::from_raw_parts(pointer, length) }
    }
}

impl ReceiveRing {
    /// A ring for `sockets` with `slots` buffers (a power of two, at most 128) for payloads of
    /// `slot_bytes`. Nothing is received before [`Self::arm`].
    pub(super) fn new<'a>(
        sockets: impl ExactSizeIterator<Item = &'a UdpSocket>,
        slots: u16,
        slot_bytes: usize,
    ) -> io::Result<Self> {
        // Completions have twice the room: one for each buffer and an end for each socket.
        let entries = sockets.len().max(usize::from(slots));
        let ring = Ring::new(sockets, entries)?;
        let mut buffers = Buffers::new(slots, slot_bytes);
        let address = buffers.ring.at(0).expose_provenance() as u64;
        let submitter = ring.ring.submitter();
        // SAFETY: the page is zeroed, holds `slots` entries of 16 bytes, and is freed only after
        // the group has been unregistered.
        unsafe { submitter.register_buf_ring_with_flags(address, slots, GROUP, 0) }?;
        (0..slots).for_each(|slot| buffers.give(slot));
        Ok(Self { ring, buffers: ManuallyDrop::new(buffers) })
    }

    /// Queues a multishot receive of a socket, submitted by the next [`Self::enter`].
    pub(super) fn arm(&mut self, socket: usize) {
        let receive = opcode::RecvMsgMulti::new(fixed(socket), self.buffers.template.at(0), GROUP);
        let entry = receive.build().user_data(socket as u64);
        // SAFETY: the template lives as long as the ring; the buffers of the group likewise.
        let pushed = unsafe { self.ring.ring.submission().push(&entry) };
        debug_assert!(pushed.is_ok(), "one entry a socket fits the queue");
    }

    /// Whether an enter would do something, or completions are there. Costs no system call.
    #[inline]
    pub(super) fn has_work(&mut self) -> bool {
        let ring = &mut self.ring.ring;
        let submission = ring.submission();
        let waiting = submission.taskrun() || !submission.is_empty();
        drop(submission);
        waiting || !ring.completion().is_empty()
    }

    /// Submits what is queued and lets the kernel fill buffers. Never waits.
    #[inline]
    pub(super) fn enter(&mut self) -> io::Result<()> {
        self.ring.enable()?;
        self.ring.ring.submit().map(|_| ())
    }

    /// The next thing the kernel said.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Completion> {
        let completion = self.ring.ring.completion().next()?;
        let (result, flags) = (completion.result(), completion.flags());
        let outcome = match (usize::try_from(result), cqueue::buffer_select(flags)) {
            (Ok(bytes), Some(slot)) => Ok(Filled { slot, bytes }),
            _ => Err(result.saturating_neg()),
        };
        Some(Completion {
            socket: usize::try_from(completion.user_data()).unwrap_or(usize::MAX),
            ended: !cqueue::more(flags),
            outcome,
        })
    }

    /// What a filled buffer holds.
    #[inline]
    pub(super) fn arrived(&self, filled: Filled) -> Arrived<'_> {
        let bytes = self.buffers.bytes(filled);
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

    /// Gives a buffer back to the kernel.
    #[inline]
    pub(super) fn give_back(&mut self, filled: Filled) {
        self.buffers.give(filled.slot);
    }
}

impl Drop for ReceiveRing {
    /// Takes the buffers from the kernel before they are freed. From a thread that may not (the
    /// ring belongs to another) that is refused, and they are left allocated.
    fn drop(&mut self) {
        if self.ring.ring.submitter().unregister_buf_ring(GROUP).is_ok() {
            // SAFETY: dropped once, here. The kernel has no group to choose from any more and
            // writes only inside an enter, of which none is under way.
            unsafe { ManuallyDrop::drop(&mut self.buffers) };
        }
    }
}
