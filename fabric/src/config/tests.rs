//! The configuration as a whole: what is read, what is refused and where, who has the last word,
//! the commented files, and text that means harm.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn faults(text: &str) -> Vec<String> {
    let error = Config::parse(text).expect_err(text);
    error.faults().iter().map(ToString::to_string).collect()
}

fn variables(all: &[(&str, &str)]) -> impl Iterator<Item = (OsString, OsString)> {
    all.iter().map(|(name, value)| (name.into(), value.into())).collect::<Vec<_>>().into_iter()
}

#[test]
fn the_profiles_have_the_figures_of_the_design() {
    let [browser, server, cluster] = Profile::ALL.map(|profile| Config::of(Some(profile)));
    for (config, batch, flush_ms, queue, priorities) in [
        (&browser, 10, 100, 1_000, 3),
        (&server, 1_000, 1_000, 100_000, 5),
        (&cluster, 1_000, 1_000, 100_000, 5),
    ] {
        let events = config.events();
        assert_eq!((events.batch, events.queue, events.priorities), (batch, queue, priorities));
        assert_eq!(events.flush_interval, Duration::from_millis(flush_ms));
    }
    assert_eq!([&browser, &server].map(|config| config.events().waits), [true, false]);
    let text = |config: &Config, path| config.entry(path).expect("a key").text();
    assert_eq!(text(&browser, "udp.packet_bytes"), "1200 B");
    for config in [&server, &cluster] {
        assert_eq!(text(config, "udp.packet_bytes"), "1400 B");
        assert_eq!(text(config, "udp.broadcast"), "true");
        assert_eq!(text(config, "udp.multicast_ttl"), "64");
        assert_eq!((config.tcp().pool, config.tcp().connect_timeout.as_secs()), (100, 30));
        assert!(config.tcp().keep_alive.is_some());
    }
    assert_eq!(browser.tcp().connect_timeout.as_secs(), 5);
    assert!(!server.tcp().compression && !server.security().encryption);
    assert!(cluster.tcp().compression && cluster.security().encryption);
    assert_eq!(text(&cluster, "udp.checksum"), "true");
    assert_eq!(text(&cluster, "udp.sequencing"), "true");
    assert_eq!((server.cluster().replication, cluster.cluster().replication), (1, 3));
    assert_eq!((cluster.tcp().ack_timeout.as_secs(), cluster.tcp().attempts), (10, 5));
}

#[test]
fn a_file_says_values_of_every_kind() {
    let config = Config::parse(
        "[node]\nname = \"desk\"\ncores = [0, 0x3]\nhuge_pages = true\n[events]\nqueue = 5_000\n\
         [udp]\nwindow = \"1.5 MiB\"\nsend_buffer = 65536\nbusy_poll = \"0.05ms\"\n\
         [tcp]\nkeep_alive = \"0 s\"\n[discovery]\ngroup = \"224.1.1.1:9100\"\n\
         seeds = [\"10.0.0.1:9000\", \"db:9000\"]\n[services]\nannounce = [\"billing\"]\n\
         choice = \"least-loaded\"",
    )
    .unwrap();
    for (path, text) in [
        ("node.name", "desk"),
        ("node.cores", "0, 3"),
        ("node.huge_pages", "true"),
        ("events.queue", "5000"),
        ("udp.window", "1536 KiB"),
        ("udp.send_buffer", "64 KiB"),
        ("udp.busy_poll", "50 us"),
        ("udp.packet_bytes", "auto"),
        ("discovery.seeds", "10.0.0.1:9000, db:9000"),
    ] {
        assert_eq!(config.entry(path).expect("a key").text(), text, "{path}");
    }
    assert_eq!(config.name(), Some("desk"));
    assert_eq!(config.tcp().keep_alive, None);
    assert_eq!(config.discovery().group, Some("224.1.1.1:9100".parse().unwrap()));
    assert_eq!(config.services().choice, ServiceChoice::LeastLoaded);
    assert_eq!(config.services().announce, ["billing"]);
}

