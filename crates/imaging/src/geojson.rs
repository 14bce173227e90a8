//! A GeoJSON feature collection as QuPath reads it, written feature by feature.

use crate::contour::{Region, Ring};
use crate::rounding::round_to;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::{self, BufWriter, Write};

enum Out {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

/// Gives the id of a feature by its number.
pub type Ids = Box<dyn Fn(u64) -> String + Send>;

/// A GeoJSON feature collection as QuPath reads it, written feature by feature. Coordinates are pixels of
/// level 0 from the top left.
pub struct Features {
    out: Out,
    ids: Ids,
    count: u64,
}

impl Features {
    /// Begins a collection in `file`, packed where `gzip`; `ids` gives the id of the feature of a number, counted
    /// from 0.
    pub fn new(file: File, gzip: bool, ids: Ids) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 18, file);
        let out = match gzip {
            true => Out::Gzip(Box::new(GzEncoder::new(file, Compression::new(4)))),
            false => Out::Plain(file),
        };
        let mut features = Features { out, ids, count: 0 };
        features.text("{\"type\":\"FeatureCollection\",\"features\":[")?;
        Ok(features)
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        match &mut self.out {
            Out::Plain(w) => w.write_all(text.as_bytes()),
            Out::Gzip(w) => w.write_all(text.as_bytes()),
        }
    }

    fn feature(
        &mut self,
        rings: &str,
        kind: &str,
        class: (&str, [u8; 3]),
        measurements: &serde_json::Map<String, serde_json::Value>,
    ) -> io::Result<()> {
        let properties = serde_json::json!({
            "objectType": kind,
            "classification": { "name": class.0, "color": class.1 },
            "isLocked": true,
            "measurements": measurements,
        });
        let comma = if self.count > 0 { "," } else { "" };
        let text = format!(
            "{comma}\n{{\"type\":\"Feature\",\"id\":\"{}\",\"geometry\":{{\"type\":\"Polygon\",\"coordinates\":[{rings}]}},\"properties\":{properties}}}",
            (self.ids)(self.count)
        );
        self.count += 1;
        self.text(&text)
    }

    /// A region with its holes; `scale` is how many pixels of level 0 one of the
    /// region's is along a side, `bounds` are the slide's width and height.
    pub fn region(
        &mut self,
        region: &Region,
        class: (&str, [u8; 3]),
        scale: f64,
        bounds: [f64; 2],
        mpp: Option<f64>,
    ) -> io::Result<()> {
        let ring = |r: &Ring| {
            let point = |v: &[i32; 2]| {
                let [x, y] = [0, 1].map(|i| (v[i] as f64 / 2.0 * scale).clamp(0.0, bounds[i]));
                format!("[{},{}]", round_to(x, 100.0), round_to(y, 100.0))
            };
            let mut text: Vec<String> = r.iter().map(point).collect();
            text.extend(text.first().cloned());
            format!("[{}]", text.join(","))
        };
        let rings: Vec<String> = std::iter::once(&region.outer).chain(&region.holes).map(ring).collect();
        let mut m = serde_json::Map::new();
        if let Some(mpp) = mpp {
            m.insert("Area µm^2".into(), round_to(region.pixels as f64 * mpp * mpp, 100.0).into());
        }
        m.insert("Mean probability".into(), round_to(region.sum / region.pixels.max(1) as f64, 1e5).into());
        self.feature(&rings.join(","), "annotation", class, &m)
    }

    /// A window of a classifier with the probability of each class.
    pub fn tile(
        &mut self,
        [x, y, w, h]: [f64; 4],
        class: (&str, [u8; 3]),
        probabilities: &[(String, f32)],
    ) -> io::Result<()> {
        let [x, y, w, h] = [x, y, w, h].map(f64::round);
        let corners = [[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]];
        let ring: Vec<String> = corners.iter().map(|[x, y]| format!("[{x},{y}]")).collect();
        let m = probabilities.iter().map(|(k, v)| (format!("prob_{k}"), round_to(*v as f64, 1e6).into()));
        self.feature(&format!("[{}]", ring.join(",")), "tile", class, &m.collect())
    }

    /// Ends the collection and gives the file back.
    pub fn finish(mut self) -> io::Result<File> {
        self.text("\n]}\n")?;
        let inner = |w: BufWriter<File>| w.into_inner().map_err(io::IntoInnerError::into_error);
        match self.out {
            Out::Plain(w) => inner(w),
            Out::Gzip(w) => inner(w.finish()?),
        }
    }
}
