//! The sockets' way out and way in through io_uring: the sockets, GSO and GRO of [`super::mio`],
//! with rings in place of the system calls. Owned by one agent each; a parked worker sleeps in the
//! [`crate::poller`] on the sockets.
//!
//! Receiving is one multishot request a socket that fills buffers of ours until they are used up;
//! it is armed again in the same call. Looking for arrivals costs no system call when there are
//! none. Sending is one linked request a message, entered and waited for in one call, because the
//! bytes are borrowed only for the call.
//!
//! Left out:
//! - zero-copy sends (`IORING_OP_SENDMSG_ZC`): the bytes are free again only with a second notice,
//!   after the device has sent them, and the contract would have every call wait for it; over
//!   loopback the kernel copies all the same;
//! - a submitting kernel thread (`SQPOLL`): it takes a core, excludes deferred work (io_uring_setup
//!   refuses both together), a call that waits for its completions gains nothing from it, and of a
//!   socket it serves nobody can say that it was seen empty (rule 10).

#[allow(unsafe_code)]
mod buffers;
mod receive;
#[allow(unsafe_code)]
mod ring;
mod transmit;

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

pub use self::receive::UringReceive;
pub use self::transmit::UringTransmit;

use super::{Destination, Message, Receive, Transmit};
use crate::sys;

/// What to use of what the kernel has. The default is everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UringOptions {
    /// Segmented sends (GSO, `UDP_SEGMENT`, Linux 4.18).
    pub segmentation: bool,
    /// Joined arrivals (GRO, `UDP_GRO`, Linux 5.0).
    pub coalescing: bool,
    /// Length of a receive slot. Anything longer is dropped and counted, and 65,536 holds every
    /// datagram and every joined run.
    pub slot_bytes: usize,
}

impl Default for UringOptions {
    fn default() -> Self {
        Self { segmentation: true, coalescing: true, slot_bytes: 65_536 }
    }
}

/// Looks for the datagram of [`probe`], and the pause between two: the first finds it unless a
/// queue with a rate stands on the loopback interface.
const LOOKS_MAX: u32 = 100;
const LOOK_PAUSE: Duration = Duration::from_micros(500);

/// Whether this kernel lets this process do all of it, found out by sending a datagram to a socket
/// of our own. Cost: less than a millisecond.
///
/// # Errors
/// One line that says why not: too old (Linux 6.1 has everything), forbidden, or no memory.
pub fn probe() -> Result<(), String> {
    match echo() {
        Ok(true) => Ok(()),
        Ok(false) => Err("a datagram sent on trial did not come through".into()),
        Err(error) => Err(reason(&error)),
    }
}

/// What an operator can do about an error of the setup.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => "this kernel has none".into(),
        Some(libc::EINVAL) => "this kernel's is too old, Linux 6.1 or newer has all of it".into(),
        Some(libc::EPERM | libc::EACCES) => format!(
            "{error}: see sysctl kernel.io_uring_disabled, and the seccomp profile of a container"
        ),
        Some(libc::ENOMEM) => format!("{error}: see the limit of locked memory, ulimit -l"),
        _ => error.to_string(),
    }
}

/// Sends a datagram by one ring and receives it by another.
fn echo() -> io::Result<bool> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let destination = Destination::new(0, socket.local_addr()?);
    let options = UringOptions { slot_bytes: 2_048, ..UringOptions::default() };
    let mut receive = UringReceive::with_options(vec![socket.try_clone()?], options)?;
    let mut transmit = UringTransmit::with_options(vec![socket], options)?;
    let slices = [IoSlice::new(b"wireloom")];
    let sent = transmit.send(&[Message::single(&destination, &slices)]);
    let mut heard = false;
    for _ in 0..LOOKS_MAX {
        receive.receive(&mut |arrival| heard |= arrival.bytes == b"wireloom");
        if heard || sent.failed_datagrams > 0 {
            break;
        }
        sys::sleep(LOOK_PAUSE);
    }
    Ok(heard && transmit.is_ring())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_in_one_line_what_to_do() {
        for (errno, word) in [
            (libc::ENOSYS, "none"),
            (libc::EINVAL, "6.1"),
            (libc::EPERM, "kernel.io_uring_disabled"),
            (libc::ENOMEM, "ulimit -l"),
            (libc::EMFILE, "open files"),
        ] {
            let told = reason(&io::Error::from_raw_os_error(errno));
            assert!(told.contains(word) && !told.contains('\n'), "{told}");
        }
    }

    #[test]
    fn no_socket_is_an_error_not_a_panic() {
        assert!(UringTransmit::new(Vec::new()).is_err());
        assert!(UringReceive::new(Vec::new()).is_err());
    }

    /// What the kernel does to a ring entered by another thread than its first: the way out goes on
    /// by system calls, nothing is lost, sent twice or read after the call.
    #[test]
    fn a_ring_that_fails_is_replaced_by_system_calls() {
        if probe().is_err() {
            return;
        }
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let destination = Destination::new(0, socket.local_addr().unwrap());
        let mut receive = crate::io::mio::MioReceive::new(vec![socket]).unwrap();
        let out = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut transmit = UringTransmit::new(vec![out]).unwrap();
        let send = |transmit: &mut UringTransmit, bytes: [&[u8]; 3]| {
            let slices = bytes.map(|bytes| [IoSlice::new(bytes)]);
            let messages = slices.each_ref().map(|slices| Message::single(&destination, slices));
            let sent = transmit.send(&messages);
            let rest = transmit.send(&messages[sent.messages..]);
            (sent.messages + rest.messages, sent.failed_datagrams + rest.failed_datagrams)
        };
        assert_eq!(send(&mut transmit, [b"1", b"2", b"3"]), (3, 0));
        assert!(transmit.is_ring());
        let elsewhere = || {
            assert_eq!(send(&mut transmit, [b"4", b"5", b"6"]), (3, 0));
            assert!(!transmit.is_ring());
        };
        std::thread::scope(|scope| scope.spawn(elsewhere).join().unwrap());
        assert_eq!(send(&mut transmit, [b"7", b"8", b"9"]), (3, 0));
        let mut heard = Vec::new();
        while !receive.receive(&mut |arrival| heard.extend_from_slice(arrival.bytes)).would_block {}
        assert_eq!(heard, b"123456789");
    }
}
