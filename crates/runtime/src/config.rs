//! Configuration in layers: defaults < TOML file < `SEQD__SECTION__KEY` variables < flags.
//!
//! A key that nobody reads is an error that names its path, its origin and the likely right key:
//! a setting with a typo is otherwise found when it was needed. Secrets are never in the layers, only
//! references to them.

mod read;
mod secret;
mod tree;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use secret::{Exposed, Secret};
use tree::{Node, Origin};

/// Every environment variable of ours begins with this.
pub const VARIABLE_PREFIX: &str = "SEQD__";

/// Separates the parts of a path in an environment variable.
const VARIABLE_SEPARATOR: &str = "__";

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("reading the configuration file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML. The line is named but not shown.
    #[error("{path}, line {line}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A key that nothing reads.
    #[error("unknown key `{path}` in {origin}{}", suggestion.as_ref().map(|s| format!(", did you mean `{s}`?")).unwrap_or_default())]
    UnknownKey {
        /// The full path of the key.
        path: String,
        /// Where it stands.
        origin: String,
        /// The key that is most like it.
        suggestion: Option<String>,
    },
    /// A value that does not fit its key.
    #[error("`{path}` in {origin}: {message}")]
    Invalid {
        /// The full path of the key.
        path: String,
        /// Where it stands.
        origin: String,
        /// What is wrong.
        message: String,
    },
    /// An override that is not a path.
    #[error("`{0}` is not a path of a key")]
    Path(String),
    /// A variable of ours with bytes that are not text.
    #[error("the environment variable {0} is not valid UTF-8")]
    VariableEncoding(String),
    /// The defaults of the program itself.
    #[error("writing out the default configuration")]
    Defaults(#[source] toml::ser::Error),
    /// The file of a secret.
    #[error("reading the secret file {path}")]
    SecretFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The variable of a secret.
    #[error("the environment variable {0}, which should hold a secret, is not set")]
    SecretVariable(String),
    /// A secret without content protects nothing.
    #[error("the secret in {0} is empty")]
    SecretEmpty(String),
}

/// Reads the configuration of a process from all layers.
///
/// # Errors
/// The first thing that is wrong, with its path and origin.
pub fn load<T>(file: Option<&Path>, overrides: &[(String, String)]) -> Result<T, Error>
where
    T: DeserializeOwned + Default + Serialize,
{
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with(VARIABLE_PREFIX) {
            let value = value.into_string().map_err(|_| Error::VariableEncoding(name.clone()))?;
            variables.push((name, value));
        }
    }
    layered(file, &variables, overrides)
}

/// The same with the variables given, which is all that can be tested in one process.
pub(crate) fn layered<T>(
    file: Option<&Path>,
    variables: &[(String, String)],
    overrides: &[(String, String)],
) -> Result<T, Error>
where
    T: DeserializeOwned + Default + Serialize,
{
    let defaults = toml::Value::try_from(T::default()).map_err(Error::Defaults)?;
    let mut root = Node::of_toml(defaults, &Origin::Default);
    if let Some(path) = file {
        root.merge(Node::of_toml(parse(path)?, &Origin::File(path.to_owned())));
    }
    for (name, text) in variables {
        let path = name.strip_prefix(VARIABLE_PREFIX).unwrap_or(name).to_lowercase();
        let keys: Vec<&str> = path.split(VARIABLE_SEPARATOR).collect();
        root.merge(Node::at(&keys, text, &Origin::Variable(name.clone()))?);
    }
    for (path, text) in overrides {
        let keys: Vec<&str> = path.split('.').collect();
        root.merge(Node::at(&keys, text, &Origin::Flag(path.clone()))?);
    }
    read::from_tree(root)
}

/// The effective configuration as TOML, with secrets as references.
pub fn redacted_toml<T: Serialize>(value: &T) -> String {
    // A value that TOML cannot hold is a fault of the program; say so in the place of the output,
    // because this is only ever read by people.
    toml::to_string_pretty(value).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
}

fn parse(path: &Path) -> Result<toml::Value, Error> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let table: toml::Table = toml::from_str(&text).map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
        Error::Syntax { path: path.to_owned(), line, message: error.message().to_owned() }
    })?;
    Ok(toml::Value::Table(table))
}

#[cfg(test)]
mod tests;
