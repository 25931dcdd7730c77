//! How an endpoint is written: as a URL, or as a table where there is more to say.

use std::fmt;
use std::num::NonZeroU32;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::pool::EndpointConfig;
use crate::rpc::EndpointUrl;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    url: EndpointUrl,
    #[serde(default)]
    ws: Option<EndpointUrl>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    requests_per_second: Option<NonZeroU32>,
}

struct Entry;

impl<'de> Visitor<'de> for Entry {
    type Value = EndpointConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL or a table with a url")
    }

    fn visit_str<E: Error>(self, url: &str) -> Result<EndpointConfig, E> {
        url.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<EndpointConfig, A::Error> {
        let Table { url, ws, name, requests_per_second } =
            Table::deserialize(MapAccessDeserializer::new(table))?;
        Ok(EndpointConfig { name, http: url, ws, requests_per_second })
    }
}

impl<'de> Deserialize<'de> for EndpointConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Entry)
    }
}

/// Written as it is shown, since a URL may hold a key: the configuration is only ever written for people.
impl Serialize for EndpointConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            url: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            ws: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            name: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            requests_per_second: Option<NonZeroU32>,
        }
        let Self { name, http, ws, requests_per_second } = self;
        let shown = Shown {
            url: http.to_string(),
            ws: ws.as_ref().map(ToString::to_string),
            name: name.as_deref(),
            requests_per_second: *requests_per_second,
        };
        match &shown {
            Shown { url, ws: None, name: None, requests_per_second: None } => url.serialize(serializer),
            _ => shown.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(entry: Value) -> Result<EndpointConfig, String> {
        serde_json::from_value(entry).map_err(|error| error.to_string())
    }

    #[test]
    fn an_endpoint_is_a_url_or_a_table() {
        let plain = read(json!("https://node.example/key")).expect("a URL");
        assert_eq!(plain, "https://node.example/key".parse().expect("a URL"));
        let full = json!({
            "url": "https://node.example/key", "ws": "wss://node.example/key", "name": "first", "requests_per_second": 25,
        });
        let full = read(full).expect("a table");
        assert_eq!(full.http, plain.http);
        assert_eq!((full.name.as_deref(), full.requests_per_second), (Some("first"), NonZeroU32::new(25)));
        assert!(full.ws.is_some_and(|ws| ws.is_websocket()));
    }

    #[test]
    fn an_entry_that_says_nothing_useful_is_refused_with_the_reason() {
        let why = |entry: Value| read(entry).expect_err("no endpoint");
        assert_eq!(why(json!("ftp://node")), "the scheme ftp is not one of http, https, ws, wss");
        assert!(why(json!({ "ws": "ws://node" })).contains("missing field `url`"));
        assert!(why(json!({ "url": "http://node", "rate": 5 })).contains("unknown field `rate`"));
        assert!(why(json!({ "url": "http://node", "requests_per_second": 0 })).contains("nonzero"));
        assert!(why(json!(5)).contains("a URL or a table with a url"));
    }

    #[test]
    fn keys_are_not_written_out() {
        let entry =
            json!({ "url": "https://node/secret", "ws": "wss://node/secret", "requests_per_second": 5 });
        let written = serde_json::to_value(read(entry).expect("a table")).expect("JSON");
        assert_eq!(written, json!({ "url": "https://node", "ws": "wss://node", "requests_per_second": 5 }));
        let plain = read(json!("https://node/secret")).expect("a URL");
        assert_eq!(serde_json::to_value(plain).expect("JSON"), json!("https://node"));
    }
}
