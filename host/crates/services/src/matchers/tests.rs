use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;

use super::networks::Networks;
use super::patterns::Patterns;
use super::{Error, JsonError, JsonValue, MakeError, Matchers, read_json};
use crate::OutOfTime;

fn patterns(patterns: &[&str]) -> Result<Patterns, MakeError> {
    let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    Patterns::compile(&patterns)
}

/// Which patterns match.
fn matches(of: &[&str], text: &str) -> Vec<u32> {
    let set = patterns(of).unwrap();
    let found = set.matches(text.as_bytes()).unwrap();
    assert_eq!(set.is_match(text.as_bytes()).unwrap(), !found.is_empty());
    assert_eq!(set.matches(text.as_bytes()).unwrap(), found, "with the states that are there now");
    found
}

#[test]
fn says_which_patterns_match() {
    let set = ["foo", "^b", "r$", r"\bbar\b", "(?i)FOO", "", r"\d{3}"];
    assert_eq!(matches(&set, "foobar"), [0, 2, 4, 5]);
    assert_eq!(matches(&set, "bar"), [1, 2, 3, 5]);
    assert_eq!(matches(&set, "x fOo 123 bar y"), [3, 4, 5, 6]);
    assert_eq!(matches(&set, ""), [5]);
    assert_eq!(matches(&["a"], "b"), [0_u32; 0]);
    assert_eq!(matches(&[], "b"), [0_u32; 0]);
    assert_eq!(matches(&["^$", "^a", "a$"], "a"), [1, 2]);
}

#[test]
fn matches_bytes() {
    let set = patterns(&["^.$", r"^\w$", r"(?-u:\xff)", "(?i)ä"]).unwrap();
    assert_eq!(set.matches(b"\xff").unwrap(), [0, 2]);
    assert_eq!(set.matches("ä".as_bytes()).unwrap(), [3], "which has two bytes");
    assert_eq!(set.matches("Ä".as_bytes()).unwrap(), [0_u32; 0], "another letter than ASCII knows");
}

#[test]
fn names_the_pattern_that_is_wrong() {
    let told = |of: &[&str]| format!("{:?}", patterns(of).err().unwrap());
    assert_eq!(told(&["a", "b("]), r#"Malformed("pattern 1: unclosed group")"#);
    assert!(told(&[r"(a)\1"]).contains("backreferences are not supported"));
    assert!(told(&["(?=a)"]).contains("look-around"));
    assert_eq!(told(&[r"(?:\w{1000}){1000}"]), "TooLarge");
    assert_eq!(told(&[&"a".repeat((1 << 20) + 1)]), "TooLarge");
}

#[test]
fn a_text_cannot_make_matching_long() {
    // An automaton whose every state has another set of the pattern's thousands under way.
    let set = patterns(&[r"(?:a|b)*a(?:a|b){2000}c", r"[ab]*b[ab]{1999}[cd]"]).unwrap();
    let mut seed = 1_u32;
    let text: Vec<u8> = (0..1 << 20)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"ab"[(seed >> 31) as usize]
        })
        .collect();
    let begun = crate::cpu_time::thread_cpu_time();
    assert!(matches!(set.matches(&text), Err(Error::TooCostly)));
    let took = crate::cpu_time::thread_cpu_time() - begun;
    // 5 ms and what 16 states take; a hundred times that on a machine that is slow and a build that is not optimised.
    assert!(took.as_millis() < 1000, "{took:?}");
    assert_eq!(set.matches(b"abc").unwrap(), [0_u32; 0], "and it goes on being used");
}

#[test]
fn many_patterns_that_match_everywhere_cannot_make_matching_long() {
    // One never matches, so that all of the text is gone through; at each byte a thousand others do.
    let set: Vec<&str> = ["a", "b"].iter().flat_map(|pattern| [*pattern; 1000]).chain(["c"]).collect();
    let set = patterns(&set).unwrap();
    let text = b"ab".repeat(1 << 19);
    let begun = crate::cpu_time::thread_cpu_time();
    assert!(matches!(set.matches(&text), Err(Error::TooCostly)));
    let took = crate::cpu_time::thread_cpu_time() - begun;
    assert!(took.as_millis() < 1000, "{took:?}");
    // Where it is the same ones each time, there is nothing to look at again.
    let found = set.matches(&b"a".repeat(1 << 16)).unwrap();
    assert_eq!(found, (0..1000).collect::<Vec<_>>());
}

