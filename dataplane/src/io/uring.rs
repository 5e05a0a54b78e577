//! The sockets' way out and way in through io_uring: the sockets, GSO and GRO of [`super::mio`],
//! with rings in place of the system calls. Owned by one agent each; a parked worker sleeps in the
//! [`crate::poller`] on the sockets.
//!
//! Receiving is one multishot request a socket that fills buffers of ours until they are used up;
//! it is armed again in the same call. Looking for arrivals costs no system call when there are
//! none. Sending is one linked request a message, entered and waited for in one call, because the
//! bytes are borrowed only for the call.
//!
//! Left out, because they lose:
//! - zero-copy sends (`IORING_OP_SENDMSG_ZC`): on loopback the kernel copies all the same, at about
//!   half the speed up to datagrams of 65,000 bytes, and the second notice that frees the bytes
//!   would have to be waited for in the call;
//! - a submitting kernel thread (`SQPOLL`): it wants a core of its own, excludes deferred work, and
//!   a call that waits for its completions gains nothing from another thread.

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
    let why = |error: io::Error| match error.raw_os_error() {
        Some(libc::ENOSYS) => "this kernel has none".to_owned(),
        Some(libc::EINVAL) => "this kernel's is too old: Linux 6.1 or newer".to_owned(),
        Some(libc::EPERM | libc::EACCES) => format!(
            "not permitted ({error}): see sysctl kernel.io_uring_disabled, and the seccomp \
             profile of a container"
        ),
        Some(libc::ENOMEM) => format!("{error}: raise ulimit -l"),
        _ => error.to_string(),
    };
    match echo() {
        Ok(true) => Ok(()),
        Ok(false) => Err("a datagram sent on trial did not come through".into()),
        Err(error) => Err(why(error)),
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
