//! Tables for people, canonical protobuf JSON for programs.

use std::fmt::{self, Display, Formatter};
use std::sync::LazyLock;

use anyhow::{Context, Result};
use comfy_table::{Table, presets};
use domain::amount::Metis;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use prost_types::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(api::DESCRIPTORS).expect("the descriptors were encoded by our own build")
});

/// Prints answers in the form that was asked for.
pub struct Printer {
    /// JSON instead of tables.
    pub json: bool,
}

impl Printer {
    /// Prints `message` (named by its full protobuf name) as JSON, or what people read, mostly a table.
    pub fn print<M: Message, T: Display>(
        &self,
        name: &str,
        message: &M,
        words: impl FnOnce() -> T,
    ) -> Result<()> {
        if self.json {
            println!("{}", json(name, message)?);
        } else {
            println!("{}", words());
        }
        Ok(())
    }

    /// The outcome of a check that no service made.
    pub fn verdict(&self, json: &serde_json::Value, text: &str) {
        if self.json {
            println!("{json:#}");
        } else {
            println!("{text}");
        }
    }

    /// Says that a list goes on behind its first page; a program reads it from the page token.
    pub fn cut(&self, next_page_token: &str) {
        if !next_page_token.is_empty() {
            self.note("only the first page is shown: there are more");
        }
    }

    /// A line for people only.
    pub fn note(&self, line: &str) {
        if !self.json {
            println!("{line}");
        }
    }
}

/// A message, named by its full protobuf name, as canonical JSON.
pub fn json<M: Message>(name: &str, message: &M) -> Result<String> {
    let descriptor =
        POOL.get_message_by_name(name).with_context(|| format!("{name} is no message of ours"))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    let mut serializer = serde_json::Serializer::pretty(Vec::new());
    dynamic.serialize_with_options(&mut serializer, &SerializeOptions::new().skip_default_fields(false))?;
    Ok(String::from_utf8(serializer.into_inner())?)
}

/// A table under construction.
pub struct Rows {
    table: Table,
}

impl Rows {
    /// With these columns.
    pub fn new<const N: usize>(columns: [&str; N]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(columns);
        Self { table }
    }

    /// Two columns without a header: one thing and its properties.
    pub fn properties() -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        Self { table }
    }

    /// One more row.
    pub fn add<const N: usize>(&mut self, cells: [&str; N]) -> &mut Self {
        self.table.add_row(cells);
        self
    }
}

impl Display for Rows {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.table.fmt(f)
    }
}

/// Wei as METIS, exact.
pub fn metis(wei: &str) -> String {
    Metis::parse_wei(wei).map_or_else(|_| wei.to_owned(), |amount| amount.to_string())
}

/// A time in UTC; empty if absent.
pub fn utc(time: Option<&Timestamp>) -> String {
    time.and_then(|time| OffsetDateTime::from_unix_timestamp(time.seconds).ok())
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// An enum value without its prefix, as people say it.
pub fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use api::types::v1::Check;

    use super::*;

    #[test]
    fn json_carries_every_field_by_its_protobuf_name() {
        let check = Check { name: "ETH_BALANCE".into(), ..Check::default() };
        let text = json("sequencer.types.v1.Check", &check).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["name"], "ETH_BALANCE");
        assert_eq!(value["verdict"], "VERDICT_UNSPECIFIED");
    }

    #[test]
    fn amounts_are_shown_to_the_wei() {
        assert_eq!(metis("20000000000000000000001"), "20000.000000000000000001");
    }
}
