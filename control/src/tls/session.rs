//! One TLS connection over one socket: what goes in and comes out, and how much it may hold.
//!
//! Owned by [`TlsSockets`](super::TlsSockets). `rustls` keeps at most 16 KiB of what was read and
//! not taken, and 64 KiB of what was written and not sent; before the handshake is done, a peer is
//! read at most [`HANDSHAKE_BYTES_MAX`] from.

use std::io::{self, IoSlice, Read as _, Write};

use rustls::Connection;
use rustls::pki_types::CertificateDer;

use super::credentials::{Credentials, IdentityError, PeerIdentity};
use super::distrust::Distrust;
use super::records::Records;
use crate::sockets::{Secret, SocketId, Sockets};

/// Read at a time from a socket whose handshake is not done.
const STRANGER_BYTES: usize = 4 << 10;

/// Read altogether from one until its handshake is done: a hello with a hybrid key share has 1.4
/// KiB, a certificate with some tens of roles and its authority 3 KiB.
const HANDSHAKE_BYTES_MAX: usize = 16 << 10;

/// Ciphertext that waits for room in the socket, before more is taken: four records.
const WAITING_BYTES_MAX: usize = 64 << 10;

/// A record at its largest, as `rustls` takes it (RFC 8446, 5.2, and TLS 1.2's more).
const RECORD_BYTES_MAX: usize = (16 << 10) + 2_048 + 5;

/// The most that one connection holds of what was written and read: ciphertext that waits for room
/// (the last record may go beyond the bound by its head and tag), a record that has not come whole,
/// and one that was opened and not taken.
pub(crate) const SESSION_BYTES_MAX: usize = WAITING_BYTES_MAX + 3 * RECORD_BYTES_MAX;

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The socket below is not open yet.
    Dialling,
    Handshaking,
    Open,
    /// It is of no use any more; its owner is told when it asks.
    Failed(Fault),
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// As the socket below said.
    Socket(io::ErrorKind),
    Distrust(Distrust),
}

impl From<Distrust> for Fault {
    fn from(distrust: Distrust) -> Self {
        Self::Distrust(distrust)
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Socket(kind) => kind.into(),
            Fault::Distrust(distrust) => distrust.into(),
        }
    }
}

/// What a connection is driven with.
pub(super) struct Way<'a, S> {
    pub(super) sockets: &'a mut S,
    pub(super) socket: SocketId,
    pub(super) scratch: &'a mut [u8],
    pub(super) now_ns: u64,
}

