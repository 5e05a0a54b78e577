//! The streams a receiver hears: one window for each (source, session, lane), in a table of fixed
//! size. A stream that has been silent long makes room when the table is full; a flood of invented
//! sources can therefore not push out a live one, nor make the table grow.

use wireloom_wire::{NodeId, PacketFlags, PacketHeader, ReceiveWindow, SessionId};

use crate::advertise::Untold;
use crate::limits::SOURCE_IDLE_NS;

/// A stream heard within this long takes part in sharing the receive buffer.
pub(crate) const LATELY_NS: u64 = 100_000_000;

/// One stream.
#[derive(Debug)]
pub(crate) struct Source {
    key: Key,
    heard_ns: u64,
    pub(crate) window: ReceiveWindow,
    pub(crate) untold: Untold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    source: NodeId,
    session: SessionId,
    lane: u8,
    /// What is sealed and what is in clear are two streams: nobody without a key touches the first.
    is_sealed: bool,
}

impl Key {
    const fn of(header: &PacketHeader) -> Self {
        let is_sealed = header.flags.contains(PacketFlags::SEALED);
        Self { source: header.source, session: header.session, lane: header.lane, is_sealed }
    }

    /// Spreads keys over the slots (the finaliser of splitmix64).
    #[expect(clippy::cast_possible_truncation, reason = "the slots need some bits, any of them")]
    const fn spread(self) -> usize {
        let mut x = self.source.0 ^ ((self.session.0 as u64) << 8) ^ self.lane as u64;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) as usize
    }
}

/// What [`Sources::find`] found.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// The stream; `evicted` says a silent one made room for it.
    Source { source: &'a mut Source, evicted: bool },
    /// The table is full of live streams.
    Full,
}

/// The table: open addressing over preallocated streams.
#[derive(Debug)]
pub(crate) struct Sources {
    /// Index into `sources` plus one; 0 is empty.
    slots: Box<[u32]>,
    sources: Vec<Source>,
    capacity: usize,
    last: usize,
}

impl Sources {
    pub(crate) fn new(capacity: usize) -> Self {
        let slots = (capacity * 2).next_power_of_two();
        Self {
            slots: vec![0; slots].into_boxed_slice(),
            sources: Vec::with_capacity(capacity),
            capacity,
            last: 0,
        }
    }

    /// The stream of a packet, made when it is new.
    #[inline]
    pub(crate) fn find(&mut self, header: &PacketHeader, now_ns: u64) -> Found<'_> {
        let key = Key::of(header);
        // Packets come in runs of one stream.
        if self.sources.get(self.last).is_none_or(|source| source.key != key) {
            match self.look_up(key) {
                Ok(index) => self.last = index,
                Err(slot) => return self.begin(key, slot, now_ns),
            }
        }
        let source = &mut self.sources[self.last];
        source.heard_ns = now_ns;
        Found::Source { source, evicted: false }
    }

    fn look_up(&self, key: Key) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = key.spread() & mask;
        loop {
            match self.slots[slot] {
                0 => return Err(slot),
                held => {
                    let index = held as usize - 1;
                    if self.sources[index].key == key {
                        return Ok(index);
                    }
                }
            }
            slot = (slot + 1) & mask;
        }
    }

    fn begin(&mut self, key: Key, slot: usize, now_ns: u64) -> Found<'_> {
        if self.sources.len() < self.capacity {
            self.sources.push(Source {
                key,
                heard_ns: now_ns,
                window: ReceiveWindow::new(),
                untold: Untold::default(),
            });
            self.last = self.sources.len() - 1;
            self.slots[slot] = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
            return Found::Source { source: &mut self.sources[self.last], evicted: false };
        }
        let Some(oldest) = self.silent_longest(now_ns) else { return Found::Full };
        let source = &mut self.sources[oldest];
        source.key = key;
        source.heard_ns = now_ns;
        source.window = ReceiveWindow::new();
        source.untold = Untold::default();
        self.last = oldest;
        self.rebuild_slots();
        Found::Source { source: &mut self.sources[oldest], evicted: true }
    }

    /// How many streams that are told of windows have been heard lately.
    pub(crate) fn sharing(&self, now_ns: u64) -> u64 {
        let lately = |source: &&Source| {
            source.untold.shares && now_ns.saturating_sub(source.heard_ns) < LATELY_NS
        };
        self.sources.iter().filter(lately).count() as u64
    }

    fn silent_longest(&self, now_ns: u64) -> Option<usize> {
        let (index, source) =
            self.sources.iter().enumerate().min_by_key(|(_, source)| source.heard_ns)?;
        (now_ns.saturating_sub(source.heard_ns) > SOURCE_IDLE_NS).then_some(index)
    }

    /// After an eviction: rare, and bounded by the table's size.
    fn rebuild_slots(&mut self) {
        self.slots.fill(0);
        let mask = self.slots.len() - 1;
        for (index, source) in self.sources.iter().enumerate() {
            let mut slot = source.key.spread() & mask;
            while self.slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = u32::try_from(index + 1).unwrap_or(u32::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(source: u64, session: u32) -> PacketHeader {
        PacketHeader {
            flags: PacketFlags::SEQUENCED,
            lane: 2,
            frame_count: 1,
            length: 96,
            session: SessionId(session),
            source: NodeId(source),
            sequence: 0,
            first_event: 0,
        }
    }

    #[test]
    fn a_stream_is_found_again_and_streams_do_not_mix() {
        let mut sources = Sources::new(8);
        for round in 0..2 {
            for id in 0..8 {
                let Found::Source { source, evicted } = sources.find(&header(id, 7), round) else {
                    panic!("full");
                };
                assert!(!evicted);
                let before = source.window.received();
                assert_eq!(before, round, "stream {id}");
                source.window.admit(round, round, 1);
            }
        }
    }

    #[test]
    fn a_stream_in_clear_is_not_the_sealed_one_of_its_name() {
        let mut sources = Sources::new(8);
        let clear = header(1, 1);
        let sealed = PacketHeader { flags: clear.flags | PacketFlags::SEALED, ..clear };
        let encrypted = |sources: &mut Sources, header: &PacketHeader, sequence| {
            let Found::Source { source, .. } = sources.find(header, 1) else { panic!("full") };
            source.window.admit(sequence, sequence, 1);
            source.window.received()
        };
        assert_eq!(encrypted(&mut sources, &sealed, 0), 1);
        assert_eq!(encrypted(&mut sources, &clear, 1 << 40), 1);
        assert_eq!(encrypted(&mut sources, &sealed, 1), 2);
    }

    #[test]
    fn live_streams_stay_when_invented_ones_flood_and_silent_ones_make_room() {
        let mut sources = Sources::new(4);
        for id in 0..4 {
            assert!(matches!(sources.find(&header(id, 1), 10), Found::Source { .. }));
        }
        for id in 100..1100 {
            assert!(matches!(sources.find(&header(id, 1), 20), Found::Full));
        }
        let later = 10 + SOURCE_IDLE_NS + 1;
        assert!(matches!(sources.find(&header(1, 1), later), Found::Source { evicted: false, .. }));
        assert!(matches!(sources.find(&header(99, 1), later), Found::Source { evicted: true, .. }));
        assert!(matches!(sources.find(&header(1, 1), later), Found::Source { evicted: false, .. }));
        assert!(matches!(
            sources.find(&header(99, 1), later),
            Found::Source { evicted: false, .. }
        ));
    }
}
