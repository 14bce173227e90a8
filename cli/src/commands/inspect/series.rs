//! What DICOM files hold: `ampoule inspect FOLDER`.

use super::super::{json, say};
use crate::args::Global;
use crate::exit::{Code, Failure};
use ampoule_pipeline::{DicomScan, DicomSeries, series_in};
use serde_json::json as object;
use std::path::Path;

/// Describes the series at a path; `None` where it holds none.
pub fn inspect(g: &Global, path: &str) -> Result<Option<Code>, Failure> {
    let path = Path::new(path);
    // A ZIP file may be a model, too, and is known by its name.
    let name = path.to_string_lossy().to_ascii_lowercase();
    let zip = name.ends_with(".zip") && ampoule_zoo::open(path).is_err();
    let other = path.is_file() && ampoule_zoo::is_folder(path) && !zip;
    if !path.exists() || other {
        return Ok(None);
    }
    let Some(scan) = series_in(path)? else { return Ok(None) };
    match g.json {
        true => print(&scan)?,
        false => tell(&scan),
    }
    let fine = scan.failed.is_empty() && scan.series.iter().all(|s| s.shape.is_ok());
    Ok(Some(if fine { Code::Done } else { Code::SomeFailed }))
}

fn tell(scan: &DicomScan) {
    for s in &scan.series {
        match &s.shape {
            Ok(shape) => {
                let [x, y, z] = shape.dims;
                let [a, b, c] = shape.spacing;
                let frames = match shape.frames {
                    1 => String::new(),
                    n => format!(", {n} at every position by {}", shape.by),
                };
                say(format!("{}: {x}x{y}x{z} voxels of {a:.3}x{b:.3}x{c:.3} mm{frames}", s.described()));
            }
            Err(e) => say(format!("{}: no volume: {e}", s.described())),
        }
        s.notes.iter().for_each(|n| say(format!("  {n}")));
    }
    for o in &scan.others {
        say(format!("{} ({} files, such as {}): no volume", o.what, o.count, o.file.display()));
    }
    for (path, e) in &scan.failed {
        say(format!("{}: {e}", path.display()));
    }
}

fn print(scan: &DicomScan) -> Result<(), Failure> {
    for s in &scan.series {
        json(&one(s))?;
    }
    for o in &scan.others {
        json(&object!({ "other": o.what, "files": o.count }))?;
    }
    for (path, e) in &scan.failed {
        json(&object!({ "file": path.display().to_string(), "error": e.to_string() }))?;
    }
    Ok(())
}

fn one(s: &DicomSeries) -> serde_json::Value {
    let mut out = object!({
        "series": s.number, "description": s.description, "modality": s.modality, "files": s.places.len(), "name": s.name(),
    });
    match &s.shape {
        Ok(shape) => {
            out["shape"] = object!(shape.dims);
            out["spacing_mm"] = object!(shape.spacing);
            out["frames"] = object!(shape.frames);
        }
        Err(e) => out["error"] = object!(e.to_string()),
    }
    out
}
