//! `docs/wire.md` and the code say the same: its golden bytes are what the code writes and reads,
//! and its tables list every flag and every reason.

use std::fmt::Write;

use wireloom_wire::*;

const PAGE: &str = include_str!("../../../docs/wire.md");

/// The bytes of the block that opens with "```hex NAME". A line is `offset: bytes ; remark`, and
/// its offset is held against the bytes before it.
fn golden(name: &str) -> Vec<u8> {
    let opening = format!("```hex {name}\n");
    let (_, block) = PAGE.split_once(&opening).unwrap_or_else(|| panic!("no block {name}"));
    let (block, _) = block.split_once("```").unwrap();
    let mut bytes = Vec::new();
    for line in block.lines() {
        let (offset, rest) = line.split_once(':').unwrap();
        assert_eq!(offset.trim().parse(), Ok(bytes.len()), "offset of {line:?}");
        let digits = rest.split(';').next().unwrap().split_whitespace();
        bytes.extend(digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()));
    }
    bytes
}

fn assert_bytes(name: &str, written: &[u8]) {
    let expected = golden(name);
    if written != expected {
        let mut lines = String::new();
        for (row, bytes) in written.chunks(8).enumerate() {
            writeln!(lines, "{:3}: {bytes:02x?}", row * 8).unwrap();
        }
        panic!("docs/wire.md's {name} is not what the code writes:\n{lines}");
    }
}

fn header(frame_count: u16, body: &[u8]) -> PacketHeader {
    PacketHeader {
        flags: PacketFlags::CHECKSUMMED | PacketFlags::SEQUENCED,
        lane: Priority::Normal.lane(),
        frame_count,
        length: u32::try_from(PACKET_HEADER_BYTES + body.len()).unwrap(),
        session: SessionId(0x5e55_1077),
        source: NodeId(0x0123_4567_89ab_cdef),
        sequence: 1_000,
        first_event: 14_000,
    }
}

const TRACE: TraceContext = TraceContext {
    trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes(),
    span_id: 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes(),
    sampled: true,
};

const PLAIN: FrameHeader = FrameHeader {
    length: 37,
    event_type: event_type_id("heartbeat"),
    fingerprint: Fingerprint::NONE,
    priority: Priority::Normal,
    encoding: Encoding::Raw,
    flags: FrameFlags::empty(),
    sequence: 41,
    timestamp_ns: 1_700_000_000_000_000_000,
};

const EXTENDED: FrameHeader = FrameHeader {
    length: 124,
    event_type: event_type_id("user-interaction"),
    fingerprint: Fingerprint::NONE,
    priority: Priority::High,
    encoding: Encoding::Json,
    flags: FrameFlags::from_bits(0b10_0011),
    sequence: 42,
    timestamp_ns: 1_700_000_000_000_000_001,
};

const DEADLINE: u64 = 1_700_000_001_000_000_000;
const JSON: &[u8] = br#"{"userId":7}"#;

fn body() -> Vec<u8> {
    let mut body = vec![0xff; 48 + 128];
    let at = FrameEncoder::new(PLAIN).write(b"hello", &mut body).unwrap();
    let extended = FrameEncoder::new(EXTENDED).with_trace(TRACE).with_deadline(DEADLINE);
    let named = extended.with_name("user-interaction").unwrap();
    assert_eq!(at + named.write(JSON, &mut body[at..]).unwrap(), body.len());
    body
}

#[test]
fn the_tail_marker_is_written_as_drawn_and_read_back() {
    let marker = header(0, &[]);
    assert_bytes("tail-marker", &marker.encode(Some(body_hash(&[]))));
    let bytes = golden("tail-marker");
    let packet = decode_packet(&bytes, true).unwrap();
    assert_eq!(packet.header, marker);
    assert_eq!(packet.frames().count(), 0);
}

