//! What rules mean, what is refused and where, and text that means harm.

use std::time::Instant;

use proptest::prelude::*;
use wireloom_wire::event_type_id;

use super::*;
use crate::config::Config;

fn parse(text: &str) -> RuleSet {
    RuleSet::parse("rules.toml", text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    RuleSet::parse("rules.toml", text).expect_err(text).to_string()
}

fn asked<'a>(event_type: &'a str, priority: Priority, target: &'a Target) -> Asked<'a> {
    let (id, by_name, own_key) = (event_type_id(event_type), true, None);
    Asked { event_type, id, priority, multicast: None, by_name, target, own_key }
}

/// The place of the first rule that applies.
fn first(rules: &RuleSet, asked: &Asked<'_>, bytes: Option<u64>) -> Option<usize> {
    rules.iter().position(|rule| rule.refuses(asked, bytes, &asked.target.to_string()).is_none())
}

#[test]
fn a_rule_applies_to_what_it_says_and_to_nothing_else() {
    let rules = parse(
        "[[rule]]\ntype = \"metric.*\"\npriority = \">= high\"\nsize = \"> 1400, <= 4 KiB\"\n\
         to = \"service:*\"\ntransport = \"tcp\"\n",
    );
    let (service, node): (Target, Target) = (Target::service("a"), Target::named("service"));
    for (event_type, priority, bytes, to, applies) in [
        ("metric.cpu", Priority::High, 1401, &service, true),
        ("metric.cpu", Priority::Critical, 4096, &service, true),
        ("metric.cpu", Priority::Normal, 1401, &service, false),
        ("metric.cpu", Priority::High, 1400, &service, false),
        ("metric.cpu", Priority::High, 4097, &service, false),
        ("metric.cpu.load", Priority::High, 1401, &service, false),
        ("metric.cpu", Priority::High, 1401, &node, false),
    ] {
        let asked = asked(event_type, priority, to);
        let found = first(&rules, &asked, Some(bytes));
        assert_eq!(found.is_some(), applies, "{event_type} {priority} {bytes} {to}");
        assert_eq!(first(&rules, &asked, None), None, "of an unknown size it says nothing");
    }
    for (text, names) in [
        (">= high", &["critical", "high"][..]),
        ("> high", &["critical"]),
        ("<= low", &["low", "background"]),
        ("< low", &["background"]),
        ("= normal", &["normal"]),
        ("normal", &["normal"]),
        (">= low, < high", &["normal", "low"]),
    ] {
        let rules = parse(&format!("[[rule]]\npriority = \"{text}\"\ntransport = \"udp\""));
        let rule = rules.rule(0).expect("one");
        let of = Priority::ALL.into_iter().filter(|priority| rule.is_of_priority(*priority));
        assert_eq!(of.map(Priority::name).collect::<Vec<_>>(), names, "{text}");
    }
}

#[test]
fn sizes_at_which_an_answer_may_change_are_known_before() {
    let rules = parse(
        "[[rule]]\nsize = \"< 100\"\ntransport = \"udp\"\n\
         [[rule]]\nsize = \">= 50, <= 200\"\ntransport = \"tcp\"\n\
         [[rule]]\ntype = \"other\"\nsize = \"> 7\"\ntransport = \"tcp\"\n",
    );
    let (open, udp) = (Target::named("a"), Target::node("127.0.0.1:9"));
    assert_eq!(rules.cuts(&asked("a", Priority::Low, &open)), [49, 99, 200, u64::MAX]);
    assert_eq!(rules.cuts(&asked("a", Priority::Low, &udp)), [u64::MAX]);
    assert_eq!(RuleSet::default().cuts(&asked("a", Priority::Low, &open)), [u64::MAX]);
}

#[test]
fn what_is_wrong_with_a_rule_is_told_with_its_line() {
    for (text, told) in [
        ("[[rule]]\ntpye = \"a\"\ntransport = \"udp\"", "rules.toml:2:1: rule: no key \"tpye\""),
        ("[[rule]]\ntpye = \"a\"\ntransport = \"udp\"", "did you mean type?"),
        ("[[rule]]\ntype = \"A*\"\ntransport = \"udp\"", "rules.toml:2:8: rule.type: 'A'"),
        ("[[rule]]\ntype = 7\ntransport = \"udp\"", "a pattern of types in quotes"),
        ("[[rule]]\nsize = 1400\ntransport = \"udp\"", "\"> 1400\""),
        ("[[rule]]\nsize = \"> 1400 MB\"\ntransport = \"udp\"", "rules.toml:2:8: rule.size"),
        ("[[rule]]\nsize = \"> 10, < 11\"\ntransport = \"udp\"", "can never apply"),
        ("[[rule]]\nsize = \"< 0\"\ntransport = \"udp\"", "can never apply"),
        ("[[rule]]\nsize = \"> 18446744073709551615\"\ntransport = \"udp\"", "can never apply"),
        ("[[rule]]\npriority = \"> critical\"\ntransport = \"udp\"", "can never apply"),
        ("[[rule]]\npriority = \">= hihg\"\ntransport = \"udp\"", "did you mean high?"),
        ("[[rule]]\ntransport = \"upd\"", "did you mean \"udp\"?"),
        ("[[rule]]\ntransport = \"pigeon\"", "no transport \"pigeon\""),
        ("[[rule]]\ntarget = \"nowhere\"", "rules.toml:2:10: rule.target: \"nowhere\" is not a"),
        ("[[rule]]\ntype = \"a\"", "rules.toml:1:1: rule: the rule does nothing"),
        ("[[rule]]\nto = \"udp://*\"\ntransport = \"tcp\"", "rules are not asked of it"),
        ("[[rule]]\nto = \"tcp://127.0.0.1:9\"\ntransport = \"udp\"", "rules are not asked of it"),
        ("[[rule]]\ntarget = \"udp://127.0.0.1:9\"\ntransport = \"tcp\"", "cannot go by tcp"),
        ("[[rule]]\ntarget = \"node:a\"\ntransport = \"multicast\"", "is one node"),
        ("[[rule]]\ntarget = \"local\"\ntransport = \"broadcast\"", "cannot go by broadcast"),
        ("[rule]\ntype = \"a\"", "two brackets"),
        ("rule = 7", "two brackets"),
        ("rule = [7]", "a rule is a table"),
        ("[tcp]\npool = 8", "has nothing else"),
        ("[[rule]\n", "not TOML"),
    ] {
        let error = refused(text);
        assert!(error.contains(told), "{text}\n{error}\nwithout: {told}");
    }
    let both =
        refused("[[rule]]\ntransport = \"udpp\"\n[[rule]]\npriority = \"x\"\ntarget = \"y\"");
    assert_eq!(both.lines().count(), 3, "everything at once: {both}");
}

#[test]
fn a_rule_that_others_leave_nothing_to_is_told_and_so_is_a_circle() {
    for (rules, told) in [
        // Types, priorities, sizes and targets of an earlier one cover it.
        (
            &["type = \"a.**\"\ntransport = \"udp\"", "type = \"a.b\"\ntransport = \"tcp\""][..],
            true,
        ),
        (&["type = \"a.*\"\ntransport = \"udp\"", "type = \"a.**\"\ntransport = \"tcp\""], false),
        (&["transport = \"udp\"", "to = \"node:a\"\ntransport = \"tcp\""], true),
        (&["to = \"node:*\"\ntransport = \"udp\"", "to = \"node:a\"\ntransport = \"tcp\""], true),
        (&["to = \"node:a\"\ntransport = \"udp\"", "transport = \"tcp\""], false),
        (&["size = \"> 10\"\ntransport = \"udp\"", "size = \"> 9\"\ntransport = \"tcp\""], false),
        (&["priority = \"high\"\ntransport = \"udp\"", "transport = \"tcp\""], false),
        // Two together.
        (
            &[
                "size = \"> 10\"\ntransport = \"udp\"",
                "size = \"<= 10\"\ntransport = \"tcp\"",
                "type = \"a\"\ntransport = \"udp\"",
            ],
            true,
        ),
        // What goes to many is passed over where one node is asked for.
        (&["transport = \"multicast\"", "transport = \"tcp\""], false),
    ] {
        let text: Vec<String> = rules.iter().map(|rule| format!("[[rule]]\n{rule}\n")).collect();
        match RuleSet::parse("rules.toml", text.concat()) {
            Ok(_) => assert!(!told, "{rules:?}"),
            Err(error) => {
                let error = error.to_string();
                assert!(
                    told && error.contains("can never apply: the rule at rules.toml:"),
                    "{error}"
                );
                assert_eq!(error.lines().count(), 1, "{error}");
            }
        }
    }
    let send = |to: &str, target: &str| format!("[[rule]]\nto = \"{to}\"\ntarget = \"{target}\"\n");
    let circle = [
        send("service:a", "service:b"),
        send("service:b", "service:c"),
        send("service:c", "service:a"),
    ];
    let error = refused(&circle.concat());
    assert!(error.starts_with("rules.toml:1:"), "{error}");
    assert!(error.contains("rules.toml:1 and rules.toml:4 and rules.toml:7"), "{error}");
    assert_eq!(error.lines().count(), 1, "told once: {error}");
    // A way without a way back, one that stays, and one back for other events.
    parse(&circle[..2].concat());
    parse(&send("service:*", "service:a"));
    parse(&format!(
        "{}type = \"x\"\n{}type = \"y\"\n",
        send("service:a", "service:b"),
        send("service:b", "service:a")
    ));
}

#[test]
fn rules_stand_in_a_nodes_configuration() {
    let good = "[node]\nname = \"desk\"\n[[rule]]\ntransport = \"tcp\"\n";
    let error = Config::parse(&format!("{good}[[rule]]\ntype = \"a\"\n"))
        .expect_err("the second does nothing")
        .to_string();
    assert!(error.contains("config:5:1: rule: the rule does nothing"), "{error}");
    let config = Config::parse(good).expect("a good one");
    assert_eq!((config.rules().len(), config.name()), (1, Some("desk")));
}

#[test]
fn hostile_rules_cost_a_bounded_time() {
    let begun = Instant::now();
    let many = "[[rule]]\ntransport=\"udp\"\n".repeat(9_000);
    assert!(refused(&many).contains("more than 2048 rules"));
    let each = |at: usize| {
        format!("[[rule]]\ntype=\"t{at}.*.*\"\nto=\"service:*{at}\"\ntarget=\"service:x{at}\"\n")
    };
    assert_eq!(parse(&(0..1_500).map(each).collect::<String>()).len(), 1_500);
    let stars = format!("[[rule]]\ntype=\"{}b\"\ntransport=\"udp\"\n", "*a".repeat(127));
    assert!(!parse(&stars).rule(0).expect("one").types.matches(&"a".repeat(255)));
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,60}", key in "type|priority|size|to|target|transport") {
        // Names are not looked up: no text here has a port.
        let text = text.replace([':', '"', '\\'], "");
        let _ = RuleSet::parse("r", format!("[[rule]]\n{key} = \"{text}\"\ntransport = \"udp\""));
    }
}
