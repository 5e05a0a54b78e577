//! The parts of the help texts of the modes that are written by hand. At most 80 columns.

/// Below the options of `tcp`.
pub(super) const TCP: &str = "\
One process publishes to a reliable target, the other's handler checks every
event; the plain TCP connection beside it carries packets of the same frames in
slices between the product's, and its receiver says a word for each read. An
event counts as acknowledged when the publishing node was told that the handler
took it. The goal: 5 M acknowledged events/s and half of the plain connection's;
with --rate 10k a p99 below 1 ms. Nothing may be lost or out of order.

Examples:
  As fast as it goes:
    wireloom bench tcp

  Latency at a steady rate, nodes that sleep when there is nothing to do:
    wireloom bench tcp --rate 10000

  Larger events, as JSON:
    wireloom bench tcp --payload-bytes 1024 --json

Exit status:
  0  every event came whole, once, in order, and the ledgers balance
  1  something was lost, damaged, out of order, came twice, or a ledger is open
  2  wrong words, or it could not start";

/// Below the options of `pingpong`.
pub(super) const PINGPONG: &str = "\
One event at a time: this process publishes it, the other's handler publishes it
back, the handler here takes the time. The raw round trip is one datagram of the
same length between two plain sockets, in slices between the product's. With
spin both poll, and one thread a side drives its node; with adaptive both sleep
until woken.

Examples:
  Busy on both sides, beside a busy recvfrom:
    wireloom bench pingpong

  Reliable events, beside a plain TCP connection (the goal: p50 of 1.3 x that):
    wireloom bench pingpong --reliable

  Nodes whose workers sleep, beside a recvfrom that sleeps:
    wireloom bench pingpong --idle adaptive

  Larger events, as JSON:
    wireloom bench pingpong --payload-bytes 1024 --duration 10s --json

Exit status:
  0  every event that came back was whole and came once, the ledgers balance
  1  something was damaged, came twice, or a ledger is open
  2  wrong words, or it could not start";

/// Below the options of `priority`.
pub(super) const PRIORITY: &str = "\
A critical event each millisecond, alone on the link (idle) and behind a bulk
flow in the background lane as fast as it goes (loaded), in alternating slices.
One thread a side drives its node. The goal is drawn from the run itself:
  bound = 2 x p99 idle + one GSO send
where a GSO send is what the sender gives the kernel in one duty cycle, at the
rate at which the bulk arrived.

Examples:
  How long a critical event takes, with and without a bulk flow:
    wireloom bench priority

  More events behind the percentiles, as JSON:
    wireloom bench priority --duration 30s --json

Exit status:
  0  everything that arrived was whole and came once, the ledgers balance;
     whether the bound was kept is a figure, not a status
  1  something was damaged, came twice, or a ledger is open
  2  wrong words, or it could not start";

/// Below the options of `isolation`.
pub(super) const ISOLATION: &str = "\
One process publishes at a rate; the loop of the other drives its node and polls
its ring subscribers in turn. In every second slice one of them is left alone
(frozen), with each policy for slow subscribers: drop-newest, drop-oldest, block
(for 1 ms at most), latest (of 1,024 keys), disconnect. Latency is the other
subscribers', from publishing to their poll. The goal: the median of the slices'
p99 changes by 5 % at most. An alive subscriber is polled and a frozen one is
not, so that less than nothing is possible.

Examples:
  All policies, in about half a minute:
    wireloom bench isolation

  One policy, more neighbours, longer, as JSON:
    wireloom bench isolation --only block --neighbours 8 --duration 10s --json

Exit status:
  0  every neighbour took every event, whole and once, the ledgers balance;
     whether the bound was kept is a figure, not a status
  1  something was damaged, came twice, was missed, or a ledger is open
  2  wrong words, or it could not start";

/// Below the options of `frontier`.
pub(super) const FRONTIER: &str = "\
Events are due evenly at a rate. Each flush interval the publishing thread
wakes, publishes what has become due, drives its node and sleeps; the receiving
node's worker sleeps until packets come. A short interval costs CPU, a long one
latency: the table has eight of them, each beside a raw loop with the same
wake-ups and bytes. Latency counts from the time an event was due, so waiting
for the flush is in it.