#[test]
fn a_wrong_value_is_told_with_its_place_and_what_is_allowed() {
    for (text, told) in [
        ("[udp]\nmulticast_ttl = 0", "config:2:17: udp.multicast_ttl: 0 cannot be: it is a whole"),
        ("[udp]\nmulticast_ttl = 256", "a whole number from 1 to 255"),
        ("[udp]\nmulticast_ttl = -1", "config:2:17: udp.multicast_ttl: -1 cannot be"),
        ("[udp]\nmulticast_ttl = 0x100", "256 cannot be"),
        ("[udp]\nmulticast_ttl = 9999999999999999999999999999999999999999", "cannot be"),
        ("[udp]\nmulticast_ttl = 1.5", "1.5"),
        ("[udp]\nmulticast_ttl = \"4\"", "write it without quotes"),
        ("[udp]\nbroadcast = \"true\"", "write it without quotes"),
        ("[udp]\nbroadcast = 1", "true or false"),
        ("[udp]\nbroadcast = []", "a list cannot be"),
        ("[udp.broadcast]\na = 1", "a table cannot be"),
        ("[udp]\nwindow = \"4 MB\"", "write it like \"64 KiB\""),
        ("[udp]\nwindow = \"1 B\"", "a size from 4 KiB to 1 GiB"),
        ("[udp]\nwindow = \"0.3 B\"", "cannot be"),
        ("[udp]\nwindow = \"99999999999 GiB\"", "cannot be"),
        ("[udp]\npacket_bytes = 70000", "from 256 B to 65504 B, or \"auto\""),
        ("[udp]\nflow = \"hodl\"", "did you mean \"hold\"?"),
        ("[tcp]\nack_timeout = 10", "did you mean \"10 s\"?"),
        ("[tcp]\nack_timeout = \"10\"", "did you mean \"10 s\"?"),
        ("[tcp]\nack_timeout = \"10 sec\"", "write it like \"100 ms\""),
        ("[tcp]\nack_timeout = 1979-05-27", "a date cannot be"),
        ("[tcp]\nbackoff_min = \"20 s\"", "tcp.backoff_min (20 s) cannot be more than"),
        ("[tcp]\nbackoff_max = \"1 ms\"", "config:2:15: tcp.backoff_max: tcp.backoff_min"),
        ("[events]\npriorities = 4", "3 or 5"),
        ("[node]\nlisten = \"9000\"", "HOST:PORT"),
        ("[node]\ncores = [0, -1]", "at most 65 whole numbers from 0 to 4095"),
        ("[node]\ncores = 1", "write a list in brackets"),
        ("[discovery]\nseeds = \"a:1\"", "write a list in brackets"),
        ("[discovery]\nseeds = [\"a:1\", \"b\"]", "\"b\" cannot be"),
        ("[discovery]\nseeds = [\"a:1\", 2]", "a list with other things"),
        ("[groups]\njoin = [\"10.0.0.1:9\"]", "a multicast group such as"),
        ("[node]\nprofile = \"sever\"", "did you mean \"server\"?"),
        ("[security]\nprotect = [\"normal:none\"]", "PRIORITY:PROTECTION, of critical, high"),
        ("[security]\nprotect = [\"low:off\", \"low:full\"]", "protect: low stands there twice"),
        ("node = { name = \"größe\", mode = \"x\" }", "config:1:33: node.mode: \"x\" cannot be"),
        ("[node]\nname = \"a\\u0007\"", "\"a\\u{7}\" cannot be"),
    ] {
        let all = faults(text);
        assert_eq!(all.len(), 1, "{text}: {all:?}");
        assert!(all[0].contains(told), "{text}: {all:?}");
    }
}

#[test]
fn an_unknown_word_is_answered_with_the_nearest() {
    for (text, told) in [
        ("[tcp]\npol = 1", "config:2:1: no key \"pol\" in [tcp]; did you mean pool?"),
        ("[tcp]\nack_tiemout = 1", "did you mean ack_timeout?"),
        ("[tcp]\nmulticast_ttl = 1", "it stands in [udp]"),
        ("[tcp]\nzzz = 1", "its keys are connect_timeout, pool"),
        ("[tpc]\npool = 1", "config:1:2: no section \"tpc\"; did you mean [tcp]?"),
        ("[zzz]\n", "sections are node, events, udp"),
        ("pool = 1", "config:1:1: the key \"pool\" stands in a section: write it below [tcp]"),
        ("tcp = 1", "write [tcp]"),
        ("[[tcp]]\npool = 1", "write [tcp]"),
    ] {
        let all = faults(text);
        assert!(all.len() == 1 && all[0].contains(told), "{text}: {all:?}");
    }
}

