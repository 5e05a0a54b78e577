//! What a node received, in a file that outlives it: the handler writes each event down before it
//! returns, so that whatever was acknowledged stands there however the node ended.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use wireloom::Event;

/// A numbered event; `way` tells reliable ones from datagrams of the same publisher.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "netns-numbered")]
pub(crate) struct Numbered {
    pub(crate) way: u32,
    pub(crate) publisher: u32,
    pub(crate) life: u32,
    pub(crate) number: u64,
    pub(crate) filler: Vec<u8>,
}

/// The content that an event of this number has.
pub(crate) fn filler(number: u64) -> Vec<u8> {
    let length = if number.is_multiple_of(97) { 1_000 } else { 40 + number * 37 % 90 };
    vec![number.to_le_bytes()[0]; usize::try_from(length).expect("short")]
}

/// Events to `tcp://` targets.
pub(crate) const RELIABLE: u32 = 0;
/// Events to `udp://` targets.
pub(crate) const DATAGRAM: u32 = 1;
/// Events whose content is not what was sent.
const ALTERED: u32 = u32::MAX;

const RECORD_BYTES: usize = 24;

/// Who published: the way, the publisher, its life.
pub(crate) type Source = (u32, u32, u32);

/// Where a node writes down what it receives.
pub(crate) struct Journal {
    file: File,
    life: u32,
}

impl Journal {
    /// Goes on with the file; this life of the node begins.
    pub(crate) fn append(path: &Path, life: u32) -> Self {
        let file = File::options().append(true).create(true).open(path).expect("a file");
        Self { file, life }
    }

    /// Writes an arrival down. In the file when this returns, whatever becomes of the process.
    pub(crate) fn keep(&mut self, event: &rkyv::Archived<Numbered>) {
        let number = event.number.to_native();
        let whole = event.filler[..] == filler(number);
        let way = if whole { event.way.to_native() } else { ALTERED };
        let mut record = [0; RECORD_BYTES];
        let parts = [way, event.publisher.to_native(), event.life.to_native(), self.life];
        for (place, part) in record.chunks_exact_mut(4).zip(parts) {
            place.copy_from_slice(&part.to_le_bytes());
        }
        record[16..].copy_from_slice(&number.to_le_bytes());
        self.file.write_all(&record).expect("room on the disk");
    }
}

/// What a node received: by source, by the receiver's life, in order.
pub(crate) struct Arrivals(BTreeMap<Source, BTreeMap<u32, Vec<u64>>>);

impl Arrivals {
    pub(crate) fn read(path: &Path) -> Self {
        let mut bytes = Vec::new();
        File::open(path).expect("a journal").read_to_end(&mut bytes).expect("readable");
        assert_eq!(bytes.len() % RECORD_BYTES, 0, "whole records");
        let mut arrivals = BTreeMap::<Source, BTreeMap<u32, Vec<u64>>>::new();
        for record in bytes.chunks_exact(RECORD_BYTES) {
            let part = |at: usize| {
                u32::from_le_bytes(record[4 * at..4 * at + 4].try_into().expect("four bytes"))
            };
            assert_ne!(part(0), ALTERED, "content that nobody sent");
            let number = u64::from_le_bytes(record[16..].try_into().expect("eight bytes"));
            let source = (part(0), part(1), part(2));
            arrivals.entry(source).or_default().entry(part(3)).or_default().push(number);
        }
        Self(arrivals)
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = Source> {
        self.0.keys().copied()
    }

    /// How many events of a source arrived, doubles included.
    pub(crate) fn count(&self, source: Source) -> u64 {
        self.0.get(&source).into_iter().flatten().map(|(_, numbers)| numbers.len() as u64).sum()
    }

    /// The different numbers of a source, after making sure that no life of the receiver saw one
    /// twice or out of order. Also how many were seen again by a later life.
    pub(crate) fn in_order(&self, source: Source) -> (Vec<u64>, u64) {
        let mut all = Vec::new();
        for (life, numbers) in self.0.get(&source).into_iter().flatten() {
            for pair in numbers.windows(2) {
                let (before, after) = (pair[0], pair[1]);
                assert!(before < after, "{source:?}, life {life}: {after} came after {before}");
            }
            all.extend_from_slice(numbers);
        }
        let seen = all.len();
        all.sort_unstable();
        all.dedup();
        let again = (seen - all.len()) as u64;
        (all, again)
    }

    /// The same for a source of datagrams, where order is not promised: none twice.
    pub(crate) fn once(&self, source: Source) -> u64 {
        let mut all: Vec<u64> =
            self.0.get(&source).into_iter().flatten().flat_map(|(_, n)| n.clone()).collect();
        let seen = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(seen, all.len(), "{source:?}: something was delivered twice");
        seen as u64
    }

    /// Everything of a source up to some number, each once, in order, in one life.
    pub(crate) fn assert_whole(&self, source: Source, accepted: u64) {
        let (numbers, again) = self.in_order(source);
        let missing = (0..accepted).find(|number| numbers.binary_search(number).is_err());
        assert_eq!(missing, None, "{source:?}: this one of {accepted} is missing");
        assert_eq!((numbers.len() as u64, again), (accepted, 0), "{source:?}");
    }
}
