use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const KEY: &str = "4d5e02936a222d68b5d423e566828d8c67ca2290cf428254c44c7be458b33dec\
                   ec1fe85d900756811366e2d19baeb2fe81b46ce10c1863e00d811e68a4e76c9f";

fn good() -> Entry {
    let fields = Entry {
        name: "Nodies".to_owned(),
        desc: "A sequencer".to_owned(),
        avatar: "nodies-logo.png".to_owned(),
        url: "https://nodies.example".to_owned(),
        ..Entry::default()
    };
    fields.of(Address::repeat_byte(0xab), &PublicKey::from_hex(KEY).expect("the golden vector"))
}

fn png(width: u32, height: u32) -> Vec<u8> {
    [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &width.to_be_bytes(), &height.to_be_bytes()].concat()
}

fn broken(checks: &[Check]) -> Vec<(&'static str, Verdict)> {
    checks.iter().filter(|c| c.verdict != Verdict::Pass).map(|c| (c.name, c.verdict)).collect()
}

#[test]
fn a_good_entry_keeps_every_rule() {
    let image = png(256, 256);
    let checks = good().check(&[], Avatar::File(&image));
    assert_eq!(broken(&checks), []);
    assert!(checks.iter().all(|check| check.reason.is_empty()));
    assert_eq!(good().avatar, "{BASEDIR}/assets/nodies-logo.png");
    assert_eq!(good().seq_addr, "0xEcA7Ae7dE0d1978DF299a547Ee66c4503fBa474D");
}

#[test]
fn every_broken_rule_is_named_and_nothing_else() {
    use Verdict::{Fail, Warn};
    type Spoil = fn(&mut Entry);
    let table: [(Spoil, &[(&str, Verdict)]); 14] = [
        (|e| e.name = "Nodies ".repeat(4), &[("LISTING_NAME_LENGTH", Warn), ("LISTING_AVATAR_NAME", Warn)]),
        (|e| e.name.clear(), &[("LISTING_NAME_GIVEN", Fail), ("LISTING_AVATAR_NAME", Warn)]),
        (|e| e.desc.clear(), &[("LISTING_DESC_GIVEN", Fail)]),
        (|e| e.desc = "ä".repeat(201), &[("LISTING_DESC_LENGTH", Warn)]),
        (|e| e.address = e.address.to_lowercase(), &[("LISTING_ADDRESS", Warn)]),
        (|e| e.address = e.address[2..].to_owned(), &[("LISTING_ADDRESS", Fail)]),
        (|e| e.seq_addr = e.address.clone(), &[("LISTING_SEQ_ADDR", Fail)]),
        (|e| e.pubkey = format!("0x{}", KEY.to_uppercase()), &[("LISTING_PUBKEY", Fail)]),
        (|e| e.pubkey = format!("0x04{KEY}"), &[("LISTING_PUBKEY", Fail)]),
        (|e| e.url = "http://nodies.example".to_owned(), &[("LISTING_URL", Fail)]),
        (|e| e.lst_name = Some("l".repeat(25)), &[("LISTING_LST_NAME_LENGTH", Warn)]),
        (|e| e.lst_url = Some("ftp://x".to_owned()), &[("LISTING_LST_URL", Warn)]),
        (|e| e.avatar = "{BASEDIR}/assets/Genesis0.svg".to_owned(), &[("LISTING_AVATAR_NAME", Warn)]),
        (
            |e| e.avatar = "https://x/nodies.png".to_owned(),
            &[("LISTING_AVATAR_PATH", Warn), ("LISTING_AVATAR_NAME", Warn)],
        ),
    ];
    for (spoil, expected) in table {
        let mut entry = good();
        spoil(&mut entry);
        let drawn = entry.avatar.ends_with(".svg");
        let image = if drawn { svg("viewBox=\"0 0 1 1\"", "") } else { png(128, 128) };
        assert_eq!(broken(&entry.check(&[], Avatar::File(&image))), expected, "{entry:?}");
    }
}

#[test]
fn names_and_addresses_are_unique_within_the_file() {
    let mut other = good();
    other.address = other.address.to_uppercase().replace("0X", "0x");
    other.seq_addr = other.seq_addr.to_lowercase();
    let image = png(200, 200);
    let names: Vec<_> =
        broken(&good().check(&[&other], Avatar::File(&image))).iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["LISTING_NAME_UNIQUE", "LISTING_ADDRESS_UNIQUE", "LISTING_SEQ_ADDR_UNIQUE"]);
}

