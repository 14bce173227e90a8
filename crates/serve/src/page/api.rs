//! Addresses of the page, below its key.

use super::sources::Sources;
use crate::assets::asset;
use crate::refusal::{Refusal, json};
use crate::results::{Folder, Review, listing};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::{BodyExt, Limited};
use std::sync::Arc;

/// Most bytes of a review.
const REVIEW: usize = 64 << 10;

/// What the page needs.
pub(crate) struct Page {
    pub sources: Sources,
}

type Shared = State<Arc<Page>>;

/// What the page's addresses answer.
pub(crate) fn router(page: Page) -> Router {
    Router::new()
        .route("/", get(async |headers: HeaderMap| asset("", &headers)))
        .route("/{file}", get(file))
        .route("/r/{source}/cases", get(cases))
        .route("/r/{source}/review", post(review))
        .route("/r/{source}/cases/{number}/{what}", get(image))
        .route("/r/{source}/cases/{number}/pictures/{kind}/{i}", get(picture))
        .route("/r/{source}/cases/{number}/tiles/{level}/{x}/{y}", get(tile))
        .route("/r/{source}/cases/{number}/maps/{i}/{level}/{x}/{y}", get(map_tile))
        .with_state(Arc::new(page))
}

async fn file(State(page): Shared, Path(name): Path<String>, headers: HeaderMap) -> Response {
    match name.as_str() {
        "config" => json(&page.sources.told()),
        name => asset(name, &headers),
    }
}

/// Work that takes a while, on a thread of its own.
async fn apart<T: Send + 'static>(
    page: &Page,
    source: &str,
    work: impl FnOnce(&Folder) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let folder = page.sources.find(source)?;
    let done = tokio::task::spawn_blocking(move || work(&folder)).await;
    done.unwrap_or_else(|e| Err(Refusal::fault(e.to_string())))
}

/// Bytes of a type.
fn typed(kind: &'static str, made: Result<Vec<u8>, Refusal>) -> Response {
    match made {
        Ok(bytes) => ([(header::CONTENT_TYPE, kind)], bytes).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn cases(State(page): Shared, Path(source): Path<String>) -> Response {
    match apart(&page, &source, listing).await {
        Ok(list) => json(&list),
        Err(refusal) => refusal.into_response(),
    }
}

/// A review with the number of its case.
#[derive(serde::Deserialize)]
struct Said {
    n: usize,
    #[serde(flatten)]
    review: Review,
}

async fn review(State(page): Shared, Path(source): Path<String>, request: Request) -> Response {
    let body: Body = request.into_body();
    let noted = async {
        let bytes = Limited::new(body, REVIEW).collect().await;
        let bytes = bytes.map_err(|e| Refusal::bad(format!("the review did not arrive ({e})")))?.to_bytes();
        let said: Said = serde_json::from_slice(&bytes).map_err(|e| Refusal::bad(e.to_string()))?;
        apart(&page, &source, move |f| f.review(said.n, said.review)).await
    };
    match noted.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn image(State(page): Shared, Path((source, n, what)): Path<(String, usize, String)>) -> Response {
    const NIFTI: &str = "application/octet-stream";
    type Make = fn(&Folder, usize) -> Result<Vec<u8>, Refusal>;
    let (kind, make): (&'static str, Make) = match what.as_str() {
        "image.nii" => (NIFTI, Folder::volume),
        "labels.nii" => (NIFTI, Folder::labels),
        "photo.jpg" => ("image/jpeg", Folder::photo),
        "overlay.png" => ("image/png", Folder::overlay),
        "outlines.json" => ("application/json", Folder::outlines),
        "slide.json" => ("application/json", slide),
        _ => return Refusal::unknown("there is no such image").into_response(),
    };
    typed(kind, apart(&page, &source, move |f| make(f, n)).await)
}

/// What a viewer needs to know of a slide and its maps.
fn slide(folder: &Folder, n: usize) -> Result<Vec<u8>, Refusal> {
    let (made, opened) = folder.slide(n)?;
    let mut told = opened.told();
    let maps = (0..made.outputs("probability").len()).map(|i| Ok(folder.map(n, i)?.told()));
    told["maps"] = maps.collect::<Result<Vec<_>, Refusal>>()?.into();
    let on_slide = made.record.as_ref().and_then(|r| r.slide.as_ref());
    told["downsample"] = on_slide.map(|s| s.downsample).into();
    serde_json::to_vec(&told).map_err(|e| Refusal::fault(e.to_string()))
}

async fn picture(
    State(page): Shared,
    Path((source, n, kind, i)): Path<(String, usize, String, usize)>,
) -> Response {
    if !["picture", "heat"].contains(&kind.as_str()) {
        return Refusal::unknown("there is no such picture").into_response();
    }
    typed("image/png", apart(&page, &source, move |f| f.picture(n, &kind, i)).await)
}

/// Tiles of an open slide do not change: a browser may keep them for this page.
fn kept(mut response: Response) -> Response {
    if response.status() == StatusCode::OK {
        let value = HeaderValue::from_static("private, max-age=600");
        response.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    response
}

async fn tile(
    State(page): Shared,
    Path((source, n, level, x, y)): Path<(String, usize, u32, u64, u64)>,
) -> Response {
    kept(typed("image/jpeg", apart(&page, &source, move |f| f.slide(n)?.1.tile(level, x, y)).await))
}

async fn map_tile(
    State(page): Shared,
    Path((source, n, i, level, x, y)): Path<(String, usize, usize, u32, u64, u64)>,
) -> Response {
    kept(typed("image/png", apart(&page, &source, move |f| f.map(n, i)?.tile(level, x, y)).await))
}
