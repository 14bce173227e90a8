//! Clients that are silent, or so slow that they hold a connection for nothing, are let go: while they send a request, and
//! while they take an answer.

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Slowest rate at which a body may come, in bytes a second, once the first of them had their time.
const SLOWEST: u64 = 4096;

/// A body did not come in time.
#[derive(Debug)]
pub(crate) struct TooSlow;

impl std::fmt::Display for TooSlow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the request did not come in time")
    }
}

impl std::error::Error for TooSlow {}

/// A body that must keep coming.
pub(crate) struct Paced {
    inner: Body,
    patience: Duration,
    begun: Instant,
    received: u64,
    alarm: Pin<Box<Sleep>>,
}

impl Paced {
    /// `inner`, whose client may be silent for as long as `patience`.
    pub fn new(inner: Body, patience: Duration) -> Paced {
        Paced { inner, patience, begun: Instant::now(), received: 0, alarm: Box::pin(sleep(patience)) }
    }

    /// Whether less has come than must have by now.
    fn behind(&self) -> bool {
        let beyond = self.begun.elapsed().saturating_sub(4 * self.patience);
        self.received < (beyond.as_secs_f64() * SLOWEST as f64) as u64
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            let next = Instant::now() + self.patience;
            self.alarm.as_mut().reset(next);
            if let Some(Ok(frame)) = &frame {
                self.received += frame.data_ref().map_or(0, |d| d.len() as u64);
                if self.behind() {
                    return Poll::Ready(Some(Err(Box::new(TooSlow))));
                }
            }
            return Poll::Ready(frame.map(|f| f.map_err(Into::into)));
        }
        ready!(self.alarm.as_mut().poll(cx));
        Poll::Ready(Some(Err(Box::new(TooSlow))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A connection whose other side must keep taking what is written.
pub(crate) struct Taken<S> {
    inner: S,
    patience: Duration,
    /// Runs while a write waits.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S> Taken<S> {
    /// `inner`, whose other side may take nothing for as long as `patience`.
    pub fn new(inner: S, patience: Duration) -> Taken<S> {
        Taken { inner, patience, alarm: None }
    }

    /// `done` as it is; an error where it has waited too long.
    fn watched<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.alarm = None;
            return done;
        }
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        ready!(alarm.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.watched(cx, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.inner).poll_flush(cx);
        self.watched(cx, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.watched(cx, done)
    }
}
