//! One request whose calls are touched by a fault: some are refused here, the others are asked
//! of the node, and what it says is changed.

use std::collections::{BTreeMap, HashMap};

use axum::{
    body::Bytes,
    http::{Response, StatusCode},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{
    Shared,
    fate::{Fate, block_parameter, hash_in, is_identity, is_send, is_state},
    faults::{Faults, Lie},
    limits::{Excess, Refusal},
    rewrite,
    rewrite::quantity,
    upstream::UpstreamError,
};

/// Names of blocks that move with the head.
const TAGS: [&str; 4] = ["latest", "pending", "safe", "finalized"];

/// A call that was let through to the node.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) call: Value,
    fate: Fate,
    /// First block of a range of logs, where there is a limit to it.
    from: Option<u64>,
    /// Head of the node that is behind, if this call meets that one.
    head: Option<u64>,
}

impl Question {
    pub(super) fn new(call: Value, fate: Fate) -> Self {
        Self { call, fate, from: None, head: None }
    }

    fn method(&self) -> &str {
        self.call["method"].as_str().unwrap_or_default()
    }

    /// Our answer instead of the node's.
    pub(super) fn refused(&self, refusal: Refusal) -> Value {
        let error = match refusal {
            Refusal::Error(error) => error,
            Refusal::Instead(result) => {
                return json!({ "jsonrpc": "2.0", "id": self.call["id"], "result": result });
            }
            // A WebSocket has no status.
            Refusal::ContentTooLarge => json!({ "code": 413, "message": "Request Entity Too Large" }),
        };
        json!({ "jsonrpc": "2.0", "id": self.call["id"], "error": error })
    }
}

/// The chain as the calls of one request see it; each height is looked up once.
pub(super) struct View<'a> {
    shared: &'a Shared,
    faults: &'a Faults,
    /// How many blocks the node is behind.
    lag: Option<u64>,
    heights: BTreeMap<&'static str, u64>,
}

impl<'a> View<'a> {
    pub(super) fn new(shared: &'a Shared, faults: &'a Faults, lag: Option<u64>) -> Self {
        Self { shared, faults, lag, heights: BTreeMap::new() }
    }

    async fn height(&mut self, tag: &'static str) -> Option<u64> {
        if let Some(height) = self.heights.get(tag) {
            return Some(*height);
        }
        let height = self.shared.upstream.height(if tag == "pending" { "latest" } else { tag }).await?;
        let height = height.saturating_sub(self.lag.unwrap_or_default());
        self.heights.insert(tag, height);
        Some(height)
    }

    async fn height_named(&mut self, name: &Value) -> Option<u64> {
        match TAGS.into_iter().find(|tag| name == tag) {
            Some(tag) => self.height(tag).await,
            None if name == "earliest" => Some(0),
            None => quantity(name),
        }
    }

    /// Makes a call one for this node, or refuses it.
    pub(super) async fn prepare(&mut self, question: &mut Question) -> Result<(), Refusal> {
        if let Some((name, refusal)) = question.fate.refusal.take() {
            self.shared.tally(name, 1);
            return Err(refusal);
        }
        let method = question.method().to_owned();
        if self.faults.swallow && is_send(&method) {
            self.shared.tally("swallow", 1);
            return Err(Refusal::Instead(hash_of(&question.call)));
        }
        if self.lag.is_some() {
            question.head = self.height("latest").await;
        }
        let Some(params) = question.call.get_mut("params") else { return Ok(()) };
        if self.lag.is_some() {
            self.pin_tags(&method, params).await;
        }
        let Some(parameter) = block_parameter(&method, params) else { return Ok(()) };
        if self.faults.no_finality && (*parameter == "finalized" || *parameter == "safe") {
            self.shared.tally("no_finality", 1);
            return Err(Refusal::new(-32602, "unknown block"));
        }
        if let Some(Lie::ForkAbove(above)) = self.faults.lie {
            self.leave_fork(above, parameter).await;
        }
        self.check_state(&method, parameter).await?;
        if method == "eth_getLogs" && parameter.get("blockHash").is_none() {
            question.from = self.check_range(parameter).await?;
        }
        Ok(())
    }

