//! Against published heads: cuts, rewrites, foreign keys, restorations.

use api::keys::v1::AuditBody;
use prost::Message;
use trail::{Head, Heads, Kind, Place, RESTORED, Record, SignedHead, SigningKey, Trusted, Unfit, verify};

use crate::log::{body, file, head, lines, records};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn published(heads: &[Head]) -> String {
    heads.iter().map(|head| SignedHead::sign(*head, 7, &key(1)).line() + "\n").collect()
}

fn head_of(records: &[Record], sequence: usize) -> Head {
    head(&records[..sequence])
}

fn check(records: &[Record], text: &str) -> Result<trail::Report, Unfit> {
    let heads = Heads::read(text, &[key(1).verifying_key()]).unwrap();
    verify(file(&lines(records, head(records))).as_slice(), Trusted { heads: Some(&heads), keys_known: true })
}

fn damage(result: Result<trail::Report, Unfit>) -> (Kind, Place) {
    match result.unwrap_err() {
        Unfit::Damaged(damage) => (damage.kind, damage.place),
        Unfit::Unreadable(error) => panic!("{error}"),
    }
}

#[test]
fn an_intact_log_with_its_heads_leaves_nothing_unchecked() {
    let log = records(20);
    let report = check(&log, &published(&[head_of(&log, 10), head_of(&log, 20)])).unwrap();
    assert_eq!((report.head, report.heads_found), (head(&log), 2));
    assert_eq!(report.not_checked, Vec::<String>::new());
}

#[test]
fn what_cannot_be_checked_is_said() {
    let log = records(20);
    let export = file(&lines(&log, head(&log)));
    let report = verify(export.as_slice(), Trusted::default()).unwrap();
    assert!(report.not_checked[0].contains("no published head"), "{:?}", report.not_checked);

    let heads = Heads::read(&published(&[head_of(&log, 15)]), &[]).unwrap();
    let report = verify(export.as_slice(), Trusted { heads: Some(&heads), keys_known: false }).unwrap();
    assert!(report.not_checked[0].contains("records 16 to 20"), "{:?}", report.not_checked);
    assert!(report.not_checked[1].contains("no public key"), "{:?}", report.not_checked);
}

#[test]
fn a_cut_with_an_end_of_its_own_shows_only_against_a_head() {
    let log = records(20);
    let heads = published(&[head_of(&log, 10), head_of(&log, 20)]);
    assert_eq!(damage(check(&log[..17], &heads)), (Kind::Truncated, Place::Record(18)));
    assert!(check(&log[..17], &published(&[head_of(&log, 10)])).is_ok());
}

#[test]
fn a_chain_that_was_made_anew_is_found_at_the_first_head_that_does_not_fit() {
    let log = records(20);
    let heads = published(&[head_of(&log, 5), head_of(&log, 10), head_of(&log, 15)]);
    let mut end = head_of(&log, 7);
    let forged = (8..=20).map(|sequence| {
        let body = body(sequence, if sequence == 8 { ", honestly" } else { "" });
        end = end.after(&body);
        Record { sequence, body, hash: end.hash }
    });
    let forged: Vec<Record> = log[..7].iter().cloned().chain(forged).collect();
    let (kind, place) = damage(check(&forged, &heads));
    assert_eq!((kind, place), (Kind::Rewritten, Place::Record(10)));
}

#[test]
fn heads_of_another_key_or_with_a_changed_bit_prove_nothing() {
    let log = records(3);
    let text = published(&[head(&log)]);
    let foreign = Heads::read(&text, &[key(2).verifying_key()]).unwrap_err();
    assert_eq!(foreign.problem, "it is signed by another key");
    for at in 0..text.trim_end().len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        let read = Heads::read(&changed, &[key(1).verifying_key()]);
        assert!(read.is_err(), "byte {at}: {changed}");
    }
}

#[test]
fn records_lost_by_a_restoration_are_forgiven_only_if_the_log_tells_of_it() {
    let log = records(20);
    let before = published(&[head_of(&log, 10), head_of(&log, 15), head_of(&log, 20)]);
    // Restored as it was after record 12; the service noticed, said so in record 13, and went on.
    let mut end = head_of(&log, 12);
    let told = AuditBody {
        action: RESTORED.to_owned(),
        digest: head(&log).hash.to_vec().into(),
        sequence: 13,
        ..AuditBody::default()
    };
    let mut after = log[..12].to_vec();
    let mut push = |sequence, body: Vec<u8>| {
        end = end.after(&body);
        after.push(Record { sequence, body, hash: end.hash });
    };
    push(13, told.encode_to_vec());
    push(14, body(14, " again"));
    let heads = format!("{before}{}", published(&[head_of(&after, 13), head_of(&after, 14)]));
    let report = check(&after, &heads).unwrap();
    assert_eq!((report.heads_found, report.heads_lost, report.restorations), (3, 2, vec![13]));

    let mut silent = log[..12].to_vec();
    let end = head(&silent).after(&body(13, " silently"));
    silent.push(Record { sequence: 13, body: body(13, " silently"), hash: end.hash });
    assert_eq!(damage(check(&silent, &before)), (Kind::Truncated, Place::Record(14)));
}
