//! `testdb start|stop|url`: the PostgreSQL server that all tests of a user share.
//!
//! Tests start it by themselves; `make test` stops it at its end.

use std::{error::Error, io::Write, process::ExitCode};

#[tokio::main]
async fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("start" | "url") => testkit::shared_url().await.map(|url| format!("{url}\n")),
        Some("stop") => testkit::stop_shared().await.map(|()| String::new()),
        _ => {
            say("usage: testdb start|stop|url");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let mut next: Option<&dyn Error> = Some(&error);
            while let Some(error) = next {
                say(&error.to_string());
                next = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    // Nothing can be done about a closed error output.
    let _ = writeln!(std::io::stderr(), "{line}");
}