#[test]
fn every_fault_of_a_file_is_told_in_order() {
    let text = "[udp]\nwindow = \"x\"\n\n[tcp]\npol = 1\npool = 0 # größer\nattempts = \n[node]\n\
                name = \"\"\n";
    let all = faults(text);
    let places: Vec<&str> =
        all.iter().map(|fault| fault.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(places, ["config:2:10", "config:5:1", "config:6:8", "config:7:12", "config:9:8"]);
    assert!(all[3].contains("not TOML"), "{all:?}");
}

#[test]
fn a_later_layer_has_the_last_word_and_its_place() {
    let layers = Layers::new()
        .text("node.toml", "[node]\nprofile = \"server\"\n[tcp]\npool = 7\nattempts = 7\n")
        .variables(variables(&[
            ("WIRELOOM_TCP_ATTEMPTS", "8"),
            ("WIRELOOM_UDP_FLOW", "shed"),
            ("WIRELOOM_DISCOVERY_SEEDS", "a:1, b:2"),
            ("WIRELOOM_LINES", "not ours"),
            ("WIRELOOM_TUNING_ROOT", "not ours"),
            ("HOME", "not ours"),
        ]))
        .flag("--flow", "udp.flow", "off");
    let config = layers.clone().config().unwrap();
    for (path, text, source) in [
        ("events.flush", "natural", "profile server"),
        ("node.profile", "server", "node.toml:2"),
        ("tcp.pool", "7", "node.toml:4"),
        ("tcp.attempts", "8", "env WIRELOOM_TCP_ATTEMPTS"),
        ("udp.flow", "off", "flag --flow"),
        ("udp.multicast_ttl", "64", "profile server"),
        ("node.mode", "shared", "default"),
        ("discovery.seeds", "a:1, b:2", "env WIRELOOM_DISCOVERY_SEEDS"),
    ] {
        let entry = config.entry(path).expect("a key");
        assert_eq!((entry.text().as_str(), entry.source.to_string().as_str()), (text, source));
    }
    // Another profile below the same words.
    let config = layers.profile(Profile::Browser).config().unwrap();
    let ttl = config.entry("udp.multicast_ttl").expect("a key");
    assert_eq!((ttl.text().as_str(), ttl.source), ("1", &Source::Default));
    assert_eq!((config.tcp().pool, config.events().queue), (7, 1_000));
}

#[test]
fn wrong_variables_and_flags_are_told_beside_the_files_faults() {
    let error = Layers::new()
        .text("n", "[udp]\nflow = 1")
        .variables(variables(&[("WIRELOOM_TCP_POL", "1"), ("WIRELOOM_TCP_POOL", "0")]))
        .flag("--set", "tpc.pool", "1")
        .flag("--set", "tcp.pol", "1")
        .flag("--set", "tcp.pool", "none")
        .config()
        .unwrap_err();
    let told = error.to_string();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 6, "{told}");
    for (line, part) in lines.iter().zip([
        "n:2:8: udp.flow: 1 cannot be",
        "env WIRELOOM_TCP_POL: no key \"pol\" in [tcp]; did you mean pool?",
        "env WIRELOOM_TCP_POOL: tcp.pool: \"0\" cannot be",
        "flag --set: no key \"tpc.pool\"; did you mean tcp.pool?",
        "flag --set: no key \"pol\" in [tcp]; did you mean pool?",
        "flag --set: tcp.pool: \"none\" cannot be",
    ]) {
        assert!(line.contains(part), "{line}: {part}");
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_told() {
    use std::os::unix::ffi::OsStringExt as _;
    let pair = ("WIRELOOM_NODE_NAME".into(), OsString::from_vec(vec![0xff]));
    let error = Layers::new().variables(std::iter::once(pair)).config().unwrap_err();
    assert_eq!(error.to_string(), "env WIRELOOM_NODE_NAME: node.name: not UTF-8");
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault_with_its_name() {
    let error = Config::load(Path::new("no/such/node.toml")).unwrap_err();
    let told = error.to_string();
    assert!(told.starts_with("no/such/node.toml: cannot be read: "), "{told}");
}

#[test]
fn the_commented_files_say_exactly_what_the_profiles_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tuning/profiles");
    for profile in Profile::ALL {
        let path = folder.join(format!("{profile}.toml"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text == document(profile),
            "{}: run `wireloom config show {profile}` and keep what it prints",
            path.display()
        );
        let want = Config::of(Some(profile));
        let config = Config::parse(&text).unwrap();
        // With the lines of the defaults as well, every key is said, and nothing is different.
        let aloud: String = text
            .lines()
            .map(|line| {
                line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line)
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let aloud = Config::parse(&aloud).unwrap();
        for ((want, said), aloud) in want.entries().zip(config.entries()).zip(aloud.entries()) {
            let path = want.key.path();
            assert_eq!(want.value, said.value, "{profile}: {path}");
            assert_eq!(want.value, aloud.value, "{profile}: {path}");
            assert!(matches!(aloud.source, Source::File { .. }), "{profile}: {path} is left out");
            let is_profiles = matches!(want.source, Source::Profile(_));
            assert_eq!(matches!(said.source, Source::File { .. }), is_profiles, "{path}");
        }
        for key in want.entries().map(|entry| entry.key) {
            let section =
                text.split_once(&format!("\n[{}]\n", key.section())).expect("it is there");
            let section = section.1.split("\n[").next().unwrap_or_default();
            assert!(
                section.contains(&format!("\n{} = ", key.name()))
                    ^ section.contains(&format!("\n#{} = ", key.name())),
                "{}",
                key.path()
            );
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{profile}");
    }
}

#[test]
fn hostile_text_costs_a_bounded_time_and_a_bounded_answer() {
    let deep = "[".repeat(100_000);
    let nested = format!("[tcp]\npool = {}", "[".repeat(50_000));
    let tables = format!("[tcp]\npool = {}", "{a=".repeat(50_000));
    let dotted = format!("{}a = 1", "tcp.".repeat(50_000));
    let unknown: String = (0..30_000).map(|number| format!("k{number}=1\n")).collect();
    let in_section = format!("[tcp]\n{unknown}");
    let broken = "=\n".repeat(100_000);
    let long_key = format!("{} = 1", "k".repeat(200_000));
    let long_text = format!("[node]\nname = \"{}\"", "n".repeat(200_000));
    let list = format!("[discovery]\nseeds = [{}]", "\"a:1\",".repeat(40_000));
    let begin = Instant::now();
    for text in
        [deep, nested, tables, dotted, unknown, in_section, broken, long_key, long_text, list]
    {
        assert!(text.len() <= FILE_BYTES_MAX);
        let error = Config::parse(&text).unwrap_err();
        assert!(error.faults().len() <= 64);
        let told = error.to_string();
        assert!(told.len() < 64 * 1_200, "{} bytes: {}", told.len(), &told[..200]);
    }
    let many = "[tcp]\n".to_owned() + &"a=1\n".repeat(3);
    assert!(Config::parse(&many).unwrap_err().beyond() == 0);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    let beyond = (0..100).map(|number| format!("k{number}=1\n")).collect::<String>();
    let error = Config::parse(&beyond).unwrap_err();
    assert_eq!((error.faults().len(), error.beyond()), (64, 36));
    assert!(error.to_string().ends_with("\nand 36 more"));
    let large = "#".repeat(FILE_BYTES_MAX + 1);
    assert!(Config::parse(&large).unwrap_err().to_string().contains("longer than"));
    let endless = Config::load(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(endless.contains("longer than"), "{endless}");
}

#[test]
fn bytes_that_are_no_text_are_told_with_their_place() {
    let error = Layers::new().text("n", b"[tcp]\npool = \xff1").config().unwrap_err();
    assert_eq!(error.to_string(), "n:2:8: not UTF-8 from here on");
}

/// A line of a configuration, good, near a good one, or neither.
fn line() -> impl Strategy<Value = String> {
    let key = proptest::sample::select(
        KEYS.iter().map(|key| (key.section(), key.name())).collect::<Vec<_>>(),
    );
    let value = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        "[0-9]{1,20}(\\.[0-9]{0,12})? ?(ns|us|ms|s|min|h|B|KiB|MiB|GiB|x)?"
            .prop_map(|text| format!("\"{text}\"")),
        "\\PC{0,20}".prop_map(|text| format!("{text:?}")),
        "\\PC{0,20}",
        Just("[\"a:1\", 3, [], {}]".to_owned()),
    ];
    prop_oneof![
        (key, value).prop_map(|((section, name), value)| format!("[{section}]\n{name} = {value}")),
        "\\PC{0,30}",
        "[\\[\\]{}=\"'.#a-z0-9\\n ]{0,40}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever is in a file, reading ends with values that can be written and read again, or with
    /// faults that have a place in the file.
    #[test]
    fn any_text_is_a_configuration_or_refused_with_a_place(
        lines in proptest::collection::vec(line(), 0..6),
    ) {
        let text = lines.join("\n");
        match Config::parse(&text) {
            Ok(config) => {
                for entry in config.entries() {
                    let again = entry.key.value_of(&entry.text());
                    prop_assert_eq!(again.as_ref(), Ok(entry.value), "{}", entry.key.path());
                }
                let _ = crate::Node::builder("a").config(&config);
            }
            Err(error) => {
                prop_assert!(!error.faults().is_empty());
                for fault in error.faults() {
                    let Source::File { line, column, .. } = fault.place else {
                        return Err(TestCaseError::fail(fault.to_string()));
                    };
                    prop_assert!(line <= text.matches('\n').count() + 1, "{fault}");
                    prop_assert!(line > 0 && column > 0, "{fault}");
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Layers::new().text("n", &bytes).config();
        let text = String::from_utf8_lossy(&bytes);
        for key in KEYS {
            let _ = key.value_of(&text);
        }
    }
}

#[test]
fn a_profile_written_out_ends_with_a_rule_that_can_be_uncommented() {
    let text = document(Profile::Server);
    let at = text.find("#[[rule]]").expect("rules are mentioned");
    let rule: String = text[at..].lines().map(|line| line[1..].to_owned() + "\n").collect();
    assert_eq!(Config::parse(&rule).map(|config| config.rules().len()), Ok(1), "{rule}");
    assert!(text[..at].contains("docs/guide/rules.md"));
}
