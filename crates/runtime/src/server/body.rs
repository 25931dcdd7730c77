//! Bodies with limits: of bytes on the way in, of time and bytes on the way out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::body::Body;
use tonic::{Code, Status};
use tracing::Span;

use super::call::Call;
use super::status;
use crate::errors::{Refusal, generic};
use crate::methods::Deadline;

/// What gRPC puts before each message.
const HEAD_BYTES: usize = 5;

/// tonic sends the messages of a stream in frames that hold up to this much beside the last one.
const STREAM_FRAME_SLACK: usize = 64 * 1024;

/// A request of at most what its class allows, with the frame head of gRPC on top.
pub(super) struct Capped {
    inner: Incoming,
    bytes_max: usize,
    left: usize,
}

impl Capped {
    pub fn new(inner: Incoming, class: Deadline) -> Self {
        let bytes_max = class.request_bytes_max();
        Self { inner, bytes_max, left: bytes_max + HEAD_BYTES }
    }
}

impl HttpBody for Capped {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(Status::from_error(Box::new(error))))),
            None => return Poll::Ready(None),
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Some(Err(status::request_too_large(self.bytes_max)))),
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer that ends in time and is measured to its end.
pub(super) struct Watched {
    inner: Body,
    class: Deadline,
    /// Gone once the answer has ended.
    open: Option<Open>,
    until: Option<Pin<Box<Sleep>>>,
    /// Ends streams only; a unary answer is already made and should leave.
    ending: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

/// What an answer holds until its end.
pub(super) struct Open {
    pub call: Call,
    pub span: Span,
    pub permit: Option<OwnedSemaphorePermit>,
}

impl Watched {
    pub fn new(
        inner: Body,
        class: Deadline,
        open: Open,
        until: Option<Instant>,
        ending: Option<CancellationToken>,
    ) -> Self {
        Self {
            inner,
            class,
            open: Some(open),
            until: until.map(|until| Box::pin(tokio::time::sleep_until(until))),
            ending: ending.map(|token| Box::pin(token.cancelled_owned())),
        }
    }

    /// Ends the answer with `status`, which becomes the trailers.
    fn end(&mut self, status: Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.finish(status.code());
        let mut trailers = HeaderMap::new();
        match status.add_header(&mut trailers) {
            Ok(()) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Err(unfit) => Poll::Ready(Some(Err(unfit))),
        }
    }

    fn finish(&mut self, code: Code) {
        if let Some(Open { call, span, permit }) = self.open.take() {
            drop(permit);
            span.record("rpc.grpc.status_code", super::call::name(code));
            call.finish(code);
        }
    }

    /// The message of a unary answer comes in one frame, so its limit is exact.
    fn frame_max(&self) -> usize {
        let slack = if self.ending.is_some() { STREAM_FRAME_SLACK } else { 0 };
        self.class.response_bytes_max() + HEAD_BYTES + slack
    }

    fn cut_short(&mut self, cx: &mut Context<'_>) -> Option<Status> {
        if let Some(until) = &mut self.until
            && until.as_mut().poll(cx).is_ready()
        {
            return Some(status::deadline());
        }
        if let Some(ending) = &mut self.ending
            && ending.as_mut().poll(cx).is_ready()
        {
            let text = "this replica ends its streams, resume from the last cursor";
            return Some(Refusal::new(&generic::DRAINING, text).status());
        }
        None
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let class = self.class;
        let Some(open) = &self.open else { return Poll::Ready(None) };
        let span = open.span.clone();
        let _entered = span.enter();
        if let Some(status) = self.cut_short(cx) {
            return self.end(status);
        }
        match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if frame.data_ref().is_some_and(|data| data.len() > self.frame_max()) {
                    let bytes_max = self.class.response_bytes_max();
                    return self.end(status::response_too_large(bytes_max));
                }
                match frame.into_trailers() {
                    Ok(trailers) => {
                        let status = Status::from_header_map(&trailers)
                            .unwrap_or_else(|| Status::unknown("the answer has no status"));
                        self.end(status::corrected(status, class))
                    }
                    Err(data) => Poll::Ready(Some(Ok(data))),
                }
            }
            Some(Err(status)) => self.end(status::corrected(status, class)),
            None => {
                self.finish(Code::Ok);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.open.is_none()
    }
}
