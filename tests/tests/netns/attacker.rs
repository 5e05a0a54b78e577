//! A stranger to a node, as a process in a namespace of its own: datagrams and connections that no
//! node would make. What it is to do stands on the command line; it ends by itself.
//!
//! Bounded: some thousand datagrams or connections a second, for some seconds.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Draw;
use crate::topology::{Topology, address};

/// What a stranger does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Datagrams: empty, cut, too long, noise.
    Datagrams,
    /// Connections that say noise.
    Noise,
    /// So many connections that say one byte in a while.
    Slow,
    /// So many connections that say nothing.
    Silent,
}

const WORDS: [(Attack, &str); 4] = [
    (Attack::Datagrams, "datagrams"),
    (Attack::Noise, "noise"),
    (Attack::Slow, "slow"),
    (Attack::Silent, "silent"),
];

/// A running stranger; it is ended with this.
pub(crate) struct Attacker(Child);

impl Attacker {
    /// Lets a stranger at the place `from` attack the node at `to`, for so many seconds, over so
    /// many connections.
    pub(crate) fn start(
        topology: &Topology,
        (from, to): (usize, usize),
        attack: Attack,
        (seconds, connections): (u64, usize),
    ) -> Self {
        let program = std::env::current_exe().expect("this program");
        let word = WORDS.iter().find(|(of, _)| *of == attack).expect("each has one").1;
        let mut command = topology.command(from, program.to_str().expect("UTF-8"));
        command.args(["attack", word, &address(to)]);
        command.args([seconds.to_string(), connections.to_string()]);
        Self(command.stdin(Stdio::null()).spawn().expect("it starts"))
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) {
        assert!(self.0.wait().expect("a child").success(), "a stranger does not fail");
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn run(words: &[String]) -> ExitCode {
    let [word, target, seconds, connections] = words else { return ExitCode::from(2) };
    let target: SocketAddr = target.parse().expect("an address");
    let until = Instant::now() + Duration::from_secs(seconds.parse().expect("a number"));
    let connections: usize = connections.parse().expect("a number");
    match word.as_str() {
        "datagrams" => datagrams(target, until),
        "noise" => noise(target, until),
        "slow" => hold(target, until, (connections, true)),
        _ => hold(target, until, (connections, false)),
    }
    ExitCode::SUCCESS
}

fn bytes(draw: &mut Draw, count: usize) -> Vec<u8> {
    (0..count).map(|_| draw.below(256).to_le_bytes()[0]).collect()
}

fn datagrams(target: SocketAddr, until: Instant) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
    let mut draw = Draw(1);
    while Instant::now() < until {
        for length in [0, 0, 0, 1, 47, 48, 49, 200, 1_400, 1_472, 9_000, 65_507] {
            let mut noise = bytes(&mut draw, length);
            // Half of them begin as ours do, so that more of the checks are reached.
            if draw.below(2) == 0 && length >= 4 {
                noise[..4].copy_from_slice(&[b'W', b'L', 1, 0]);
            }
            let _ = socket.send_to(&noise, target);
        }
        sleep(Duration::from_millis(4));
    }
}

fn dial(target: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a time");
    Some(stream)
}

fn noise(target: SocketAddr, until: Instant) {
    let mut draw = Draw(2);
    while Instant::now() < until {
        let length = 1 + draw.index(20_000);
        let noise = bytes(&mut draw, length);
        if let Some(mut stream) = dial(target) {
            let _ = stream.write_all(&noise);
            let _ = stream.read(&mut [0; 64]);
        }
        sleep(Duration::from_millis(1));
    }
}

/// Keeps connections open; what was closed is dialled again.
fn hold(target: SocketAddr, until: Instant, (connections, speaks): (usize, bool)) {
    let mut streams: Vec<Option<TcpStream>> = (0..connections).map(|_| None).collect();
    while Instant::now() < until {
        for stream in &mut streams {
            let open = match stream {
                None => false,
                Some(stream) => {
                    let said = !speaks || stream.write_all(&[0]).is_ok();
                    stream.set_nonblocking(true).expect("a socket");
                    let closed = matches!(stream.read(&mut [0; 64]), Ok(0));
                    stream.set_nonblocking(false).expect("a socket");
                    said && !closed
                }
            };
            if !open {
                *stream = dial(target);
            }
        }
        sleep(Duration::from_millis(50));
    }
}
