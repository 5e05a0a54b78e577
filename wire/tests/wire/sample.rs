//! Valid packets and frames to start from, and seeded randomness to change them with.

use wireloom_wire::{
    Correlation, Encoding, EventTypeId, ExchangeKind, Fingerprint, FrameEncoder, FrameFlags,
    FrameHeader, NodeId, PacketFlags, PacketHeader, Priority, Proof, ReplyWay, SIGNED_EVENTS_MAX,
    SessionId, TraceContext, body_hash,
};

/// splitmix64: the same numbers for the same seed, for ever.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

/// A frame as somebody may publish it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) header: FrameHeader,
    pub(crate) trace: Option<TraceContext>,
    pub(crate) deadline: Option<u64>,
    pub(crate) proof: Option<Proof>,
    pub(crate) name: Option<String>,
    pub(crate) correlation: Option<Correlation>,
    pub(crate) payload: Vec<u8>,
}

impl Event {
    pub(crate) fn encoder(&self) -> FrameEncoder<'_> {
        let mut encoder = FrameEncoder::new(self.header);
        if let Some(trace) = self.trace {
            encoder = encoder.with_trace(trace);
        }
        if let Some(deadline) = self.deadline {
            encoder = encoder.with_deadline(deadline);
        }
        if let Some(proof) = &self.proof {
            encoder = encoder.with_proof(proof);
        }
        if let Some(name) = &self.name {
            encoder = encoder.with_name(name).unwrap();
        }
        if let Some(correlation) = &self.correlation {
            encoder = encoder.with_correlation(correlation);
        }
        encoder
    }

    /// The frame with its padding.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut bytes = vec![0xff; 800 + self.payload.len()];
        let taken = self.encoder().write(&self.payload, &mut bytes).unwrap();
        bytes.truncate(taken);
        bytes
    }

    /// The flags that its extensions make.
    pub(crate) fn flags(&self) -> FrameFlags {
        let none = FrameFlags::empty();
        let trace = if self.trace.is_some() { FrameFlags::TRACE } else { none };
        let deadline = if self.deadline.is_some() { FrameFlags::DEADLINE } else { none };
        let proof = if self.proof.is_some() { FrameFlags::SIGNED } else { none };
        let name = if self.name.is_some() { FrameFlags::NAMED } else { none };
        let correlation = if self.correlation.is_some() { FrameFlags::CORRELATION } else { none };
        trace | deadline | proof | name | correlation
    }

    pub(crate) fn random(random: &mut Random) -> Self {
        let names = ["heartbeat", "a", "größe", "0123456789abcdef", "sensor/temperature"];
        let trace = TraceContext { trace_id: [3; 16], span_id: [4; 8], sampled: true };
        let correlation = Correlation {
            id: 5,
            kind: ExchangeKind::Request,
            way: ReplyWay::Reliable,
            address: [6; 16],
            port: 7,
            subject: EventTypeId(8),
        };
        Self {
            header: FrameHeader {
                length: 0,
                event_type: EventTypeId(7),
                fingerprint: Fingerprint(8),
                priority: Priority::ALL[random.below(5)],
                encoding: Encoding::ALL[random.below(3)],
                flags: FrameFlags::empty(),
                sequence: random.next(),
                timestamp_ns: random.next(),
            },
            trace: random.chance(30).then_some(trace),
            deadline: random.chance(30).then(|| random.next()),
            proof: random.chance(30).then(|| proof(random)),
            name: random.chance(30).then(|| names[random.below(names.len())].to_owned()),
            correlation: random.chance(30).then_some(correlation),
            payload: {
                let bytes = random.below(80);
                random.bytes(bytes)
            },
        }
    }
}

/// A proof that proves nothing.
fn proof(random: &mut Random) -> Proof {
    let leaves = 1 + random.below(SIGNED_EVENTS_MAX);
    let mut proof = Proof::new(random.below(leaves), leaves).unwrap();
    proof.signature.fill(random.next().to_le_bytes()[0]);
    for node in proof.path_mut() {
        node.fill(random.next().to_le_bytes()[0]);
    }
    proof
}

/// A valid checksummed packet of up to 9 events, padded by up to 40 zeros.
pub(crate) fn packet(random: &mut Random) -> Vec<u8> {
    let events = random.below(10);
    let body: Vec<u8> = (0..events).flat_map(|_| Event::random(random).frame()).collect();
    let padding = if random.chance(50) { random.below(40) } else { 0 };
    let header = PacketHeader {
        flags: PacketFlags::SEQUENCED
            | if padding > 0 { PacketFlags::PADDED } else { PacketFlags::empty() },
        lane: Priority::ALL[random.below(5)].lane(),
        frame_count: u16::try_from(events).unwrap(),
        length: u32::try_from(48 + body.len()).unwrap(),
        session: SessionId(9),
        source: NodeId(random.next()),
        sequence: random.next(),
        first_event: random.next(),
    };
    let mut bytes = header.encode(Some(body_hash(&body))).to_vec();
    bytes.extend_from_slice(&body);
    bytes.resize(bytes.len() + padding, 0);
    bytes
}