#[test]
fn the_status_packet_is_written_as_drawn_and_read_back() {
    let status = Status {
        source: NodeId(0x0123_4567_89ab_cdef),
        session: SessionId(0x5e55_1077),
        lane: Priority::Normal.lane(),
        next_sequence: 1_001,
        window_bytes: 1 << 20,
    };
    assert_bytes("status", &status.encode());
    let bytes = golden("status");
    assert_eq!(Status::of(&decode_packet(&bytes, true).unwrap()), Some(status));
}

#[test]
fn the_sealed_packet_has_its_key_set_slot_counter_and_tag_where_they_are_drawn() {
    let bytes = golden("sealed");
    let sealed = decode_sealed(&bytes).unwrap();
    let body_bytes = bytes.len() - PACKET_HEADER_BYTES - TAG_BYTES;
    let mut expected = header(1, &bytes[PACKET_HEADER_BYTES..]);
    expected.flags = PacketFlags::SEQUENCED | PacketFlags::SEALED;
    let seal = Seal { set: KeySetId(0xbeef), slot: 1, counter: (3 << 22) + 5 };
    assert_eq!((sealed.header, sealed.seal, sealed.body().len()), (expected, seal, body_bytes));
    assert_eq!(expected.encode_sealed(&seal), bytes[..PACKET_HEADER_BYTES]);
    assert_eq!(decode_packet(&bytes, false).err(), Some(PacketError::Sealed));
}

#[test]
fn the_hello_is_written_as_drawn_and_read_back() {
    let mut streams = [StreamPoint::default(); HELLO_STREAMS_MAX];
    streams[0] = StreamPoint { lane: 2, pieces: false, session: 0x5e55_1077, sequence: 1_000 };
    streams[1] = StreamPoint { lane: 2, pieces: true, session: 0x5e55_1078, sequence: 0 };
    let hello = Control::Hello(Hello {
        protocol: LINK_PROTOCOL,
        cluster: 0xc1,
        node: NodeId(0x0123_4567_89ab_cdef),
        incarnation: 1_700_000_000_000_000_000,
        listens: ([10, 0, 0, 7], 9_000).into(),
        event_bytes_max: 64 << 20,
        compresses: false,
        streams,
        stream_count: 2,
        name: "feed",
    });
    let mut written = [0xff; CONTROL_PACKET_BYTES_MAX];
    let length = hello.encode(NodeId(0x0123_4567_89ab_cdef), &mut written);
    assert_bytes("hello", &written[..length]);
    let bytes = golden("hello");
    assert_eq!(Control::of(&decode_packet(&bytes, true).unwrap()), Some(hello));
}

#[test]
fn the_piece_is_written_as_drawn_and_read_back() {
    let whole = FrameHeader { length: 100_000, ..PLAIN };
    let mut body = Piece::head(&whole, 65_408, 5).to_vec();
    body.extend_from_slice(b"about");
    body.resize(64, 0);
    let header = PacketHeader { sequence: 1_001, ..header(1, &body) };
    let mut written = header.encode(Some(body_hash(&body))).to_vec();
    written.extend_from_slice(&body);
    assert_bytes("piece", &written);
    let bytes = golden("piece");
    let piece = Piece::of(&decode_packet(&bytes, true).unwrap()).unwrap();
    assert_eq!(piece, Piece { total: 100_000, offset: 65_408, slice: b"about" });
}

#[test]
fn the_note_is_written_as_drawn_and_read_back() {
    let long = vec![7; 16_288 + 5];
    let cut = NoteCut { slice: b"about", ..NoteCut::nth(&long, 1).unwrap() };
    let mut written = [0xff; NOTE_PACKET_BYTES_MAX];
    let length = cut.encode(NodeId(0x0123_4567_89ab_cdef), &mut written);
    assert_bytes("note", &written[..length]);
    let bytes = golden("note");
    assert_eq!(NoteCut::of(&decode_packet(&bytes, true).unwrap()), Some(cut));
}