fn networks(text: &str) -> Networks {
    Networks::read(text).unwrap()
}

fn find(set: &Networks, address: &str) -> Option<u32> {
    set.find(address.parse().unwrap())
}

#[test]
fn finds_the_smallest_network() {
    let set = networks(
        "10.0.0.0/8 # all\n\n10.1.0.0/16\n  10.1.2.3\n# a note\n10.1.0.0/24\n2001:db8::/32\n2001:db8::1\n::ffff:192.0.2.0/120\n10.0.0.0/8",
    );
    let found = |address| find(&set, address);
    assert_eq!(
        (found("9.255.255.255"), found("10.0.0.0"), found("10.255.255.255")),
        (None, Some(0), Some(0))
    );
    assert_eq!((found("11.0.0.0"), found("10.1.2.2"), found("10.1.2.3")), (None, Some(1), Some(2)));
    assert_eq!((found("10.1.0.255"), found("10.1.1.0"), found("10.2.0.0")), (Some(3), Some(1), Some(0)));
    assert_eq!((found("2001:db8::"), found("2001:db8::1"), found("2001:db9::")), (Some(4), Some(5), None));
    assert_eq!(
        (found("192.0.2.77"), found("::ffff:192.0.2.77"), found("192.0.3.0")),
        (Some(6), Some(6), None)
    );
    let all = networks("0.0.0.0/0\n255.255.255.255\n::/0");
    assert_eq!((find(&all, "255.255.255.255"), find(&all, "255.255.255.254")), (Some(1), Some(0)));
    assert_eq!(find(&all, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), Some(2));
    assert_eq!(find(&networks(""), "10.0.0.1"), None);
}

#[test]
fn names_the_line_that_is_no_network() {
    let told = |text: &str| format!("{:?}", Networks::read(text).err().unwrap());
    assert!(
        told("10.0.0.0/8\n\n10.0.0.1/8")
            .contains("line 3: `10.0.0.1/8` has bits behind its prefix; write 10.0.0.0/8")
    );
    assert!(told("10.0.0.0/33").contains("line 1: `10.0.0.0/33` is no network"));
    assert!(told("example.com").contains("is no network"));
    assert!(told("10.0.0.0/8, 11.0.0.0/8").contains("is no network"));
}

#[test]
fn a_hundred_thousand_networks_take_little() {
    let text: String = (0..100_000_u32).map(|at| format!("{}/28\n", Ipv4Addr::from_bits(at << 5))).collect();
    let set = networks(&text);
    assert!(set.bytes() < 2 << 20, "{}", set.bytes());
    assert_eq!(set.find(Ipv4Addr::from_bits((77_777 << 5) + 15).into()), Some(77_777));
    assert_eq!(set.find(Ipv4Addr::from_bits((77_777 << 5) + 16).into()), None);
}

#[test]
fn the_same_set_has_the_same_number_and_sets_are_bounded() {
    let matchers = Matchers::default();
    let set = |at: u32| [format!("pattern {at}")];
    assert_eq!(matchers.make_patterns(&set(0)).unwrap(), 1);
    // Each is counted with 2 MiB of states, so the room for bytes ends before that for sets.
    let made = (0..64).filter_map(|at| matchers.make_patterns(&set(at)).ok()).last();
    assert_eq!(made, Some(15));
    assert!(matches!(matchers.make_patterns(&set(100)), Err(MakeError::TooMany)));
    assert_eq!(matchers.make_patterns(&set(3)).unwrap(), 4);
    assert_eq!((0..64).map(|at| matchers.make_networks(&format!("10.0.0.{at}")).unwrap()).last(), Some(64));
    assert!(matches!(matchers.make_networks("10.0.1.0"), Err(MakeError::TooMany)));
    assert!(matches!(matchers.is_match(99, b""), Err(Error::NoSet)));
    assert!(matches!(matchers.find(99, Ipv4Addr::LOCALHOST.into()), Err(Error::NoSet)));
    assert!(matchers.is_match(1, &vec![b' '; 1 << 20]).is_ok());
    assert!(matches!(matchers.is_match(1, &vec![b' '; (1 << 20) + 1]), Err(Error::TooLarge)));
}

