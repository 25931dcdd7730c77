//! Questions as values: what is asked together travels together and is answered together.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::error::{NodeError, RpcError};
use super::wire::Results;

/// One JSON-RPC request, ready to be numbered and sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: &'static str,
    /// The parameters.
    pub params: serde_json::Value,
    /// The largest answer that is read, in bytes; that of a batch is the least of its requests.
    pub bytes_max: usize,
}

/// The answers to the requests of one question, taken in the order in which they were put.
#[derive(Debug)]
pub struct Answers {
    endpoint: String,
    bodies: Vec<String>,
    taken: VecDeque<(&'static str, Result<Place, NodeError>)>,
}

/// Where a result is: results are read where they came in, because a copy of 60 MB takes its time.
#[derive(Debug)]
struct Place {
    body: usize,
    range: Range<usize>,
}

impl Answers {
    /// No answers yet.
    pub(super) fn new(endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), bodies: Vec::new(), taken: VecDeque::new() }
    }

    /// Adds the answers to a batch of requests.
    pub(super) fn add(&mut self, batch: &[Request], body: String, results: Results) {
        let place = |range| Place { body: self.bodies.len(), range };
        let methods = batch.iter().map(|request| request.method);
        self.taken.extend(methods.zip(results).map(|(method, result)| (method, result.map(place))));
        self.bodies.push(body);
    }

    /// Bytes of all bodies together.
    pub(super) fn size(&self) -> usize {
        self.bodies.iter().map(String::len).sum()
    }

    /// The next answer, read by `parse`; the inner error is the node's refusal.
    pub(super) fn next<R>(
        &mut self,
        parse: impl FnOnce(&str) -> Result<R, String>,
    ) -> Result<Result<R, (&'static str, NodeError)>, RpcError> {
        let (method, answer) = self.taken.pop_front().expect("each request of a question has an answer");
        let Place { body, range } = match answer {
            Ok(place) => place,
            Err(refused) => return Ok(Err((method, refused))),
        };
        parse(&self.bodies[body][range]).map(Ok).map_err(|why| RpcError::Malformed {
            endpoint: self.endpoint.clone(),
            method,
            why,
        })
    }

    fn refusal(&self, method: &'static str, source: NodeError) -> RpcError {
        RpcError::Node { endpoint: self.endpoint.clone(), method, source }
    }
}

/// Something that can be asked of a node: a [`super::Call`], or a `Vec`, tuple or [`Attempt`] of
/// questions.
pub trait Ask {
    /// What the node answers.
    type Answer;

    /// Adds the requests of this question to a batch.
    fn put(&self, batch: &mut Vec<Request>);

    /// Reads as many answers as `put` added requests.
    ///
    /// # Errors
    /// If an answer is malformed or the node refused.
    fn take(&self, answers: &mut Answers) -> Result<Self::Answer, RpcError>;

    /// How long the slowest part may take.
    fn timeout(&self) -> Duration;

    /// The same question with its answer made into something else; the error says why the answer
    /// cannot be true.
    fn convert<T>(self, convert: fn(Self::Answer) -> Result<T, String>) -> Converted<Self, T>
    where
        Self: Sized,
    {
        Converted { ask: self, convert }
    }

    /// The height of the newest block, if the answer tells it: endpoints are scored by it.
    fn head_in(&self, _answer: &Self::Answer) -> Option<u64> {
        None
    }
}

impl<R> Ask for super::Call<R> {
    type Answer = R;

    fn put(&self, batch: &mut Vec<Request>) {
        batch.push(Request { method: self.method, params: self.params.clone(), bytes_max: self.bytes_max });
    }

    fn take(&self, answers: &mut Answers) -> Result<R, RpcError> {
        answers.next(|raw| (self.parse)(raw))?.map_err(|(method, refused)| answers.refusal(method, refused))
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn head_in(&self, answer: &R) -> Option<u64> {
        self.head.and_then(|head| head(answer))
    }
}

/// A call whose refusal by the node is an answer, not an error: the rest of a batch stands.
#[derive(Debug)]
pub struct Attempt<R>(pub super::Call<R>);

impl<R> Ask for Attempt<R> {
    type Answer = Result<R, NodeError>;

    fn put(&self, batch: &mut Vec<Request>) {
        self.0.put(batch);
    }

    fn take(&self, answers: &mut Answers) -> Result<Self::Answer, RpcError> {
        let answer = answers.next(|raw| (self.0.parse)(raw))?;
        answer.map(Ok).or_else(|(method, refused)| {
            let error = answers.refusal(method, refused.clone());
            // A tired or lagging endpoint has not answered the question at all.
            if error.is_endpoints_fault() { Err(error) } else { Ok(Err(refused)) }
        })
    }

    fn timeout(&self) -> Duration {
        self.0.timeout
    }
}

/// A question whose answer is made into something else, see [`Ask::convert`].
#[derive(Debug)]
pub struct Converted<A: Ask, T> {
    ask: A,
    convert: fn(A::Answer) -> Result<T, String>,
}

impl<A: Ask, T> Ask for Converted<A, T> {
    type Answer = T;

    fn put(&self, batch: &mut Vec<Request>) {
        self.ask.put(batch);
    }

    fn take(&self, answers: &mut Answers) -> Result<T, RpcError> {
        let answer = self.ask.take(answers)?;
        (self.convert)(answer).map_err(|why| RpcError::Malformed {
            endpoint: answers.endpoint.clone(),
            method: "eth_call",
            why,
        })
    }

    fn timeout(&self) -> Duration {
        self.ask.timeout()
    }
}

impl<A: Ask> Ask for Vec<A> {
    type Answer = Vec<A::Answer>;

    fn put(&self, batch: &mut Vec<Request>) {
        self.iter().for_each(|ask| ask.put(batch));
    }

    fn take(&self, answers: &mut Answers) -> Result<Self::Answer, RpcError> {
        self.iter().map(|ask| ask.take(answers)).collect()
    }

    fn timeout(&self) -> Duration {
        self.iter().map(Ask::timeout).max().unwrap_or_default()
    }
}

macro_rules! ask_together {
    ($($name:ident $place:tt),+) => {
        impl<$($name: Ask),+> Ask for ($($name,)+) {
            type Answer = ($($name::Answer,)+);

            fn put(&self, batch: &mut Vec<Request>) {
                $(self.$place.put(batch);)+
            }

            fn take(&self, answers: &mut Answers) -> Result<Self::Answer, RpcError> {
                Ok(($(self.$place.take(answers)?,)+))
            }

            fn timeout(&self) -> Duration {
                [$(self.$place.timeout()),+].into_iter().max().unwrap_or_default()
            }
        }
    };
}

ask_together!(A 0, B 1);
ask_together!(A 0, B 1, C 2);
ask_together!(A 0, B 1, C 2, D 3);
ask_together!(A 0, B 1, C 2, D 3, E 4);
ask_together!(A 0, B 1, C 2, D 3, E 4, F 5);
ask_together!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
ask_together!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