#[test]
fn every_refusal_stands_in_its_table() {
    for refusal in Refusal::ALL {
        let cells = row("A link over TCP", &format!("`{}`", refusal.name()));
        assert_eq!(cells[1], refusal.number().to_string(), "{}", refusal.name());
    }
    for name in ["wl.hello", "wl.welcome", "wl.refusal", "wl.note"] {
        let cells = row("A link over TCP", &format!("`{name}`"));
        assert_eq!(cells[1], format!("`{}`", event_type_id(name)), "{name}");
    }
    assert_eq!(rows("A link over TCP"), Refusal::ALL.len() + 4);
}

#[test]
fn the_packet_is_written_as_drawn_and_read_back() {
    let body = body();
    let mut header = header(2, &body);
    header.flags = header.flags | PacketFlags::PADDED | PacketFlags::MULTICAST;
    header.lane = Priority::High.lane();
    header.sequence = 1_001;
    let mut written = header.encode(Some(body_hash(&body))).to_vec();
    written.extend_from_slice(&body);
    written.extend_from_slice(&[0; 16]);
    assert_bytes("packet", &written);

    let bytes = golden("packet");
    let packet = decode_packet(&bytes, true).unwrap();
    assert_eq!(packet.header, header);
    let frames: Vec<_> = packet.frames().map(Result::unwrap).collect();
    let [plain, extended] = frames[..] else { panic!("{} frames", frames.len()) };
    assert_eq!((plain.header, plain.payload()), (PLAIN, &b"hello"[..]));
    assert_eq!((plain.trace(), plain.deadline(), plain.name()), (None, None, None));
    assert_eq!((extended.header, extended.payload()), (EXTENDED, JSON));
    assert_eq!((extended.trace(), extended.deadline()), (Some(TRACE), Some(DEADLINE)));
    assert_eq!(extended.name(), Some("user-interaction"));
}

#[test]
fn the_request_is_written_as_drawn_and_read_back() {
    let request = Correlation {
        id: 7,
        kind: ExchangeKind::Request,
        way: ReplyWay::Datagram,
        address: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1],
        port: 9_000,
        subject: event_type_id("performance-metric"),
    };
    let mut body = vec![0xff; 32 + 16 + 32 + 16];
    let asks = FrameHeader { event_type: event_type_id("heartbeat?"), ..PLAIN };
    let encoder = FrameEncoder::new(asks).with_deadline(DEADLINE).with_correlation(&request);
    assert_eq!(encoder.write(b"hello", &mut body).unwrap(), body.len());
    let header = header(1, &body);
    let mut written = header.encode(Some(body_hash(&body))).to_vec();
    written.extend_from_slice(&body);
    assert_bytes("request", &written);

    let bytes = golden("request");
    let packet = decode_packet(&bytes, true).unwrap();
    let frame = packet.frames().next().unwrap().unwrap();
    assert_eq!((frame.correlation(), frame.deadline()), (Some(request), Some(DEADLINE)));
    assert_eq!(frame.payload(), b"hello");
}

#[test]
fn the_signed_event_is_written_as_drawn_and_read_back() {
    let mut proof = Proof::new(2, 3).unwrap();
    proof.signature = [0xa5; SIGNATURE_BYTES];
    proof.path_mut().fill([0x5a; HASH_BYTES]);
    let mut frame = vec![0xff; 32 + 112 + 16];
    let encoder = FrameEncoder::new(PLAIN).with_proof(&proof);
    assert_eq!(encoder.write(b"hello", &mut frame).unwrap(), frame.len());
    assert_bytes("signed", &frame);

    let bytes = golden("signed");
    let frame = Frame::parse(&bytes).unwrap();
    assert_eq!((frame.proof(), frame.payload()), (Some(proof), &b"hello"[..]));
    assert_eq!(frame.proven(), [&bytes[4..32], b"hello"]);
}

/// The cells of the table row that begins with `first`, below the heading `section`.
fn row<'a>(section: &str, first: &str) -> Vec<&'a str> {
    let (_, rest) = PAGE.split_once(&format!("## {section}\n")).expect("the section is there");
    let section = rest.split("\n## ").next().unwrap();
    let start = format!("| {first} |");
    let mut rows = section.lines().filter(|line| line.starts_with(&start));
    let row = rows.next().unwrap_or_else(|| panic!("no row {first}"));
    assert_eq!(rows.next(), None, "two rows {first}");
    row.trim_matches('|').split('|').map(str::trim).collect()
}

