//! Why a request is not answered as it was asked.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A status and a sentence.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// What is wrong and what to do.
    pub message: String,
}

/// Seconds after which a client may try again.
const AGAIN: u64 = 1;

impl Refusal {
    /// With any status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal { status, message: message.into() }
    }

    /// 400: the request is wrong.
    pub fn bad(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404: there is no such thing.
    pub fn unknown(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, message)
    }

    /// 413: more bytes than are taken.
    pub fn large(most: u64) -> Refusal {
        let most = sized(most);
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request has more than {most}, which is the limit"),
        )
    }

    /// 429: too many wait.
    pub fn full(waiting: usize) -> Refusal {
        let message = format!("{waiting} requests wait already; try again");
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, message)
    }

    /// 503: the service ends.
    pub fn ending() -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the service is about to end and begins nothing new")
    }

    /// 507: too little memory.
    pub fn memory(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::INSUFFICIENT_STORAGE, message)
    }

    /// 500: not the client's fault.
    pub fn fault(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

/// Bytes for people.
pub(crate) fn sized(bytes: u64) -> String {
    match bytes {
        b if b >= 10 << 30 => format!("{} GiB", b >> 30),
        b if b >= 10 << 20 => format!("{} MiB", b >> 20),
        b if b >= 10 << 10 => format!("{} KiB", b >> 10),
        b => format!("{b} bytes"),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let text = serde_json::json!({ "error": self.message }).to_string();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&self.status) {
            headers.insert(header::RETRY_AFTER, AGAIN.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A value as JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(e) => Refusal::fault(e.to_string()).into_response(),
    }
}
