//! The figures of `make bench`: how fast the system comes up, works and reacts, and what it weighs.
//!
//! `cargo run --release --package benches -- [name or prefix]` prints one JSON line for each figure. Everything is
//! measured from outside, on the release binaries, as a user would meet it; where there is a bound that no system
//! could beat, it is measured in the same run and stands in `limit`. See [`report`] for what a line says.

mod at_rest;
mod audit;
mod demo;
mod event;
mod index;
mod keys;
mod machine;
mod memory;
mod npm;
mod ops;
mod postgres;
mod program;
mod report;
mod socket;
mod stack;
mod up;
mod world;

use std::process::ExitCode;

use anyhow::Result;
use futures::future::BoxFuture;
use report::Figure;

type Measure = fn() -> BoxFuture<'static, Result<Figure>>;

/// The figures of the whole, in the order in which they are measured; those of keys, index and ops follow.
const BENCHES: [(&str, Measure); 6] = [
    (up::FRESH, || Box::pin(up::fresh())),
    (up::KEPT, || Box::pin(up::kept())),
    (demo::TOTAL, || Box::pin(demo::total())),
    (memory::STACK, || Box::pin(memory::stack())),
    (audit::VERIFY, || Box::pin(audit::verification())),
    (event::TO_SUBSCRIBER, || Box::pin(event::to_subscriber())),
];

fn main() -> ExitCode {
    runtime::install_crypto_provider();
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted =
        |name: &str| wanted.is_empty() || wanted.iter().any(|prefix| name.starts_with(prefix.as_str()));
    let all = || {
        BENCHES
            .into_iter()
            .chain(keys::BENCHES)
            .chain(at_rest::BENCHES)
            .chain(index::BENCHES)
            .chain(ops::BENCHES)
    };
    let unknown = wanted.iter().find(|prefix| !all().any(|(name, _)| name.starts_with(prefix.as_str())));
    if let Some(unknown) = unknown {
        let names: Vec<&str> = all().map(|(name, _)| name).collect();
        let names = names.join("\n  ");
        complain(&format!("there is no figure `{unknown}`; give a name or the beginning of one:\n  {names}"));
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("the system gives threads at start");
    let mut failed = false;
    for (name, measure) in all().filter(|(name, _)| is_wanted(name)) {
        let load_before = machine::load();
        match runtime.block_on(measure()) {
            Ok(figure) => println!("{}", figure.line(name, load_before)),
            Err(error) => {
                complain(&format!("{name}: {error:#}"));
                failed = true;
            }
        }
    }
    runtime.block_on(keys::WORLD.close());
    runtime.block_on(index::WORLD.close());
    runtime.block_on(ops::WORLD.close());
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[allow(clippy::print_stderr, reason = "standard output is for figures only")]
fn complain(text: &str) {
    eprintln!("benches: {text}");
}
