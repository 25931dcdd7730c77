//! The calls we make, typed. Each is a value to be asked of an endpoint or a pool.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Attempt;
use super::types::{
    BlockId, CallFrame, CallRequest, FeeHistory, Header, Log, LogFilter, Quantity, Receipt, Simulated,
    SimulatedBlock, Transaction, quantity,
};

/// Time for a small read. Healthy nodes answer within 100 ms.
pub const QUICK: Duration = Duration::from_secs(10);
/// Time for a log query: big ranges are slow, and are cut smaller when they fail.
pub const LOGS: Duration = Duration::from_secs(30);
/// Time for a trace, the slowest thing a node does for us.
pub const TRACE: Duration = Duration::from_secs(60);
/// Time for a broadcast: after it the outcome is unknown, and the same bytes are sent again.
pub const SEND: Duration = Duration::from_secs(10);

/// No answer is larger: 100,000 logs are about 63 MB, and ranges of logs are kept far below that.
pub(super) const ANSWER_BYTES_MAX: usize = 128 << 20;
/// The logs of several blocks, about 6,000 of them: fewer blocks can be asked for instead, so that memory stays bounded
/// however crowded they are.
const RANGE_BYTES_MAX: usize = 4 << 20;

/// A typed JSON-RPC call.
#[derive(Debug)]
pub struct Call<R> {
    pub(super) method: &'static str,
    pub(super) params: Value,
    pub(super) parse: fn(&str) -> Result<R, String>,
    pub(super) timeout: Duration,
    pub(super) bytes_max: usize,
    pub(super) head: Option<fn(&R) -> Option<u64>>,
}

impl<R> Call<R> {
    fn new(
        method: &'static str,
        params: Value,
        parse: fn(&str) -> Result<R, String>,
        timeout: Duration,
    ) -> Self {
        Self { method, params, parse, timeout, bytes_max: ANSWER_BYTES_MAX, head: None }
    }

    /// The same call with another time limit.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The same call, with the node's refusal as an answer.
    #[must_use]
    pub fn attempt(self) -> Attempt<R> {
        Attempt(self)
    }
}

fn json_value<R: DeserializeOwned>(raw: &str) -> Result<R, String> {
    serde_json::from_str(raw).map_err(|error| error.to_string())
}

fn number(raw: &str) -> Result<u64, String> {
    json_value::<Quantity>(raw).map(|quantity| quantity.0)
}

fn returned<C: SolCall>(raw: &str) -> Result<C::Return, String> {
    let data: Bytes = json_value(raw)?;
    if data.is_empty() {
        // What a node answers when there is no contract at the address.
        return Err("nothing was returned: is this the contract?".to_owned());
    }
    C::abi_decode_returns_validate(&data).map_err(|error| error.to_string())
}

/// The chain id.
#[must_use]
pub fn chain_id() -> Call<u64> {
    Call::new("eth_chainId", json!([]), number, QUICK)
}

/// A block's header; none if the node does not have it.
#[must_use]
pub fn header(block: BlockId) -> Call<Option<Header>> {
    let mut call = match block {
        BlockId::Hash(hash) => Call::new("eth_getBlockByHash", json!([hash, false]), json_value, QUICK),
        other => Call::new("eth_getBlockByNumber", json!([other.parameter(), false]), json_value, QUICK),
    };
    if block == BlockId::Latest {
        call.head = Some(|header: &Option<Header>| header.map(|header| header.number));
    }
    call
}

/// The logs of one block, named by its hash, so that a reorg cannot slip in between.
#[must_use]
pub fn logs_of_block(block_hash: B256, filter: &LogFilter) -> Call<Vec<Log>> {
    let mut parameter = filter.parameter();
    parameter["blockHash"] = json!(block_hash);
    Call::new("eth_getLogs", json!([parameter]), json_value, LOGS)
}

/// The logs of a range of blocks, both ends included.
#[must_use]
pub fn logs_of_range(from: u64, to: u64, filter: &LogFilter) -> Call<Vec<Log>> {
    let mut parameter = filter.parameter();
    parameter["fromBlock"] = json!(quantity(from));
    parameter["toBlock"] = json!(quantity(to));
    let call = Call::new("eth_getLogs", json!([parameter]), json_value, LOGS);
    let bytes_max = if from < to { RANGE_BYTES_MAX } else { ANSWER_BYTES_MAX };
    Call { bytes_max, ..call }
}

/// A transaction; none if the node does not know it.
#[must_use]
pub fn transaction(hash: B256) -> Call<Option<Transaction>> {
    Call::new("eth_getTransactionByHash", json!([hash]), json_value, QUICK)
}

