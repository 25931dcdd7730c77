//! The operator's way with nothing but `seqctl`: keys, drill, register, node, preflight, lock, history; and the
//! exit codes that scripts branch on.

use std::path::PathBuf;
use std::process::Output;

use age::secrecy::ExposeSecret;
use alloy_primitives::Address;
use anyhow::{Context, Result};
use dev::announce::{Announce, Audience};
use dev::stack::{Options, Services, World};
use domain::amount::{Eth, Metis};
use serde_json::Value;
use testkit::contracts::account;
use testkit::{program, wait_until};
use tokio::process::Command;

use crate::stage::SEEN_MAX;

/// `seqctl` with the configuration of a world.
pub struct Seqctl {
    program: PathBuf,
    config: PathBuf,
}

impl Seqctl {
    /// For the operator of a world.
    pub fn of(world: &World) -> Result<Self> {
        Ok(Self { program: program("seqctl"), config: world.access().seqctl_config.clone() })
    }

    async fn output(&self, format: &str, line: &str) -> Result<Output> {
        Command::new(&self.program)
            .arg("--config")
            .arg(&self.config)
            .args(["--output", format])
            .args(line.split_whitespace())
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .with_context(|| format!("running seqctl {line}"))
    }

    /// What a command says to people, which must be done.
    pub async fn text(&self, line: &str) -> Result<String> {
        let output = self.output("text", line).await?;
        anyhow::ensure!(output.status.success(), "seqctl {line} ended with {}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs a command with JSON output.
    pub async fn run(&self, line: &str) -> Result<(i32, Value, String)> {
        let output = self.output("json", line).await?;
        let code = output.status.code().context("seqctl was not killed")?;
        let stdout = String::from_utf8(output.stdout)?;
        let value = if stdout.trim().is_empty() { Value::Null } else { serde_json::from_str(&stdout)? };
        Ok((code, value, String::from_utf8(output.stderr)?))
    }

    /// Runs a command that must be done.
    pub async fn done(&self, line: &str) -> Result<Value> {
        let (code, value, stderr) = self.run(line).await?;
        anyhow::ensure!(code == 0, "seqctl {line} ended with {code}: {stderr}");
        Ok(value)
    }

    /// Makes a key and gives its address.
    async fn key(&self, name: &str, role: &str) -> Result<Address> {
        let made = self.done(&format!("keys create {name} --role {role}")).await?;
        Ok(made["key"]["publicKey"]["address"].as_str().context("an address")?.parse()?)
    }

    /// Runs a command that must end with this code and say this on stderr.
    pub async fn refused(&self, line: &str, code: i32, words: &str) -> Result<()> {
        let (got, _, stderr) = self.run(line).await?;
        anyhow::ensure!(got == code && stderr.contains(words), "seqctl {line} ended with {got}: {stderr}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_needs_only_seqctl() -> Result<()> {
    let announce = Announce::to(Audience::Nobody);
    let mut world = World::start(&Options::to_travel(), &announce).await?;
    let services = Services::start(&mut world, &announce).await?;
    let folder = tempfile::tempdir()?;
    let seqctl = Seqctl::of(&world)?;

    // Keys, and the drill without which nothing may be locked.
    let owner = seqctl.key("alpha-owner", "owner").await?;
    let signer = seqctl.key("alpha-signer", "sequencer").await?;
    let identity = age::x25519::Identity::generate();
    let (archive, secret) = (folder.path().join("keys.age"), folder.path().join("identity.txt"));
    std::fs::write(&secret, identity.to_string().expose_secret())?;
    let recipient = identity.to_public();
    seqctl.done(&format!("keys backup --recipient {recipient} --out {}", archive.display())).await?;

    let network = world.simulator();
    let node = network.add_node(signer).await?;
    network.fund(owner, Metis::whole(30_000), Eth::whole(5)).await?;
    let to = account("recipient of alpha");
    seqctl
        .done(&format!("sequencer register alpha --owner alpha-owner --signer alpha-signer --recipient {to}"))
        .await?;
    let (rpc, rest, bridge, l2geth, dtl) =
        (node.themis_rpc, node.themis_rest, node.bridge, node.l2geth, node.dtl);
    seqctl
        .done(&format!(
            "node register alpha --sequencer alpha --themis-rpc {rpc} --themis-rest {rest} --bridge {bridge} \
             --l2geth {l2geth} --dtl {dtl}"
        ))
        .await?;

    seqctl.refused("preflight lock alpha --amount 20000", 5, "").await?;
    seqctl.refused("lock alpha --amount 20000 --yes", 5, "BACKUP_UNPROVEN").await?;
    let verify = format!("keys verify-backup {} --identity {}", archive.display(), secret.display());
    let proven = seqctl.done(&verify).await?;
    assert_eq!(proven["provenKeyIds"].as_array().map(Vec::len), Some(2));

    network.whitelist(owner, true).await?;
    wait_until("the dry run finds nothing in the way", SEEN_MAX, || async {
        matches!(seqctl.run("lock alpha --amount 20000 --dry-run").await, Ok((0, _, _)))
    })
    .await;

    // What scripts branch on.
    seqctl.refused("lock alpha --amount 20000", 2, "--yes").await?;
    seqctl.refused("lock alpha --amount -1 --yes", 2, "").await?;
    seqctl.refused("lock alpha --amount 0.0000000000000000001 --yes", 2, "more than 18 decimals").await?;
    seqctl.refused("lock alpha --amount 19999 --yes", 2, "AMOUNT_BELOW_MINIMUM").await?;
    seqctl.refused("lock alpha --amount 30001 --yes", 5, "BALANCE_TOO_LOW").await?;
    seqctl.refused("sequencer get nobody", 3, "SEQUENCER_NOT_FOUND").await?;
    seqctl.refused("--network nowhere status --frobnicate", 2, "").await?;
    seqctl.refused("unlock alpha", 2, "--confirm alpha").await?;

    // The same request id twice is one lock.
    let lock = "lock alpha --amount 20000 --yes --wait --request-id 0192f3a0-0000-7000-8000-0000000000aa";
    let (first, again) = (seqctl.done(lock).await?, seqctl.done(lock).await?);
    assert_eq!(first["state"], "OPERATION_STATE_CONFIRMED");
    assert_eq!(first["id"], again["id"]);
    wait_until("alpha is active", SEEN_MAX, || async {
        let seen = seqctl.run("sequencer get alpha").await;
        seen.is_ok_and(|(_, sequencer, _)| sequencer["phase"] == "PHASE_ACTIVE")
    })
    .await;
    let history = seqctl.done("sequencer history alpha").await?;
    let phases: Vec<&str> = history["transitions"]
        .as_array()
        .context("a list")?
        .iter()
        .filter_map(|one| one["to"].as_str())
        .collect();
    assert_eq!(phases, ["PHASE_REGISTERED", "PHASE_WHITELISTED", "PHASE_LOCKED", "PHASE_ACTIVE"]);
    // Compared at finalized blocks, so the first comparison takes as long as the chain.
    wait_until("index and contracts were compared", SEEN_MAX, || async {
        matches!(seqctl.run("chain drift").await, Ok((0, compared, _)) if compared["drift"] == "0")
    })
    .await;
    assert_eq!(seqctl.done("status").await?["sequencers"][0]["lockedWei"], Metis::whole(20_000).wei_string());

    services.stop().await?;
    seqctl.refused("status", 9, "").await?;
    world.stop().await
}
