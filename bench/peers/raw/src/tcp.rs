//! TCP: messages side by side in a stream, written and read in pieces of up to 64 KiB.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result, bail};
use peer_measure::{MESSAGE_BYTES, Plan, WAIT};

const ROOM_BYTES: usize = 64 << 10;

/// A connection.
#[derive(Debug)]
pub(crate) struct End {
    stream: TcpStream,
    /// What is written together, once it has this many bytes.
    batch: Vec<u8>,
    batch_bytes: usize,
    room: Box<[u8]>,
    /// Bytes of a message that was cut, at the front of the room.
    kept: usize,
    spins: bool,
}

impl End {
    pub(crate) fn connect(plan: &Plan, batch_bytes: usize) -> Result<Self> {
        let stream = TcpStream::connect(plan.address(1)).context("cannot connect")?;
        Self::new(stream, batch_bytes)
    }

    fn new(stream: TcpStream, batch_bytes: usize) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(WAIT))?;
        let batch = Vec::with_capacity(batch_bytes);
        let room = vec![0; ROOM_BYTES].into_boxed_slice();
        Ok(Self { stream, batch, batch_bytes, room, kept: 0, spins: false })
    }

    /// Polls from now on instead of blocking.
    pub(crate) fn spin(&mut self, spins: bool) -> Result<()> {
        self.spins = spins;
        Ok(self.stream.set_nonblocking(spins)?)
    }

    #[inline]
    pub(crate) fn send(&mut self, message: &[u8; MESSAGE_BYTES]) -> Result<()> {
        self.batch.extend_from_slice(message);
        if self.batch.len() >= self.batch_bytes { self.flush() } else { Ok(()) }
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        // A polled socket never fills up: one message is under way at a time.
        self.stream.write_all(&self.batch)?;
        self.batch.clear();
        Ok(())
    }

    #[inline]
    pub(crate) fn receive(&mut self, mut each: impl FnMut(&[u8])) -> Result<()> {
        let length = match self.stream.read(&mut self.room[self.kept..]) {
            Ok(0) => {
                thread::sleep(WAIT); // the other side has left; the parent says so next
                return Ok(());
            }
            Ok(length) => self.kept + length,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {
                    return Ok(());
                }
                _ => bail!(error),
            },
        };
        let (messages, rest) = self.room[..length].as_chunks::<MESSAGE_BYTES>();
        messages.iter().for_each(|message| each(message));
        self.kept = rest.len();
        self.room.copy_within(length - self.kept..length, 0);
        Ok(())
    }
}

/// A listening socket, then the one connection that came in.
#[derive(Debug)]
pub(crate) struct Door {
    listener: TcpListener,
    end: Option<End>,
    spins: bool,
}

impl Door {
    pub(crate) fn open(plan: &Plan, spins: bool) -> Result<Self> {
        let listener = TcpListener::bind(plan.address(1)).context("cannot listen")?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, end: None, spins })
    }

    pub(crate) fn receive(&mut self, each: impl FnMut(&[u8])) -> Result<()> {
        if let Some(end) = &mut self.end {
            return end.receive(each);
        }
        match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                let mut end = End::new(stream, MESSAGE_BYTES)?;
                end.spin(self.spins)?;
                self.end = Some(end);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(WAIT),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    pub(crate) fn send(&mut self, message: &[u8; MESSAGE_BYTES]) -> Result<()> {
        self.end.as_mut().map_or(Ok(()), |end| end.send(message))
    }
}
