//! The calls of `inference.GRPCInferenceService`.

use super::frame::{answer, read};
use super::messages::{
    Contents, Empty, Holds, InferRequest, InferResponse, ModelMetadata, Named, ServerMetadata, Tensor,
    TensorMetadata,
};
use crate::budget::Hold;
use crate::gate::knows;
use crate::metrics::Metrics;
use crate::pace::Paced;
use crate::refusal::Refusal;
use crate::tensors::{Ask, Port, datatype, dtype};
use crate::token::Token;
use crate::v2::{Networks, VERSION};
use ampoule_graph::{DType, Tensor as Values};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use std::sync::Arc;

/// What all calls need.
struct Calls {
    networks: Arc<Networks>,
    token: Option<Token>,
    metrics: Arc<Metrics>,
}

type Shared = State<Arc<Calls>>;

/// Most bytes of a message that holds no tensors.
const SMALL: u64 = 64 << 10;

/// What is answered on the port of gRPC.
pub(crate) fn router(networks: Arc<Networks>, token: Option<Token>, metrics: Arc<Metrics>) -> Router {
    let at = |call: &str| format!("/inference.GRPCInferenceService/{call}");
    Router::new()
        .route(&at("ServerLive"), post(live))
        .route(&at("ServerReady"), post(ready))
        .route(&at("ModelReady"), post(model_ready))
        .route(&at("ServerMetadata"), post(server))
        .route(&at("ModelMetadata"), post(model))
        .route(&at("ModelInfer"), post(infer))
        .fallback(unknown)
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(Arc::new(Calls { networks, token, metrics }))
}

async fn unknown() -> Response {
    answer(Err::<(Empty, Option<Hold>), _>(Refusal::new(
        StatusCode::NOT_IMPLEMENTED,
        "there is no such call",
    )))
}

impl Calls {
    /// A request whose client knows the token, and must keep sending.
    fn admitted(&self, request: Request) -> Result<Request, Refusal> {
        if !knows(self.token.as_ref(), request.headers()) {
            return Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "a token is needed: authorization: Bearer TOKEN",
            ));
        }
        let (parts, body) = request.into_parts();
        Ok(Request::from_parts(parts, Body::new(Paced::new(body, self.networks.limits.patience))))
    }

    async fn small<M: prost::Message + Default>(&self, request: Request) -> Result<M, Refusal> {
        read(self.admitted(request)?, SMALL, &mut self.networks.budget.hold()).await
    }
}

async fn live(State(_): Shared) -> Response {
    answer(Ok((Holds { holds: true }, None)))
}

async fn ready(State(calls): Shared) -> Response {
    answer(Ok((Holds { holds: calls.networks.is_ready() }, None)))
}

async fn model_ready(State(calls): Shared, request: Request) -> Response {
    let found = calls.small::<Named>(request).await.map(|asked| {
        let known = calls.networks.find(&asked.name, &asked.version).is_ok();
        (Holds { holds: known && calls.networks.is_ready() }, None)
    });
    answer(found)
}

async fn server(State(calls): Shared, request: Request) -> Response {
    let told = calls.small::<Empty>(request).await.map(|_| {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        (ServerMetadata { name: "ampoule".into(), version, extensions: Vec::new() }, None)
    });
    answer(told)
}

async fn model(State(calls): Shared, request: Request) -> Response {
    let port =
        |p: &Port| TensorMetadata { name: p.name.clone(), datatype: p.datatype().into(), shape: p.axes() };
    let told = calls.small::<Named>(request).await.and_then(|asked| {
        let n = calls.networks.find(&asked.name, &asked.version)?;
        let told = ModelMetadata {
            name: n.name.clone(),
            versions: vec![VERSION.into()],
            platform: "ampoule".into(),
            inputs: n.inputs.iter().map(port).collect(),
            outputs: n.outputs.iter().map(port).collect(),
        };
        Ok((told, None))
    });
    answer(told)
}

async fn infer(State(calls): Shared, request: Request) -> Response {
    let made = infer_from(&calls, request).await;
    let status = made.as_ref().map_or_else(|r| r.status, |_| StatusCode::OK);
    calls.metrics.request("infer", status.as_u16());
    answer(made)
}