Examples:
  The whole curve at 100,000 events a second, in about 35 seconds:
    wireloom bench frontier

  Longer, as JSON, and drawn:
    wireloom bench frontier --duration 10s --json --svg frontier.svg

  What a million events a second change (little):
    wireloom bench frontier --rate 1M

Exit status:
  0  everything that arrived was whole and came once, the ledgers balance
  1  something was damaged, came twice, or a ledger is open
  2  wrong words, or it could not start";

/// Below the options of `fanout`.
pub(super) const FANOUT: &str = "\
One event to 1, 2, 4, … subscribers, three ways:
  handlers   so many handlers of the type in one node of the other process
  unicast    so many nodes in the other process, each a target of its own
  multicast  the same nodes as members of one group
Events go in rounds of 128 a target, each taken before the next is published, so
that times are costs and not queues: the sender's of publishing and sending, the
receiving loop's of the turns that found work. The slopes are of the straight
lines nearest to the rows. To a group a plain socket with as many members runs
beside it: on a loopback interface the kernel delivers to each member in the
sender's call. scripts/steered has another core do that.

Examples:
  Up to 64 subscribers, in about half a minute:
    wireloom bench fanout

  Up to 8, longer, as JSON:
    wireloom bench fanout --subscribers 8 --duration 5s --json

  A group of a hundred, delivered by another core than the sender's:
    scripts/steered wireloom bench fanout --only multicast --subscribers 100

Exit status:
  0  everything that arrived was whole and came once, the ledgers balance
  1  something was damaged, came twice, or a ledger is open
  2  wrong words, or it could not start";

/// Below the options of `scale`.
pub(super) const SCALE: &str = "\
What one event costs its sender while something becomes more: publishers of one
node (1 to 8 rings), types registered beside the published one (1 to 1,000),
handlers of the type at the receiver (1 to 64). Five rounds over all rows in
turn; a row is the median of its five slices, and its ratio is to the first row
of its kind. Flat means: no ratio is above 1.1.

Examples:
  All rows, in about half a minute:
    wireloom bench scale

  Longer slices for a noisy machine, as JSON:
    wireloom bench scale --duration 1s --json

Exit status:
  0  everything that arrived was whole and came once, the ledgers balance;
     whether the cost is flat is a figure, not a status
  1  something was damaged, came twice, or a ledger is open
  2  wrong words, or it could not start";

/// Below the options of `mesh`.
pub(super) const MESH: &str = "\
Starts so many node processes, one after the other, and waits until all know
all. Then nobody comes or goes for the time: what membership costs each. Then
the first node opens a link in each place of its pools to every other, every
other opens as many to it, and reliable events flow on all of them for the time
again (pools full): what that node costs. At the end one node is killed. The
goal with 100 nodes: below 25 MB for a node with full pools, below 20 kB/s of
control traffic, no node called dead that runs.

Examples:
  A hundred nodes, in about 40 seconds:
    wireloom bench mesh --nodes 100

  Without multicast, more events on the links, as JSON:
    wireloom bench mesh --nodes 50 --seeds --rate 50 --json

Exit status:
  0  no running node was called dead; every reliable event came, whole, once,
     and was acknowledged
  1  one of these does not hold
  2  wrong words, or it could not start or go on";

/// Below the options of `discovery`.
pub(super) const DISCOVERY: &str = "\
As mesh without full pools; before the steady part newcomers come and leave, one
after the other. A newcomer is known when every node has it up and it has all of
them. The goal with 100 nodes: a p99 below 50 ms with multicast, below 2 s by
seeds alone.

Examples:
  A hundred nodes and twenty newcomers, in about half a minute:
    wireloom bench discovery --nodes 100

  By the address of one node alone, more newcomers behind the percentiles:
    wireloom bench discovery --nodes 100 --seeds --newcomers 100 --json

Exit status:
  0  no running node was called dead
  1  one was
  2  wrong words, or it could not start or go on";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_help_text_fits_a_terminal_and_tells_the_exit_statuses() {
        let modes = [DISCOVERY, FANOUT, FRONTIER, ISOLATION, MESH, PINGPONG, PRIORITY, SCALE, TCP];
        for text in modes {
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            assert!(text.contains("Examples:") && text.contains("Exit status:"), "{text}");
        }
    }
}
