//! What a policy costs: decoding a random call exactly and asking 500 rules about it, in process, without a database.
//!
//! The requests are drawn so that each ends somewhere else: in a rule that allows, in one that denies, in a bound of
//! one of many rules, or nowhere near. No figure is given unless every verdict is that of the rules asked one by one.

use std::collections::BTreeMap;
use std::time::Instant;

use alloy_primitives::{Address, U256, address};
use alloy_sol_types::SolCall;
use anyhow::{Context, Result, ensure};
use keys::db::key::{Labels, Role};
use keys::policy::call::{approveCall, relockCall, unlockCall, withdrawCall};
use keys::policy::{Call, KeyFacts, Policy, Request, Sent, Subject, Verdict};
use rand::RngExt;
use serde_json::json;
use time::OffsetDateTime;

use crate::report::{Figure, quantile};

const RULES: usize = 500;
const REQUESTS: usize = 50_000;
/// Requests whose verdict is compared with that of the rules one by one; each costs 500 policies of one rule.
const COMPARED: usize = 2_000;
const POOL: Address = address!("00000000000000000000000000000000000000a1");
const INFO: Address = address!("00000000000000000000000000000000000000a2");
const METIS: Address = address!("00000000000000000000000000000000000000a3");

/// One request before it is borrowed from.
struct Drawn {
    to: Address,
    data: Vec<u8>,
    caller: &'static str,
    name: String,
    labels: Labels,
    value: U256,
    max_fee_per_gas: U256,
}

/// p99 of one decision about a random request.
pub async fn five_hundred_rules() -> Result<Figure> {
    let rules: Vec<String> = (0..RULES).map(rule).collect();
    let policy = Policy::parse(&document(&rules.concat())).context("the rules of the bench")?;
    let drawn: Vec<Drawn> = (0..REQUESTS).map(|_| draw()).collect();
    let alone: Vec<Policy> =
        rules.iter().map(|rule| Policy::parse(&document(rule))).collect::<Result<_, _>>()?;
    let mut allowed = 0_usize;
    let mut took = Vec::with_capacity(REQUESTS);
    for (at, drawn) in drawn.iter().enumerate() {
        let begun = Instant::now();
        let contracts = policy.contracts.get("bench").context("the network of the bench")?;
        let call = Call::decode(drawn.to, &drawn.data, contracts)?;
        let request = drawn.request(&call);
        let verdict = policy.judge(&request);
        took.push(begun.elapsed().as_secs_f64() * 1_000.0);
        let yes = matches!(verdict, Verdict::Allowed { .. });
        allowed += usize::from(yes);
        if at < COMPARED {
            ensure!(yes == one_by_one(&alone, &request), "request {at} is judged otherwise rule by rule");
        }
    }
    ensure!(allowed > REQUESTS / 100 && allowed < REQUESTS, "the requests are all of one kind");
    let p50 = quantile(&mut took, 0.5);
    let what = "p99 from calldata to verdict of one transaction, 500 rules, in process, one thread";
    Ok(Figure::new(quantile(&mut took, 0.99), "ms", 1.0, what)
        .with("p50_ms", json!(p50))
        .with("requests", json!(REQUESTS))
        .with("allowed", json!(allowed))
        .with("compared_rule_by_rule", json!(COMPARED)))
}

/// Allowed if one rule allows and none denies.
fn one_by_one(rules: &[Policy], request: &Request<'_>) -> bool {
    rules.iter().any(|rule| matches!(rule.judge(request), Verdict::Allowed { .. }))
        && !rules.iter().any(|rule| rule.denying(request).next().is_some())
}

fn document(rules: &str) -> String {
    format!(
        "format = 2\n[contracts.bench]\nchain_id = 1\nlocking_pool = \"{POOL}\"\nlocking_info = \"{INFO}\"\nmetis = \"{METIS}\"\n{rules}"
    )
}

/// Rules as a fleet has them: by key, by label and by role, narrow and wide, every tenth a denial.
fn rule(number: usize) -> String {
    if number.is_multiple_of(10) {
        return format!(
            "[[rule]]\nname = \"deny-{number}\"\neffect = \"deny\"\nfunctions = [\"unlock\"]\nkeys = {{ labels = {{ site = \"s{number}\" }} }}\n"
        );
    }
    let keys = match number % 3 {
        0 => format!("any_of = [\"key-{number}\", \"key-{}\"]", number + 1),
        1 => format!("labels = {{ site = \"s{}\" }}", number % 50),
        _ => "role = \"owner\"".to_owned(),
    };
    format!(
        "[[rule]]\nname = \"rule-{number}\"\ncallers = [\"caller-{}\"]\nnetworks = [\"bench\"]\n\
         functions = [\"approve\", \"relock\", \"withdraw\", \"unlock\"]\namount_wei_max = \"{}\"\nvalue_wei_max = \"{}\"\n\
         max_fee_per_gas_wei = \"{}\"\nmax_total_fee_wei = \"100000000000000000\"\nmetis_24h_wei_max = \"{number}000\"\n\
         approvals = {}\nkeys = {{ {keys} }}\nhours = [{{ from = \"00:00\", to = \"24:00\" }}]\n",
        number % 4,
        number * 10,
        number % 7,
        number * 1_000_000_000,
        number % 3
    )
}

fn draw() -> Drawn {
    let mut random = rand::rng();
    let amount = U256::from(random.random_range(0..6_000_u64));
    let seq_id = U256::from(random.random_range(0..100_u64));
    let (to, data) = match random.random_range(0..4_u8) {
        0 => (METIS, approveCall { spender: INFO, value: amount }.abi_encode()),
        1 => (POOL, relockCall { seqId: seq_id, amount, lockReward: random.random() }.abi_encode()),
        2 => (POOL, withdrawCall { seqId: seq_id, amount }.abi_encode()),
        _ => (POOL, unlockCall { seqId: seq_id, l2Gas: random.random() }.abi_encode()),
    };
    let callers = ["caller-0", "caller-1", "caller-2", "caller-3", "stranger"];
    let site = format!("s{}", random.random_range(0..60_u32));
    Drawn {
        to,
        data,
        caller: callers[random.random_range(0..callers.len())],
        name: format!("key-{}", random.random_range(0..600_u32)),
        labels: BTreeMap::from([("site".to_owned(), site)]),
        value: U256::from(random.random_range(0..8_u64)),
        max_fee_per_gas: U256::from(random.random_range(1..600_u64)) * U256::from(1_000_000_000_u64),
    }
}

impl Drawn {
    fn request<'a>(&'a self, call: &'a Call) -> Request<'a> {
        Request {
            caller: self.caller,
            key: KeyFacts { id: "id", name: &self.name, role: Role::Owner, labels: &self.labels },
            account: POOL,
            now: OffsetDateTime::UNIX_EPOCH,
            subject: Subject::Call(Sent {
                network: "bench",
                call,
                value: self.value,
                gas_limit: 200_000,
                max_fee_per_gas: self.max_fee_per_gas,
                signer_key: None,
            }),
        }
    }
}
