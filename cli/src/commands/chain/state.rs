//! `seqctl chain state`: the whole indexed state as of a block. As JSON one document, written as it comes, so that its
//! size does not matter; for people a summary.

use std::io::{BufWriter, Write};

use anyhow::{Context, Result, ensure};
use api::indexer::v1::export_state_response::Piece;
use api::indexer::v1::{
    BatchState, CreditMethod, ExportStateRequest, ExportStateResponse, RecordStatus, SequencerRecord,
    StateHeader,
};
use api::types::v1::AsOf;
use domain::amount::Metis;
use tonic::Streaming;

use super::parameter_rows;
use crate::connect::Session;
use crate::output::{Printer, Rows, json, metis, utc, word};

/// Fields of the document in the order in which the pieces come; the last four are lists.
const FIELDS: [&str; 6] = ["header", "parameters", "whitelist", "records", "batches", "epochs"];
/// Place of the first list.
const LISTS_FROM: usize = 2;

/// Prints the state as of an L1 and an L2 block; 0 for the last indexed ones.
pub async fn run(session: &Session, out: &Printer, at_block: u64, at_l2_block: u64) -> Result<()> {
    let request = ExportStateRequest { network: session.network()?, at_block, at_l2_block };
    let pieces = session.indexer().export_state(request).await?.into_inner();
    if out.json { document(pieces).await } else { summary(pieces).await }
}

async fn document(mut pieces: Streaming<ExportStateResponse>) -> Result<()> {
    let mut document = Document::begin(BufWriter::new(std::io::stdout()))?;
    while let Some(ExportStateResponse { piece }) = pieces.message().await? {
        let (field, json) = match piece.context("a piece of a kind that this seqctl does not know")? {
            Piece::Header(piece) => (0, json("sequencer.indexer.v1.StateHeader", &piece)?),
            Piece::Parameters(piece) => (1, json("sequencer.indexer.v1.ChainParameters", &piece)?),
            Piece::Whitelist(piece) => (2, json("sequencer.indexer.v1.WhitelistState", &piece)?),
            Piece::Record(piece) => (3, json("sequencer.indexer.v1.SequencerRecord", &piece)?),
            Piece::Batch(piece) => (4, json("sequencer.indexer.v1.BatchState", &piece)?),
            Piece::Epoch(piece) => (5, json("sequencer.indexer.v1.Epoch", &piece)?),
        };
        document.add(field, &json)?;
    }
    document.end()
}

/// One JSON object that grows by pieces in order.
struct Document<W> {
    out: W,
    /// Field that is being written.
    field: usize,
    /// Whether it has something already.
    begun: bool,
}

impl<W: Write> Document<W> {
    fn begin(mut out: W) -> Result<Self> {
        out.write_all(b"{")?;
        let mut document = Self { out, field: 0, begun: false };
        document.open()?;
        Ok(document)
    }

    fn open(&mut self) -> Result<()> {
        let list = if self.field < LISTS_FROM { "" } else { "[" };
        write!(self.out, "\n\"{}\": {list}", FIELDS[self.field])?;
        self.begun = false;
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let rest: &[u8] = match (self.field < LISTS_FROM, self.begun) {
            (true, true) => b"",
            (true, false) => b"null",
            (false, _) => b"]",
        };
        Ok(self.out.write_all(rest)?)
    }

    fn next(&mut self) -> Result<()> {
        self.close()?;
        self.field += 1;
        self.out.write_all(b",")?;
        self.open()
    }

    fn add(&mut self, field: usize, json: &str) -> Result<()> {
        let twice = field == self.field && self.begun && field < LISTS_FROM;
        ensure!(field >= self.field && !twice, "the pieces of the state come in the wrong order");
        while self.field < field {
            self.next()?;
        }
        let comma = if self.begun { ",\n" } else { "" };
        write!(self.out, "{comma}{json}")?;
        self.begun = true;
        Ok(())
    }

    fn end(mut self) -> Result<()> {
        while self.field + 1 < FIELDS.len() {
            self.next()?;
        }
        self.close()?;
        self.out.write_all(b"\n}\n")?;
        Ok(self.out.flush()?)
    }
}

