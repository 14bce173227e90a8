//! One message in a request, one in an answer, and how it ended: gRPC's framing of a call without streams.

use crate::budget::Hold;
use crate::receive::whole;
use crate::refusal::Refusal;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::Frame;
use prost::Message;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A byte that says whether the message is packed, and its length in four.
const PREFIX: usize = 5;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// The message of a request, of at most `most` bytes, counted by `hold`.
pub(super) async fn read<M: Message + Default>(
    request: Request,
    most: u64,
    hold: &mut Hold,
) -> Result<M, Refusal> {
    let (parts, body) = request.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    if !kind.starts_with("application/grpc") {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this port speaks gRPC only"));
    }
    let mut bytes: Bytes = whole(&parts.headers, body, most + PREFIX as u64, hold).await?.into();
    if bytes.len() < PREFIX {
        return Err(Refusal::bad("the call holds no message"));
    }
    let (packed, length) = (bytes.get_u8(), bytes.get_u32() as usize);
    if packed != 0 {
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "messages that are packed are not taken"));
    }
    if bytes.len() != length {
        return Err(Refusal::bad("the call holds another number of bytes than it says"));
    }
    // Numbers that are no bytes take up to eight times as much as they are sent in.
    hold.grow(8 * length.min(1 << 20) as u64)?;
    M::decode(bytes).map_err(|e| Refusal::bad(format!("the message is not what the protocol has: {e}")))
}

/// An answer: a message, or why there is none. `hold` is given back when it is sent.
pub(super) fn answer(made: Result<(impl Message, Option<Hold>), Refusal>) -> Response {
    let mut response = match made {
        Ok((message, hold)) => {
            let mut data = BytesMut::with_capacity(PREFIX + message.encoded_len());
            data.put_u8(0);
            data.put_u32(message.encoded_len() as u32);
            match message.encode(&mut data) {
                Ok(()) => {
                    Response::new(Body::new(Answer { data: Some(data.freeze()), ended: false, _hold: hold }))
                }
                Err(e) => refused(&Refusal::fault(e.to_string())),
            }
        }
        Err(refusal) => refused(&refusal),
    };
    response.headers_mut().insert(header::CONTENT_TYPE, TYPE);
    response
}

/// An answer without a message.
fn refused(refusal: &Refusal) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(STATUS, code(refusal.status).into());
    if let Ok(text) = HeaderValue::try_from(escaped(&refusal.message)) {
        headers.insert(MESSAGE, text);
    }
    response
}

/// gRPC's number for a status of HTTP.
fn code(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 | 415 => 3,
        401 => 16,
        404 => 5,
        408 => 4,
        413 | 429 | 507 => 8,
        501 => 12,
        503 => 14,
        _ => 13,
    }
}

/// Text as gRPC's headers carry it.
fn escaped(text: &str) -> String {
    let byte = |b: u8| match b {
        b' '..=b'~' if b != b'%' => (b as char).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// A message, and then that all went well.
struct Answer {
    data: Option<Bytes>,
    ended: bool,
    _hold: Option<Hold>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert(STATUS, HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_errors_are_printable() {
        assert_eq!(escaped("50 % größer\n"), "50 %25 gr%C3%B6%C3%9Fer%0A");
    }
}
