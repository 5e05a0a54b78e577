//! A note is read as it was cut, and nothing else is one.

use std::vec::Vec;

use super::*;
use crate::PacketHeader;
use crate::decode_packet;

fn note(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at / 3).to_le_bytes()[0]).collect()
}

fn written(cut: &NoteCut<'_>) -> Vec<u8> {
    let mut packet = [0xff; NOTE_PACKET_BYTES_MAX];
    let length = cut.encode(NodeId(7), &mut packet);
    packet[..length].to_vec()
}

/// The body changed, and hashed again.
fn changed(cut: &NoteCut<'_>, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = written(cut);
    let (head, body) = bytes.split_at_mut(PACKET_HEADER_BYTES);
    change(body);
    let header = PacketHeader::peek(head.first_chunk().expect("48 bytes"));
    head.copy_from_slice(&header.encode(Some(body_hash(body))));
    bytes
}

fn is_note(bytes: &[u8]) -> bool {
    NoteCut::of(&decode_packet(bytes, true).expect("the packet is well-formed")).is_some()
}

#[test]
fn notes_of_every_length_are_read_as_they_were_cut() {
    for bytes in [1, 15, 16, 17, SLICE_BYTES - 1, SLICE_BYTES, SLICE_BYTES + 1, NOTE_BYTES_MAX] {
        let note = note(bytes);
        let mut read = Vec::new();
        for index in 0.. {
            let Some(cut) = NoteCut::nth(&note, index) else { break };
            let bytes = written(&cut);
            assert!(bytes.len() <= NOTE_PACKET_BYTES_MAX);
            let packet = decode_packet(&bytes, true).expect("well-formed");
            assert_eq!(packet.header.source, NodeId(7));
            assert_eq!(NoteCut::of(&packet), Some(cut));
            read.extend_from_slice(cut.slice);
            assert_eq!(cut.is_last(), read.len() == note.len());
        }
        assert_eq!(read, note);
    }
    assert_eq!(NoteCut::nth(&[], 0), None);
    assert_eq!(NoteCut::nth(&note(NOTE_BYTES_MAX + 1), 0), None);
}

#[test]
fn a_cut_of_another_length_than_its_number_says_is_none() {
    let note = note(SLICE_BYTES + 9);
    let [first, last] = [0, 1].map(|index| NoteCut::nth(&note, index).expect("two"));
    assert!(is_note(&changed(&last, |_| ())));
    for (cut, total, index) in [
        (first, 0, 0),
        (first, SLICE_BYTES - 1, 0),
        (first, NOTE_BYTES_MAX + 1, 0),
        (first, SLICE_BYTES + 9, 1),
        (last, SLICE_BYTES + 9, 0),
        (last, SLICE_BYTES + 9, 2),
        (last, SLICE_BYTES + 8, 1),
        (last, u32::MAX as usize, 1),
    ] {
        let lie = changed(&cut, |body| {
            let total = u32::try_from(total).expect("small");
            body[32..36].copy_from_slice(&total.to_le_bytes());
            body[36] = index;
        });
        assert!(!is_note(&lie), "{total} bytes, cut {index}");
    }
    for at in [4, 14, 38, 47] {
        // Another type, a flag that brings no extension, bytes that are zero.
        let bit = if at == 14 { 8 } else { 1 };
        assert!(!is_note(&changed(&last, |body| body[at] ^= bit)), "{at}");
    }
}
