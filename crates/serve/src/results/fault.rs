//! What is wrong with a file of results, as an answer.

use crate::refusal::Refusal;

/// What a file of results has wrong.
pub(super) fn failed(e: ampoule_pipeline::Error) -> Refusal {
    match e.is_memory() {
        true => Refusal::memory(e.to_string()),
        false => Refusal::new(axum::http::StatusCode::UNPROCESSABLE_ENTITY, e.to_string()),
    }
}
