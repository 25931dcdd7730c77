//! Which URLs may be given for an endpoint: this service sends to them, so not everything goes. Where they lead is
//! checked by `chain::outbound`, now and at every connection.

use reqwest::Url;

/// Longer ones are not addresses of endpoints.
const CHARS_MAX: usize = 1_024;

/// Why a URL is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("must be an https URL with a host")]
    Unreadable,
    #[error("must be https; http only where lifecycle.webhooks.http says so")]
    Plain,
    #[error("must not hold a user or a password")]
    Credentials,
    #[error("must not have a fragment")]
    Fragment,
    #[error("must be at most {CHARS_MAX} characters")]
    TooLong,
}

/// The URL as it is kept. A query is allowed: some receivers tell their channels by it.
pub fn check(text: &str, http: bool) -> Result<String, Refused> {
    if text.len() > CHARS_MAX {
        return Err(Refused::TooLong);
    }
    let url = Url::parse(text).map_err(|_| Refused::Unreadable)?;
    match url.scheme() {
        "https" => {}
        "http" if http => {}
        "http" => return Err(Refused::Plain),
        _ => return Err(Refused::Unreadable),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Refused::Unreadable);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::Credentials);
    }
    if url.fragment().is_some() {
        return Err(Refused::Fragment);
    }
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_https_without_credentials() {
        let cases = [
            ("https://hooks.example/a?channel=1", false, Ok("https://hooks.example/a?channel=1")),
            ("http://hooks.example", true, Ok("http://hooks.example/")),
            ("http://hooks.example", false, Err(Refused::Plain)),
            ("ftp://hooks.example", true, Err(Refused::Unreadable)),
            ("hooks.example", false, Err(Refused::Unreadable)),
            ("https://user:word@hooks.example", false, Err(Refused::Credentials)),
            ("https://hooks.example/#a", false, Err(Refused::Fragment)),
        ];
        for (text, http, expected) in cases {
            assert_eq!(check(text, http), expected.map(str::to_owned), "{text}");
        }
        assert_eq!(check(&format!("https://{}", "a".repeat(CHARS_MAX)), false), Err(Refused::TooLong));
    }
}
