//! The command line of `make up` and `make demo`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use dev::announce::{Announce, Audience};
use dev::stack::Options;
use dev::{demo, up};
use runtime::telemetry::TelemetryConfig;

/// The whole system on this machine. Not for production.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Postgres, L1 and L2, the network, all five services and six sequencers, until Ctrl-C.
    Up(Up),
    /// The journey from a new key to the final withdrawal, on a fresh stack, checked against the contracts.
    Demo(Told),
}

#[derive(Args)]
struct Up {
    /// Folder that keeps everything for the next start.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Keep nothing; what happens without --data.
    #[arg(long, conflicts_with = "data")]
    ephemeral: bool,
    /// Leave out the six demo sequencers.
    #[arg(long)]
    empty: bool,
    #[command(flatten)]
    told: Told,
}

#[derive(Args)]
struct Told {
    /// One JSON object per state on standard output.
    #[arg(long)]
    json: bool,
    /// Which log lines of the services appear on standard error.
    #[arg(long, value_name = "FILTER", env = "DEV_LOG", default_value = "error")]
    log: String,
}

fn main() -> ExitCode {
    runtime::install_crypto_provider();
    let cli = Cli::parse();
    let told = match &cli.command {
        Command::Up(up) => &up.told,
        Command::Demo(told) => told,
    };
    let announce = Announce::to(if told.json { Audience::Programs } else { Audience::People });
    let log = TelemetryConfig { log_filter: told.log.clone(), ..TelemetryConfig::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("the system gives threads at start");
    let ended = runtime.block_on(async {
        let telemetry = runtime::telemetry::init("dev", &log)?;
        let ended = run(&cli.command, &announce).await;
        telemetry.shutdown();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

async fn run(command: &Command, announce: &Announce) -> anyhow::Result<()> {
    match command {
        Command::Up(Up { data, ephemeral: _, empty, told: _ }) => {
            let options = Options { data: data.clone(), ..Options::to_look_at() };
            up::run(&options, !empty, announce).await
        }
        Command::Demo(_) => demo::run(announce).await,
    }
}

/// The one place where a failure is told.
#[allow(clippy::print_stderr, reason = "telemetry may not be running, and a terminal wants one line")]
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("dev: {error:#}");
    ExitCode::FAILURE
}
