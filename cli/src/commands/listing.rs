//! The listing of P 4 in a checkout of the upstream repository: checked here, without any service.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use domain::listing::{Avatar, Checked, check_file};
use domain::preflight::{Check, Verdict};
use serde_json::json;

use crate::exit::{REFUSED, usage};
use crate::output::Printer;

/// More than an all.json has by far.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// A larger image breaks the rule of 24 KB however much larger it is.
const IMAGE_BYTES_MAX: u64 = 1 << 20;

/// The dashboard's listing.
#[derive(Subcommand)]
pub enum Command {
    /// Checks the listing by the rules of its README and of the upstream check.
    Validate(Validate),
}

/// What to check.
#[derive(Args)]
pub struct Validate {
    /// A checkout of the upstream repository: every sequencers/<chain id>/all.json with its images.
    #[arg(long, conflicts_with = "file")]
    repo: Option<PathBuf>,
    /// One all.json; images are looked for beside it.
    #[arg(long)]
    file: Option<PathBuf>,
    /// The all.json before the change, to see that entries were only added below (with --file).
    #[arg(long, requires = "file")]
    base: Option<PathBuf>,
    /// Writes the file as it should be formatted (with --file).
    #[arg(long, requires = "file")]
    fix_format: bool,
    /// Shows also the rules that hold.
    #[arg(long)]
    all: bool,
}