impl<S: Sockets> Write for Way<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sockets.write(self.socket, &[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.sockets.write(self.socket, slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The connection.
#[derive(Debug)]
pub(super) struct Session {
    connection: Connection,
    pub(super) stage: Stage,
    records: Records,
    read_bytes: usize,
    /// Plaintext that `rustls` has and nobody has taken.
    held_bytes: usize,
    identity: Option<Box<PeerIdentity>>,
    /// Its owner found no room, or left ciphertext behind, and is told when that has gone.
    waits: bool,
    /// The end of the stream is behind what can be read.
    pub(super) ends: bool,
    /// The peer has said farewell.
    closed: bool,
    tells_end: bool,
}

impl Session {
    pub(super) fn new(mut connection: Connection, stage: Stage) -> Self {
        connection.set_buffer_limit(Some(WAITING_BYTES_MAX));
        Self {
            connection,
            stage,
            records: Records::default(),
            read_bytes: 0,
            held_bytes: 0,
            identity: None,
            waits: false,
            ends: false,
            closed: false,
            tells_end: false,
        }
    }

    pub(super) fn identity(&self) -> Option<&PeerIdentity> {
        self.identity.as_deref()
    }

    /// Who the peer is by now: its certificate may have been revoked.
    pub(super) fn identify(&mut self, credentials: &Credentials) -> Result<(), Distrust> {
        // Whoever offers no protocol at all passes a handshake that demands one.
        let spoken = self.connection.alpn_protocol();
        let ours = &credentials.client_config().alpn_protocols;
        if !ours.iter().any(|protocol| Some(&protocol[..]) == spoken) {
            return Err(Distrust::Broken);
        }
        let chain = self.connection.peer_certificates().unwrap_or_default();
        self.identity = Some(Box::new(peer_of(credentials, chain)?));
        Ok(())
    }

    pub(super) fn export(&self, label: &str) -> Option<Secret> {
        let mut secret = Secret([0; 32]);
        self.connection.export_keying_material(&mut secret.0, label.as_bytes(), Some(&[])).ok()?;
        Some(secret)
    }

    /// Goes on with the handshake as far as it goes; true when it is done.
    pub(super) fn shake_hands<S: Sockets>(&mut self, way: &mut Way<'_, S>) -> Result<bool, Fault> {
        let gone = |error: io::Error| match Distrust::of(&error) {
            Some(distrust) => Fault::Distrust(distrust),
            None => Fault::Socket(error.kind()),
        };
        if self.stage == Stage::Dialling {
            if !way.sockets.is_open(way.socket).map_err(gone)? {
                return Ok(false);
            }
            self.stage = Stage::Handshaking;
            self.flush(way).map_err(gone)?;
        }
        loop {
            match way.sockets.read(way.socket, &mut way.scratch[..STRANGER_BYTES]) {
                Ok(0) => return Err(Fault::Socket(io::ErrorKind::UnexpectedEof)),
                Ok(bytes) => {
                    self.read_bytes += bytes;
                    if self.read_bytes > HANDSHAKE_BYTES_MAX {
                        return Err(Distrust::Broken.into());
                    }
                    self.feed((bytes, way.now_ns), way.scratch, &mut [])?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.flush(way).map_err(gone)?;
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(gone(error)),
            }
            self.flush(way).map_err(gone)?;
            if !self.connection.is_handshaking() {
                return Ok(true);
            }
        }
    }

    /// Gives `rustls` the first `bytes` of `scratch`, and what comes out to `into`, as far as that
    /// holds it; gives how much. What it does not hold stays: at most a record.
    fn feed(
        &mut self,
        (bytes, now_ns): (usize, u64),
        scratch: &[u8],
        into: &mut [u8],
    ) -> Result<usize, Distrust> {
        let mut rest = &scratch[..bytes];
        let mut filled = 0;
        while !rest.is_empty() && !self.closed {
            let before = rest;
            let taken = self.connection.read_tls(&mut rest).map_err(|_| Distrust::Broken)?;
            self.records.pass(&before[..taken]);
            let shaking = self.connection.is_handshaking();
            let state = self.connection.process_new_packets();
            let state = state.map_err(|error| Distrust::of_tls(&error))?;
            self.closed = state.peer_has_closed();
            let held = state.plaintext_bytes_to_read();
            let brought = held - std::mem::replace(&mut self.held_bytes, held);
            if shaking || self.closed {
                self.records.forget();
            } else if self.records.brought(brought as u64, now_ns) {
                return Err(Distrust::KeyUpdates);
            }
            filled += self.take(&mut into[filled..]);
        }
        Ok(filled)
    }

    /// Takes plaintext that came out already.
    fn take(&mut self, into: &mut [u8]) -> usize {
        if self.held_bytes == 0 || into.is_empty() {
            return 0;
        }
        let taken = self.connection.reader().read(into).unwrap_or(0);
        self.held_bytes -= taken;
        taken
    }

    /// Reads until there is no more, or no room. As sockets do: less than there is room for means
    /// that there is no more, or that more is told ([`Session::tells_end`]).
    pub(super) fn read<S: Sockets>(
        &mut self,
        way: &mut Way<'_, S>,
        into: &mut [u8],
    ) -> io::Result<usize> {
        let mut filled = self.take(into);
        while filled < into.len() && !self.closed {
            let most = way.scratch.len().min(into.len() - filled);
            match way.sockets.read(way.socket, &mut way.scratch[..most]) {
                Ok(0) => return self.ended(filled, io::ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => {
                    match self.feed((bytes, way.now_ns), way.scratch, &mut into[filled..]) {
                        Ok(more) => filled += more,
                        Err(distrust) => {
                            self.stage = Stage::Failed(distrust.into());
                            // The peer is told why, if it can be.
                            let _ = self.flush(way);
                            return self.ended(filled, distrust.into());
                        }
                    }
                    if bytes < most && !self.ends {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.ended(filled, error),
            }
        }
        match filled {
            0 if self.closed => Ok(0),
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => {
                self.tells_end |= self.closed;
                Ok(filled)
            }
        }
    }

    /// What was read before the end is given first; that there is an end is told again.
    fn ended(&mut self, filled: usize, error: io::Error) -> io::Result<usize> {
        if filled == 0 {
            return Err(error);
        }
        self.tells_end = true;
        Ok(filled)
    }

    /// Whether the end is to be told, because less than the room was given before it. Once.
    pub(super) const fn tells_end(&mut self) -> bool {
        std::mem::replace(&mut self.tells_end, false)
    }

    /// Encrypts and writes as much as the socket takes, and four records more.
    pub(super) fn write<S: Sockets>(
        &mut self,
        way: &mut Way<'_, S>,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if !self.flush(way)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut taken = self.connection.writer().write_vectored(slices)?;
        while self.flush(way)? && taken < total {
            let rest: Vec<IoSlice<'_>> = behind(slices, taken).collect();
            taken += self.connection.writer().write_vectored(&rest)?;
        }
        Ok(taken)
    }

    /// Writes the ciphertext that waits; false when some of it still does.
    fn flush<S: Sockets>(&mut self, way: &mut Way<'_, S>) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(way) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.waits = true;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// The socket takes bytes again; true when its owner may write again and did not know it.
    pub(super) fn on_writable<S: Sockets>(&mut self, way: &mut Way<'_, S>) -> io::Result<bool> {
        Ok(self.waits && self.flush(way)? && std::mem::replace(&mut self.waits, false))
    }

    /// Says farewell; false when some of what was written still waits.
    pub(super) fn part<S: Sockets>(&mut self, way: &mut Way<'_, S>) -> bool {
        if !self.connection.is_handshaking() {
            self.connection.send_close_notify();
        }
        // What cannot be written need not be waited for.
        self.flush(way).unwrap_or(true)
    }
}

/// What slices hold behind their first `skipped` bytes.
fn behind<'s>(slices: &'s [IoSlice<'_>], mut skipped: usize) -> impl Iterator<Item = IoSlice<'s>> {
    slices.iter().filter_map(move |slice| {
        let skip = skipped.min(slice.len());
        skipped -= skip;
        (skip < slice.len()).then(|| IoSlice::new(&slice[skip..]))
    })
}

fn peer_of(
    credentials: &Credentials,
    chain: &[CertificateDer<'_>],
) -> Result<PeerIdentity, Distrust> {
    credentials.peer_of(chain).map_err(|error| match error {
        IdentityError::Cluster => Distrust::Cluster,
        IdentityError::Revoked => Distrust::Revoked,
        IdentityError::Expired => Distrust::Expired,
        IdentityError::Certificate => Distrust::Certificate,
    })
}

#[cfg(test)]
impl Session {
    /// As a hostile peer does.
    pub(super) fn renew_keys(&mut self) {
        self.connection.refresh_traffic_keys().expect("open");
    }
}
