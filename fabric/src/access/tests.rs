//! One function decides: every verb and role of an example, the oracle, and what is told of texts
//! that are wrong.

use proptest::prelude::*;

use super::*;

const EXAMPLE: &str = r#"
[[role]]
name = "sensor"
nodes = ["greenhouse-1"]
[[role]]
name = "desk"
[[role]]
name = "operator"

[[allow]]
role = "sensor"
verb = "publish"
types = ["metric.**", "alarm"]
[[allow]]
role = "desk"
verb = ["subscribe", "request"]
types = "**"
[[allow]]
role = "operator"
verb = "*"
types = "**"
[[deny]]
role = ["sensor", "operator"]
verb = ["publish", "replay"]
types = "metric.secret.*"
[[deny]]
node = "greenhouse-9"
verb = "*"
types = "**"
[[limit]]
role = "sensor"
types = "metric.**"
rate = 1000
[[limit]]
node = "greenhouse-1"
types = "metric.cpu"
rate = 50
burst = 7
"#;

fn policy(text: &str) -> Policy {
    Policy::parse("p.toml", text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_verb_and_role_of_the_example_is_decided_as_the_table_says() {
    let policy = policy(EXAMPLE);
    // Publish, subscribe, request, admin, replay; `+` allowed, `-` denied by a line, `.` by none.
    let table = [
        ("sensor", "metric.cpu", "+...."),
        ("sensor", "alarm", "+...."),
        ("sensor", "other", "....."),
        ("sensor", "metric.secret.key", "-...-"),
        ("desk", "metric.cpu", ".++.."),
        ("desk", "metric.secret.key", ".++.."),
        ("operator", "metric.cpu", "+++++"),
        ("operator", "metric.secret.key", "-+++-"),
        ("nobody", "metric.cpu", "....."),
        ("Sensor", "metric.cpu", "....."),
    ];
    for (role, name, expected) in table {
        let said: String = Verb::ALL
            .into_iter()
            .map(|verb| match policy.authorise(&Subject::role(role), verb, name) {
                Decision::Allowed(_) => '+',
                Decision::Denied(_) => '-',
                Decision::DeniedByDefault => '.',
            })
            .collect();
        assert_eq!(said, expected, "{role} {name}");
    }
    let said = policy.authorise(&Subject::node("greenhouse-1"), Verb::Publish, "alarm");
    assert_eq!(said.to_string(), "allowed by the allow at p.toml:10");
    let mut barred = Subject::node("greenhouse-9");
    barred.roles = ["operator"].into_iter().collect();
    let said = policy.authorise(&barred, Verb::Admin, "policy.apply");
    assert_eq!(said.to_string(), "denied by the deny at p.toml:26");
}

#[test]
fn of_several_limits_the_strictest_counts() {
    let policy = policy(EXAMPLE);
    let limit = |subject: &Subject, name| {
        policy.limit(subject, name).map(|limit| (limit.per_second(), limit.burst()))
    };
    let (sensor, first) = (Subject::role("sensor"), Subject::node("greenhouse-1"));
    assert_eq!(limit(&sensor, Some("metric.cpu")), Some((1000, 100)));
    assert_eq!(limit(&first, Some("metric.cpu")), Some((50, 7)));
    assert_eq!(limit(&first, Some("metric.ram")), Some((1000, 100)));
    assert_eq!(limit(&first, Some("alarm")), None);
    assert_eq!(limit(&first, None), Some((50, 7)));
    assert_eq!(limit(&Subject::role("desk"), None), None);
}

#[test]
fn names_that_look_alike_are_different_names() {
    let text =
        |node: &str| format!("[[allow]]\nnode = \"{node}\"\nverb = \"publish\"\ntypes = \"a\"\n");
    // A node's name may have any letters but control characters: they are compared as they are.
    let policy = policy(&text("p\u{430}y"));
    let may = |node: &str| policy.authorise(&Subject::node(node), Verb::Publish, "a").is_allowed();
    assert!(may("p\u{430}y") && !may("pay") && !may("P\u{430}y"));
    assert!(Policy::parse("p", text("a\\u0000b")).is_err(), "a control character");
    // Types and roles are ASCII, and nothing else is read.
    for wrong in [
        "[[role]]\nname = \"s\u{435}nsor\"",
        "[[role]]\nname = \"../a/b\"",
        "[[allow]]\nnode = \"a\"\nverb = \"publish\"\ntypes = \"m\u{435}tric\"",
        "[[allow]]\nnode = \"a\"\nverb = \"publish\"\ntypes = \"Metric\"",
    ] {
        assert!(Policy::parse("p", wrong).is_err(), "{wrong}");
    }
    let every = |name| {
        let text = "[[allow]]\nnode = \"*\"\nverb = \"publish\"\ntypes = \"**\"\n";
        self::policy(text).authorise(&Subject::node("a"), Verb::Publish, name).is_allowed()
    };
    assert!(every("a..b") && !every("a\0") && !every("\u{430}") && !every("A") && !every(""));
    let exact = self::policy(&text("a"));
    for name in ["A", "a.", ".a", "a\0", "a ", "\u{430}", "a..", ""] {
        let said = exact.authorise(&Subject::node("a"), Verb::Publish, name);
        assert_eq!(said, Decision::DeniedByDefault, "{name:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_place() {
    let text = r#"
mode = "shadw"
[[role]]
name = "sensor"
node = ["a"]
[[role]]
name = "sensor"
[[alow]]
x = 1
[[allow]]
role = "sensr"
verb = "publsh"
types = "metric.**"
[[allow]]
role = "senso"
verb = "publish"
types = "metric.**"
[[allow]]
verb = []
types = "**.x"
[[allow]]
node = "b"
verb = ["publish", "request"]
types = ["metric.a", "metric.b"]
[[deny]]
node = "*"
verb = "*"
types = "metric.*"
[[limit]]
node = "b"
types = "a"
rate = 0
[deny2]
"#;
    let told = Policy::parse("p.toml", text).expect_err("all of it is wrong").to_string();
    for line in [
        "p.toml:2:8: mode: no mode \"shadw\"",
        "p.toml:5:1: no key \"node\" in [[role]]; did you mean nodes?",
        "p.toml:8:3: a policy has no \"alow\"; did you mean allow?",
        "p.toml:12:8: allow.verb: no verb \"publsh\"; did you mean publish?",
        "role: no role \"senso\"; did you mean sensor?",
        "allow.role: says nobody: name a role or a node",
        "allow.types: ** stands for further segments",
        "p.toml:21:1: allow: can never allow anything: the deny at p.toml:25 takes all of it",
        "limit.rate: 0 cannot be: it is a whole number from 1 to 10000000",
        "a policy has no \"deny2\"; did you mean deny?",
    ] {
        assert!(told.contains(line), "{line}\nnot in\n{told}");
    }
    let twice =
        Policy::parse("p", "[[role]]\nname=\"a\"\n[[role]]\nname=\"a\"").expect_err("twice");
    assert!(twice.to_string().contains("a is defined at p:1 already"), "{twice}");
}

#[test]
fn another_policy_changes_what_its_lines_say_and_nothing_else() {
    let changed = |before: &str, after: &str| -> Vec<String> {
        let changes = policy(before).changes(&policy(after));
        changes.iter().map(ToString::to_string).collect()
    };
    assert_eq!(changed(EXAMPLE, EXAMPLE), [""; 0]);
    let line = |effect: &str, node: &str, types: &str| {
        format!("[[{effect}]]\nnode=\"{node}\"\nverb=\"publish\"\ntypes=\"{types}\"\n")
    };
    let (all, deny) = (line("allow", "*", "a.**"), line("deny", "bad", "a.b"));
    assert_eq!(changed("", &all), ["other nodes: publish a.**: denied → allowed (p.toml:1)"]);
    assert_eq!(
        changed(&all, &(all.clone() + &deny)),
        [
            "node bad: publish a.**: allowed → partly",
            "node bad: publish a.b: allowed → denied (p.toml:5)"
        ]
    );
    // What was and is a part, another one.
    let (one, other) = (line("allow", "n", "a.*"), line("allow", "n", "*.b"));
    let deny = line("deny", "n", "a.b");
    assert_eq!(
        changed(&(one.clone() + &other + &deny), &(one.clone() + &deny)),
        [
            "node n: publish a.*: partly → partly otherwise",
            "node n: publish *.b: partly → partly otherwise"
        ]
    );
}

#[test]
fn a_policy_has_bounds() {
    let line = "[[allow]]\nnode=\"a\"\nverb=\"publish\"\ntypes=\"a\"\n";
    let most = line.repeat(POLICY_LINES_MAX);
    assert_eq!(policy(&most).lines().count(), POLICY_LINES_MAX);
    assert!(Policy::parse("p", format!("{most}{line}")).is_err());
    let roles: String = (0..=ROLES_MAX).map(|i| format!("[[role]]\nname=\"r{i}\"\n")).collect();
    assert!(Policy::parse("p", roles).is_err());
    assert!(Policy::parse("p", "#".repeat(config::FILE_BYTES_MAX + 1)).is_err());
}

/// One line of a policy made up for the oracle.
#[derive(Debug, Clone)]
struct Made {
    deny: bool,
    who: usize,
    verbs: Vec<usize>,
    types: usize,
}

const ROLES: [&str; 3] = ["r0", "r1", "R0"];
/// The first has beside it a look-alike, a case, part of a path, a letter that turns the text, and
/// a control character; no policy can name the last.
const NODES: [&str; 8] = ["n0", "n1", "n2", "N0", "n\u{43e}", "n0/../n1", "n0\u{202e}", "n0\0"];
const WHO: [(&str, &str); 9] = [
    ("role", "r0"),
    ("role", "r1"),
    ("role", "R0"),
    ("node", "n0"),
    ("node", "n1"),
    ("node", "N0"),
    ("node", "n\u{43e}"),
    ("node", "n0/../n1"),
    ("node", "*"),
];
const TYPES: [&str; 9] = ["a", "a.b", "a.*", "a.**", "*", "**", "b*.c", "a..b", "*.b"];
const NAMES: [&str; 17] = [
    "a",
    "A",
    "a.b",
    "a.b.c",
    "b.c",
    "bb.c",
    "",
    "a.",
    "..",
    "a..b",
    "../a",
    "a/../b",
    "a\0",
    "a\x1b",
    "a.b\n",
    "\u{430}",
    "a\u{2024}b",
];

fn made() -> impl Strategy<Value = Made> {
    let verbs = prop::collection::vec(0..Verb::ALL.len(), 1..3);
    (any::<bool>(), 0..WHO.len(), verbs, 0..TYPES.len())
        .prop_map(|(deny, who, verbs, types)| Made { deny, who, verbs, types })
}

/// Twenty lines that say the same without the policy: any deny, else any allow, else no.
fn oracle(lines: &[Made], (node, roles): (usize, &[usize]), verb: usize, name: &str) -> bool {
    let applies = |line: &&Made| {
        let who = match WHO[line.who] {
            ("role", role) => {
                // The policy itself gives n1 the role r1.
                roles.iter().any(|own| role == ROLES[*own]) || (role == "r1" && NODES[node] == "n1")
            }
            (_, named) => named == "*" || named == NODES[node],
        };
        let parts: Vec<&str> = name.split('.').collect();
        let types = match TYPES[line.types] {
            "a.*" => parts.len() == 2 && parts[0] == "a",
            "a.**" => parts.len() > 1 && parts[0] == "a",
            "*" => parts.len() == 1,
            "**" => true,
            "*.b" => parts.len() == 2 && parts[1] == "b",
            "b*.c" => parts.len() == 2 && parts[0].starts_with('b') && parts[1] == "c",
            exact => exact == name,
        };
        who && types && line.verbs.contains(&verb)
    };
    let mut applying = lines.iter().filter(applies).peekable();
    let is_letter = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '-' | '_' | '.');
    let is_name = !name.is_empty() && name.chars().all(is_letter);
    is_name && applying.peek().is_some() && applying.all(|line| !line.deny)
}

fn agrees(lines: &[Made], node: usize, roles: &[usize]) {
    let mut text = "[[role]]\nname=\"r0\"\n[[role]]\nname=\"R0\"\n\
        [[role]]\nname=\"r1\"\nnodes=\"n1\"\n"
        .to_owned();
    for line in lines {
        let (key, who) = WHO[line.who];
        let verbs: Vec<&str> = line.verbs.iter().map(|verb| Verb::ALL[*verb].name()).collect();
        let (table, types) = (if line.deny { "deny" } else { "allow" }, TYPES[line.types]);
        text += &format!("[[{table}]]\n{key}=\"{who}\"\nverb={verbs:?}\ntypes=\"{types}\"\n");
    }
    // Allows without effect are faults of a file; here they must be decided all the same.
    let (parts, faults) = read::parts_of("p", text.as_bytes());
    assert!(faults.is_empty(), "{faults:?}");
    let policy = Policy(Arc::new(parts));
    let mut subject = Subject::node(NODES[node]);
    subject.roles = roles.iter().map(|role| ROLES[*role]).collect();
    for (index, verb) in Verb::ALL.into_iter().enumerate() {
        for name in NAMES {
            let said = policy.authorise(&subject, verb, name);
            let expected = oracle(lines, (node, roles), index, name);
            assert_eq!(said.is_allowed(), expected, "{subject:?} {verb} {name:?}: {said}\n{text}");
        }
        let every = policy.authorises_every_type(&subject, verb);
        let mut named = NAMES.iter().filter(|name| is_type_name(name));
        let each = named.all(|name| oracle(lines, (node, roles), index, name));
        assert!(!every || each, "every type is more than each: {verb}\n{text}");
    }
}

fn cases() -> impl Strategy<Value = (Vec<Made>, usize, Vec<usize>)> {
    let roles = prop::collection::vec(0..ROLES.len(), 0..3);
    (prop::collection::vec(made(), 0..8), 0..NODES.len(), roles)
}

/// Every line there can be by itself, and every allow with every deny that overlaps it or not, for
/// every node, with every role and without one, each verb and each name.
#[test]
fn every_line_and_every_pair_of_an_allow_and_a_deny_agree_with_the_oracle() {
    let everybody = |lines: &[Made]| {
        for node in 0..NODES.len() {
            agrees(lines, node, &[]);
        }
        for role in 0..ROLES.len() {
            agrees(lines, 2, &[role]);
        }
    };
    let line = |deny, who, types, verbs: &[usize]| Made { deny, who, verbs: verbs.to_vec(), types };
    let all: Vec<usize> = (0..Verb::ALL.len()).collect();
    for who in 0..WHO.len() {
        for types in 0..TYPES.len() {
            for verb in 0..Verb::ALL.len() {
                everybody(&[line(false, who, types, &[verb])]);
            }
            for denied in (0..WHO.len()).flat_map(|who| (0..TYPES.len()).map(move |of| (who, of))) {
                let deny = line(true, denied.0, denied.1, &[0]);
                // Whichever stands first, the deny wins.
                let mut lines = [line(false, who, types, &all), deny];
                if (who + types) % 2 == 0 {
                    lines.reverse();
                }
                agrees(&lines, (who + denied.0) % NODES.len(), &[types % ROLES.len()]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]
    #[test]
    fn the_policy_agrees_with_the_oracle((lines, node, roles) in cases()) {
        agrees(&lines, node, &roles);
    }
}

proptest! {
    #[test]
    fn no_text_makes_reading_panic(
        text in "(mode|role|\\[\\[|\\]\\]|allow|=|\"|\n|[a-z*.]|\\PC){0,60}",
    ) {
        crate::fuzz::policy(text.as_bytes());
    }
}

/// The worst that a text as long as it may be asks for is read in time and told.
#[test]
fn a_hostile_text_is_read_in_bounded_time() {
    let list = |word: &dyn Fn(usize) -> String, count| -> String {
        (0..count).map(|index| format!("\"{}\",", word(index))).collect()
    };
    let line = |table: &str, node: &str, types: &str| {
        format!("[[{table}]]\nnode=[{node}]\nverb=\"*\"\ntypes=[{types}]\n")
    };
    let most = POLICY_WORDS_MAX / 2 - 2;
    let patterns = |letter: char| list(&move |index| format!("{letter}.{index}.**"), most);
    let many = line("allow", "\"*\"", &patterns('a')) + &line("deny", "\"*\"", &patterns('b'));
    let nodes = |letter: char| list(&move |index| format!("{letter}{index}"), most);
    let named = line("allow", &nodes('a'), "\"a\"") + &line("deny", &nodes('b'), "\"a\"");
    let unknown: String = (0..POLICY_LINES_MAX)
        .map(|index| format!("[[deny]]\nrole=[\"sensr{index}\"]\nverb=\"*\"\ntypes=\"a\"\n"))
        .collect();
    let roles: String =
        (0..ROLES_MAX).map(|index| format!("[[role]]\nname=\"sensor-{index:055}\"\n")).collect();
    let long = "[[allow]]\nnode=\"a\"\nverb=\"publish\"\ntypes=[".to_owned()
        + &list(&|_| "a".to_owned(), 60_000)
        + "]\n";
    let deep = "a=[".repeat(config::FILE_BYTES_MAX / 3);
    for (text, is_right) in [
        (many, true),
        (named, true),
        (roles + &unknown, false),
        (long, false),
        (deep, false),
        ("[[allow]]\n".repeat(23_000), false),
    ] {
        assert!(text.len() <= config::FILE_BYTES_MAX, "{}", text.len());
        let begun = std::time::Instant::now();
        crate::fuzz::policy(text.as_bytes());
        let took = begun.elapsed();
        assert!(took < std::time::Duration::from_secs(5), "{took:?} for {:.60}", text);
        assert_eq!(Policy::parse("p", &text).is_ok(), is_right, "{:.60}", text);
    }
}