    /// Writes the heights of this node where a tag stands.
    async fn pin_tags(&mut self, method: &str, params: &mut Value) {
        let Some(params) = params.as_array_mut() else { return };
        for param in params {
            let places: Vec<&mut Value> = match param {
                Value::Object(filter) => {
                    if method == "eth_getLogs" && !filter.contains_key("blockHash") {
                        filter.entry("toBlock").or_insert_with(|| json!("latest"));
                    }
                    filter
                        .iter_mut()
                        .filter(|(key, _)| *key == "fromBlock" || *key == "toBlock")
                        .map(|(_, value)| value)
                        .collect()
                }
                other => vec![other],
            };
            for place in places {
                let tag = TAGS.into_iter().find(|tag| *place == *tag);
                if let Some(tag) = tag
                    && let Some(height) = self.height(tag).await
                {
                    *place = json!(format!("{height:#x}"));
                }
            }
        }
    }

    /// Blocks on the fork are asked for by their true names, and those of the true chain by a name
    /// that nobody knows.
    async fn leave_fork(&mut self, above: u64, parameter: &mut Value) {
        let Some(named) = hash_in(parameter) else { return };
        let hash = named.as_str().unwrap_or_default().to_owned();
        let height = self.shared.upstream.height_of(&hash).await;
        if height.is_none_or(|height| height > above) {
            *named = json!(rewrite::flip(&hash));
        }
    }

    /// Refuses what a node that is behind, or keeps no old state, cannot answer.
    async fn check_state(&mut self, method: &str, parameter: &mut Value) -> Result<(), Refusal> {
        let is_state = is_state(method);
        if (self.lag.is_none() && self.faults.no_archive.is_none()) || !(is_state || method == "eth_getLogs")
        {
            return Ok(());
        }
        let hash = hash_in(parameter).and_then(|hash| hash.as_str()).map(str::to_owned);
        let asked = match hash {
            Some(hash) => self.shared.upstream.height_of(&hash).await,
            None if parameter.is_object() => parameter.get("blockNumber").and_then(quantity),
            None => self.height_named(parameter).await,
        };
        let (Some(asked), Some(head)) = (asked, self.height("latest").await) else { return Ok(()) };
        if asked > head && self.lag.is_some() {
            let words = if is_state { "header not found" } else { "unknown block" };
            return Err(Refusal::new(-32000, words));
        }
        let kept = self.faults.no_archive.filter(|_| is_state);
        if kept.is_some_and(|kept| asked.saturating_add(kept) < head) {
            self.shared.tally("no_archive", 1);
            let words = format!("missing trie node {:064x} (path ) <nil>", asked);
            return Err(Refusal::new(-32000, words));
        }
        Ok(())
    }

    async fn check_range(&mut self, filter: &Value) -> Result<Option<u64>, Refusal> {
        let Some(limits) = self.faults.log_limits else { return Ok(None) };
        let latest = json!("latest");
        let from = self.height_named(filter.get("fromBlock").unwrap_or(&latest)).await;
        let to = self.height_named(filter.get("toBlock").unwrap_or(&latest)).await;
        let (Some(from), Some(to)) = (from, to) else { return Ok(None) };
        if to.saturating_sub(from) >= limits.blocks_max {
            self.shared.tally("log_limits", 1);
            let works_to = from + limits.blocks_max.saturating_sub(1);
            return Err(limits.refusal(Excess::Blocks, from, works_to));
        }
        Ok(Some(from))
    }

    /// Changes the node's answer to a question that was let through.
    pub(super) fn rewrite(&self, question: &Question, answer: &mut Value) -> Result<(), Refusal> {
        let (shared, faults) = (self.shared, self.faults);
        let method = question.method();
        let Some(result) = answer.get_mut("result") else { return Ok(()) };
        if let Some(head) = question.head {
            rewrite::clip(result, head);
            if method == "eth_blockNumber" {
                *result = json!(format!("{head:#x}"));
            }
        }
        if method == "eth_getLogs"
            && let Value::Array(logs) = result
        {
            self.rewrite_logs(question, logs)?;
        }
        if faults.strip_block_timestamp && rewrite::strip_timestamps(result) {
            shared.tally("strip_block_timestamp", 1);
        }
        match faults.lie {
            Some(Lie::ForkAbove(above)) if rewrite::fork(result, above) => shared.tally("fork_above", 1),
            Some(Lie::WrongChainId(id)) if is_identity(method) => {
                *result =
                    if method == "eth_chainId" { json!(format!("{id:#x}")) } else { json!(id.to_string()) };
                shared.tally("wrong_chain_id", 1);
            }
            _ => {}
        }
        Ok(())
    }

