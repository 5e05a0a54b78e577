//! Between messages and system calls: cutting a segmented message into its datagrams without a
//! copy, and reading the control messages of a filled slot. For every backend with real sockets.

use std::io::IoSlice;

use super::{Message, SLICES_MAX};
use crate::sys::Outgoing;

/// Messages in one batch: enough that the call itself (about 110 ns) costs nothing beside a
/// datagram (1–2 µs); more only delays the next look at the rings.
pub(super) const BATCH_MESSAGES: usize = 64;

/// Datagrams of one segmented message as slices of their own over the same bytes.
pub(super) struct Pieces<'a> {
    slices: [IoSlice<'a>; SLICES_MAX],
    /// End of each datagram in `slices`.
    ends: [usize; BATCH_MESSAGES],
    datagrams: usize,
}

impl<'a> Pieces<'a> {
    pub(super) fn new() -> Self {
        let slices = [IoSlice::new(&[]); SLICES_MAX];
        Self { slices, ends: [0; BATCH_MESSAGES], datagrams: 0 }
    }

    /// Cuts the datagrams of `message` from number `from` on, as many as there is room for; returns
    /// how many. 0 when the first of them alone has more than [`SLICES_MAX`] slices.
    pub(super) fn cut(&mut self, message: &Message<'a>, from: usize) -> usize {
        let segment_bytes = message.segment_bytes.max(1);
        let mut source = SliceCursor::new(message.slices);
        source.skip(from * segment_bytes);
        let mut rest = message.bytes.saturating_sub(from * segment_bytes);
        let mut used = 0;
        self.datagrams = 0;
        while rest > 0 && self.datagrams < BATCH_MESSAGES {
            let mut wanted = segment_bytes.min(rest);
            rest -= wanted;
            while wanted > 0 {
                let piece = source.take(wanted);
                let Some(place) = self.slices.get_mut(used) else { return self.datagrams };
                if piece.is_empty() {
                    // `bytes` claimed more than the slices hold: what is there is the datagram.
                    break;
                }
                wanted -= piece.len();
                *place = IoSlice::new(piece);
                used += 1;
            }
            self.ends[self.datagrams] = used;
            self.datagrams += 1;
        }
        self.datagrams
    }

    /// The datagrams cut last, for the kernel.
    pub(super) fn outgoing(
        &self,
        message: &'a Message<'_>,
    ) -> impl ExactSizeIterator<Item = Outgoing<'_>> {
        let address = message.destination.kernel_address();
        (0..self.datagrams).map(move |index| {
            let begin = if index == 0 { 0 } else { self.ends[index - 1] };
            let slices = &self.slices[begin..self.ends[index]];
            Outgoing { address, slices, segment_bytes: 0 }
        })
    }
}

/// Walks slices byte by byte, giving contiguous pieces.
struct SliceCursor<'a> {
    rest: std::slice::Iter<'a, IoSlice<'a>>,
    current: &'a [u8],
}

impl<'a> SliceCursor<'a> {
    fn new(slices: &'a [IoSlice<'a>]) -> Self {
        Self { rest: slices.iter(), current: &[] }
    }

    /// The next contiguous bytes, at most `bytes_max`; empty at the end only.
    fn take(&mut self, bytes_max: usize) -> &'a [u8] {
        while self.current.is_empty() {
            let Some(next) = self.rest.next() else { return &[] };
            self.current = next;
        }
        let (piece, behind) = self.current.split_at(bytes_max.min(self.current.len()));
        self.current = behind;
        piece
    }

    fn skip(&mut self, mut bytes: usize) {
        while bytes > 0 {
            match self.take(bytes).len() {
                0 => break,
                taken => bytes -= taken,
            }
        }
    }
}

/// What the kernel said beside an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ControlNotes {
    /// `UDP_GRO`: the arrival is a run of datagrams of this length.
    pub(super) segment_bytes: Option<usize>,
    /// `SO_RXQ_OVFL`: what the socket had dropped since its creation when this was queued, mod
    /// 2^32.
    pub(super) dropped: Option<u32>,
}

const LENGTH_BYTES: usize = size_of::<usize>();
/// cmsg(3): a `cmsghdr` is a `size_t` length and two `int`s; then, aligned, the data.
const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
const _: () = {
    assert!(std::mem::offset_of!(libc::cmsghdr, cmsg_level) == LENGTH_BYTES);
    assert!(std::mem::offset_of!(libc::cmsghdr, cmsg_type) == LENGTH_BYTES + 4);
    assert!(HEADER_BYTES.is_multiple_of(LENGTH_BYTES));
};

