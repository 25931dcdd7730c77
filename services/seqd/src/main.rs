//! `seqd keys|indexer|lifecycle|rewards|gateway|all|migrate|config check|health`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use runtime::shutdown::Shutdown;
use seqd::{Config, Role, migrate, process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::info;

/// How long `seqd health` waits for an answer: less than any orchestrator's probe.
const HEALTH_WAIT: Duration = Duration::from_secs(3);

/// The server of the Metis sequencer control plane.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    /// Configuration file; `SEQD__SECTION__KEY` variables and `--set` override it.
    #[arg(long, short, global = true)]
    config: Option<PathBuf>,
    /// Overrides one key, as in `--set listen.admin=127.0.0.1:9000`.
    #[arg(long = "set", global = true, value_parser = setting)]
    overrides: Vec<(String, String)>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Copy)]
enum Command {
    /// Runs the keys service.
    Keys,
    /// Runs the indexer.
    Indexer,
    /// Runs lifecycle.
    Lifecycle,
    /// Runs rewards.
    Rewards,
    /// Runs the gateway.
    Gateway,
    /// Runs all five in one process.
    All,
    /// Brings the schemas up to date, and ends.
    Migrate,
    /// Looks at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Asks the admin port whether the process is ready; for container health checks.
    Health,
}

#[derive(Subcommand, Clone, Copy)]
enum ConfigCommand {
    /// Prints the effective configuration, secrets as references, or what is wrong with it.
    Check,
}

fn main() -> ExitCode {
    runtime::install_crypto_provider();
    let cli = Cli::parse();
    let config: Config = match runtime::config::load(cli.config.as_deref(), &cli.overrides) {
        Ok(config) => config,
        Err(error) => return failed(&error),
    };
    let roles: &[Role] = match cli.command {
        Command::Keys => &[Role::Keys],
        Command::Indexer => &[Role::Indexer],
        Command::Lifecycle => &[Role::Lifecycle],
        Command::Rewards => &[Role::Rewards],
        Command::Gateway => &[Role::Gateway],
        Command::All => &Role::ALL,
        Command::Migrate => return finish(block_on(migrated(&config))),
        Command::Config(ConfigCommand::Check) => {
            println!("{}", runtime::config::redacted_toml(&config));
            return ExitCode::SUCCESS;
        }
        Command::Health => return finish(block_on(healthy(&config))),
    };
    finish(block_on(serve(config, roles)))
}

async fn serve(config: Config, roles: &[Role]) -> Result<(), Box<dyn std::error::Error>> {
    let service = if let [role] = roles { role.name() } else { "seqd" };
    let telemetry = runtime::telemetry::init(service, &config.telemetry)?;
    let shutdown = Shutdown::new();
    let running = process::start(config, roles, shutdown.clone()).await?;
    info!("admin port on {}", running.admin);
    let health = running.health.clone();
    let signals = shutdown.clone();
    let ended = async { running.ended(&shutdown).await };
    let (served, finished) = tokio::join!(ended, async { signals.run(&health).await });
    telemetry.shutdown();
    served?;
    finished?;
    Ok(())
}

async fn migrated(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let report = migrate::run(config).await?;
    for name in &report.applied {
        println!("applied {name}");
    }
    println!("{} migrations applied", report.applied.len());
    Ok(())
}

/// A plain HTTP request by hand: the image needs no curl, and the binary no HTTP client.
async fn healthy(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let address = &config.listen.admin;
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let silent = |why: &dyn std::fmt::Display| format!("the admin port {address} does not answer: {why}");
    let asked = tokio::time::timeout(HEALTH_WAIT, ask).await.map_err(|late| silent(&late))?;
    let answer = asked.map_err(|broken| silent(&broken))?;
    match answer.split_whitespace().nth(1) {
        Some("200") => Ok(()),
        _ => Err(answer.lines().last().unwrap_or("no answer").to_owned().into()),
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is not KEY=VALUE"))
}

fn block_on<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the system gives threads at start")
        .block_on(work)
}

fn finish(result: Result<(), Box<dyn std::error::Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error.as_ref()),
    }
}

/// The one place where a failure of the process is told.
#[allow(clippy::print_stderr, reason = "telemetry may not be running yet, and a terminal wants one line")]
fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("seqd: {}", runtime::report(error));
    ExitCode::FAILURE
}
