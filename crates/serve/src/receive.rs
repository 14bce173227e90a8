//! Taking a request's body.

use crate::budget::Hold;
use crate::pace::TooSlow;
use crate::refusal::Refusal;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use std::time::Duration;

/// How long a client whose request is refused may go on sending.
const LINGER: Duration = Duration::from_secs(2);
/// How often a body is in memory.
const COPIES: u64 = 2;
/// Memory is asked for in such steps, as bytes arrive.
const STEP: usize = 1 << 20;

/// A body of at most `most` bytes in memory, counted by `hold`.
pub(crate) async fn whole(
    headers: &HeaderMap,
    mut body: Body,
    most: u64,
    hold: &mut Hold,
) -> Result<Vec<u8>, Refusal> {
    let taken = match length(headers) {
        Ok(Some(told)) if told > most => Err(Refusal::large(most)),
        // Tensors are copied once on their way into the network, so that the figure is one that helps.
        Ok(told) => match hold.fits(COPIES * told.unwrap_or(0)) {
            Ok(()) => take(told, &mut body, most, hold).await,
            Err(refusal) => Err(refusal),
        },
        Err(refusal) => Err(refusal),
    };
    if taken.is_err() {
        discard(body, most);
    }
    taken
}

/// Lets a client whose request is refused send some of the rest, while it is answered: where a connection is closed on
/// bytes that nobody read, the answer may be lost.
pub(crate) fn discard(mut body: Body, most: u64) {
    tokio::spawn(async move {
        let mut left = most;
        let all = async {
            while let Some(Ok(frame)) = body.frame().await
                && left > 0
            {
                left = left.saturating_sub(frame.data_ref().map_or(0, |d| d.len() as u64));
            }
        };
        let _ = tokio::time::timeout(LINGER, all).await;
    });
}

async fn take(told: Option<u64>, body: &mut Body, most: u64, hold: &mut Hold) -> Result<Vec<u8>, Refusal> {
    let mut out: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|e| unfinished(&e))?.into_data() else { continue };
        if out.len() as u64 + data.len() as u64 > most {
            return Err(Refusal::large(most));
        }
        let room = out.capacity() - out.len();
        if data.len() > room {
            // Doubling up to the length that was told; what was not told grows as it comes.
            let end = told.map_or(usize::MAX, |n| n as usize).saturating_sub(out.len());
            let more = out.len().max(STEP).min(end).max(data.len());
            hold.grow((more - room) as u64)?;
            out.try_reserve_exact(more)
                .map_err(|_| Refusal::memory("the machine has no memory left for the request"))?;
        }
        out.extend_from_slice(&data);
    }
    Ok(out)
}

/// What the request says of its length; refuses bodies that are packed.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    if let Some(packed) = headers.get(header::CONTENT_ENCODING).filter(|v| *v != "identity") {
        let message = format!("bodies that are packed ({packed:?}) are not taken; send it as it is");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let text = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    Ok(text.and_then(|t| t.parse().ok()))
}

/// Why a body ended before its end.
pub(crate) fn unfinished(e: &(dyn std::error::Error + 'static)) -> Refusal {
    let mut at = Some(e);
    while let Some(e) = at {
        if e.is::<TooSlow>() {
            return Refusal::new(StatusCode::REQUEST_TIMEOUT, e.to_string());
        }
        at = e.source();
    }
    Refusal::bad(format!("the request ended too early ({e})"))
}