/// Reads the control messages of an arrival; stops at the first whose length is impossible.
#[inline]
pub(super) fn read_control(mut control: &[u8]) -> ControlNotes {
    let mut notes = ControlNotes::default();
    while let Some((header, _)) = control.split_first_chunk::<HEADER_BYTES>() {
        let int = |at: usize| i32::from_ne_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
        let mut length = [0; LENGTH_BYTES];
        length.copy_from_slice(&header[..LENGTH_BYTES]);
        let length = usize::from_ne_bytes(length);
        let Some(value) = control.get(HEADER_BYTES..length) else { break };
        let value = value.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes));
        match (int(LENGTH_BYTES), int(LENGTH_BYTES + 4)) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                notes.segment_bytes = value.and_then(|bytes| usize::try_from(bytes).ok());
            }
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => notes.dropped = value,
            _ => {}
        }
        control = control.get(length.next_multiple_of(LENGTH_BYTES)..).unwrap_or(&[]);
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Destination;

    fn cut_all(lengths: &[usize], segment_bytes: usize) -> Vec<Vec<u8>> {
        let total: usize = lengths.iter().sum();
        let bytes: Vec<u8> = (0..total).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let mut rest = bytes.as_slice();
        let slices: Vec<IoSlice<'_>> = lengths
            .iter()
            .map(|length| {
                let (slice, behind) = rest.split_at(*length);
                rest = behind;
                IoSlice::new(slice)
            })
            .collect();
        let destination = Destination::new(0, ([127, 0, 0, 1], 9).into());
        let message = Message::segmented(&destination, &slices, segment_bytes);
        let mut datagrams = Vec::new();
        while datagrams.len() < message.datagram_count() {
            let mut pieces = Pieces::new();
            if pieces.cut(&message, datagrams.len()) == 0 {
                datagrams.push(b"too many slices".to_vec());
                continue;
            }
            for outgoing in pieces.outgoing(&message) {
                datagrams.push(outgoing.slices.iter().flat_map(|s| s.iter().copied()).collect());
            }
        }
        let joined: Vec<u8> = datagrams.iter().flatten().copied().collect();
        if joined.len() == total {
            assert_eq!(joined, bytes, "cut {lengths:?} by {segment_bytes}");
        }
        datagrams
    }

    #[test]
    fn datagrams_are_cut_across_slices_without_losing_a_byte() {
        for (lengths, segment_bytes) in [
            (vec![10, 10, 10], 10),
            (vec![30], 7),
            (vec![1, 0, 2, 0, 0, 13, 5], 4),
            (vec![3; 50], 16),
            (vec![1; 900], 100),
            (vec![64; 130], 64),
        ] {
            let datagrams = cut_all(&lengths, segment_bytes);
            let total: usize = lengths.iter().sum();
            assert_eq!(datagrams.len(), total.div_ceil(segment_bytes));
            let (last, full) = datagrams.split_last().unwrap();
            assert!(full.iter().all(|datagram| datagram.len() == segment_bytes));
            assert_eq!(last.len(), total - full.len() * segment_bytes);
        }
    }

    #[test]
    fn more_slices_than_one_batch_holds_are_cut_in_several_and_one_datagram_of_too_many_is_refused()
    {
        let datagrams = cut_all(&vec![1; 3_000], 1_000);
        assert_eq!(datagrams.iter().map(Vec::len).collect::<Vec<_>>(), [1_000; 3]);
        let datagrams = cut_all(&vec![1; 2_500], 1_200);
        assert_eq!(datagrams[0], b"too many slices");
        assert_eq!(datagrams[1], b"too many slices");
        assert_eq!(datagrams[2].len(), 100);
    }

    fn control(level: i32, kind: i32, value: &[u8]) -> Vec<u8> {
        let mut bytes = (HEADER_BYTES + value.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(LENGTH_BYTES), 0);
        bytes
    }

    #[test]
    fn control_messages_are_read_in_any_order_and_nonsense_ends_the_reading() {
        let gro = control(libc::SOL_UDP, libc::UDP_GRO, &1_400_i32.to_ne_bytes());
        let drops = control(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &7_u32.to_ne_bytes());
        let other = control(libc::SOL_SOCKET, libc::SCM_TIMESTAMP, &[9; 16]);
        let both = ControlNotes { segment_bytes: Some(1_400), dropped: Some(7) };
        assert_eq!(read_control(&[gro.clone(), other.clone(), drops.clone()].concat()), both);
        assert_eq!(read_control(&[drops, gro.clone()].concat()), both);
        assert_eq!(read_control(&other), ControlNotes::default());
        assert_eq!(read_control(&[]), ControlNotes::default());
        for lie in [0_usize, 3, 17, usize::MAX] {
            let mut lying = gro.clone();
            lying[..LENGTH_BYTES].copy_from_slice(&lie.to_ne_bytes());
            assert_eq!(read_control(&lying), ControlNotes::default(), "length {lie}");
        }
        assert_eq!(read_control(&gro[..18]), ControlNotes::default());
    }
}
