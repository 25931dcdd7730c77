//! The loops. Each takes no input, looks at the tables and brings the world in line; running one twice changes nothing.

pub mod agenda;
pub mod apply;
mod broadcast;
pub mod budget;
pub mod confirm;
mod event;
pub mod flags;
pub mod follow;
pub mod foreign;
pub mod form;
pub mod gap;
pub mod hand_out;
pub mod hold;
pub mod lanes;
pub mod lease;
pub mod outcome;
mod receipt;
pub mod replace;
mod revert;
mod reverted;
pub mod send;
mod unseen;
mod wallet;
mod wire;

#[cfg(test)]
mod tests {
    /// Every file of a loop that works under the lease of a lane or of the confirm loop.
    const FENCED: [(&str, &str); 12] = [
        ("broadcast", include_str!("broadcast.rs")),
        ("confirm", include_str!("confirm.rs")),
        ("foreign", include_str!("foreign.rs")),
        ("gap", include_str!("gap.rs")),
        ("hold", include_str!("hold.rs")),
        ("lanes", include_str!("lanes.rs")),
        ("outcome", include_str!("outcome.rs")),
        ("replace", include_str!("replace.rs")),
        ("reverted", include_str!("reverted.rs")),
        ("send", include_str!("send.rs")),
        ("unseen", include_str!("unseen.rs")),
        ("wallet", include_str!("wallet.rs")),
    ];
    /// The tables that they write.
    const TABLES: [&str; 4] = ["operation::", "transaction::", "attempt::", "lane::"];
    const FENCES: [&str; 2] = ["self.fence(&*tx).await?", "fence(&*tx, SCHEMA,"];

    #[test]
    fn every_transaction_of_a_holder_proves_its_lease_before_it_touches_a_table() {
        for (file, text) in FENCED {
            for (number, work) in text.split("in_transaction(&").enumerate().skip(1) {
                let fence = FENCES.iter().filter_map(|fence| work.find(fence)).min();
                let first = TABLES
                    .iter()
                    .filter_map(|table| {
                        work.match_indices(table).map(|(at, _)| at).find(|at| is_call(work, *at))
                    })
                    .min();
                assert!(
                    fence.is_some() && first.is_none_or(|first| fence.is_some_and(|fence| fence < first)),
                    "transaction {number} of {file}.rs writes without proving its lease"
                );
            }
        }
    }

    #[test]
    fn a_holder_writes_nothing_outside_a_transaction() {
        let writers =
            ["insert", "signed", "sent", "unsent", "mined", "replan", "set_state", "drop_unsigned", "refuse"];
        let more = ["want_cancel", "hurry", "put", "enter", "take_nonce", "give_back"];
        for (file, text) in FENCED {
            for writer in writers.iter().chain(&more) {
                let bare = format!("::{writer}(&self.fleet.db");
                assert!(!text.contains(&bare), "{file}.rs calls {writer} without a transaction");
            }
        }
    }

    /// Whether the name at this place is that of a function that is given the transaction.
    fn is_call(work: &str, at: usize) -> bool {
        let rest: String =
            work.chars().skip(work.get(..at).map_or(0, |head| head.chars().count())).take(60).collect();
        rest.split_once('(').is_some_and(|(_, arguments)| arguments.trim_start().starts_with("&*tx"))
    }
}
