use std::{
    fmt::Write,
    sync::{Arc, Mutex},
};

use store::in_transaction;
use tracing::{Instrument, Subscriber, info_span, span};
use tracing_subscriber::{Layer, layer::Context, prelude::*, registry::LookupSpan};

use crate::{Error, effect};

/// Every new span as `parent > name` with its fields.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Seen {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let span = context.span(id).expect("it is new");
        let parent = span.parent().map(|parent| parent.name()).unwrap_or_default();
        let mut line = format!("{parent} > {}", span.name());
        attributes.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            write!(line, " {field}={value:?}").expect("a string takes all");
        });
        self.0.lock().expect("no panic").push(line);
    }

    fn on_record(&self, _: &span::Id, values: &span::Record<'_>, _: Context<'_, S>) {
        let mut line = "recorded".to_owned();
        values.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            write!(line, " {field}={value:?}").expect("a string takes all");
        });
        self.0.lock().expect("no panic").push(line);
    }
}

#[tokio::test]
async fn a_trace_goes_from_the_caller_to_the_statement_and_holds_no_values() {
    let test = testkit::database().await;
    let db = test.connect("indexer").await;
    let seen = Seen::default();
    let levels = tracing_subscriber::filter::LevelFilter::INFO;
    let guard = tracing::subscriber::set_default(
        tracing_subscriber::registry().with(seen.clone().with_filter(levels)),
    );
    let done: Result<(), Error> =
        in_transaction(&db, |tx| Box::pin(async move { Ok(effect(&tx, "hunter2").await?) }))
            .instrument(info_span!("rpc"))
            .await;
    drop(guard);
    done.expect("committed");
    let lines = seen.0.lock().expect("no panic").clone();
    assert!(lines.iter().any(|line| line.starts_with("rpc > sql.transaction")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("sql.transaction > sea_orm.execute")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("INSERT INTO indexer.request")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("hunter2")), "{lines:#?}");
}