async fn summary(mut pieces: Streaming<ExportStateResponse>) -> Result<()> {
    let mut counted = Counted::default();
    let mut records =
        Rows::new(["ID", "STATUS", "OWNER", "SIGNER", "LOCKED METIS", "UNCLAIMED METIS", "NONCE"]);
    while let Some(ExportStateResponse { piece }) = pieces.message().await? {
        match piece.context("a piece of a kind that this seqctl does not know")? {
            Piece::Header(header) => println!("{}\n", header_rows(&header)),
            Piece::Parameters(parameters) => println!("{}\n", parameter_rows(&parameters)),
            Piece::Whitelist(entry) => counted.whitelisted += u64::from(entry.whitelisted),
            Piece::Record(record) => add_record(&mut records, &record),
            Piece::Batch(batch) => counted.batch(&batch),
            Piece::Epoch(epoch) => {
                counted.epochs += 1;
                counted.respanned += u64::from(epoch.respanned);
            }
        }
    }
    println!("{}\n\n{}", records, counted.rows());
    Ok(())
}

fn header_rows(header: &StateHeader) -> Rows {
    let StateHeader { l1, l2, variant } = header;
    let mut rows = Rows::properties();
    rows.add(["L1", &at(l1.as_ref())]).add(["L2", &at(l2.as_ref())]).add(["variant", variant]);
    rows
}

fn at(place: Option<&AsOf>) -> String {
    let block = place.and_then(|place| place.block.as_ref());
    block.map_or_else(
        || "not followed".to_owned(),
        |block| format!("{} {} {}", block.number, block.hash, utc(block.time.as_ref())),
    )
}

fn add_record(rows: &mut Rows, record: &SequencerRecord) {
    rows.add([
        &record.sequencer_id,
        &word(RecordStatus::try_from(record.status).unwrap_or_default().as_str_name(), "RECORD_STATUS_"),
        &record.owner,
        &record.signer,
        &metis(&record.amount_wei),
        &metis(&record.reward_wei),
        &record.nonce.to_string(),
    ]);
}

/// What a summary says only the number of.
#[derive(Default)]
struct Counted {
    whitelisted: u64,
    batches: u64,
    paid: Metis,
    unattributed: u64,
    epochs: u64,
    respanned: u64,
}

impl Counted {
    fn batch(&mut self, batch: &BatchState) {
        self.batches += 1;
        let amount = Metis::parse_wei(&batch.amount_wei).unwrap_or_default();
        self.paid = Metis(self.paid.0.saturating_add(amount.0));
        self.unattributed += u64::from(batch.method() == CreditMethod::Unattributed);
    }

    fn rows(&self) -> Rows {
        let Self { whitelisted, batches, paid, unattributed, epochs, respanned } = self;
        let mut rows = Rows::properties();
        rows.add(["whitelisted owners", &whitelisted.to_string()])
            .add(["reward batches", &format!("{batches}, {paid} METIS, {unattributed} unattributed")])
            .add(["epochs", &format!("{epochs}, {respanned} touched by a re-span")]);
        rows
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(pieces: &[(usize, &str)]) -> Result<Value> {
        let mut bytes = Vec::new();
        let mut document = Document::begin(&mut bytes)?;
        for (field, json) in pieces {
            document.add(*field, json)?;
        }
        document.end()?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    #[test]
    fn pieces_become_one_document_with_every_field() {
        let pieces =
            [(0, "{\"variant\":\"main\"}"), (1, "{}"), (3, "{\"id\":1}"), (3, "{\"id\":2}"), (5, "{}")];
        let expected = json!({
            "header": { "variant": "main" },
            "parameters": {},
            "whitelist": [],
            "records": [{ "id": 1 }, { "id": 2 }],
            "batches": [],
            "epochs": [{}],
        });
        assert_eq!(written(&pieces).unwrap(), expected);
    }

    #[test]
    fn a_state_without_pieces_is_a_document_too() {
        let value = written(&[]).unwrap();
        assert_eq!(value["header"], Value::Null);
        assert_eq!(value["epochs"], json!([]));
    }

    #[test]
    fn pieces_out_of_order_are_an_error() {
        assert!(written(&[(3, "{}"), (2, "{}")]).is_err());
        assert!(written(&[(1, "{}"), (1, "{}")]).is_err());
    }
}
