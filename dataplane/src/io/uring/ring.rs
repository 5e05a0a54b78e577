//! The rings; with `buffers.rs` the only unsafe code of this backend.
//!
//! [`SendRing`] has a batch carried and waits for it; [`ReceiveRing`] owns the buffers the kernel
//! fills. Each belongs to one agent. A ring is made where the agent is made and enabled where it is
//! first used: of a ring that starts disabled, "the submission task is […] the task that enables
//! the ring", and "the kernel enforces this rule, failing requests with -EEXIST"
//! (io_uring_setup(2), IORING_SETUP_SINGLE_ISSUER).
//!
//! IORING_SETUP_DEFER_TASKRUN: the kernel "should defer work until an io_uring_enter(2) call with
//! the IORING_ENTER_GETEVENTS flag set", so that nothing is written behind our back.
//! IORING_SETUP_TASKRUN_FLAG: a flag in shared memory "is set […] whenever completions are pending
//! that should be processed", so that finding nothing costs no system call.

use std::ffi::c_int;
use std::io;
use std::mem::ManuallyDrop;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use io_uring::types::Fixed;
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::buffers::{Buffers, Filled};
use crate::io::batch::BATCH_MESSAGES;
use crate::io::mio::SendCalls;
use crate::io::transmit::Carry;
use crate::sys::{Arrived, Outgoing};

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
    /// entry of a closed ring, and cancels what waits for an earlier request.
    #[cold]
    fn give_up(&mut self) {
        self.ring = None;
    }
}

impl Ring {
    /// Queues a send of each header, held back until the one before has gone.
    /// io_uring_enter(2), IOSQE_IO_LINK: "that next SQE will not be started before the previous
    /// request completes"; "if a chain of SQE links is broken, the remaining unstarted part of the
    /// chain will be terminated and completed with -ECANCELED".
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
            // "Chains are not supported across submission boundaries": what was not submitted at
            // once would start a chain of its own.
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

/// Multishot receives of several sockets into one group of buffers.
pub(super) struct ReceiveRing {
    ring: Ring,
    buffers: ManuallyDrop<Buffers>,
}

impl std::fmt::Debug for ReceiveRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveRing").field("slots", &self.buffers.count()).finish_non_exhaustive()
    }
}

/// What the kernel says of one socket.
#[derive(Debug)]
pub(super) struct Completion {
    pub(super) socket: usize,
    /// The socket's multishot is over and must be armed again.
    pub(super) ended: bool,
    pub(super) outcome: Result<Filled, c_int>,
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
        let address = buffers.ring_address();
        let submitter = ring.ring.submitter();
        // SAFETY: the page is zeroed, holds `slots` entries of 16 bytes, and is freed only after
        // the group has been unregistered.
        unsafe { submitter.register_buf_ring_with_flags(address, slots, GROUP, 0) }?;
        buffers.give_all();
        Ok(Self { ring, buffers: ManuallyDrop::new(buffers) })
    }

    /// Queues a multishot receive of a socket, submitted by the next [`Self::enter`].
    pub(super) fn arm(&mut self, socket: usize) {
        let receive = opcode::RecvMsgMulti::new(fixed(socket), self.buffers.template(), GROUP);
        let entry = receive.build().user_data(socket as u64);
        // "Data must remain valid until the request has been successfully submitted."
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
    pub(super) fn arrived(&self, filled: &Filled) -> Arrived<'_> {
        self.buffers.arrived(filled)
    }

    /// Gives a buffer back to the kernel.
    #[inline]
    pub(super) fn give_back(&mut self, filled: Filled) {
        self.buffers.give_back(filled);
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
