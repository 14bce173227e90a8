//! What BIDS wants to know of volumes beside them: a JSON file of the same name.

use super::masked::Masked;
use super::{Names, Segmented, Writer};
use ampoule_files::write_atomic;
use std::path::Path;

pub(super) struct Sidecar;

impl Writer for Sidecar {
    fn kind(&self) -> &'static str {
        "sidecar"
    }

    fn files(&self, n: &Names) -> Vec<String> {
        match n.case.bids && n.volume() {
            // The validator asks for one where a volume is named as an image of the scanner.
            true => Masked.files(n).iter().map(|f| format!("{}.json", crate::stem(Path::new(f)))).collect(),
            false => Vec::new(),
        }
    }

    fn write(&self, _: usize, s: &Segmented, path: &Path) -> std::io::Result<()> {
        let about = serde_json::json!({
            "Description": format!("the image, 0 outside the labels of {}", s.recipe.model.name),
            "SkullStripped": true,
        });
        let text = serde_json::to_string_pretty(&about).unwrap_or_default() + "\n";
        write_atomic(path, |out| out.write_all(text.as_bytes()))
    }
}
