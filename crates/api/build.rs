//! Compiles `proto/` without protoc; the generated Rust lives in OUT_DIR only.

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new("../../proto");
    let files: Vec<PathBuf> = ["types", "indexer", "keys", "lifecycle", "rewards"]
        .iter()
        .flat_map(|package| std::fs::read_dir(root.join("sequencer").join(package).join("v1")))
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "proto"))
        .collect();
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(&files, [root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        .bytes(".")
        // Canonical bytes: fingerprints and page tokens need maps in one order.
        .btree_map(".")
        .type_attribute(".", "#[allow(clippy::all)]")
        // Messages that carry a secret get a Debug that does not show it: see `src/redacted.rs`.
        .skip_debug([
            ".sequencer.keys.v1.ImportKeyRequest",
            ".sequencer.keys.v1.ImportKeyRequest.material",
            ".sequencer.keys.v1.KeystoreV3",
            ".sequencer.keys.v1.VerifyBackupRequest",
            ".sequencer.keys.v1.RestoreKeysRequest",
            ".sequencer.keys.v1.ExportNodeKeyRequest",
            ".sequencer.keys.v1.ExportKeystoreRequest",
            ".sequencer.lifecycle.v1.CreateWebhookResponse",
            ".sequencer.lifecycle.v1.RotateWebhookSecretResponse",
        ])
        .compile_fds(descriptors)?;
    Ok(())
}
