//! What is ordered when a peer has gone: nothing of it is opened and nothing sealed for it.

use wireloom_identity::PublicKey;
use wireloom_seal::{Cipher, Mode};
use wireloom_wire::LANES;

use super::*;

const SET: KeySetId = KeySetId(3);
const GOES: NodeId = NodeId(7);
const STAYS: NodeId = NodeId(8);

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// A book in which two peers have keys; the one that goes has two addresses with links, and one
/// that no link leads to.
fn with_two_peers(orders: &mut Orders) -> KeyBook {
    let book = KeyBook::new(SealModes([Some(Mode::Full); LANES]));
    let secret = Secret::random(Cipher::Aes256Gcm);
    for (peer, port) in [(GOES, 1), (GOES, 2), (GOES, 3), (STAYS, 4)] {
        orders.seal((peer, at(port)), (SET, &secret, Direction::FromDialler), &book);
    }
    for port in [1, 2, 4] {
        book.want(at(port), LinkId(u32::from(port)), false);
    }
    for peer in [GOES, STAYS] {
        book.held().proved.insert(peer, (Default::default(), PublicKey([0; 32])));
    }
    book
}

/// The orders that wait, in words and in an order of their own.
fn taken(orders: &mut Orders) -> Vec<String> {
    let words = orders.waiting.drain(..).map(|order| match order {
        Order::Receiver(receiver, ReceiverCommand::ForgetPeer(peer)) => {
            format!("receiver {receiver} forgets {}", peer.0)
        }
        Order::Sender(SenderCommand::SetKey(link, _)) => format!("link {} seals", link.0),
        Order::Sender(SenderCommand::TakeKey(link)) => format!("link {} has no key", link.0),
        other => format!("{other:?}"),
    });
    let mut words: Vec<String> = words.collect();
    words.sort_unstable();
    words
}

#[test]
fn the_keys_of_a_peer_that_has_gone_are_taken_from_every_receiver_and_link() {
    let mut orders = Orders::new(2);
    let book = with_two_peers(&mut orders);
    orders.key_links(&book);
    assert_eq!(taken(&mut orders), ["link 1 seals", "link 2 seals", "link 4 seals"]);
    orders.forget(GOES, &book);
    assert_eq!(
        taken(&mut orders),
        ["link 1 has no key", "link 2 has no key", "receiver 0 forgets 7", "receiver 1 forgets 7"]
    );
    {
        let held = book.held();
        assert_eq!(held.sealings.keys().copied().collect::<Vec<_>>(), [at(4)]);
        assert_eq!(Vec::from(held.keyed.clone()), [at(4)], "the membership hears of no other");
        assert!(held.proved.keys().eq([&STAYS]), "nor does a policy or a signature");
    }
    // A link that comes later finds no key of it.
    book.want(at(3), LinkId(3), false);
    orders.key_links(&book);
    assert_eq!(taken(&mut orders), Vec::<String>::new());
}