/// The transactions of a block by its height; none if the node does not have it.
#[must_use]
pub fn transactions_of(block: u64) -> Call<Option<Vec<Transaction>>> {
    #[derive(serde::Deserialize)]
    struct Block {
        transactions: Vec<Transaction>,
    }
    let read =
        |raw: &str| json_value::<Option<Block>>(raw).map(|block| block.map(|block| block.transactions));
    Call::new("eth_getBlockByNumber", json!([quantity(block), true]), read, LOGS)
}

/// A receipt; none while the node has not seen the transaction mined.
#[must_use]
pub fn receipt(hash: B256) -> Call<Option<Receipt>> {
    Call::new("eth_getTransactionReceipt", json!([hash]), json_value, QUICK)
}

/// Simulates a call and gives what it returned.
#[must_use]
pub fn call(request: &CallRequest, at: BlockId) -> Call<Bytes> {
    Call::new("eth_call", json!([request, at.parameter()]), json_value, QUICK)
}

/// Simulates calls one after the other on top of a block, each on what the one before it did. Not every node has it.
#[must_use]
pub fn simulate(requests: &[CallRequest], at: BlockId) -> Call<Vec<Simulated>> {
    let params = json!([{ "blockStateCalls": [{ "calls": requests }] }, at.parameter()]);
    let calls = |raw: &str| {
        let blocks: Vec<SimulatedBlock> = json_value(raw)?;
        Ok(blocks.into_iter().flat_map(|block| block.calls).collect())
    };
    Call::new("eth_simulateV1", params, calls, QUICK)
}

/// Calls a view function and decodes what it returned.
#[must_use]
pub fn view<C: SolCall>(contract: Address, function: &C, at: BlockId) -> Call<C::Return> {
    let request = CallRequest { to: contract, input: function.abi_encode().into(), ..Default::default() };
    Call::new("eth_call", json!([request, at.parameter()]), returned::<C>, QUICK)
}

/// Gas the call would use on top of the newest block of L1.
#[must_use]
pub fn estimate_gas(request: &CallRequest) -> Call<u64> {
    // Without the block some nodes take the pending one, and run everything in their pool first.
    Call::new("eth_estimateGas", json!([request, BlockId::Latest.parameter()]), number, QUICK)
}

/// Fees of the last `blocks` blocks, with the tips at these percentiles.
#[must_use]
pub fn fee_history(blocks: u64, percentiles: &[u8]) -> Call<FeeHistory> {
    Call::new("eth_feeHistory", json!([quantity(blocks), "latest", percentiles]), json_value, QUICK)
}

/// Number of transactions of an account: with [`BlockId::Latest`] the mined ones, with
/// [`BlockId::Pending`] also what the node believes is coming. Evidence, never the source of a nonce.
#[must_use]
pub fn nonce(account: Address, at: BlockId) -> Call<u64> {
    Call::new("eth_getTransactionCount", json!([account, at.parameter()]), number, QUICK)
}

/// Native balance.
#[must_use]
pub fn balance(account: Address, at: BlockId) -> Call<U256> {
    Call::new("eth_getBalance", json!([account, at.parameter()]), json_value, QUICK)
}

/// Code of a contract, empty if there is none.
#[must_use]
pub fn code(account: Address, at: BlockId) -> Call<Bytes> {
    Call::new("eth_getCode", json!([account, at.parameter()]), json_value, QUICK)
}

/// One word of a contract's storage.
#[must_use]
pub fn storage_at(account: Address, slot: B256, at: BlockId) -> Call<B256> {
    // Old nodes give the word without leading zeros, so it is read as a number.
    let word = |raw: &str| json_value::<U256>(raw).map(B256::from);
    Call::new("eth_getStorageAt", json!([account, slot, at.parameter()]), word, QUICK)
}

/// Hands a signed transaction to one node. Use [`crate::pool::Pool::broadcast`] for all of them.
#[must_use]
pub fn send_raw_transaction(raw: &Bytes) -> Call<B256> {
    Call::new("eth_sendRawTransaction", json!([raw]), json_value, SEND)
}

/// The calls inside a transaction.
#[must_use]
pub fn trace_transaction(hash: B256) -> Call<CallFrame> {
    let params = json!([hash, { "tracer": "callTracer" }]);
    Call::new("debug_traceTransaction", params, json_value, TRACE)
}

/// The canonical headers of these heights, in one batch; `None` for one the node does not have.
#[must_use]
pub fn headers(heights: impl IntoIterator<Item = u64>) -> Vec<Call<Option<Header>>> {
    heights.into_iter().map(|height| header(BlockId::Number(height))).collect()
}