async fn infer_from(calls: &Calls, request: Request) -> Result<(InferResponse, Option<Hold>), Refusal> {
    let networks = &calls.networks;
    let mut hold = networks.budget.hold();
    let asked: InferRequest = read(calls.admitted(request)?, networks.limits.body, &mut hold).await?;
    let network = networks.find(&asked.model_name, &asked.model_version)?;
    if !networks.is_ready() {
        return Err(Refusal::ending());
    }
    let raw = &asked.raw_input_contents;
    if !raw.is_empty() && raw.len() != asked.inputs.len() {
        let message =
            format!("{} inputs and {} raw contents; give one for each", asked.inputs.len(), raw.len());
        return Err(Refusal::bad(message));
    }
    let given = asked.inputs.iter().enumerate().map(|(i, t)| Ok((t.name.clone(), values(t, raw.get(i))?)));
    let inputs = given.collect::<Result<Vec<_>, Refusal>>()?;
    let outputs = asked.outputs.iter().map(|o| o.name.clone()).collect();
    let found = network.infer(Ask { inputs, outputs, hold }).await?;
    let mut out = InferResponse {
        model_name: network.name.clone(),
        model_version: VERSION.into(),
        id: asked.id,
        ..InferResponse::default()
    };
    for (name, tensor) in found.outputs {
        let datatype = datatype(tensor.dtype()).ok_or_else(|| {
            Refusal::fault(format!("the output `{name}` has a type that the protocol does not have"))
        })?;
        let shape = tensor.dims().iter().map(|n| *n as i64).collect();
        out.outputs.push(Tensor { name, datatype: datatype.into(), shape, ..Tensor::default() });
        out.raw_output_contents.push(tensor.bytes().clone());
    }
    Ok((out, Some(found.hold)))
}

/// A tensor of its raw bytes, or of the numbers in its own message.
fn values(tensor: &Tensor, raw: Option<&Bytes>) -> Result<Values, Refusal> {
    let name = &tensor.name;
    if tensor.parameters.keys().any(|k| k.starts_with("shared_memory")) {
        return Err(Refusal::bad(format!(
            "the input `{name}` lies in shared memory, which is not read; send it"
        )));
    }
    let Some(dtype) = dtype(&tensor.datatype) else {
        let type_ = &tensor.datatype;
        return Err(Refusal::bad(format!("the input `{name}` is {type_}, which no model here takes")));
    };
    let shape = &tensor.shape;
    let wrong = || Refusal::bad(format!("the input `{name}` has other data than its shape {shape:?} takes"));
    let dims: Option<Vec<usize>> = shape.iter().map(|n| usize::try_from(*n).ok()).collect();
    let data = match (raw, &tensor.contents) {
        (Some(raw), _) => raw.clone(),
        (None, Some(contents)) => contents.bytes(dtype).ok_or_else(|| {
            let type_ = &tensor.datatype;
            Refusal::bad(format!(
                "the contents of the input `{name}` are no {type_}; send them as raw_input_contents"
            ))
        })?,
        (None, None) => return Err(Refusal::bad(format!("the input `{name}` has no data"))),
    };
    Values::from_bytes(dtype, dims.ok_or_else(wrong)?, data).map_err(|_| wrong())
}

impl Contents {
    /// Little-endian bytes of the numbers of a type; `None` for types that have no field, and where a number does not
    /// fit in a type that is narrower than its field.
    fn bytes(&self, dtype: DType) -> Option<Bytes> {
        fn all<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> Option<[u8; N]>) -> Option<Bytes> {
            values.iter().map(|v| bytes(*v)).collect::<Option<Vec<_>>>().map(|v| v.concat().into())
        }
        match dtype {
            DType::Bool => all(&self.bools, |v| Some([u8::from(v)])),
            DType::I8 => all(&self.ints, |v| Some(i8::try_from(v).ok()?.to_le_bytes())),
            DType::I16 => all(&self.ints, |v| Some(i16::try_from(v).ok()?.to_le_bytes())),
            DType::I32 => all(&self.ints, |v| Some(v.to_le_bytes())),
            DType::I64 => all(&self.longs, |v| Some(v.to_le_bytes())),
            DType::U8 => all(&self.uints, |v| Some(u8::try_from(v).ok()?.to_le_bytes())),
            DType::U16 => all(&self.uints, |v| Some(u16::try_from(v).ok()?.to_le_bytes())),
            DType::U32 => all(&self.uints, |v| Some(v.to_le_bytes())),
            DType::U64 => all(&self.ulongs, |v| Some(v.to_le_bytes())),
            DType::F32 => all(&self.floats, |v| Some(v.to_le_bytes())),
            DType::F64 => all(&self.doubles, |v| Some(v.to_le_bytes())),
            _ => None,
        }
    }
}