#[test]
fn images_are_measured() {
    let table = [
        (Avatar::Unseen, vec![("LISTING_AVATAR_FILE", Verdict::Unknown)]),
        (Avatar::Missing, vec![("LISTING_AVATAR_FILE", Verdict::Fail)]),
        (Avatar::File(&png(512, 512)), vec![("LISTING_IMAGE_DIMENSIONS", Verdict::Warn)]),
        (Avatar::File(&png(200, 201)), vec![("LISTING_IMAGE_DIMENSIONS", Verdict::Warn)]),
        (Avatar::File(b"<svg/>"), vec![("LISTING_IMAGE_DIMENSIONS", Verdict::Warn)]),
        (
            Avatar::File(&[png(128, 128), vec![0; 24 * 1024]].concat()),
            vec![("LISTING_IMAGE_SIZE", Verdict::Warn)],
        ),
    ];
    for (avatar, expected) in table {
        assert_eq!(broken(&good().check(&[], avatar)), expected);
    }
}

#[test]
fn only_plain_https_urls_are_taken() {
    for good in ["https://a.b", "https://a.b:8443/c?d=e#f", "https://müller.example/"] {
        assert!(is_https(good), "{good}");
    }
    for bad in
        ["", "https://", "https:///a", "http://a.b", "https://a b", "https://a..b", "https://a:99999", "//a"]
    {
        assert!(!is_https(bad), "{bad}");
    }
}

#[test]
fn the_file_is_formatted_as_prettier_does() {
    let mut entry = good();
    entry.lst_name = Some("the \"best\"".to_owned());
    let expected = format!(
        r#"[
  {{
    "name": "Nodies",
    "avatar": "{{BASEDIR}}/assets/nodies-logo.png",
    "desc": "A sequencer",
    "address": "0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB",
    "seq_addr": "0xEcA7Ae7dE0d1978DF299a547Ee66c4503fBa474D",
    "pubkey": "0x{KEY}",
    "url": "https://nodies.example",
    "lst_name": "the \"best\""
  }}
]
"#
    );
    assert_eq!(file_json(&[entry]), expected);
    assert_eq!(file_json(&[]), "[]\n");
    assert!(good().json().starts_with("{\n  \"name\": \"Nodies\",\n"));
}

