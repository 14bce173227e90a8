//! The files of the page, inside the program.

use crate::refusal::Refusal;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;
use std::io::Read;

/// Name, type, content, and whether that is gzipped.
type Asset = (&'static str, &'static str, &'static [u8], bool);

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// All files. Libraries of others are made by `scripts/web_assets.sh` (THIRD_PARTY.md).
const ASSETS: [Asset; 9] = [
    ("", "text/html; charset=utf-8", include_bytes!("../assets/index.html"), false),
    ("style.css", "text/css; charset=utf-8", include_bytes!("../assets/style.css"), false),
    ("app.js", SCRIPT, include_bytes!("../assets/app.js"), false),
    ("list.js", SCRIPT, include_bytes!("../assets/list.js"), false),
    ("look.js", SCRIPT, include_bytes!("../assets/look.js"), false),
    ("drop.js", SCRIPT, include_bytes!("../assets/drop.js"), false),
    ("icon.svg", "image/svg+xml", include_bytes!("../assets/icon.svg"), false),
    ("niivue.js", SCRIPT, include_bytes!("../assets/niivue.js.gz"), true),
    ("openseadragon.js", SCRIPT, include_bytes!("../assets/openseadragon.js.gz"), true),
];

/// A file by its name, unpacked for clients that do not take it packed.
pub(crate) fn asset(name: &str, headers: &HeaderMap) -> Response {
    let Some((_, kind, content, packed)) = ASSETS.iter().find(|a| a.0 == name) else {
        return Refusal::unknown("there is no such page").into_response();
    };
    let takes = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or("");
    let takes = takes.split(',').any(|e| e.split(';').next().unwrap_or("").trim() == "gzip");
    let mut response = match (packed, takes) {
        (false, _) => (*content).into_response(),
        (true, true) => {
            let mut response = (*content).into_response();
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        }
        (true, false) => {
            let mut plain = Vec::new();
            match GzDecoder::new(*content).read_to_end(&mut plain) {
                Ok(_) => plain.into_response(),
                Err(e) => Refusal::fault(e.to_string()).into_response(),
            }
        }
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_unpacks_and_holds_its_licence() {
        for (name, ..) in ASSETS.iter().filter(|a| a.3) {
            let mut plain = String::new();
            let content = ASSETS.iter().find(|a| a.0 == *name).unwrap().2;
            GzDecoder::new(content).read_to_string(&mut plain).unwrap();
            assert!(plain.len() > 100_000 && plain.contains("Redistribution"), "{name}");
        }
    }
}
