//! A request goes as an event of its type would: by the rules, its size, its own key; and one for a
//! single node stays with one.

use std::collections::BTreeSet;

use wireloom::{Event, NoRoute, Node, PendingReply, Ready, Refused, RequestError, RuleSet, Target};

use crate::{PATIENCE, Product, Sum, SumRequest, adds, asks, eventually, start};

fn apply(node: &Node, rules: &str) {
    let rules = RuleSet::parse("rules.toml", rules).unwrap_or_else(|error| panic!("{error}"));
    node.apply_rules(rules);
}

/// Nobody is there.
const NOWHERE: &str = "127.0.0.1:9";

#[test]
fn a_rule_says_where_a_request_goes_and_by_what() {
    let (desk, client) = (start("desk"), start("client"));
    adds(&desk);
    let (mut router, target) = (client.router(), Target::machine(NOWHERE));
    let mut ask = |number| {
        let reply = router.request::<_, Sum>(&asks(&[number, 1]), &target, PATIENCE);
        reply.map(|sum| sum.total)
    };
    let links = || client.ledger().links.into_keys().collect::<Vec<_>>();
    let [tcp, udp] = ["tcp", "udp"].map(|by| format!("{by}://{}", desk.address()));
    apply(&client, &format!("[[rule]]\ntype = \"sum-*\"\ntarget = \"{tcp}\""));
    assert_eq!((ask(1), links()), (Ok(2), vec![tcp.clone()]));
    // Exchanged, it goes by the new ones: here by datagram, and to this process.
    apply(&client, &format!("[[rule]]\ntype = \"sum-*\"\ntarget = \"{udp}\""));
    assert_eq!((ask(2), links()), (Ok(3), vec![tcp, udp]));
    apply(&client, "[[rule]]\ntype = \"sum-request\"\ntransport = \"local\"");
    assert_eq!(ask(3), Err(RequestError::NoResponder { request: "sum-request" }));
    // Rules for other types, and for targets that say it themselves, are none.
    apply(&client, "[[rule]]\ntype = \"sum\"\ntransport = \"local\"");
    let to_desk = Target::machine(&desk.address().to_string());
    let reply = router.request::<_, Sum>(&asks(&[4, 1]), &to_desk, PATIENCE);
    assert_eq!(reply.map(|sum| sum.total), Ok(5));
    apply(&client, "[[rule]]\ntransport = \"local\"");
    let reply = router.request::<_, Sum>(&asks(&[5, 1]), Target::Node(desk.address()), PATIENCE);
    assert_eq!(reply.map(|sum| sum.total), Ok(6));
}

#[test]
fn the_size_of_a_request_decides_as_that_of_an_event_does() {
    let desk = Node::builder("desk").path_bytes(1_400).start().expect("starts");
    let client = Node::builder("client").path_bytes(1_400).start().expect("starts");
    adds(&desk);
    adds(&client);
    let mut router = client.router();
    let target = Target::machine(&desk.address().to_string());
    let mut ask = |numbers: usize, target: &Target| {
        let reply = router.request::<_, Sum>(&asks(&vec![1; numbers]), target, PATIENCE);
        reply.map(|sum| sum.total)
    };
    // No packet holds it: by TCP, unless somebody demanded a datagram.
    assert_eq!(ask(10, &target), Ok(10));
    assert_eq!(ask(20_000, &target), Ok(20_000));
    for fast in [Target::Node(desk.address()), Target::fast(target.clone())] {
        let refused = ask(20_000, &fast);
        let is_too_large = matches!(refused, Err(RequestError::Refused(Refused::TooLarge { .. })));
        assert!(is_too_large, "{fast}: {refused:?}");
    }
    apply(&client, "[[rule]]\ntransport = \"udp\"");
    let refused = ask(20_000, &target);
    assert!(matches!(refused, Err(RequestError::Refused(Refused::TooLarge { .. }))), "{refused:?}");
    // A rule that asks for a size.
    apply(&client, "[[rule]]\nsize = \"> 1000\"\ntransport = \"local\"");
    let handled = |node: &Node| node.ledger().handlers["sum-request"].delivered;
    let before = handled(&client);
    assert_eq!((ask(10, &target), handled(&client)), (Ok(10), before));
    assert_eq!(ask(1_000, &target), Ok(1_000));
    eventually("it was answered here", || handled(&client) == before + 1);
    eventually("quiet", || client.ledger().received.local_in_flight == 0);
    let [asked, answered] = [client.close(), desk.close()];
    assert!(asked.balanced && answered.balanced, "{asked:?} {answered:?}");
    assert_eq!(asked.published.refused, 3, "what went another way was not refused: {asked:?}");
}

#[test]
fn a_request_for_one_node_is_not_turned_to_many() {
    let client = start("client");
    let mut router = client.router();
    for many in ["udp://224.2.2.2:9000", "interested", "broadcast:9000"] {
        apply(&client, &format!("[[rule]]\ntarget = \"{many}\""));
        let text = many.parse::<Target>().expect("a target").to_string();
        let refused = NoRoute::RequestToMany(text.as_str().into());
        for one in ["node:127.0.0.1:9", "node:desk", "service:adding"] {
            let one: Target = one.parse().expect("a target");
            let asked = router.request::<_, Sum>(&asks(&[]), &one, PATIENCE);
            assert_eq!(asked, Err(RequestError::Refused(refused.clone().into())), "{one}");
        }
        assert!(refused.to_string().contains(&text), "{refused}");
    }
    // Who asks for whomever it may concern takes the first reply of a group, as ever.
    apply(&client, "[[rule]]\ntarget = \"udp://224.2.2.2:9000\"");
    let asked: Result<PendingReply<Sum>, _> =
        router.begin_request(&asks(&[]), Target::Auto, PATIENCE);
    drop(asked.expect("sent to the group"));
    assert_eq!(client.ledger().links.len(), 1, "{:?}", client.ledger().links);
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "stock-request", key = "article")]
struct StockRequest {
    article: u64,
}

#[test]
fn the_own_key_of_a_request_chooses_who_answers() {
    let cluster = format!("request-key-{}", std::process::id());
    let builder = |name: &str| Node::builder(name).cluster(&cluster);
    let client = builder("client").start().expect("starts");
    let seed = client.address().to_string();
    let _desks = [1, 2].map(|number| {
        let node = builder(&format!("desk-{number}")).service("stock").seed(&seed);
        let node = node.start().expect("starts");
        node.respond::<StockRequest, _>(move |_, _| Product { total: number }).expect("responds");
        node
    });
    assert_eq!(client.ready(&Ready::peers(2).and(Ready::services(["stock"])), PATIENCE), Ok(()));
    let both = || client.members().iter().filter(|of| of.offers("stock")).count() == 2;
    eventually("both offer it", both);
    let mut router = client.router();
    let target: Target = "service:stock?key".parse().expect("a target");
    let mut owners = BTreeSet::new();
    for article in 0..16 {
        let mut ask = || {
            let asked = StockRequest { article };
            router.request::<_, Product>(&asked, &target, PATIENCE).expect("a reply").total
        };
        let owner = ask();
        assert!([ask(), ask()] == [owner; 2], "{article}");
        owners.insert(owner);
    }
    assert_eq!(owners.len(), 2, "not all have the same");
    let none = router.request::<SumRequest, Sum>(&asks(&[]), &target, PATIENCE);
    let no_key = Refused::NoRoute(NoRoute::NoKey("stock".into()));
    assert_eq!(none, Err(RequestError::Refused(no_key)));
}