#[test]
fn rules_have_unique_names() {
    let entry = Entry { avatar: "a.png".to_owned(), ..Entry::default() };
    let names: Vec<_> = entry.check(&[], Avatar::File(&[])).iter().map(|check| check.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

proptest! {
    #[test]
    fn any_text_survives_the_json(name in any::<String>(), desc in any::<String>()) {
        let entry = Entry { name: name.clone(), desc: desc.clone(), ..good() };
        let value: serde_json::Value = serde_json::from_str(&entry.json()).expect("valid JSON");
        prop_assert_eq!(value["name"].as_str(), Some(name.as_str()));
        prop_assert_eq!(value["desc"].as_str(), Some(desc.as_str()));
        let file: serde_json::Value = serde_json::from_str(&file_json(&[good(), entry])).expect("valid JSON");
        prop_assert_eq!(&file[1], &value);
    }

    #[test]
    fn no_entry_makes_the_checks_panic(text in any::<String>(), image in proptest::collection::vec(any::<u8>(), 0..40)) {
        let entry = Entry {
            name: text.clone(), desc: text.clone(), avatar: text.clone(), address: text.clone(),
            seq_addr: text.clone(), pubkey: text.clone(), url: format!("https://{text}"),
            lst_name: Some(text.clone()), lst_url: Some(text),
        };
        let _ = entry.check(&[&entry], Avatar::File(&image));
    }
}

fn svg(root: &str, inner: &str) -> Vec<u8> {
    format!("<?xml version=\"1.0\"?><svg {root}>{inner}</svg>").into_bytes()
}

#[test]
fn drawings_are_square_and_only_draw() {
    let entry = Entry { avatar: "{BASEDIR}/assets/Nodies.svg".to_owned(), ..good() };
    let table: [(&str, &str, &[&str]); 7] = [
        ("viewBox=\"0 0 24 24\"", "<path d=\"\"/>", &[]),
        ("width=\"200px\" height=\"200px\"", "", &[]),
        ("width=\"200\" height=\"100\"", "", &["LISTING_IMAGE_DIMENSIONS"]),
        ("viewBox=\"0 0 24 30\" width=\"1\" height=\"1\"", "", &["LISTING_IMAGE_DIMENSIONS"]),
        ("", "", &["LISTING_IMAGE_DIMENSIONS"]),
        ("viewBox=\"0,0,24,24\"", "<script>alert(1)</script>", &["LISTING_IMAGE_PASSIVE"]),
        ("viewBox=\"0 0 1 1\"", "<image href=\"https://a.b/c\"/>", &["LISTING_IMAGE_PASSIVE"]),
    ];
    for (root, inner, expected) in table {
        let image = svg(root, inner);
        let names: Vec<_> = broken(&entry.check(&[], Avatar::File(&image))).iter().map(|one| one.0).collect();
        assert_eq!(names, expected, "{root} {inner}");
    }
}

fn checked(text: &str, base: Option<&str>) -> Checked {
    check_file(text, base, |_| Avatar::Unseen)
}

fn file_rules(checked: &Checked) -> Vec<(&'static str, Verdict)> {
    broken(&checked.checks)
}

#[test]
fn a_file_of_more_entries_than_anybody_lists_is_not_compared() {
    let of = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
    let longest = checked(&of(ENTRIES_MAX), None);
    assert_eq!(longest.entries.len(), ENTRIES_MAX);
    assert!(!file_rules(&longest).contains(&("LISTING_FILE_ENTRIES", Verdict::Fail)));
    let longer = checked(&of(ENTRIES_MAX + 1), None);
    assert_eq!(file_rules(&longer), [("LISTING_FILE_ENTRIES", Verdict::Fail)]);
    assert!(longer.entries.is_empty() && !longer.passes());
}

fn second() -> Entry {
    let key = PublicKey::from_bytes(
        &k256::SecretKey::from_slice(&[7; 32]).expect("a secret").public_key().to_sec1_bytes(),
    );
    let named = Entry { name: "Second".to_owned(), avatar: "second.svg".to_owned(), ..good() };
    named.of(Address::repeat_byte(0xcd), &key.expect("a key"))
}

#[test]
fn a_file_is_read_formatted_and_judged_entry_by_entry() {
    let text = file_json(&[good(), second()]);
    let whole = checked(&text, Some(&file_json(&[good()])));
    assert_eq!(file_rules(&whole), []);
    assert_eq!(whole.entries.iter().map(|one| one.entry.clone()).collect::<Vec<_>>(), [good(), second()]);
    assert_eq!(whole.formatted, text);
    assert!(whole.passes());
    let ugly = text.replace("  \"name\"", "\t\"name\"").replace(": ", ":");
    let ugly = checked(&ugly, None);
    assert_eq!(file_rules(&ugly), [("LISTING_FORMAT", Verdict::Fail)]);
    assert_eq!(ugly.formatted, text, "and how it should be is told");
    assert!(!ugly.passes());
}

#[test]
fn rules_of_the_file_are_named() {
    let both = file_json(&[good(), second()]);
    type Broken<'a> = &'a [(&'a str, Verdict)];
    let table: [(&str, Option<&str>, Broken<'_>); 5] = [
        ("{", None, &[("LISTING_FILE_JSON", Verdict::Fail)]),
        ("{}\n", None, &[("LISTING_FILE_LIST", Verdict::Fail)]),
        (&both, Some("[]"), &[]),
        (&both, Some(&file_json(&[second()])), &[("LISTING_APPENDED", Verdict::Warn)]),
        ("[]", None, &[("LISTING_FORMAT", Verdict::Fail)]),
    ];
    for (text, base, expected) in table {
        assert_eq!(file_rules(&checked(text, base)), expected, "{text}");
    }
    let twice = checked(&file_json(&[good(), good()]), None);
    for one in &twice.entries {
        let names: Vec<_> = broken(&one.checks).iter().map(|one| one.0).collect();
        assert!(names.contains(&"LISTING_NAME_UNIQUE") && names.contains(&"LISTING_SEQ_ADDR_UNIQUE"));
    }
    let odd = checked("[\n  5,\n  { \"name\": 5 }\n]\n", None);
    for one in &odd.entries {
        assert!(broken(&one.checks).contains(&("LISTING_FIELDS", Verdict::Fail)));
    }
}

/// Taken from prettier 3 by hand: what it makes of the texts that listings may hold besides our fields.
#[test]
fn other_fields_are_laid_out_as_prettier_does() {
    let table = [
        ("[ ]", "[]\n"),
        ("[{\"a\":1}]", "[{ \"a\": 1 }]\n"),
        ("[{\n\"a\":1}]", "[\n  {\n    \"a\": 1\n  }\n]\n"),
        (
            "[{\"a\":1,\"b\":2},{\"a\":1,\"b\":2}]",
            "[\n  { \"a\": 1, \"b\": 2 },\n  { \"a\": 1, \"b\": 2 }\n]\n",
        ),
        ("{\"a\": [\"x\",\"\\u00e4 \\\"\"]}", "{ \"a\": [\"x\", \"\\u00e4 \\\"\"] }\n"),
    ];
    for (text, expected) in table {
        assert_eq!(layout::formatted(text).as_deref(), Some(expected), "{text}");
    }
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(80));
    assert_eq!(layout::formatted(&long), Some(format!("{{\n  \"a\": \"{}\"\n}}\n", "x".repeat(80))));
    assert_eq!(layout::formatted("{"), None);
}

proptest! {
    #[test]
    fn what_we_write_is_formatted_and_formatting_again_changes_nothing(name in any::<String>(), desc in any::<String>()) {
        let text = file_json(&[Entry { name, desc, ..good() }, second()]);
        let once = layout::formatted(&text);
        prop_assert_eq!(once.as_deref(), Some(text.as_str()));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = checked(&text, Some(&text));
        let _ = check_entry(&text, |_| Avatar::Missing);
    }
}