/// Rows of a table whose first cell is in backquotes.
fn rows(section: &str) -> usize {
    let (_, rest) = PAGE.split_once(&format!("## {section}\n")).expect("the section is there");
    let section = rest.split("\n## ").next().unwrap();
    section.lines().filter(|line| line.starts_with("| `")).count()
}

fn fate(supported: bool) -> &'static str {
    if supported { "takes" } else { "refuses" }
}

#[test]
fn every_flag_stands_in_its_table() {
    for (flag, name) in PacketFlags::NAMES {
        let cells = row("Packet flags", &format!("`{name}`"));
        assert_eq!(cells[1], flag.bits().to_string(), "{name}");
        assert!(cells[2].starts_with(fate(flag.unsupported().is_empty())), "{name}");
    }
    for (flag, name) in FrameFlags::NAMES {
        let cells = row("Frame flags and extensions", &format!("`{name}`"));
        assert_eq!(cells[1], flag.bits().to_string(), "{name}");
        assert!(cells[2].starts_with(fate(flag.unsupported().is_empty())), "{name}");
    }
    assert_eq!(rows("Packet flags"), 8);
    assert_eq!(rows("Frame flags and extensions"), 8);
}

#[test]
fn every_reason_stands_in_its_table() {
    for reason in PacketError::ALL {
        row("Why a packet is refused", &format!("`{}`", reason.name()));
    }
    for reason in FrameError::ALL {
        row("Why a frame is refused", &format!("`{}`", reason.name()));
    }
    assert_eq!(rows("Why a packet is refused"), PacketError::COUNT);
    assert_eq!(rows("Why a frame is refused"), FrameError::COUNT);
}

#[test]
fn numbers_and_type_ids_stand_in_their_tables() {
    for (index, priority) in Priority::ALL.into_iter().enumerate() {
        assert_eq!(row("Frame header", &format!("`{priority}`"))[1], index.to_string());
    }
    for encoding in Encoding::ALL {
        let cells = row("Frame header", &format!("`{encoding}`"));
        assert_eq!(cells[1], (encoding as u8).to_string());
    }
    for name in ["heartbeat", "user-interaction", "performance-metric", "error"] {
        let cells = row("Event type ids", &format!("`{name}`"));
        assert_eq!(cells[1], format!("`{}`", event_type_id(name)), "{name}");
    }
}

#[test]
fn limits_stand_in_their_table() {
    for (name, value) in [
        ("VERSION", usize::from(VERSION)),
        ("ALIGNMENT", ALIGNMENT),
        ("PACKET_HEADER_BYTES", PACKET_HEADER_BYTES),
        ("FRAME_HEADER_BYTES", FRAME_HEADER_BYTES),
        ("PACKET_PADDING_BYTES_MAX", PACKET_PADDING_BYTES_MAX),
        ("TAG_BYTES", TAG_BYTES),
        ("NAME_BYTES_MAX", NAME_BYTES_MAX),
        ("LANES", LANES),
        ("LINK_PROTOCOL", usize::from(LINK_PROTOCOL)),
        ("CONTROL_PACKET_BYTES_MAX", CONTROL_PACKET_BYTES_MAX),
        ("PIECE_HEAD_BYTES", PIECE_HEAD_BYTES),
        ("NOTE_BYTES_MAX", NOTE_BYTES_MAX),
        ("NOTE_PACKET_BYTES_MAX", NOTE_PACKET_BYTES_MAX),
        ("SIGNED_EVENTS_MAX", SIGNED_EVENTS_MAX),
        ("WINDOW_PACKETS", usize::try_from(WINDOW_PACKETS).unwrap()),
    ] {
        assert_eq!(row("Limits", &format!("`{name}`"))[1], value.to_string(), "{name}");
    }
}
