//! The calls to the neighbours: indexer for what is observed, keys for what is secret. Nothing else is ever called.

use alloy_primitives::{Address, B256};
use api::indexer::v1::indexer_service_client::IndexerServiceClient;
use api::indexer::v1::nodes_service_client::NodesServiceClient;
use api::indexer::v1::{
    ChainEvent, ChainParameters, GetChainParametersRequest, GetNodeRequest, ListEventsRequest,
    ListMissedTurnsRequest, ListNodesRequest, ListSequencerRecordsRequest, MissedTurn, Node, SequencerRecord,
    SignerOnNetwork, StreamEventsRequest, StreamEventsResponse, get_node_request,
};
use api::keys::v1::keys_service_client::KeysServiceClient;
use api::keys::v1::{
    GetKeyRequest, Key, ListKeysRequest, SignTransactionRequest, SignTransactionResponse, get_key_request,
};
use runtime::client::Peer;
use tonic::{Code, Streaming};

use crate::error::Error;

/// Rows asked for at once.
const PAGE: i32 = 500;
/// Pages read at most: 50,000 rows, far more than a network or an installation has.
const PAGES_MAX: usize = 100;

/// Clients of the services that this one calls. Clones share connections.
#[derive(Debug, Clone)]
pub struct Neighbours {
    indexer: IndexerServiceClient<Peer>,
    nodes: NodesServiceClient<Peer>,
    keys: KeysServiceClient<Peer>,
}

impl Neighbours {
    /// Over these peers.
    pub fn new(indexer: Peer, keys: Peer) -> Self {
        let indexer = indexer.with_methods(api::methods::grpc());
        let keys = keys.with_methods(api::methods::grpc());
        Self {
            indexer: IndexerServiceClient::new(indexer.clone()),
            nodes: NodesServiceClient::new(indexer),
            keys: KeysServiceClient::new(keys),
        }
    }

    /// The event stream of a network from a cursor on.
    pub async fn events(
        &self,
        network: &str,
        after_cursor: &str,
    ) -> Result<Streaming<StreamEventsResponse>, Error> {
        let request =
            StreamEventsRequest { network: network.to_owned(), after_cursor: after_cursor.to_owned() };
        let stream = self.indexer.clone().stream_events(request).await.map_err(Error::of("indexer"))?;
        Ok(stream.into_inner())
    }

    /// The indexed events of one transaction: the postcondition of an operation is among them, or not yet.
    pub async fn events_of(&self, network: &str, transaction: B256) -> Result<Vec<ChainEvent>, Error> {
        let request = ListEventsRequest {
            network: network.to_owned(),
            transaction_hash: transaction.to_string(),
            page_size: PAGE,
            ..Default::default()
        };
        let answer = self.indexer.clone().list_events(request).await.map_err(Error::of("indexer"))?;
        Ok(answer.into_inner().events)
    }

    /// Parameters of the contracts as indexed.
    pub async fn parameters(&self, network: &str) -> Result<ChainParameters, Error> {
        let request = GetChainParametersRequest { network: network.to_owned(), at_block: 0 };
        let answer =
            self.indexer.clone().get_chain_parameters(request).await.map_err(Error::of("indexer"))?;
        answer.into_inner().parameters.ok_or(Error::Malformed { what: "an answer of GetChainParameters" })
    }

    /// All sequencer records of a network.
    pub async fn records(&self, network: &str) -> Result<Vec<SequencerRecord>, Error> {
        let (mut records, mut page_token) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let request =
                ListSequencerRecordsRequest { network: network.to_owned(), page_size: PAGE, page_token };
            let answer = self.indexer.clone().list_sequencer_records(request).await;
            let answer = answer.map_err(Error::of("indexer"))?.into_inner();
            records.extend(answer.records);
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(records)
    }

    /// The newest turns that producers of a network lost by a re-span, newest first.
    pub async fn missed_turns(&self, network: &str) -> Result<Vec<MissedTurn>, Error> {
        let request =
            ListMissedTurnsRequest { network: network.to_owned(), page_size: PAGE, ..Default::default() };
        let answer = self.indexer.clone().list_missed_turns(request).await.map_err(Error::of("indexer"))?;
        Ok(answer.into_inner().turns)
    }

    /// The node of a signer; none if no node is registered for it.
    pub async fn node_of(&self, network: &str, signer: Address) -> Result<Option<Node>, Error> {
        let selector = SignerOnNetwork { network: network.to_owned(), signer: signer.to_string() };
        let request = GetNodeRequest { selector: Some(get_node_request::Selector::Signer(selector)) };
        match self.nodes.clone().get_node(request).await {
            Ok(answer) => Ok(answer.into_inner().node),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(Error::of("indexer")(status)),
        }
    }

    /// All nodes of a network.
    pub async fn nodes(&self, network: &str) -> Result<Vec<Node>, Error> {
        let (mut nodes, mut page_token) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let request = ListNodesRequest { network: network.to_owned(), page_size: PAGE, page_token };
            let answer = self.nodes.clone().list_nodes(request).await;
            let answer = answer.map_err(Error::of("indexer"))?.into_inner();
            nodes.extend(answer.nodes);
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(nodes)
    }

    /// The public side of a key of ours. An unknown id is the refusal of keys.
    pub async fn key(&self, id: &str) -> Result<Key, Error> {
        let request = GetKeyRequest { selector: Some(get_key_request::Selector::Id(id.to_owned())) };
        let answer = self.keys.clone().get_key(request).await.map_err(Error::of("keys"))?;
        answer.into_inner().key.ok_or(Error::Malformed { what: "an answer of GetKey" })
    }

    /// The key of an account, if it is one of ours.
    pub async fn key_at(&self, account: Address) -> Result<Option<Key>, Error> {
        let selector = get_key_request::Selector::Address(account.to_string());
        match self.keys.clone().get_key(GetKeyRequest { selector: Some(selector) }).await {
            Ok(answer) => Ok(answer.into_inner().key),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(Error::of("keys")(status)),
        }
    }

    /// The public side of all keys.
    pub async fn keys(&self) -> Result<Vec<Key>, Error> {
        let (mut keys, mut page_token) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let request = ListKeysRequest { page_size: PAGE, page_token, role: 0 };
            let answer = self.keys.clone().list_keys(request).await.map_err(Error::of("keys"))?.into_inner();
            keys.extend(answer.keys);
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(keys)
    }

    /// Verdict and signature in one call.
    pub async fn sign(&self, request: SignTransactionRequest) -> Result<SignTransactionResponse, Error> {
        let answer = self.keys.clone().sign_transaction(request).await.map_err(Error::of("keys"))?;
        Ok(answer.into_inner())
    }
}
