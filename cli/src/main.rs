//! `seqctl`, the operator's tool. It speaks gRPC with mutual TLS and nothing else.

mod commands;
mod connect;
mod exit;
mod output;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// How answers are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[value(alias = "text")]
    Table,
    /// Canonical protobuf JSON of the answer, for programs.
    Json,
}

/// Runs Metis sequencers: keys, register, operations, rewards, nodes.
///
/// Exit codes: 0 done, 1 other failure, 2 usage, 3 not found, 4 not allowed, 5 refused by a check or policy,
/// 7 chain revert, 8 still pending at time-out, 9 service unreachable.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    /// Addresses and certificates; `make up` writes one.
    #[arg(long, global = true, env = "SEQCTL_CONFIG", default_value = "seqctl.toml")]
    config: PathBuf,
    /// Network; without it the one of the configuration.
    #[arg(long, short, global = true, env = "SEQCTL_NETWORK")]
    network: Option<String>,
    /// Form of the output.
    #[arg(long, short, global = true, env = "SEQCTL_OUTPUT", default_value = "table")]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Networks, their index, and the sequencers that need attention.
    Status,
    /// The register of sequencers.
    #[command(subcommand)]
    Sequencer(commands::sequencer::Command),
    /// Every precondition of an operation, with a simulation; changes nothing.
    Preflight(commands::operation::Preflight),
    /// Operations and what became of them.
    #[command(subcommand)]
    Operation(commands::operation::Command),
    /// Operations that a cold machine, a wallet or a Safe signs.
    #[command(subcommand)]
    Offline(commands::offline::Command),
    /// The dashboard's listing.
    #[command(subcommand)]
    Listing(commands::listing::Command),
    /// Endpoints that are told what happens.
    #[command(subcommand)]
    Webhook(commands::webhook::Command),
    /// One operation for many sequencers, by label.
    #[command(subcommand)]
    Fleet(commands::fleet::Command),
    /// What is done again and again, or when the chain allows it.
    #[command(subcommand)]
    Schedule(commands::schedule::Command),
    #[command(flatten)]
    Verb(commands::verb::Verb),
    /// Keys, backups and drills.
    #[command(subcommand)]
    Keys(commands::keys::Command),
    /// The audit log of keys: export, offline verification.
    #[command(subcommand)]
    Audit(commands::audit::Command),
    /// What was earned.
    #[command(subcommand)]
    Rewards(commands::rewards::Command),
    /// Nodes and whether they are ready.
    #[command(subcommand)]
    Node(commands::node::Command),
    /// The chains as indexed.
    #[command(subcommand)]
    Chain(commands::chain::Command),
}

fn main() -> ExitCode {
    runtime::install_crypto_provider();
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system gives one thread at start");
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => exit::tell(&error),
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let out = output::Printer { json: cli.output == Format::Json };
    if let Command::Audit(commands::audit::Command::Verify(verify)) = &cli.command {
        return commands::audit::verify(verify, &out);
    }
    if let Command::Offline(commands::offline::Command::Sign(sign)) = &cli.command {
        return commands::offline::sign(sign, &out).map(|()| ExitCode::SUCCESS);
    }
    if let Command::Listing(command) = &cli.command {
        return commands::listing::run(command, &out);
    }
    let session = connect::Session::open(&cli.config, cli.network)?;
    match cli.command {
        Command::Status => commands::status::run(&session, &out).await?,
        Command::Sequencer(command) => commands::sequencer::run(command, &session, &out).await?,
        Command::Preflight(preflight) => {
            return commands::operation::preflight(preflight, &session, &out).await;
        }
        Command::Operation(command) => commands::operation::run(command, &session, &out).await?,
        Command::Offline(command) => commands::offline::run(command, &session, &out).await?,
        Command::Listing(command) => return commands::listing::run(&command, &out),
        Command::Webhook(command) => commands::webhook::run(command, &session, &out).await?,
        Command::Fleet(command) => commands::fleet::run(command, &session, &out).await?,
        Command::Schedule(command) => commands::schedule::run(command, &session, &out).await?,
        Command::Verb(verb) => return commands::operation::verb(verb, &session, &out).await,
        Command::Keys(command) => commands::keys::run(command, &session, &out).await?,
        Command::Audit(command) => return commands::audit::run(command, &session, &out).await,
        Command::Rewards(command) => commands::rewards::run(command, &session, &out).await?,
        Command::Node(command) => commands::node::run(command, &session, &out).await?,
        Command::Chain(command) => return commands::chain::run(command, &session, &out).await,
    }
    Ok(ExitCode::SUCCESS)
}
