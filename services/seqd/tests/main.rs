//! The configuration that people are shown is one that `seqd` takes; the keys service as a process.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the lint exempts only functions marked as tests, not what they share"
)]

mod keys;

use std::path::{Path, PathBuf};

use seqd::Config;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn check(file: &Path) -> Config {
    let config: Config = runtime::config::load(Some(file), &[]).unwrap_or_else(|error| {
        panic!("{}: {}", file.display(), runtime::report(&error));
    });
    for (name, network) in &config.networks {
        let spec = network.spec(name);
        assert!(spec.is_ok(), "{name}: {spec:?}");
    }
    config
}

#[test]
fn the_configuration_of_the_containers_is_valid() {
    let config = check(&root().join("deploy/seqd.toml"));
    assert_eq!(config.networks.keys().collect::<Vec<_>>(), ["sepolia"]);
    assert_eq!(config.database.urls.len(), 5);
}

#[test]
fn the_configuration_in_the_readme_is_valid() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README is there");
    let (_, rest) = readme.split_once("```toml\n").expect("it shows a configuration");
    let (example, _) = rest.split_once("```").expect("the block ends");
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("seqd.toml");
    std::fs::write(&file, example).expect("written");
    let config = check(&file);
    assert_eq!(config.networks.keys().collect::<Vec<_>>(), ["mainnet", "mine"]);
}

#[test]
fn a_key_with_a_typo_is_refused_with_the_right_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("seqd.toml");
    std::fs::write(&file, "[listen]\nindxer = \"127.0.0.1:1\"\n").expect("written");
    let error = runtime::config::load::<Config>(Some(&file), &[]).expect_err("there is no such key");
    let words = runtime::report(&error);
    assert!(words.contains("listen.indxer") && words.contains("did you mean `indexer`"), "{words}");
}