#[test]
fn a_set_is_renewed_under_its_number_and_one_that_is_forgotten_leaves_its_place() {
    let matchers = Matchers::default();
    let address = |last: u8| std::net::IpAddr::from([10, 0, 0, last]);
    let set = matchers.make_networks("10.0.0.1").unwrap();
    for last in 2..200 {
        matchers.replace_networks(set, &format!("10.0.0.{last}")).unwrap();
        assert_eq!(matchers.find(set, address(last)).unwrap(), Some(0));
        assert_eq!(matchers.find(set, address(last - 1)).unwrap(), None);
    }
    assert_eq!(matchers.make_networks("10.0.0.1").unwrap(), set, "for an instance that is configured later");
    assert!(matches!(matchers.replace_networks(set, "nonsense"), Err(MakeError::Malformed(_))));
    assert_eq!(matchers.find(set, address(199)).unwrap(), Some(0), "what was there stays");
    assert!(matches!(matchers.replace_networks(set + 1, "10.0.0.1"), Err(MakeError::NoSet)));
    // Sets of patterns take so much that a sixteenth has no room.
    for at in 0..50 {
        let set = matchers.make_patterns(&[format!("pattern {at}")]).unwrap();
        matchers.replace_patterns(set, &["renewed".to_owned()]).unwrap();
        assert!(matchers.is_match(set, b"renewed").unwrap());
        matchers.forget_patterns(set);
        assert!(matches!(matchers.is_match(set, b""), Err(Error::NoSet)));
    }
    matchers.forget_networks(set);
    assert!(matches!(matchers.find(set, address(199)), Err(Error::NoSet)));
}

/// What pointers give, as Rust writes it.
fn read(document: &str, pointers: &[&str]) -> Vec<String> {
    let pointers: Vec<String> = pointers.iter().map(|pointer| (*pointer).to_owned()).collect();
    match read_json(document.as_bytes(), &pointers, &mut || Ok(())).unwrap() {
        Ok(values) => values.iter().map(|value| value.as_ref().map_or("-".to_owned(), shown)).collect(),
        Err(error) => vec![format!("{error:?}")],
    }
}

fn shown(value: &JsonValue) -> String {
    match value {
        JsonValue::Null => "null".to_owned(),
        JsonValue::Boolean(value) => value.to_string(),
        JsonValue::Number(text) => format!("number {text}"),
        JsonValue::Text(text) => format!("text {text}"),
        JsonValue::Items(text) => format!("items {text}"),
        JsonValue::Members(text) => format!("members {text}"),
    }
}

