//! What a machine is set up with, what it counts, and the figures that follow.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use foca::{Config, PeriodicParams};
use wireloom_wire::SessionId;
use wireloom_wire::gossip::{CONTROL_OVERHEAD_BYTES, CONTROL_PACKET_BYTES_MAX};

use super::record::Record;

/// Members a node remembers, tombstones included; further ones are refused and counted. 2,048 with
/// records of 200 bytes are under 1 MB.
pub const MEMBERS_MAX: usize = 2_048;

/// Members told at a time.
pub(super) const GOSSIP_FANOUT: usize = 3;
/// Bytes before the failure detector's datagram: version, the version of the sender's record, and
/// the digest of the members it has up.
pub(super) const SWIM_HEAD_BYTES: usize = 13;

/// How fast the failure detector works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A member is probed this often.
    pub probe_period: Duration,
    /// How long its answer may take before others are asked to probe it.
    pub probe_rtt: Duration,
    /// How long a suspected member has to speak up among ten; twice as long among a hundred, three
    /// times among a thousand. A half, a third, or less than that when three others suspect it too.
    pub suspicion: Duration,
    /// How long the dead are remembered.
    pub tombstone: Duration,
}

impl Default for Timing {
    /// For a local network: that a member is dead is known to all after 2.5 to 6 s.
    fn default() -> Self {
        Self {
            probe_period: Duration::from_millis(500),
            probe_rtt: Duration::from_millis(200),
            suspicion: Duration::from_secs(3),
            tombstone: Duration::from_secs(120),
        }
    }
}

/// What a machine begins with.
#[derive(Clone, Debug)]
pub struct MembershipConfig {
    /// This node's word on itself.
    pub record: Record,
    /// Which cluster; packets of others are refused and counted.
    pub cluster: SessionId,
    /// For random choices.
    pub seed: u64,
    /// How fast.
    pub timing: Timing,
}

macro_rules! counts {
    ($($field:ident $meaning:literal;)+) => {
        /// What the machine has counted.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts { $(#[doc = $meaning] pub $field: u64,)+ }

        impl Counts {
            /// Every count with its name and its sentence.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64, &'static str)> {
                vec![$((stringify!($field), self.$field, $meaning),)+]
            }
        }
    };
}

counts! {
    packets_heard "Control packets that arrived.";
    bytes_heard "Their bytes.";
    packets_sent "Control packets sent.";
    bytes_sent "Their bytes.";
    refused_cluster "Packets of another cluster; dropped.";
    refused_version "Messages of another version of the protocol; dropped.";
    refused_malformed "Messages that are malformed, or that the failure detector refused; dropped.";
    refused_type "Control frames of a type this machine does not know; dropped.";
    refused_address "Hellos of addresses that their sender does not send from; dropped.";
    refused_unasked "Welcomes and pages nobody asked for; dropped.";
    refused_full "Members refused because the table is full.";
    refused_life "Lives that lie too far ahead to be true; dropped.";
    refused_clear "Packets in clear where members seal what they say; dropped.";
    refused_source "Messages whose packet is another node's than they say; dropped.";
    beacons_heard "Beacons of nodes with credentials.";
    answers_shed "Hellos and pulls not answered because too many came in a second.";
    refused_suspicion "Suspicions by or of members this node does not know; dropped.";
    nacks_heard "Members asked to probe another that said they got no answer.";
    nacks_missed "Members asked to probe another that said nothing at all.";
    pauses "Times this machine found that it had not run.";
    renewals "Times this node began a new life because its old one was declared dead.";
}

/// How long a member that nobody else suspects has to speak up.
pub(super) fn suspicion(timing: &Timing, scale: u32) -> Duration {
    timing.suspicion * (scale - 1).max(1)
}

/// The figures that follow from the cluster's size: `scale` is the number of its decimal digits.
pub(super) fn foca_config(timing: &Timing, scale: u32) -> Config {
    // More often than others do (4): answers that are cut use up a part of them.
    let sends = u8::try_from(10 * scale).unwrap_or(u8::MAX).max(1);
    Config {
        probe_period: timing.probe_period,
        probe_rtt: timing.probe_rtt,
        num_indirect_probes: NonZeroUsize::new(GOSSIP_FANOUT).unwrap_or(NonZeroUsize::MIN),
        max_transmissions: NonZeroU8::new(sends).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: suspicion(timing, scale),
        remove_down_after: Some(timing.tombstone),
        max_packet_size: NonZeroUsize::new(
            CONTROL_PACKET_BYTES_MAX - 16 - CONTROL_OVERHEAD_BYTES - SWIM_HEAD_BYTES,
        )
        .unwrap_or(NonZeroUsize::MIN),
        notify_down_members: true,
        periodic_announce: None,
        // So that a partition heals without the discovery's doing.
        periodic_announce_to_down_members: Some(PeriodicParams {
            frequency: Duration::from_secs(5),
            num_members: NonZeroUsize::new(2).unwrap_or(NonZeroUsize::MIN),
        }),
        periodic_gossip: None,
    }
}
