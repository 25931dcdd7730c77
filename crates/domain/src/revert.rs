//! Why a contract refused a call: revert data into a type, into words and into a registry reason (P 1.9).
//!
//! Revert data comes from contracts that we do not control, so every length in it is checked, and
//! foreign text is cut short and stripped of control characters before anyone reads it.

use alloy_primitives::{Address, U256};

use crate::amount::{Eth, Metis};
use crate::fee;

mod texts;

/// `Error(string)`.
const ERROR: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
/// `Panic(uint256)`.
const PANIC: [u8; 4] = [0x4e, 0x48, 0x7b, 0x71];
/// Characters of a contract's own words that are kept; ours are all below 70.
const TEXT_MAX: usize = 256;
/// `Panic` of arithmetic that leaves its range.
const OVERFLOW: u64 = 0x11;
/// Bytes of an ABI word.
const WORD: usize = 32;

/// What a contract said when it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revert {
    /// The caller, or the new owner, is not whitelisted.
    NotWhitelisted,
    /// The sequencer's status is not Active, or there is no such sequencer.
    SeqNotActive,
    /// The caller is not the sequencer's owner.
    NotSeqOwner,
    /// The caller is not the sequencer's present signer.
    NotSeqSigner,
    /// The owner has a live sequencer already.
    OwnedSequencer,
    /// The signer address was used before.
    SignerExisted,
    /// A reward batch lists a signer without a live sequencer.
    NoSuchSeq,
    /// The reward recipient is empty.
    NoRewardRecipient,
    /// A zero address where somebody is meant.
    NullAddress,
    /// The token's holder allowed too little.
    TokenAllowance {
        /// Who may spend.
        spender: Address,
        /// How much.
        allowance: Metis,
        /// How much it takes.
        needed: Metis,
    },
    /// The token's holder has too little.
    TokenBalance {
        /// Who pays.
        sender: Address,
        /// What is there.
        balance: Metis,
        /// How much it takes.
        needed: Metis,
    },
    /// The token refuses an address; the error's name tells the part it plays.
    TokenAddress {
        /// Name of the error.
        error: &'static str,
        /// The refused address.
        address: Address,
    },
    /// The bridge asks for a higher fee.
    BridgeFee {
        /// The least it takes.
        required: Eth,
    },
    /// `Error(string)`, with any other text.
    Text(String),
    /// `Panic(uint256)`: arithmetic, an index, an assertion.
    Panic(U256),
    /// No data: out of gas, no code at the address, or a bare `revert()`.
    Empty,
    /// Data of an error that we do not know.
    Unknown {
        /// Its first four bytes, fewer if there are fewer.
        selector: Vec<u8>,
    },
}

impl Revert {
    /// Decodes revert data; whatever cannot be decoded is [`Revert::Unknown`].
    pub fn decode(data: &[u8]) -> Self {
        if data.is_empty() {
            return Self::Empty;
        }
        known(data).unwrap_or_else(|| Self::Unknown { selector: data[..data.len().min(4)].to_vec() })
    }

    /// The stable reason of the error registry.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotWhitelisted => "NOT_WHITELISTED",
            Self::SeqNotActive => "SEQUENCER_NOT_ACTIVE",
            Self::NotSeqOwner => "NOT_SEQUENCER_OWNER",
            Self::NotSeqSigner => "NOT_SEQUENCER_SIGNER",
            Self::OwnedSequencer => "OWNER_HAS_SEQUENCER",
            Self::SignerExisted => "SIGNER_USED",
            Self::NoRewardRecipient => "NO_REWARD_RECIPIENT",
            Self::NullAddress => "ADDRESS_ZERO",
            Self::TokenAllowance { .. } => "ALLOWANCE_TOO_LOW",
            Self::TokenBalance { .. } => "BALANCE_TOO_LOW",
            Self::BridgeFee { .. } => "FEE_TOO_LOW",
            Self::Text(text) => texts::find(text).map_or(texts::OTHER, |known| known.reason),
            Self::NoSuchSeq
            | Self::TokenAddress { .. }
            | Self::Panic(_)
            | Self::Empty
            | Self::Unknown { .. } => texts::OTHER,
        }
    }

    /// The reason as it applies to the operation of this name: some words and panics mean another thing in each.
    pub fn reason_in(&self, operation: &str) -> &'static str {
        let overflow = U256::from(OVERFLOW);
        match (operation, self) {
            ("withdraw", Self::Text(text)) if text == texts::INVALID_AMOUNT => "WITHDRAW_ABOVE_AVAILABLE",
            // The pool subtracts before it compares.
            ("withdraw", Self::Panic(code)) if *code == overflow => "WITHDRAW_ABOVE_AVAILABLE",
            // And adds before it compares.
            ("increase", Self::Panic(code)) if *code == overflow => "LOCK_CAP_EXCEEDED",
            (_, other) => other.reason(),
        }
    }

    /// One sentence for people, with the numbers.
    pub fn words(&self) -> String {
        match self {
            Self::NotWhitelisted => "the owner is not whitelisted".to_owned(),
            Self::SeqNotActive => "the sequencer is not active, or does not exist".to_owned(),
            Self::NotSeqOwner => "the sender is not the sequencer's owner".to_owned(),
            Self::NotSeqSigner => "the sender is not the sequencer's signer".to_owned(),
            Self::OwnedSequencer => "the owner has a live sequencer already".to_owned(),
            Self::SignerExisted => "the signer address was used before".to_owned(),
            Self::NoSuchSeq => "the batch lists a signer without a live sequencer".to_owned(),
            Self::NoRewardRecipient => "the reward recipient is empty".to_owned(),
            Self::NullAddress => "the zero address is not allowed here".to_owned(),
            Self::TokenAllowance { spender, allowance, needed } => {
                format!("{spender} may take {allowance} METIS, {needed} are needed")
            }
            Self::TokenBalance { sender, balance, needed } => {
                format!("{sender} has {balance} METIS, {needed} are needed")
            }
            Self::TokenAddress { error, address } => format!("the token refuses {address} ({error})"),
            Self::BridgeFee { required } => format!("the bridge asks for at least {required} ETH"),
            Self::Text(text) => match texts::find(text) {
                Some(known) => known.words.to_owned(),
                None => format!("the contract says \"{text}\""),
            },
            Self::Panic(code) => panic_words(*code),
            Self::Empty => "the contract gave no reason".to_owned(),
            Self::Unknown { selector } => {
                format!("the contract gave an unknown error 0x{}", hex::encode(selector))
            }
        }
    }
}

