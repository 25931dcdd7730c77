//! The parameters of an operation as they come: every field parsed strictly, into `domain`'s operation.

use alloy_primitives::Address;
use api::convert;
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::rotate_signer_parameters::NewSigner;
use api::lifecycle::v1::{
    ClaimParameters, IncreaseParameters, LockParameters, OperationParameters, RotateSignerParameters,
    SetOwnerParameters, SetRecipientParameters, UnlockParameters, WithdrawFinalParameters,
    WithdrawParameters,
};
use api::reasons;
use domain::amount::Metis;
use domain::operation::Operation;
use domain::pubkey::PublicKey;
use runtime::errors::Refusal;
use uuid::Uuid;

/// What a lock takes from the register where the request is silent.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The signer's public key, if known.
    pub signer: Option<PublicKey>,
    /// The recipient wanted at registration.
    pub recipient: Address,
}

/// The signer of a rotation, before its key was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignerAsked {
    /// A key of ours.
    Key(String),
    /// A public key of somebody else.
    Pubkey(PublicKey),
}

/// The new signer that a request names, if it is a rotation.
pub fn signer_asked(parameters: &OperationParameters) -> Result<Option<SignerAsked>, Refusal> {
    let Some(Parameters::RotateSigner(RotateSignerParameters { new_signer })) = &parameters.parameters else {
        return Ok(None);
    };
    Ok(Some(match convert::present("rotate_signer.new_signer", new_signer.as_ref())? {
        NewSigner::KeyId(id) => {
            convert::required("rotate_signer.key_id", id)?;
            SignerAsked::Key(id.clone())
        }
        NewSigner::Pubkey(text) => SignerAsked::Pubkey(convert::pubkey("rotate_signer.pubkey", text)?),
    }))
}

/// The operation that is asked for. `new_signer` is the key that `signer_asked` led to.
pub fn operation(
    parameters: &OperationParameters,
    registered: &Registered,
    new_signer: Option<PublicKey>,
) -> Result<Operation, Refusal> {
    Ok(match convert::present("parameters", parameters.parameters.as_ref())? {
        Parameters::Lock(LockParameters { amount_wei, reward_recipient, override_node_reason }) => {
            let recipient = match reward_recipient.as_str() {
                "" => registered.recipient,
                text => convert::address_nonzero("lock.reward_recipient", text)?,
            };
            Operation::Lock {
                amount: positive("lock.amount_wei", amount_wei)?,
                recipient,
                signer: convert::present("sequencer.signer_pubkey", registered.signer)?,
                override_node: Some(override_node_reason.clone()).filter(|reason| !reason.is_empty()),
            }
        }
        Parameters::Increase(IncreaseParameters { amount_wei, with_rewards }) => {
            let amount = match (amount_wei.as_str(), with_rewards) {
                ("", true) => Metis::ZERO,
                (text, true) => convert::metis("increase.amount_wei", text)?,
                (text, false) => positive("increase.amount_wei", text)?,
            };
            Operation::Increase { amount, with_rewards: *with_rewards }
        }
        Parameters::Withdraw(WithdrawParameters { amount_wei }) => {
            Operation::Withdraw { amount: positive("withdraw.amount_wei", amount_wei)? }
        }
        Parameters::Claim(ClaimParameters { l2_gas }) => Operation::Claim { l2_gas: *l2_gas },
        Parameters::SetRecipient(SetRecipientParameters { recipient }) => Operation::SetRecipient {
            recipient: convert::address_nonzero("set_recipient.recipient", recipient)?,
        },
        Parameters::SetOwner(SetOwnerParameters { new_owner }) => {
            Operation::SetOwner { new_owner: convert::address_nonzero("set_owner.new_owner", new_owner)? }
        }
        Parameters::RotateSigner(_) => {
            Operation::RotateSigner { new_signer: convert::present("rotate_signer.new_signer", new_signer)? }
        }
        Parameters::Unlock(UnlockParameters { l2_gas }) => Operation::Unlock { l2_gas: *l2_gas },
        Parameters::WithdrawFinal(WithdrawFinalParameters { l2_gas }) => {
            Operation::WithdrawFinal { l2_gas: *l2_gas }
        }
    })
}

/// An amount that must be above zero.
fn positive(field: &str, text: &str) -> Result<Metis, Refusal> {
    let amount = convert::metis(field, text)?;
    if amount.is_zero() {
        return Err(convert::bad(&reasons::AMOUNT_ZERO, field, "the amount must be above zero"));
    }
    Ok(amount)
}

