//! Lines against a plain oracle, in pieces of every size.

use std::io::{self, Read};

use super::{Line, Lines};

/// Gives the text in pieces of these sizes, over and over.
struct Pieces<'a> {
    text: &'a [u8],
    sizes: &'a [usize],
    turn: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.turn += 1;
        if self.turn.is_multiple_of(5) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let size = self.sizes[self.turn % self.sizes.len()].min(into.len()).min(self.text.len());
        into[..size].copy_from_slice(&self.text[..size]);
        self.text = &self.text[size..];
        Ok(size)
    }
}

fn read_all(text: &[u8], sizes: &[usize], line_bytes_max: usize) -> Vec<Result<Vec<u8>, u64>> {
    let mut lines = Lines::with_line_bytes_max(Pieces { text, sizes, turn: 0 }, line_bytes_max);
    let mut found = Vec::new();
    while let Some(line) = lines.next().unwrap() {
        found.push(match line {
            Line::Text(text) => Ok(text.to_vec()),
            Line::TooLong(bytes) => Err(bytes),
        });
    }
    assert_eq!(lines.number(), found.len() as u64);
    assert_eq!(lines.bytes(), text.len() as u64);
    assert!(lines.next().unwrap().is_none(), "the end stays the end");
    found
}

fn oracle(text: &[u8], line_bytes_max: usize) -> Vec<Result<Vec<u8>, u64>> {
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let kept = |line: &&[u8]| match line.len() {
        length if length > line_bytes_max => Err(length as u64),
        _ => Ok(line.to_vec()),
    };
    lines.iter().map(kept).collect()
}

#[test]
fn lines_are_those_of_the_text_however_it_arrives() {
    let long = "x".repeat(150) + "\n";
    let texts = [
        String::new(),
        "\n".into(),
        "a".into(),
        "a\n".into(),
        "\n\na\n\nb".into(),
        "größe\r\n\0\n".into(),
        "a\n".to_owned() + &long + "b\n" + &long + &long + "c",
        "x".repeat(64),
        "x".repeat(65),
        "x".repeat(64) + "\n" + &"y".repeat(65) + "\n" + &"z".repeat(63),
        "x".repeat(1_000) + "\n",
    ];
    for text in &texts {
        for sizes in [&[1][..], &[2, 3, 5], &[7, 1], &[64], &[65, 1], &[1_000]] {
            let found = read_all(text.as_bytes(), sizes, 64);
            assert_eq!(found, oracle(text.as_bytes(), 64), "{text:?} in {sizes:?}");
        }
    }
}

#[test]
fn memory_follows_the_longest_line_and_shrinks_again() {
    let text = "x".repeat(1 << 20) + "\n" + &"short\n".repeat(100_000);
    let mut lines = Lines::new(text.as_bytes());
    assert!(matches!(lines.next(), Ok(Some(Line::Text(line))) if line.len() == 1 << 20));
    assert!(lines.room.capacity() >= 1 << 20);
    while lines.next().unwrap().is_some() {}
    assert!(lines.room.capacity() <= 2 * super::ROOM_BYTES, "{}", lines.room.capacity());
}

#[test]
fn an_error_of_the_input_is_told_not_taken_for_the_end() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    assert!(Lines::new(Broken).next().is_err());
}