impl std::fmt::Display for Revert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words())
    }
}

fn known(data: &[u8]) -> Option<Revert> {
    let (selector, arguments) = data.split_first_chunk::<4>()?;
    Some(match *selector {
        ERROR => said(&text(arguments)?),
        PANIC => Revert::Panic(word(arguments, 0)?),
        [0x58, 0x4a, 0x79, 0x38] => Revert::NotWhitelisted,
        [0xc4, 0x94, 0x65, 0x71] => Revert::SeqNotActive,
        [0xa9, 0x1d, 0xa8, 0xff] => Revert::NotSeqOwner,
        [0x6b, 0x95, 0x26, 0x4b] => Revert::NotSeqSigner,
        [0x4e, 0x1f, 0xb3, 0xbc] => Revert::OwnedSequencer,
        [0xb5, 0x01, 0x3d, 0x2b] => Revert::SignerExisted,
        [0x2f, 0x0e, 0xda, 0xbe] => Revert::NoSuchSeq,
        [0xc4, 0xfc, 0x1d, 0xcc] => Revert::NoRewardRecipient,
        [0xe9, 0x9d, 0x5a, 0xc5] => Revert::NullAddress,
        [0xfb, 0x8f, 0x41, 0xb2] => Revert::TokenAllowance {
            spender: address(arguments)?,
            allowance: Metis(word(arguments, 1)?),
            needed: Metis(word(arguments, 2)?),
        },
        [0xe4, 0x50, 0xd3, 0x8c] => Revert::TokenBalance {
            sender: address(arguments)?,
            balance: Metis(word(arguments, 1)?),
            needed: Metis(word(arguments, 2)?),
        },
        other => Revert::TokenAddress { error: token_error(other)?, address: address(arguments)? },
    })
}

/// OpenZeppelin 5 errors whose only argument is an address.
fn token_error(selector: [u8; 4]) -> Option<&'static str> {
    Some(match selector {
        [0xe6, 0x02, 0xdf, 0x05] => "ERC20InvalidApprover",
        [0xec, 0x44, 0x2f, 0x05] => "ERC20InvalidReceiver",
        [0x96, 0xc6, 0xfd, 0x1e] => "ERC20InvalidSender",
        [0x94, 0x28, 0x0d, 0x62] => "ERC20InvalidSpender",
        [0x11, 0x8c, 0xda, 0xa7] => "OwnableUnauthorizedAccount",
        [0x1e, 0x4f, 0xbd, 0xf7] => "OwnableInvalidOwner",
        _ => return None,
    })
}

/// The bridge's fee is the one text with a number in it.
fn said(text: &str) -> Revert {
    match fee::required(text) {
        Some(required) => Revert::BridgeFee { required },
        None => Revert::Text(readable(text)),
    }
}

fn readable(text: &str) -> String {
    text.chars().take(TEXT_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn word(arguments: &[u8], index: usize) -> Option<U256> {
    let start = index.checked_mul(WORD)?;
    arguments.get(start..start.checked_add(WORD)?).map(U256::from_be_slice)
}

fn address(arguments: &[u8]) -> Option<Address> {
    let word = word(arguments, 0)?.to_be_bytes::<WORD>();
    let (padding, address) = word.split_at(12);
    padding.iter().all(|byte| *byte == 0).then(|| Address::from_slice(address))
}

/// An ABI string that is the only argument.
fn text(arguments: &[u8]) -> Option<String> {
    let offset = usize::try_from(word(arguments, 0)?).ok()?;
    let tail = arguments.get(offset..)?;
    let length = usize::try_from(word(tail, 0)?).ok()?;
    let bytes = tail.get(WORD..)?.get(..length)?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

fn panic_words(code: U256) -> String {
    let words = match code.try_into().unwrap_or(u64::MAX) {
        0x01 => "an assertion failed",
        OVERFLOW => "an amount is larger than what is there (arithmetic overflow)",
        0x12 => "division by zero",
        0x32 => "an index is out of bounds",
        _ => return format!("the contract panicked with code {code:#x}"),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests;