/// Exit 0 if upstream would take it, 5 if not.
pub fn run(command: &Command, out: &Printer) -> Result<ExitCode> {
    let Command::Validate(asked) = command;
    let files = match (&asked.repo, &asked.file) {
        (Some(repo), _) => listings(repo)?,
        (None, Some(file)) => vec![file.clone()],
        (None, None) => return Err(usage("give --repo or --file")),
    };
    let mut passes = true;
    for file in files {
        let text = text(&file)?;
        let base = asked.base.as_deref().map(self::text).transpose()?;
        let checked = checked(&file, &text, base.as_deref());
        passes &= checked.passes();
        tell(out, &file, &checked, asked.all);
        if asked.fix_format && !checked.formatted.is_empty() && checked.formatted != text {
            std::fs::write(&file, &checked.formatted)
                .with_context(|| format!("writing {}", file.display()))?;
            out.note("formatted");
        }
    }
    Ok(if passes { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

/// Every all.json of a checkout.
fn listings(repo: &Path) -> Result<Vec<PathBuf>> {
    let folder = repo.join("sequencers");
    let read = std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files: Vec<PathBuf> =
        read.flatten().map(|entry| entry.path().join("all.json")).filter(|file| file.is_file()).collect();
    files.sort();
    if files.is_empty() {
        return Err(usage(format!("{} holds no all.json", folder.display())));
    }
    Ok(files)
}

fn checked(file: &Path, text: &str, base: Option<&str>) -> Checked {
    let folder = file.parent().unwrap_or(Path::new("."));
    let avatars = serde_json::from_str::<Vec<serde_json::Value>>(text).unwrap_or_default();
    let avatars = avatars.iter().filter_map(|entry| entry.get("avatar")?.as_str());
    let images: BTreeMap<String, Option<Vec<u8>>> =
        avatars.map(|avatar| (avatar.to_owned(), image(folder, avatar))).collect();
    check_file(text, base, |avatar| match images.get(avatar) {
        Some(Some(bytes)) => Avatar::File(bytes),
        _ => Avatar::Missing,
    })
}

/// The image of an entry, if it lies in the folder of the listing: paths of strangers lead nowhere else.
fn image(folder: &Path, avatar: &str) -> Option<Vec<u8>> {
    let inside = folder.canonicalize().ok()?;
    let path = inside.join(avatar.strip_prefix("{BASEDIR}/")?).canonicalize().ok()?;
    let fits = std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= IMAGE_BYTES_MAX);
    if path.starts_with(&inside) && fits { std::fs::read(path).ok() } else { None }
}

fn text(file: &Path) -> Result<String> {
    let size = std::fs::metadata(file).with_context(|| format!("reading {}", file.display()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(usage(format!("{} is too large for a listing", file.display())));
    }
    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}

fn tell(out: &Printer, file: &Path, checked: &Checked, all: bool) {
    let shown = |check: &&Check| all || check.verdict != Verdict::Pass;
    let line = |subject: &str, check: &Check| {
        format!("{:<7} {:<26} {subject}: {}", format!("{:?}", check.verdict), check.name, check.message)
    };
    let of_entries = checked
        .entries
        .iter()
        .flat_map(|one| one.checks.iter().filter(shown).map(|check| (one.entry.name.clone(), check)));
    let name = file.display().to_string();
    let rows: Vec<(String, &Check)> =
        checked.checks.iter().filter(shown).map(|check| (name.clone(), check)).chain(of_entries).collect();
    let json: Vec<_> = rows
        .iter()
        .map(|(subject, check)| {
            json!({ "subject": subject, "name": check.name, "verdict": format!("{:?}", check.verdict),
                    "message": check.message })
        })
        .collect();
    let verdict = if checked.passes() { "upstream would take it" } else { "upstream would refuse it" };
    let mut lines: Vec<String> = rows.iter().map(|(subject, check)| line(subject, check)).collect();
    lines.push(format!("{name}: {} entries, {verdict}", checked.entries.len()));
    let json = json!({ "file": name, "passes": checked.passes(), "checks": json });
    out.verdict(&json, &lines.join("\n"));
}

#[cfg(test)]
mod tests {
    use domain::address;
    use domain::listing::{Entry, file_json};
    use domain::pubkey::PublicKey;
    use tempfile::TempDir;

    use super::*;

    const OWNER: &str = "0xD54c868362C2098E0E46F12E7D924C6A332952Dd";
    const KEY: &str = "4d5e02936a222d68b5d423e566828d8c67ca2290cf428254c44c7be458b33dec\
                       ec1fe85d900756811366e2d19baeb2fe81b46ce10c1863e00d811e68a4e76c9f";

    /// A checkout with one entry whose avatar is this.
    fn checkout(avatar: &str) -> TempDir {
        let dir = TempDir::new().unwrap();
        let folder = dir.path().join("sequencers/59902");
        std::fs::create_dir_all(folder.join("assets")).unwrap();
        std::fs::write(folder.join("assets/nodies.svg"), "<svg viewBox=\"0 0 1 1\"></svg>").unwrap();
        std::fs::write(dir.path().join("secret.svg"), "<svg viewBox=\"0 0 1 1\"></svg>").unwrap();
        let fields = Entry {
            name: "Nodies".to_owned(),
            desc: "A sequencer".to_owned(),
            avatar: avatar.to_owned(),
            url: "https://nodies.example".to_owned(),
            ..Entry::default()
        };
        let entry = fields.of(address::parse(OWNER).unwrap(), &PublicKey::from_hex(KEY).unwrap());
        std::fs::write(folder.join("all.json"), file_json(&[entry])).unwrap();
        dir
    }

    fn broken(dir: &TempDir) -> Vec<&'static str> {
        let files = listings(dir.path()).unwrap();
        let file = files.first().unwrap();
        let checked = checked(file, &text(file).unwrap(), None);
        let of_entries = checked.entries.into_iter().flat_map(|one| one.checks);
        let all = checked.checks.into_iter().chain(of_entries);
        all.filter(|check| check.verdict != Verdict::Pass).map(|check| check.name).collect()
    }

    #[test]
    fn a_checkout_is_checked_with_its_images() {
        assert_eq!(broken(&checkout("nodies.svg")), Vec::<&str>::new());
        assert_eq!(broken(&checkout("nodies-2.svg")), ["LISTING_AVATAR_FILE"]);
    }

    #[test]
    fn a_path_that_leaves_the_listing_reads_nothing() {
        for avatar in ["{BASEDIR}/assets/../../../secret.svg", "{BASEDIR}//etc/hostname", "/etc/hostname"] {
            assert!(broken(&checkout(avatar)).contains(&"LISTING_AVATAR_FILE"), "{avatar}");
        }
    }
}
