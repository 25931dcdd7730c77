//! A secret as a reference: where it is, not what it is.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::Error;

/// Stands wherever a secret would be printed.
const REDACTED: &str = "<redacted>";

/// A reference to a secret: `{ file = "path" }` or `{ env = "VARIABLE" }` in the configuration.
///
/// It is read anew at each `expose`, so that a rotated file is seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Variable(String),
    Memory(Zeroizing<String>),
}

/// The plain text of a secret; wiped when dropped, never printed.
pub struct Exposed(Zeroizing<String>);

impl Secret {
    /// A secret that only this process knows (a generated password of the development setup).
    pub fn new(plain: String) -> Self {
        Self(Place::Memory(Zeroizing::new(plain)))
    }

    /// A secret in a file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Place::File(path.into()))
    }

    /// A secret in an environment variable.
    pub fn variable(name: impl Into<String>) -> Self {
        Self(Place::Variable(name.into()))
    }

    /// Reads the secret; line ends at its end are not part of it.
    ///
    /// # Errors
    /// When the file or variable cannot be read, or is empty.
    pub fn expose(&self) -> Result<Exposed, Error> {
        let plain = match &self.0 {
            Place::File(path) => std::fs::read_to_string(path)
                .map(Zeroizing::new)
                .map_err(|source| Error::SecretFile { path: path.clone(), source })?,
            Place::Variable(name) => {
                std::env::var(name).map(Zeroizing::new).map_err(|_| Error::SecretVariable(name.clone()))?
            }
            Place::Memory(plain) => plain.clone(),
        };
        let trimmed = plain.trim_end_matches(['\n', '\r']);
        if trimmed.is_empty() {
            return Err(Error::SecretEmpty(self.to_string()));
        }
        Ok(Exposed(Zeroizing::new(trimmed.to_owned())))
    }
}

impl Deref for Exposed {
    type Target = String;

    fn deref(&self) -> &String {
        &self.0
    }
}

impl fmt::Debug for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({self})")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File(path) => write!(f, "file {}", path.display()),
            Place::Variable(name) => write!(f, "environment variable {name}"),
            Place::Memory(_) => f.write_str(REDACTED),
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (key, value) = match &self.0 {
            Place::File(path) => ("file", path.display().to_string()),
            Place::Variable(name) => ("env", name.clone()),
            Place::Memory(_) => return serializer.serialize_str(REDACTED),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(key, &value)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reference)
    }
}

struct Reference;

impl<'de> Visitor<'de> for Reference {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reference to a secret: { file = \"path\" } or { env = \"VARIABLE\" }")
    }

    // The default of serde would repeat the text in its message, and the text may be the secret.
    fn visit_str<E: de::Error>(self, _text: &str) -> Result<Secret, E> {
        Err(E::custom("a secret must not stand here, only { file = \"path\" } or { env = \"VARIABLE\" }"))
    }

    fn visit_i64<E: de::Error>(self, _number: i64) -> Result<Secret, E> {
        self.visit_str("")
    }

    fn visit_f64<E: de::Error>(self, _number: f64) -> Result<Secret, E> {
        self.visit_str("")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
        let place = match map.next_key::<String>()?.as_deref() {
            Some("file") => Secret::file(map.next_value::<PathBuf>()?),
            Some("env") => Secret::variable(map.next_value::<String>()?),
            _ => return Err(de::Error::custom("a secret needs exactly one of `file` and `env`")),
        };
        match map.next_key::<String>()? {
            None => Ok(place),
            Some(_) => Err(de::Error::custom("a secret needs exactly one of `file` and `env`")),
        }
    }
}