#[test]
fn reads_the_examples_of_the_rfc() {
    let document = r#"{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8}"#;
    let pointers =
        ["", "/foo", "/foo/0", "/", "/a~1b", "/c%d", "/e^f", "/g|h", "/i\\j", "/k\"l", "/ ", "/m~0n"];
    let values = read(document, &pointers);
    assert_eq!(values[0], format!("members {document}"));
    assert_eq!(values[1..3], [r#"items ["bar", "baz"]"#, "text bar"]);
    assert_eq!(values[3..], (0..=8).map(|number| format!("number {number}")).collect::<Vec<_>>());
}

#[test]
fn reads_values_of_every_kind_and_says_what_is_not_there() {
    let document = r#" [null, true, false, -1.50e3, "a\u00e4\n", {"b": [[1], 2]}] "#;
    assert_eq!(
        read(document, &["/0", "/1", "/2", "/3", "/4", "/5/b/0/0", "/5/b/1", "/5"]),
        [
            "null",
            "true",
            "false",
            "number -1.50e3",
            "text aä\n",
            "number 1",
            "number 2",
            r#"members {"b": [[1], 2]}"#
        ]
    );
    assert_eq!(
        read(document, &["/6", "/-", "/00", "/01", "/+1", "/0/x", "/4/0", "/5/c", "/5/b/x"]),
        ["-"; 9]
    );
    assert_eq!(read("7", &["", "/a", ""]), ["number 7", "-", "number 7"]);
    assert_eq!(read("{}", &[]), [""; 0]);
}

#[test]
fn refuses_documents_that_could_be_read_in_two_ways() {
    assert!(read(r#"{"a": 1, "a": 2}"#, &["/a"])[0].contains("twice"));
    assert!(read(r#"{"a": 1, "\u0061": 2}"#, &["/a"])[0].contains("twice"));
    assert!(read(r#"{"a": {"b": 1}, "a": {}}"#, &["/a/b", ""])[0].contains("twice"));
    assert_eq!(read(r#"{"a": 1, "a": 2, "b": 3}"#, &["/b"]), ["number 3"], "nobody asked for it");
    for text in
        ["", "{", "[1,]", "{} {}", "nul", "{\"a\": \"\u{1}\"}", r#"{"a": "\ud800"}"#, "[1", "{'a': 1}"]
    {
        assert!(read(text, &["/a"])[0].starts_with("Malformed"), "{text}");
    }
    assert!(matches!(read_json(b"\"\xff\"", &[], &mut || Ok(())).unwrap(), Err(JsonError::Malformed(_))));
}

#[test]
fn bounds_documents_pointers_and_values() {
    assert!(read("1", &["a"])[0].starts_with("InvalidPointer"));
    assert!(read("1", &["/~2"])[0].starts_with("InvalidPointer"));
    assert!(read("1", &["/a~"])[0].starts_with("InvalidPointer"));
    assert_eq!(read("1", &["/a"; 64]).len(), 64);
    assert_eq!(read("1", &["/a"; 65]), ["TooLarge"]);
    assert_eq!(read("1", &[&"/a".repeat(32)]), ["-"]);
    assert_eq!(read("1", &[&"/a".repeat(33)]), ["TooLarge"]);
    assert_eq!(read("1", &[&format!("/{}", "a".repeat(4096))]), ["TooLarge"]);
    let most = format!("\"{}\"", "a".repeat((1 << 20) - 2));
    assert_eq!(read(&most, &[""])[0].len(), "text ".len() + most.len() - 2);
    assert_eq!(read(&most, &["", ""]), ["TooLarge"], "two of that size");
    assert_eq!(read(&format!("{most} "), &[""]), ["TooLarge"]);
    // As deep as it is large, and no stack is used up.
    let deep = format!("{}{}", "[".repeat(1 << 19), "]".repeat(1 << 19));
    assert_eq!(read(&deep, &["/0/0/x"]), ["-"]);
    assert!(read(&"[".repeat(1 << 20), &["/0"])[0].starts_with("Malformed"));
}

/// The outermost value is asked for, and one on each level below it.
#[test]
fn pointers_that_contain_each_other_cost_one_pass() {
    let document = format!("{}[{}0]{}", r#"{"a":"#.repeat(31), "0,".repeat(500_000), "}".repeat(31));
    let pointers: Vec<String> = (0..=32).map(|levels| "/a".repeat(levels)).collect();
    let looks = |pointers: &[String]| {
        let mut looks = 0;
        let read = read_json(document.as_bytes(), pointers, &mut || {
            looks += 1;
            Ok(())
        });
        // Nothing is given back: they are too large together.
        (looks, read.unwrap().is_ok())
    };
    // It looks at the time after so many values, whatever reads them.
    let (one, is_ok) = looks(&pointers[..1]);
    assert!(one >= 400 && is_ok, "{one}");
    assert_eq!(looks(&pointers), (one, false));
    assert_eq!(looks(&pointers[30..=31]), (one, false));
}

#[test]
fn a_document_is_given_up_when_the_time_is_over() {
    let document = format!("[{}0]", "0,".repeat(500_000));
    let mut looks = 0;
    let read = read_json(document.as_bytes(), &["/x".to_owned()], &mut || {
        looks += 1;
        if looks == 3 { Err(OutOfTime { limit: Duration::ZERO }) } else { Ok(()) }
    });
    assert!(read.is_err());
    assert_eq!(looks, 3);
}

proptest! {
    /// What is skipped must be as valid as what is read: others would refuse the document.
    #[test]
    fn takes_the_documents_that_serde_json_takes(
        document in json_value(),
        at in any::<proptest::sample::Index>(),
        insert in "[\\]\\[{}:,\"\\\\eE+\\-.0-9u tnfä\n\u{1}]{0,2}",
        removed in 0_usize..3,
    ) {
        let mut text: Vec<char> = document.to_string().chars().collect();
        let at = at.index(text.len());
        let end = (at + removed).min(text.len());
        text.splice(at..end, insert.chars());
        let text: String = text.into_iter().collect();
        let is_valid = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        let read = read_json(text.as_bytes(), &[], &mut || Ok(())).unwrap();
        prop_assert_eq!(read.is_ok(), is_valid, "{} {:?}", text, read);
    }

    #[test]
    fn networks_agree_with_looking_at_each(
        nets in proptest::collection::vec((0_u32..64, 24_u8..=32), 0..40),
        address in 0_u32..300,
    ) {
        // Few addresses, so that networks often contain each other.
        let nets: Vec<IpNet> = nets
            .into_iter()
            .map(|(address, prefix)| {
                IpNet::new(Ipv4Addr::from_bits(address << 2).into(), prefix).unwrap().trunc()
            })
            .collect();
        let text: String = nets.iter().map(|net| format!("{net}\n")).collect();
        let address = IpAddr::from(Ipv4Addr::from_bits(address));
        let having = nets.iter().enumerate().filter(|(_, net)| net.contains(&address));
        let best = having.min_by_key(|(at, net)| (32 - net.prefix_len(), *at)).map(|(at, _)| at as u32);
        prop_assert_eq!(networks(&text).find(address), best);
        let v6: String = nets.iter().map(|net| format!("2001:db8::{}/{}\n", net.addr(), net.prefix_len() + 96)).collect();
        let IpAddr::V4(v4) = address else { unreachable!() };
        let address = Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | u128::from(v4.to_bits()));
        prop_assert_eq!(networks(&v6).find(address.into()), best);
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "\\PC{0,60}", pointer in "[/~01a]{0,8}") {
        drop(read_json(text.as_bytes(), &[pointer], &mut || Ok(())));
        drop(Networks::read(&text));
        if let Ok(set) = patterns(&[&text]) {
            drop(set.matches(text.as_bytes()));
        }
    }

    #[test]
    fn pointers_agree_with_those_of_serde_json(
        document in json_value(),
        pointers in proptest::collection::vec("(/[ab01]){0,3}", 0..8),
    ) {
        let values = read_json(document.to_string().as_bytes(), &pointers, &mut || Ok(())).unwrap().unwrap();
        for (pointer, value) in pointers.iter().zip(values) {
            let parsed = value.map(|value| match value {
                JsonValue::Null => serde_json::Value::Null,
                JsonValue::Boolean(value) => value.into(),
                JsonValue::Text(text) => text.into(),
                JsonValue::Number(text) | JsonValue::Items(text) | JsonValue::Members(text) => {
                    serde_json::from_str(&text).unwrap()
                }
            });
            prop_assert_eq!(parsed.as_ref(), document.pointer(pointer), "{}", pointer);
        }
    }
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        "[a\"\\\\é]{0,3}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
            proptest::collection::btree_map("[ab01]", inner, 0..3)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}
