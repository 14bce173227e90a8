//! Addresses below `/v2`.

use super::infer::{VERSION, parse, write};
use crate::budget::Budget;
use crate::config::Limits;
use crate::receive::whole;
use crate::refusal::{Refusal, json};
use crate::stop::Stop;
use crate::tensors::{Ask, Network, Port};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json as object};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All networks that are served.
pub(crate) struct Networks {
    pub list: BTreeMap<String, Network>,
    pub budget: Arc<Budget>,
    pub limits: Limits,
    pub stop: Stop,
}

impl Networks {
    /// The network of this name, and of this version where one is given.
    pub fn find(&self, name: &str, version: &str) -> Result<&Network, Refusal> {
        let known = || self.list.keys().cloned().collect::<Vec<_>>().join(", ");
        let found = self.list.get(name).ok_or_else(|| {
            Refusal::unknown(format!("there is no model `{}`; there are {}", shown(name), known()))
        })?;
        match version {
            "" | VERSION => Ok(found),
            _ => Err(Refusal::unknown(format!("`{name}` has only version {VERSION}"))),
        }
    }

    /// Whether requests are taken.
    pub fn is_ready(&self) -> bool {
        !self.stop.is_draining()
    }
}

/// A name of a client's, short enough to be shown.
fn shown(name: &str) -> String {
    name.chars().take(100).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What `/v2` answers.
pub(crate) fn router(networks: Arc<Networks>) -> Router {
    Router::new()
        .route("/v2", get(server))
        .route("/v2/health/live", get(async || StatusCode::OK))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/{model}", get(model))
        .route("/v2/models/{model}/ready", get(model_ready))
        .route("/v2/models/{model}/infer", post(infer))
        .route("/v2/models/{model}/versions/{version}", get(model_version))
        .route("/v2/models/{model}/versions/{version}/ready", get(version_ready))
        .route("/v2/models/{model}/versions/{version}/infer", post(version_infer))
        .with_state(networks)
}

type Shared = State<Arc<Networks>>;

async fn server(State(networks): Shared) -> Response {
    let names: Vec<&String> = networks.list.keys().collect();
    json(&object!({
        "name": "ampoule",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data"],
        "models": names,
    }))
}

async fn ready(State(networks): Shared) -> Response {
    match networks.is_ready() {
        true => StatusCode::OK.into_response(),
        false => Refusal::ending().into_response(),
    }
}

async fn model(State(networks): Shared, Path(name): Path<String>) -> Response {
    metadata(&networks, &name, "")
}

async fn model_version(State(networks): Shared, Path((name, version)): Path<(String, String)>) -> Response {
    metadata(&networks, &name, &version)
}

fn metadata(networks: &Networks, name: &str, version: &str) -> Response {
    let port = |p: &Port| object!({ "name": p.name, "datatype": p.datatype(), "shape": p.axes() });
    match networks.find(name, version) {
        Ok(n) => json(&object!({
            "name": n.name,
            "versions": [VERSION],
            "platform": "ampoule",
            "inputs": n.inputs.iter().map(port).collect::<Vec<Value>>(),
            "outputs": n.outputs.iter().map(port).collect::<Vec<Value>>(),
        })),
        Err(refusal) => refusal.into_response(),
    }
}

async fn model_ready(State(networks): Shared, Path(name): Path<String>) -> Response {
    is_ready(&networks, &name, "")
}

async fn version_ready(State(networks): Shared, Path((name, version)): Path<(String, String)>) -> Response {
    is_ready(&networks, &name, &version)
}

fn is_ready(networks: &Networks, name: &str, version: &str) -> Response {
    match networks.find(name, version) {
        Ok(_) if networks.is_ready() => json(&object!({ "name": name, "ready": true })),
        Ok(_) => Refusal::ending().into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn infer(State(networks): Shared, Path(name): Path<String>, request: Request) -> Response {
    answered(&networks, &name, "", request).await
}

async fn version_infer(
    State(networks): Shared,
    Path((name, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    answered(&networks, &name, &version, request).await
}

async fn answered(networks: &Networks, name: &str, version: &str, request: Request) -> Response {
    let answer = infer_from(networks, name, version, request).await;
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn infer_from(
    networks: &Networks,
    name: &str,
    version: &str,
    request: Request,
) -> Result<Response, Refusal> {
    let network = networks.find(name, version)?;
    if !networks.is_ready() {
        return Err(Refusal::ending());
    }
    let mut hold = networks.budget.hold();
    let (parts, body): (_, Body) = request.into_parts();
    let bytes = whole(&parts.headers, body, networks.limits.body, &mut hold).await?;
    let header = parts.headers.get("inference-header-content-length");
    let header = header.map(|v| v.to_str().ok().and_then(|t| t.parse().ok()).unwrap_or(usize::MAX));
    let asked = parse(bytes.into(), header, &mut hold)?;
    let outputs = asked.outputs.iter().map(|o| o.name.clone()).collect();
    let answer = network.infer(Ask { inputs: asked.inputs, outputs, hold }).await?;
    write(network, &asked.id, &asked.outputs, asked.binary, answer)
}
