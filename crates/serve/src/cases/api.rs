//! Addresses below `/cases`.

use super::archive::archive;
use super::job::{Job, State, Wanted};
use super::store::Store;
use super::upload;
use crate::refusal::{Refusal, json};
use ampoule_pipeline::results;
use axum::Router;
use axum::body::Body;
use axum::extract::State as Of;
use axum::extract::{Path, RawQuery, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http_body::Frame;
use serde_json::{Value, json as object};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// What `/cases` answers.
pub(crate) fn router(store: Arc<Store>) -> Router {
    Router::new()
        .route("/cases", get(list).post(upload))
        .route("/cases/models", get(models))
        .route("/cases/{id}", get(one).delete(remove))
        .route("/cases/{id}/result", get(result))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(store)
}

/// A setting of a query, `name=value`.
fn setting(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = query.unwrap_or("").split('&');
    let value = pairs.filter_map(|p| p.split_once('=')).find(|(n, _)| *n == name)?.1;
    Some(decoded(value))
}

/// Text as queries carry it; what is no text becomes a replacement sign.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let hex = |i: usize| bytes.get(i).and_then(|b| (*b as char).to_digit(16));
    let (mut out, mut i) = (Vec::new(), 0);
    while i < bytes.len() {
        match (bytes[i], hex(i + 1), hex(i + 2)) {
            (b'%', Some(a), Some(b)) => {
                out.push((16 * a + b) as u8);
                i += 2;
            }
            (b'+', ..) => out.push(b' '),
            (b, ..) => out.push(b),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

async fn models(Of(store): Of<Arc<Store>>) -> Response {
    json(&store.models)
}

async fn list(Of(store): Of<Arc<Store>>) -> Response {
    let all: Vec<Value> = store.all().iter().map(|j| j.told(store.position(j))).collect();
    json(&all)
}

async fn upload(Of(store): Of<Arc<Store>>, RawQuery(query): RawQuery, request: Request) -> Response {
    match begun(&store, query.as_deref(), request).await {
        Ok(job) => (StatusCode::ACCEPTED, json(&job.told(store.position(&job)))).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn begun(store: &Arc<Store>, query: Option<&str>, request: Request) -> Result<Arc<Job>, Refusal> {
    let model = store.model(setting(query, "model").as_deref())?.name.clone();
    let asks = |name| setting(query, name).is_some_and(|v| ["1", "true"].contains(&v.as_str()));
    let job = store.begin(&model, Wanted { fast: asks("fast"), heat: asks("heat") })?;
    // An upload that ends early, however it does, leaves nothing.
    let half = Half { store, job: Some(&job) };
    upload::receive(&job, setting(query, "filename").as_deref(), request, &store.limits).await?;
    store.queue(&job)?;
    half.whole();
    Ok(job)
}

/// An upload that is not whole so far.
struct Half<'a> {
    store: &'a Store,
    job: Option<&'a Arc<Job>>,
}

impl Half<'_> {
    fn whole(mut self) {
        self.job = None;
    }
}

impl Drop for Half<'_> {
    fn drop(&mut self) {
        if let Some(job) = self.job {
            let _ = self.store.remove(&job.id);
        }
    }
}

async fn one(Of(store): Of<Arc<Store>>, Path(id): Path<String>) -> Response {
    let job = match store.find(&id) {
        Ok(job) => job,
        Err(refusal) => return refusal.into_response(),
    };
    let mut told = job.told(store.position(&job));
    if matches!(job.state(), State::Done { .. } | State::Failed { .. }) {
        told["results"] = listed(&job).await;
    }
    json(&told)
}

/// The cases of an upload, with their records.
async fn listed(job: &Arc<Job>) -> Value {
    let job = job.clone();
    let read = move || {
        let all = results(job.output()).unwrap_or_default();
        let one = |r: &ampoule_pipeline::Made| {
            let mut out = object!({ "case": r.name, "status": r.status });
            if let Some(reason) = &r.reason {
                out["reason"] = reason.replace(&job.folder().display().to_string(), "").into();
            }
            if let Some(record) = &r.record {
                out["summary"] = record.summary().into();
                out["record"] = serde_json::to_value(record).unwrap_or_default();
            }
            out
        };
        all.iter().map(one).collect()
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

async fn remove(Of(store): Of<Arc<Store>>, Path(id): Path<String>) -> Response {
    match store.remove(&id) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn result(Of(store): Of<Arc<Store>>, Path(id): Path<String>) -> Response {
    packed(&store, &id).await.unwrap_or_else(IntoResponse::into_response)
}

async fn packed(store: &Store, id: &str) -> Result<Response, Refusal> {
    let job = store.find(id)?;
    if !matches!(job.state(), State::Done { .. }) {
        let message = format!("the case is {}; there are no results", job.state().name());
        return Err(Refusal::new(StatusCode::CONFLICT, message));
    }
    let own = job.clone();
    let made = tokio::task::spawn_blocking(move || archive(own.output(), own.folder())).await;
    let (file, length) = made.map_err(|e| Refusal::fault(e.to_string()))??;
    let body = Body::new(Reading { file: tokio::fs::File::from_std(file), left: length, job });
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(header::CONTENT_LENGTH, length.into());
    let name = HeaderValue::from_static("attachment; filename=\"results.zip\"");
    headers.insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

/// A file on its way to a client, who has the results once it is read to its end.
struct Reading {
    file: tokio::fs::File,
    left: u64,
    job: Arc<Job>,
}

impl http_body::Body for Reading {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let mut buffer = vec![0; 64 << 10];
        let mut read = ReadBuf::new(&mut buffer);
        if let Err(e) = ready!(Pin::new(&mut self.file).poll_read(cx, &mut read)) {
            return Poll::Ready(Some(Err(e)));
        }
        let n = read.filled().len();
        self.left = self.left.saturating_sub(n as u64);
        if self.left == 0 {
            self.job.fetched();
        }
        if n == 0 {
            return Poll::Ready(None);
        }
        buffer.truncate(n);
        Poll::Ready(Some(Ok(Frame::data(buffer.into()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Some("model=a%20b&filename=K%C3%B6pf+1.nii&bad=%zz%f");
        assert_eq!(setting(query, "model").as_deref(), Some("a b"));
        assert_eq!(setting(query, "filename").as_deref(), Some("Köpf 1.nii"));
        assert_eq!(setting(query, "bad").as_deref(), Some("%zz%f"));
        assert_eq!((setting(query, "none"), setting(None, "model")), (None, None));
    }
}
