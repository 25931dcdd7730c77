//! Which URLs an operator may give for a node: this service fetches them, so not everything goes.

use reqwest::Url;

/// Longer ones are not addresses of nodes.
const CHARS_MAX: usize = 512;

/// Why a URL is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No URL at all.
    #[error("must be a URL with http or https and a host")]
    Unreadable,
    /// A scheme that could reach other things than a node.
    #[error("the scheme {0} is not allowed, only http and https")]
    Scheme(String),
    /// Credentials would be kept and shown.
    #[error("must not hold a user or a password")]
    Credentials,
    /// Nothing reads it.
    #[error("must not have a query or a fragment")]
    Query,
    /// Too long.
    #[error("must be at most {CHARS_MAX} characters")]
    TooLong,
}

/// The URL as it is kept: parsed, without a final slash.
///
/// # Errors
/// [`Refused`] with what is wrong.
pub fn check(text: &str) -> Result<String, Refused> {
    if text.len() > CHARS_MAX {
        return Err(Refused::TooLong);
    }
    let url = Url::parse(text).map_err(|_| Refused::Unreadable)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refused::Scheme(url.scheme().to_owned()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Refused::Unreadable);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Refused::Query);
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_nodes_are_http_with_a_host_and_nothing_else() {
        let cases = [
            ("http://10.0.0.7:26657", Ok("http://10.0.0.7:26657")),
            ("HTTPS://Node.Example/themis/", Ok("https://node.example/themis")),
            ("file:///etc/passwd", Err(Refused::Scheme("file".to_owned()))),
            ("gopher://node:70", Err(Refused::Scheme("gopher".to_owned()))),
            ("ws://node:8546", Err(Refused::Scheme("ws".to_owned()))),
            ("node:26657", Err(Refused::Scheme("node".to_owned()))),
            ("http://user:secret@node", Err(Refused::Credentials)),
            ("http://node/?key=secret", Err(Refused::Query)),
            ("http://", Err(Refused::Unreadable)),
            ("10.0.0.7:26657", Err(Refused::Unreadable)),
            ("", Err(Refused::Unreadable)),
        ];
        for (text, expected) in cases {
            assert_eq!(check(text), expected.map(str::to_owned), "{text}");
        }
        assert_eq!(check(&format!("http://{}", "a".repeat(CHARS_MAX))), Err(Refused::TooLong));
    }
}
