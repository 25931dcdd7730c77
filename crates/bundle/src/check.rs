//! What a cold machine must know before it signs: that the bundle is whole, and that every call does what its words say.

use alloy_primitives::{Address, B256, U256};
use domain::amount::Eth;
use domain::network::NetworkSpec;
use domain::operation::Operation;

use super::call::{Contracts, Meaning, Unread};
use super::file::{Bundle, Call, FORMAT};

/// An operation has two calls at most; more are not ours.
const CALLS_MAX: usize = 4;

/// Why a bundle is not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another format or version.
    #[error("this is no {FORMAT}")]
    Format,
    /// Something was changed on the way.
    #[error("the digest says {said}, the content has {found}: the file was changed on the way")]
    Digest {
        /// In the file.
        said: B256,
        /// Of the content.
        found: B256,
    },
    /// Too late by the clock of this machine.
    #[error("it has expired: prepare it again")]
    Expired,
    /// Contracts that are not the known ones of a public chain.
    #[error("the contracts are not those of {0}")]
    Contracts(String),
    /// None, or too many.
    #[error("it has {0} calls")]
    Count(usize),
    /// Nonces with gaps or in another order.
    #[error("the nonces of its calls do not follow one another")]
    Nonces,
    /// A call that cannot be read.
    #[error("call {number}: {why}")]
    Unread {
        /// From 1.
        number: usize,
        /// Why.
        why: Unread,
    },
    /// A call that does something else than its words say.
    #[error("call {number} says \"{said}\" and does \"{does}\"")]
    Words {
        /// From 1.
        number: usize,
        /// In the file.
        said: String,
        /// What the calldata means.
        does: String,
    },
    /// A call that prepares nothing stands before the last one.
    #[error("call {number} is neither what the bundle is for nor what prepares it")]
    Step {
        /// From 1.
        number: usize,
    },
    /// A call for another sequencer.
    #[error("call {number} is for another sequencer")]
    Sequencer {
        /// From 1.
        number: usize,
    },
    /// Fees that no node would take.
    #[error("call {number} has a tip above its fee, or no gas")]
    Fees {
        /// From 1.
        number: usize,
    },
    /// The key is another one.
    #[error("the key is of {key}, the operation is for {sender} to sign")]
    Key {
        /// Of the key.
        key: Address,
        /// Who must sign.
        sender: Address,
    },
}

impl Bundle {
    /// Whether it may be signed at `now`, unix seconds.
    ///
    /// # Errors
    /// [`Refused`] with the first thing that is wrong.
    pub fn check(&self, now: i64) -> Result<(), Refused> {
        if self.format != FORMAT {
            return Err(Refused::Format);
        }
        let found = self.computed_digest();
        if found != self.digest {
            return Err(Refused::Digest { said: self.digest, found });
        }
        if now >= self.expires_at {
            return Err(Refused::Expired);
        }
        self.check_contracts()?;
        if self.calls.is_empty() || self.calls.len() > CALLS_MAX {
            return Err(Refused::Count(self.calls.len()));
        }
        let follows = |pair: &[Call]| pair[0].nonce.checked_add(1) == Some(pair[1].nonce);
        if !self.calls.windows(2).all(follows) {
            return Err(Refused::Nonces);
        }
        for (index, call) in self.calls.iter().enumerate() {
            self.check_call(index + 1, call)?;
        }
        Ok(())
    }

    /// On a public chain the contracts are known; a private one is believed, and shown.
    fn check_contracts(&self) -> Result<(), Refused> {
        let known = [NetworkSpec::mainnet(), NetworkSpec::sepolia()];
        let Some(spec) = known.into_iter().find(|spec| spec.l1.chain_id == self.chain_id) else {
            return Ok(());
        };
        let expected = Contracts {
            locking_pool: spec.l1.locking_pool,
            locking_info: spec.l1.locking_info,
            metis: spec.l1.metis,
        };
        if self.contracts == expected { Ok(()) } else { Err(Refused::Contracts(spec.name.to_string())) }
    }

    fn check_call(&self, number: usize, call: &Call) -> Result<(), Refused> {
        let meaning = Meaning::of(call.to, call.value.0, &call.data, &self.contracts)
            .map_err(|why| Refused::Unread { number, why })?;
        let does = meaning.words();
        if does != call.words {
            return Err(Refused::Words { number, said: call.words.clone(), does });
        }
        // A lock has no id yet; all others are for the sequencer that the bundle names.
        if let Meaning::Operation { sequencer: Some(id), .. } = meaning
            && Some(id) != self.sequencer.id
        {
            return Err(Refused::Sequencer { number });
        }
        // The last call is what the bundle is for; those before it may only prepare it.
        let whole = format!("{}: {does}", self.sequencer.name);
        if number == self.calls.len() {
            if whole != self.words {
                return Err(Refused::Words { number, said: self.words.clone(), does: whole });
            }
        } else if !prepares(&meaning) {
            return Err(Refused::Step { number });
        }
        if call.gas_limit == 0 || call.max_priority_fee_per_gas > call.max_fee_per_gas {
            return Err(Refused::Fees { number });
        }
        Ok(())
    }
}

/// Whether a call comes before another one that it makes possible: an approval, and the recipient of a claim or an exit.
const fn prepares(meaning: &Meaning) -> bool {
    matches!(
        meaning,
        Meaning::Approve { .. } | Meaning::Operation { operation: Operation::SetRecipient { .. }, .. }
    )
}

/// What is about to be signed, one line each, for the person at the cold machine.
#[must_use]
pub fn describe(bundle: &Bundle) -> Vec<String> {
    let Contracts { locking_pool, locking_info, metis } = bundle.contracts;
    let mut lines = vec![
        format!("operation  {}", bundle.words),
        format!(
            "sequencer  {}",
            bundle.sequencer.id.map_or("not locked yet".to_owned(), |id| format!("id {id}"))
        ),
        format!("network    {}, chain {}", bundle.network, bundle.chain_id),
        format!("sender     {}", bundle.sender),
        format!("contracts  LockingPool {locking_pool}, LockingInfo {locking_info}, METIS {metis}"),
    ];
    for call in &bundle.calls {
        let most = Eth(U256::from(call.gas_limit).saturating_mul(call.max_fee_per_gas.0));
        lines.push(format!("nonce {:<4} {}", call.nonce, call.words));
        lines.push(format!("           to {}, {} ETH, gas at most {most} ETH", call.to, call.value));
    }
    lines.push(format!("digest     {}", bundle.digest));
    lines
}
