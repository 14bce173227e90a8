//! The one way in: who may ask, from where, and how fast.

use crate::config::Limits;
use crate::metrics::Metrics;
use crate::pace::Paced;
use crate::receive::discard;
use crate::refusal::Refusal;
use crate::token::Token;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;

/// What stands between a connection and the rest.
pub(crate) struct Gate {
    /// Whether only this machine reaches the address.
    pub loopback: bool,
    /// The address, which clients may name besides this machine's usual names.
    pub host: IpAddr,
    /// What clients of the interface for programs must know.
    pub token: Option<Token>,
    /// What the page's address holds.
    pub key: Token,
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
    /// The interface for programs.
    pub programs: Router,
    /// The page, whose addresses are relative to its own.
    pub page: Router,
}

/// Paths that need no token: whether the service lives, and can be asked.
const OPEN: [&str; 2] = ["/v2/health/live", "/v2/health/ready"];

/// Bytes that a client who is turned away may still send.
const IGNORED: u64 = 16 << 20;

/// What the page may load and do: its own files, from its own address, and nothing else. The hash is that of the one line of
/// style that OpenSeadragon adds by script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='; img-src 'self' blob: data:; \
    connect-src 'self' data: blob:; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Headers of every answer.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

impl Gate {
    /// As a router that answers everything.
    pub fn router(self) -> Router {
        Router::new().fallback(enter).with_state(Arc::new(self))
    }

    /// Refuses what no client of this service sends: another host's name, as after DNS rebinding, and requests that
    /// pages of other addresses make a browser send.
    fn foreign(&self, headers: &HeaderMap) -> Option<Refusal> {
        let text = |name: HeaderName| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
        let host = text(header::HOST).unwrap_or("");
        if self.loopback && !self.is_own(host) {
            let message = "the request names another host than this service's";
            return Some(Refusal::new(StatusCode::MISDIRECTED_REQUEST, message));
        }
        let site = text(HeaderName::from_static("sec-fetch-site"));
        let origin = text(header::ORIGIN);
        let other = origin.is_some_and(|o| o.split_once("://").is_none_or(|(_, h)| h != host));
        if other || matches!(site, Some("cross-site" | "same-site")) {
            // Following a link to the page is what people do; a key is in it.
            let visit =
                origin.is_none() && text(HeaderName::from_static("sec-fetch-mode")) == Some("navigate");
            if !visit {
                let message = "requests that pages of other addresses make are refused";
                return Some(Refusal::new(StatusCode::FORBIDDEN, message));
            }
        }
        None
    }

    /// Whether a `Host` header means this machine's own address.
    fn is_own(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
            None => host.split_once(':').map_or(host, |(name, _)| name),
        };
        let ip: Option<IpAddr> = name.parse().ok();
        name.eq_ignore_ascii_case("localhost") || ip.is_some_and(|ip| ip.is_loopback() || ip == self.host)
    }

    async fn answer(&self, mut request: Request) -> Response {
        if let Some(refusal) = self.foreign(request.headers()) {
            return turned_away(request, refusal);
        }
        let path = request.uri().path().to_owned();
        if let Some((key, rest)) = path.strip_prefix("/p/").and_then(|p| p.split_once('/')) {
            if !self.key.is(key) {
                return turned_away(request, Refusal::unknown("there is no such page"));
            }
            *request.uri_mut() = moved(request.uri(), &format!("/{rest}"));
            return call(&self.page, request).await;
        }
        if !OPEN.contains(&path.as_str()) && !knows(self.token.as_ref(), request.headers()) {
            let message = "a token is needed: Authorization: Bearer TOKEN";
            return turned_away(request, Refusal::new(StatusCode::UNAUTHORIZED, message));
        }
        call(&self.programs, request).await
    }
}

/// The answer to a request that goes no further.
fn turned_away(request: Request, refusal: Refusal) -> Response {
    discard(request.into_body(), IGNORED);
    refusal.into_response()
}

/// Whether a request may use the interface for programs.
pub(crate) fn knows(token: Option<&Token>, headers: &HeaderMap) -> bool {
    let Some(token) = token else { return true };
    let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or("");
    let (scheme, text) = given.split_once(' ').unwrap_or(("", ""));
    // Both are looked at, whatever the first is.
    token.is(text.trim()) & scheme.eq_ignore_ascii_case("bearer")
}

/// The same address with another path.
fn moved(uri: &Uri, path: &str) -> Uri {
    let query = uri.query().map_or(String::new(), |q| format!("?{q}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(format!("{path}{query}")).ok();
    Uri::from_parts(parts).unwrap_or_else(|_| Uri::from_static("/"))
}

async fn call(router: &Router, request: Request) -> Response {
    let mut router = router.clone();
    match tower_service::Service::<Request>::call(&mut router, request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

async fn enter(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    let kind = kind(request.uri().path());
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, Body::new(Paced::new(body, gate.limits.patience)));
    let mut response = gate.answer(request).await;
    gate.metrics.request(kind, response.status().as_u16());
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// What kind of request a path is, for the figures: never the path itself, which holds keys and names.
fn kind(path: &str) -> &'static str {
    match path.split('/').nth(1).unwrap_or("") {
        "v2" if path.ends_with("/infer") => "infer",
        "v2" if path.starts_with("/v2/health") => "health",
        "v2" => "metadata",
        "cases" => "case",
        "metrics" => "metrics",
        "p" => "page",
        _ => "other",
    }
}