    fn rewrite_logs(&self, question: &Question, logs: &mut Vec<Value>) -> Result<(), Refusal> {
        let Question { fate, from, .. } = question;
        if let Some(limits) = self.faults.log_limits.filter(|limits| logs.len() > limits.results_max) {
            let first = logs.first().and_then(|log| quantity(&log["blockNumber"])).unwrap_or_default();
            let from = from.unwrap_or(first);
            self.shared.tally("log_limits", 1);
            return Err(limits.refusal(
                Excess::Results,
                from,
                rewrite::fits_to(logs, from, limits.results_max),
            ));
        }
        let rng = &mut StdRng::seed_from_u64(fate.seed);
        let dropped = fate.truncate.map_or(0, |lost| rewrite::truncate(logs, lost, rng));
        if dropped > 0 {
            self.shared.tally("truncate_logs", 1);
            self.shared.counts().logs_dropped += dropped as u64;
        }
        if fate.alter && rewrite::alter_one(logs, rng) {
            self.shared.tally("alter_log_data", 1);
        }
        if fate.invent && rewrite::invent_one(logs, rng) {
            self.shared.tally("invent_log", 1);
        }
        Ok(())
    }
}

/// Hash of the transaction that a call hands in; null where it is none.
fn hash_of(call: &Value) -> Value {
    let raw: Option<alloy_primitives::Bytes> = call["params"][0].as_str().and_then(|text| text.parse().ok());
    json!(raw.map(alloy_primitives::keccak256))
}

fn content_too_large() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"<html>413 Request Entity Too Large</html>"));
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
}

/// Answers a body whose calls, in this order, have these fates.
pub(super) async fn exchange(
    mut view: View<'_>,
    fates: Vec<Fate>,
    body: &[u8],
    rng: &mut StdRng,
) -> Result<Response<Bytes>, UpstreamError> {
    let (calls, is_batch) = match serde_json::from_slice(body).map_err(UpstreamError::Json)? {
        Value::Array(calls) => (calls, true),
        call => (vec![call], false),
    };
    // In the order of the calls: our refusals at once, the node's answers when they are here.
    let mut answers: Vec<Result<Value, Question>> = Vec::with_capacity(calls.len());
    for (call, fate) in calls.into_iter().zip(fates) {
        let mut question = Question::new(call, fate);
        answers.push(match view.prepare(&mut question).await {
            Ok(()) => Err(question),
            Err(Refusal::ContentTooLarge) => return Ok(content_too_large()),
            Err(refusal) => Ok(question.refused(refusal)),
        });
    }
    let open: Vec<&Value> =
        answers.iter().filter_map(|answer| answer.as_ref().err()).map(|open| &open.call).collect();
    let mut said: HashMap<String, Value> = HashMap::new();
    if !open.is_empty() {
        let body = if is_batch { json!(open) } else { json!(open[0]) };
        let response = view.shared.upstream.ask(body.to_string().into()).await?;
        let parsed = serde_json::from_slice(response.body());
        match parsed {
            Ok(Value::Array(entries)) if is_batch => {
                said.extend(entries.into_iter().map(|entry| (entry["id"].to_string(), entry)));
            }
            // Errors may lack the id.
            Ok(single) if !is_batch => said.extend([(open[0]["id"].to_string(), single)]),
            // The node is in trouble of its own.
            _ => return Ok(response),
        }
    }
    let mut result = Vec::with_capacity(answers.len());
    for answer in answers {
        let question = match answer {
            Ok(refused) => {
                result.push(refused);
                continue;
            }
            Err(question) => question,
        };
        let Some(mut answer) = said.remove(&question.call["id"].to_string()) else { continue };
        match view.rewrite(&question, &mut answer) {
            Ok(()) => result.push(answer),
            Err(Refusal::ContentTooLarge) => return Ok(content_too_large()),
            Err(refusal) => result.push(question.refused(refusal)),
        }
    }
    if view.faults.reorder && result.len() > 1 {
        let places = rng.random_range(1..result.len());
        result.rotate_left(places);
        view.shared.tally("reorder", 1);
    }
    let body = if is_batch { json!(result) } else { result.pop().unwrap_or_default() };
    Ok(Response::new(body.to_string().into()))
}
