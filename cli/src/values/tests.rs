//! What each language takes, and what it says to the rest.

use super::*;

#[test]
fn durations_have_units() {
    for (text, millis) in
        [("500ms", 500), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000), ("1.5s", 1_500)]
    {
        assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    assert_eq!(duration("0s"), Ok(Duration::ZERO));
    assert_eq!(duration(" 20 us "), Ok(Duration::from_micros(20)));
    assert!(duration("5").unwrap_err().contains("did you mean 5s?"));
    assert!(duration("5sec").unwrap_err().contains("5s"));
    for wrong in ["", "s", "-5s", "1e5s", "nan", "inf s", "9999999h", "5 5s", "..s"] {
        assert!(duration(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn sizes_are_bytes_or_binary_units() {
    for (text, bytes) in
        [("64", 64), ("64B", 64), ("4KiB", 4_096), ("2mib", 2 << 20), ("1 GiB", 1 << 30)]
    {
        assert_eq!(size(text), Ok(bytes), "{text}");
    }
    assert!(size("4k").unwrap_err().contains("did you mean 4KiB?"));
    assert!(size("4MB").unwrap_err().contains("did you mean 4MiB?"));
    for wrong in ["", "-1", "1.5KiB", "KiB", "99999999999GiB", "999999999999999999999"] {
        assert!(size(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn policies_have_words_and_block_has_a_time() {
    for (text, policy_of) in [
        ("drop-newest", SlowPolicy::DropNewest),
        ("drop-oldest", SlowPolicy::DropOldest),
        ("disconnect", SlowPolicy::Disconnect),
        ("block", SlowPolicy::Block(Duration::from_millis(100))),
        ("block:5ms", SlowPolicy::Block(Duration::from_millis(5))),
    ] {
        assert_eq!(policy(text), Ok(policy_of), "{text}");
    }
    assert!(matches!(policy("latest"), Ok(SlowPolicy::Latest { .. })));
    for (wrong, told) in [
        ("drop-oldst", "did you mean drop-oldest?"),
        ("block:1s", "at most 100ms"),
        ("block:5", "did you mean 5s?"),
        ("latest:5s", "takes no time"),
        ("", "block, drop-newest"),
    ] {
        assert!(policy(wrong).is_err_and(|error| error.contains(told)), "{wrong}");
    }
}

#[test]
fn rates_are_above_nothing() {
    for (text, wanted) in [("5000", 5_000.0), ("0.5", 0.5), ("20k", 20_000.0), ("1M", 1e6)] {
        assert_eq!(rate(text), Ok(wanted), "{text}");
    }
    for wrong in ["", "0", "-1", "fast", "NaN", "2G", "1e400", "2000M"] {
        assert!(rate(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn targets_that_are_nearly_right_come_back_right() {
    assert!(target("udp://127.0.0.1:9000").is_ok());
    assert!(target("broadcast:9000").is_ok());
    assert!(target("tcp://127.0.0.1:9000").is_ok());
    for (wrong, likely) in [
        ("upd://127.0.0.1:9000", "did you mean udp://127.0.0.1:9000?"),
        ("127.0.0.1:9000", "did you mean udp://127.0.0.1:9000?"),
        ("tcpp://127.0.0.1:9000", "did you mean tcp://127.0.0.1:9000?"),
        ("brodcast://9000", "did you mean broadcast:9000?"),
        ("local", "udp://HOST:PORT"),
        ("udp://127.0.0.1", "port"),
    ] {
        let told = target(wrong).unwrap_err();
        assert!(told.contains(likely), "{wrong}: {told}");
    }
    assert!(!target("udp://127.0.0.1").unwrap_err().contains("did you mean"));
}

#[test]
fn a_node_listens_on_an_address_and_joins_a_group() {
    let address: SocketAddr = "127.0.0.1:9000".parse().unwrap();
    assert_eq!(listen("udp://127.0.0.1:9000"), Ok(address));
    assert!(listen("127.0.0.1:9000/").is_err());
    assert_eq!(listen("udp://127.0.0.1:0").map(|found| found.port()), Ok(0));
    assert!(listen("udp://224.1.1.1:9000").unwrap_err().contains("--join 224.1.1.1:9000"));
    assert!(listen("tcp://127.0.0.1:1").unwrap_err().contains("udp://127.0.0.1:1"));
    let joined: SocketAddr = "224.1.1.1:9000".parse().unwrap();
    assert_eq!(group("224.1.1.1:9000"), Ok(joined));
    assert_eq!(group("udp://224.1.1.1:9000"), Ok(joined));
    for wrong in ["127.0.0.1:9000", "224.1.1.1", "224.1.1.1:0", ""] {
        assert!(group(wrong).is_err(), "{wrong}");
    }
    assert!(group_address("239.1.2.3").is_ok());
    for wrong in ["10.0.0.1", "224.1.1.1:9000", "ff02::1", ""] {
        assert!(group_address(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn interfaces_are_addresses_indices_or_names() {
    assert!(matches!(interface("127.0.0.1"), Ok(Interface::Address(_))));
    assert!(matches!(interface("2"), Ok(Interface::Index(2))));
    assert!(matches!(interface("eth0"), Ok(Interface::Name(name)) if name == "eth0"));
    for wrong in ["", "a/b", "much-too-long-a-name"] {
        assert!(interface(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn type_names_come_back_nearly_right() {
    assert_eq!(type_name("price-tick"), Ok("price-tick".to_owned()));
    assert!(type_name("Price Tick").unwrap_err().ends_with("try price-tick"));
    assert!(type_name("").is_err());
    assert!(node_name("").is_err() && node_name("a\x1b").is_err() && node_name("é").is_ok());
}

#[test]
fn the_key_of_an_event_is_that_of_its_field() {
    for number in ["0", "42", "-7", "18446744073709551615"] {
        let field: i128 = number.parse().unwrap();
        assert_eq!(key(number), Ok(field.key()), "{number}");
        assert_eq!(key(&format!("text:{number}")), Ok(number.to_owned().key()), "{number}");
    }
    assert_eq!((key("42"), key("1")), (Ok(42_u8.key()), Ok(true.key())), "whatever its width");
    assert_eq!(key(&u128::MAX.to_string()), Ok(u128::MAX.key()));
    for words in ["tram 7", "1e3", "0x2a", "-", "4 2", "9".repeat(60).as_str()] {
        assert_eq!(key(words), Ok(words.to_owned().key()), "{words}");
    }
    assert_eq!(key("text:text:a"), Ok("text:a".key()));
    assert_eq!(key("text:"), Ok("".key()));
    for (unclear, told) in [("007", "text:007, or 7"), ("+7", "text:+7, or 7"), ("", "text:")] {
        assert!(key(unclear).unwrap_err().contains(told), "{unclear}");
    }
    // As behind `?key=` of a target, where a number is a key as explanations show it.
    let target = |key: &str| format!("service:sum?key={key}").parse::<Target>().unwrap();
    for value in ["tram 7", "42", "text:42"] {
        let shown = target(&key(value).unwrap().to_string());
        assert_eq!(shown == target(value), value == "tram 7", "{value}");
    }
}
