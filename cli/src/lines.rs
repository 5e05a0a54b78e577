//! Lines of a file or stream in bounded memory, handed out as they arrive.
//!
//! A line ends at a line feed or at the end; the line feed is no part of it, everything else is, a
//! carriage return too. Reading from a terminal or pipe stops when the end of the command is
//! wished.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::stop::Stop;

/// Longest line kept: 64 MiB, the largest event the design means to carry. A longer one is
/// skipped, and told.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 20;

/// Room at first, and after a long line: what one read may bring.
const ROOM_BYTES: usize = 64 << 10;

/// How often a wish to end is looked at while nothing arrives.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// One line of the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// Its bytes, without the line feed.
    Text(&'a [u8]),
    /// It was this long, which is too long to keep.
    TooLong(u64),
}

/// Reads lines, counting them.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    room: Vec<u8>,
    /// Bytes of `room` read and not yet handed out.
    from: usize,
    to: usize,
    /// Bytes of `from..to` known to hold no line feed.
    searched: usize,
    /// Bytes of a too long line that are gone already; 0 when no such line is under way.
    skipped: u64,
    line_bytes_max: usize,
    number: u64,
    bytes: u64,
    ended: bool,
}

impl<R: Read> Lines<R> {
    /// Lines of `input`, each at most [`LINE_BYTES_MAX`] long.
    pub(crate) fn new(input: R) -> Self {
        Self::with_line_bytes_max(input, LINE_BYTES_MAX)
    }

    fn with_line_bytes_max(input: R, line_bytes_max: usize) -> Self {
        Self {
            input,
            room: vec![0; ROOM_BYTES.min(line_bytes_max + 1)],
            from: 0,
            to: 0,
            searched: 0,
            skipped: 0,
            line_bytes_max,
            number: 0,
            bytes: 0,
            ended: false,
        }
    }

    /// The number of the line handed out last, from 1.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Bytes read so far.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line; none at the end.
    ///
    /// # Errors
    /// What the system says of the input.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            let unsearched = &self.room[self.from + self.searched..self.to];
            if let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') {
                let end = self.from + self.searched + at;
                return Ok(Some(self.hand_out(end, end + 1)));
            }
            self.searched = self.to - self.from;
            if self.ended {
                let rest = self.searched > 0 || self.skipped > 0;
                return Ok(rest.then(|| self.hand_out(self.to, self.to)));
            }
            self.fill()?;
        }
    }

    /// The line that ends at `end`; the next one begins at `next`.
    fn hand_out(&mut self, end: usize, next: usize) -> Line<'_> {
        let begin = std::mem::replace(&mut self.from, next);
        self.searched = 0;
        self.number += 1;
        let skipped = std::mem::take(&mut self.skipped);
        let bytes = end - begin;
        if skipped > 0 || bytes > self.line_bytes_max {
            return Line::TooLong(skipped + bytes as u64);
        }
        Line::Text(&self.room[begin..end])
    }

    /// Reads once more, making room first: by moving, by growing, or by giving up on the line.
    fn fill(&mut self) -> io::Result<()> {
        if self.from > 0 {
            self.room.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
            if self.room.len() > ROOM_BYTES && self.to <= ROOM_BYTES / 2 {
                self.room.truncate(ROOM_BYTES);
                self.room.shrink_to_fit();
            }
        }
        if self.to > self.line_bytes_max || self.skipped > 0 {
            self.skipped += self.to as u64;
            (self.to, self.searched) = (0, 0);
        } else if self.to == self.room.len() {
            let larger = (self.room.len() * 2).min(self.line_bytes_max + 1);
            self.room.resize(larger, 0);
        }
        match self.input.read(&mut self.room[self.to..]) {
            Ok(0) => self.ended = true,
            Ok(bytes) => {
                self.to += bytes;
                self.bytes += bytes as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// A file or standard input that ends early when the end of the command is wished.
#[derive(Debug)]
pub(crate) struct Source {
    input: File,
    stop: Stop,
}

impl Source {
    /// Opens `path`.
    ///
    /// # Errors
    /// When it cannot be opened or is a directory.
    pub(crate) fn open(path: &Path, stop: &Stop) -> io::Result<Self> {
        let input = File::open(path)?;
        if input.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Self { input, stop: stop.clone() })
    }

    /// Standard input.
    ///
    /// # Errors
    /// When it is closed.
    pub(crate) fn standard(stop: &Stop) -> io::Result<Self> {
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        Ok(Self { input, stop: stop.clone() })
    }

    /// How many bytes a regular file has; none for a pipe or terminal.
    pub(crate) fn length_bytes(&self) -> Option<u64> {
        self.input.metadata().ok().filter(std::fs::Metadata::is_file).map(|file| file.len())
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.stop.is_wished() {
            let mut waiting = [PollFd::new(&self.input, PollFlags::IN)];
            // Interrupted by a signal: the flag of the loop knows.
            if poll(&mut waiting, Some(&LOOK_EVERY)).unwrap_or(0) > 0 {
                return self.input.read(into);
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests;
