use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Config {
    listen: String,
    limits: Limits,
    password: Option<Secret>,
    networks: BTreeMap<String, Network>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Limits {
    connections: u32,
    strict: bool,
    labels: Vec<String>,
    mode: Mode,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Network {
    chain_id: u64,
    #[serde(default)]
    endpoints: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Managed,
    Prepared,
}

impl Default for Config {
    fn default() -> Self {
        let sepolia = Network { chain_id: 11_155_111, endpoints: Vec::new() };
        Self {
            listen: "127.0.0.1:1".to_owned(),
            limits: Limits::default(),
            password: None,
            networks: BTreeMap::from([("sepolia".to_owned(), sepolia)]),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 10, strict: false, labels: Vec::new(), mode: Mode::Managed }
    }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn read(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, Error> {
    let path = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(path.path(), file).expect("the file is written");
    layered(Some(path.path()), &pairs(variables), &pairs(flags))
}

#[test]
fn each_layer_overrides_the_one_below_it() {
    let file = "listen = \"file\"\n[limits]\nconnections = 20\nstrict = true\n";
    let variables = [("SEQD__LIMITS__CONNECTIONS", "30"), ("SEQD__LISTEN", "variable")];
    let config = read(file, &variables, &[("listen", "flag")]).expect("all layers are good");
    assert_eq!(config.listen, "flag");
    assert_eq!(config.limits.connections, 30);
    assert!(config.limits.strict);
    assert_eq!(config.limits.mode, Mode::Managed);
}

#[test]
fn text_of_a_variable_becomes_what_the_field_needs() {
    let variables = [
        ("SEQD__LISTEN", "12345"),
        ("SEQD__LIMITS__STRICT", "true"),
        ("SEQD__LIMITS__LABELS", "a, b"),
        ("SEQD__LIMITS__MODE", "prepared"),
        ("SEQD__NETWORKS__DEVNET__CHAIN_ID", "31337"),
        ("SEQD__NETWORKS__DEVNET__ENDPOINTS", "[\"http://x\"]"),
    ];
    let config = read("", &variables, &[]).expect("good variables");
    assert_eq!(config.listen, "12345", "a number where text is wanted stays text");
    assert!(config.limits.strict);
    assert_eq!(config.limits.labels, ["a", "b"]);
    assert_eq!(config.limits.mode, Mode::Prepared);
    assert_eq!(config.networks["devnet"].endpoints, ["http://x"]);
    assert_eq!(config.networks["sepolia"].chain_id, 11_155_111, "built-in entries stay");
}

#[test]
fn an_unknown_key_is_named_with_its_path_and_a_suggestion() {
    let error = read("[limits]\nconections = 1\n", &[], &[]).expect_err("a typo");
    let Error::UnknownKey { path, suggestion, .. } = &error else { panic!("{error}") };
    assert_eq!(path, "limits.conections");
    assert_eq!(suggestion.as_deref(), Some("connections"));
    assert!(error.to_string().contains("did you mean `connections`?"));
}

#[test]
fn an_unknown_variable_is_named_as_the_variable() {
    let error = read("", &[("SEQD__LIMTS__STRICT", "true")], &[]).expect_err("a typo");
    let text = error.to_string();
    assert!(text.contains("SEQD__LIMTS__STRICT") && text.contains("`limits`"), "{text}");
    let error = read("", &[], &[("zzz", "1")]).expect_err("nothing like it");
    assert!(matches!(error, Error::UnknownKey { suggestion: None, .. }));
}

#[test]
fn unknown_keys_inside_maps_and_lists_are_found_too() {
    let error = read("[networks.devnet]\nchain_id = 1\nendpoint = []\n", &[], &[]).expect_err("a typo");
    let Error::UnknownKey { path, suggestion, .. } = error else { panic!("{error}") };
    assert_eq!(path, "networks.devnet.endpoint");
    assert_eq!(suggestion.as_deref(), Some("endpoints"));
}

#[test]
fn a_wrong_value_is_named_with_its_path_and_origin() {
    let error = read("", &[("SEQD__LIMITS__CONNECTIONS", "many")], &[]).expect_err("not a number");
    let text = error.to_string();
    assert!(text.contains("limits.connections") && text.contains("SEQD__LIMITS__CONNECTIONS"), "{text}");
    let error = read("limits = {connections = -1}", &[], &[]).expect_err("negative");
    assert!(error.to_string().contains("limits.connections"), "{error}");
    let error = read("a = 1\nb = = 2\n", &[], &[]).expect_err("not TOML");
    assert!(matches!(error, Error::Syntax { line: 2, .. }), "{error}");
}

#[test]
fn a_secret_is_never_printed() {
    let secret = Secret::new("hunter2".to_owned());
    let config = Config { password: Some(secret.clone()), ..Config::default() };
    let exposed = secret.expose().expect("in memory");
    assert_eq!(exposed.as_str(), "hunter2");
    let printed = format!("{config:?} {exposed:?} {secret} {}", redacted_toml(&config));
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("<redacted>"));
}

#[test]
fn a_secret_in_plain_text_is_refused_without_repeating_it() {
    let cases: [(&str, &[(&str, &str)]); 4] = [
        ("password = \"hunter2\"", &[]),
        ("password = 22222222", &[]),
        ("", &[("SEQD__PASSWORD", "hunter2")]),
        ("password = { fiel = \"hunter2\" }", &[]),
    ];
    for (file, variables) in cases {
        let text = read(file, variables, &[]).expect_err("a plain secret").to_string();
        assert!(!text.contains("hunter2") && !text.contains("22222222"), "{text}");
        assert!(text.contains("`password`"), "{text}");
    }
}

#[test]
fn a_secret_is_read_from_its_file_and_shown_as_a_reference() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "hunter2\n").expect("written");
    let text = format!("password = {{ file = {:?} }}", file.path());
    let config = read(&text, &[], &[]).expect("a good reference");
    let shown = redacted_toml(&config);
    let secret = config.password.expect("it is set");
    assert_eq!(secret.expose().expect("readable").as_str(), "hunter2");
    assert!(shown.contains("file = ") && !shown.contains("hunter2"), "{shown}");
    std::fs::write(file.path(), "\n").expect("written");
    assert!(matches!(secret.expose(), Err(Error::SecretEmpty(_))));
}

#[test]
fn a_variable_can_name_the_file_of_a_secret() {
    let config = read("", &[("SEQD__PASSWORD__FILE", "/run/secrets/x")], &[]).expect("a good reference");
    assert_eq!(config.password, Some(Secret::file("/run/secrets/x")));
}
