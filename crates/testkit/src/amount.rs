//! How much of something a test does.

/// A number from the environment, for the long tier and for a failure that is to happen again; else `default`.
///
/// # Panics
/// When it is set and no number: a run of the wrong length would tell nothing.
pub fn from_environment<T: std::str::FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| format!("{name}={text}")).expect("a number of this size"),
        Err(_) => default,
    }
}