/// An id that this service gave out.
pub fn id(field: &str, text: &str) -> Result<Uuid, Refusal> {
    convert::required(field, text)?;
    Uuid::try_parse(text).map_err(|_| convert::bad(&reasons::ID_MALFORMED, field, "an id is a UUID"))
}

/// Amounts outside the contract's bounds are bad input of the lock's field, not only a failed check.
pub fn check_lock_bounds(operation: &Operation, min: Metis, max: Metis) -> Result<(), Refusal> {
    let Operation::Lock { amount, .. } = operation else { return Ok(()) };
    let field = "lock.amount_wei";
    if *amount < min {
        let why = format!("{amount} METIS are below the minimum of {min}");
        return Err(convert::bad(&reasons::AMOUNT_BELOW_MINIMUM, field, why)
            .meta("min_lock_wei", min.wei_string())
            .meta("amount_wei", amount.wei_string()));
    }
    if *amount > max {
        let why = format!("{amount} METIS are above the maximum of {max}");
        return Err(convert::bad(&reasons::AMOUNT_ABOVE_MAXIMUM, field, why)
            .meta("max_lock_wei", max.wei_string())
            .meta("amount_wei", amount.wei_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(amount: &str, recipient: &str) -> Result<Operation, Refusal> {
        let registered = Registered {
            signer: PublicKey::from_hex(
                "2e1a3735f93ddbad4f697dc576e37b159f31f344808bff2a18269b228fc83663\
                 cfb66da6462fd258b5ef09d4a532a41ef96d0d589f1e0401317c21534c0239ad",
            )
            .ok(),
            recipient: Address::repeat_byte(1),
        };
        let parameters = LockParameters {
            amount_wei: amount.to_owned(),
            reward_recipient: recipient.to_owned(),
            override_node_reason: String::new(),
        };
        operation(&OperationParameters { parameters: Some(Parameters::Lock(parameters)) }, &registered, None)
    }

    #[test]
    fn a_bad_field_is_named_with_its_reason() {
        let too_large = "115792089237316195423570985008687907853269984665640564039457584007913129639936";
        let cases = [
            ("0", "", "AMOUNT_ZERO", "lock.amount_wei"),
            ("-1", "", "AMOUNT_NEGATIVE", "lock.amount_wei"),
            ("0.5", "", "AMOUNT_FRACTIONAL_WEI", "lock.amount_wei"),
            (too_large, "", "AMOUNT_TOO_LARGE", "lock.amount_wei"),
            ("", "", "FIELD_REQUIRED", "lock.amount_wei"),
            ("1", "0x7591940125cC0344a65D60319d1ADcD463B2D4c4", "ADDRESS_CHECKSUM", "lock.reward_recipient"),
            ("1", "0x00", "ADDRESS_MALFORMED", "lock.reward_recipient"),
            ("1", "0x0000000000000000000000000000000000000000", "ADDRESS_ZERO", "lock.reward_recipient"),
        ];
        for (amount, recipient, reason, field) in cases {
            let refused = lock(amount, recipient).expect_err("bad input");
            assert_eq!(
                (refused.reason.name, refused.fields[0].0.as_str()),
                (reason, field),
                "{amount} {recipient}"
            );
        }
        assert!(lock("1", "").is_ok());
    }

    #[test]
    fn amounts_outside_the_contracts_bounds_are_bad_input() {
        let bounds = (Metis::whole(20_000), Metis::whole(100_000));
        let judge = |units: u64| {
            let operation = lock(&Metis::whole(units).wei_string(), "").expect("well formed");
            check_lock_bounds(&operation, bounds.0, bounds.1).map_err(|refused| refused.reason.name)
        };
        assert_eq!(judge(19_999), Err("AMOUNT_BELOW_MINIMUM"));
        assert_eq!(judge(20_000), Ok(()));
        assert_eq!(judge(100_000), Ok(()));
        assert_eq!(judge(100_001), Err("AMOUNT_ABOVE_MAXIMUM"));
    }

    #[test]
    fn an_increase_of_nothing_but_rewards_needs_no_amount() {
        let parse = |amount: &str, with_rewards| {
            let parameters = IncreaseParameters { amount_wei: amount.to_owned(), with_rewards };
            let registered = Registered { signer: None, recipient: Address::ZERO };
            operation(
                &OperationParameters { parameters: Some(Parameters::Increase(parameters)) },
                &registered,
                None,
            )
        };
        assert!(parse("", true).is_ok());
        assert!(parse("0", true).is_ok());
        assert_eq!(parse("0", false).expect_err("nothing").reason.name, "AMOUNT_ZERO");
    }
}
