//! The fuzz targets as ordinary tests: the corpus, and a fixed number of mutations of it that are the same
//! each time. `KEYS_FUZZ=200000 make test-long` runs more of them.

use std::path::Path;
use std::time::{Duration, Instant};

use keys::fuzzing::TARGETS;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A few seconds for all targets together, in a debug build.
const MUTATIONS: u64 = 10_000;
/// Longest input; what is longer is refused by length alone.
const BYTES_MAX: usize = 16 * 1024;
/// A hundred times what any of them needs; a loop that grows with the input would be far above.
const INPUT_MAX: Duration = Duration::from_secs(5);
const WORDS: [&[u8]; 12] = [
    b"\0",
    b"\xff\xff\xff\xff",
    b"\"\"",
    b"{}",
    b"[",
    b"null",
    b"-1",
    b"1e9",
    b"18446744073709551616",
    b"\n",
    b"\xc3\x28",
    b"0x",
];

fn mutated(rng: &mut StdRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[rng.random_range(..corpus.len())].clone();
    for _ in 0..=rng.random_range(..4u32) {
        let at = rng.random_range(..bytes.len() + 1);
        match rng.random_range(..7u32) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(..8u32),
            2 if at < bytes.len() => bytes[at] = rng.random::<u8>(),
            3 => {
                let end = (at + rng.random_range(..32usize)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let end = (at + rng.random_range(..64usize)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = rng.random_range(..bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            5 => {
                let other = &corpus[rng.random_range(..corpus.len())];
                let from = rng.random_range(..other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let word = WORDS[rng.random_range(..WORDS.len())];
                let end = (at + rng.random_range(..word.len() + 1)).min(bytes.len());
                bytes.splice(at..end, word.iter().copied());
            }
        }
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has seeds", folder.display());
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn run(name: &str) {
    let wanted = testkit::from_environment("KEYS_FUZZ", MUTATIONS);
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).unwrap();
    let corpus = corpus(name);
    corpus.iter().for_each(|seed| target(seed));
    for seed in 0..wanted {
        let input = mutated(&mut StdRng::seed_from_u64(seed), &corpus);
        let begun = Instant::now();
        let outcome = std::panic::catch_unwind(|| target(&input));
        assert!(outcome.is_ok(), "{name}, mutation {seed}: {:?}", String::from_utf8_lossy(&input));
        assert!(begun.elapsed() < INPUT_MAX, "{name}, mutation {seed} took {:?}", begun.elapsed());
    }
}

#[test]
fn no_bytes_break_the_reader_of_transactions() {
    run("transaction");
}

#[test]
fn no_bytes_break_the_reader_of_calldata() {
    run("calldata");
}

#[test]
fn no_bytes_break_the_reader_of_policies() {
    run("policy");
}

#[test]
fn no_bytes_break_the_reader_of_keystores() {
    run("keystore");
}

#[test]
fn no_bytes_break_the_reader_of_priv_validator_keys() {
    run("priv_validator");
}

#[test]
fn no_bytes_break_the_reader_of_archives() {
    run("archive");
}

#[test]
fn no_bytes_break_the_verifier_of_exports() {
    run("audit_export");
}

#[test]
fn no_bytes_break_the_reader_of_der() {
    run("der");
}

#[test]
fn each_target_has_its_program_and_its_seeds() {
    for (name, _) in TARGETS {
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets").join(format!("{name}.rs"));
        let text = std::fs::read_to_string(program).unwrap();
        assert!(text.contains(&format!("keys::fuzzing::{name}(")), "{name}");
        corpus(name);
    }
}
