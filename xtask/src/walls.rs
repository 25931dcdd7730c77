//! The walls between crates (design 3), read from `cargo metadata`: who may depend on whom.

use anyhow::Result;
use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// A crate and what it must never have as a normal dependency.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "domain",
        &["tokio", "tonic", "sea-orm", "alloy", "reqwest", "runtime", "store", "chain", "api", "rand"],
    ),
    ("runtime", &["domain", "api", "store", "chain", "sea-orm", "alloy-primitives"]),
    ("store", &["domain", "api", "runtime", "chain", "tonic"]),
    ("chain", &["store", "runtime", "api", "sea-orm", "tonic"]),
    ("trail", &["runtime", "store", "chain", "sea-orm", "tokio", "tonic"]),
    ("bundle", &["runtime", "store", "chain", "api", "sea-orm", "tokio", "tonic", "reqwest"]),
    ("keys", &["chain", "alloy", "reqwest"]),
    ("gateway", &["chain", "alloy"]),
    ("rewards", &["chain", "alloy"]),
    ("seqctl", &["store", "chain", "sea-orm"]),
];

/// The services: never a dependency of each other.
const SERVICES: &[&str] = &["keys", "indexer", "lifecycle", "rewards", "gateway"];

/// Who may use `sea-orm` as a normal dependency: store, what stands above it, and what starts databases.
const DATABASE: &[&str] =
    &["store", "migrations", "keys", "indexer", "lifecycle", "rewards", "gateway", "seqd", "testkit", "dev"];

/// `testkit` starts anvil, Postgres and the simulator, so `dev` and the test and bench packages are made of it.
const TESTKIT_USERS: &[&str] = &["dev", "journeys", "benches"];

/// Every breach, one line each.
pub fn faults() -> Result<Vec<String>> {
    let metadata = MetadataCommand::new().no_deps().exec()?;
    Ok(metadata.workspace_packages().into_iter().flat_map(of_package).collect())
}

fn of_package(package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    let normal = package.dependencies.iter().filter(|dep| dep.kind == DependencyKind::Normal);
    normal
        .filter(|dep| breach(name, &dep.name))
        .map(|dep| format!("walls: {name} must not depend on {}", dep.name))
        .collect()
}

fn breach(package: &str, dependency: &str) -> bool {
    FORBIDDEN.iter().any(|(from, to)| *from == package && to.contains(&dependency))
        || (SERVICES.contains(&package) && SERVICES.contains(&dependency))
        || (dependency == "sea-orm" && !DATABASE.contains(&package))
        || (dependency == "testkit" && !TESTKIT_USERS.contains(&package))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walls_of_the_design_are_walls() {
        for (from, to) in [
            ("keys", "chain"),
            ("gateway", "chain"),
            ("keys", "lifecycle"),
            ("domain", "tokio"),
            ("indexer", "testkit"),
        ] {
            assert!(breach(from, to), "{from} -> {to}");
        }
        for (from, to) in [("lifecycle", "chain"), ("seqd", "keys"), ("keys", "sea-orm"), ("dev", "testkit")]
        {
            assert!(!breach(from, to), "{from} -> {to}");
        }
    }
}
