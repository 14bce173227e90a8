//! The files of a slide: outlines for QuPath, a table of windows, and the sidecar that resume trusts.

use super::overlay::colour;
use crate::output::{Written, sha256_file, sha256_hex};
use crate::photos::recipe::PhotoRecipe;
use ampoule_imaging::contour::{Region, Ring};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Where the files of a slide go.
#[derive(Clone, Debug)]
pub(super) struct SlideFiles {
    pub geojson: PathBuf,
    pub table: PathBuf,
    pub overlay: PathBuf,
    /// Probability maps by class.
    pub maps: Vec<(usize, PathBuf)>,
    pub sidecar: PathBuf,
    /// Says that files without a sidecar are ours, from a run that was interrupted.
    pub running: PathBuf,
}

impl SlideFiles {
    /// Files for `input` in `folder`; `gzip` compresses the outlines, `maps` adds probability maps.
    pub fn new(input: &Path, folder: &Path, recipe: &PhotoRecipe, gzip: bool, maps: bool) -> Self {
        let name = input.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let stem = name.strip_suffix(".ome").unwrap_or(&name);
        let at = |suffix: &str| folder.join(format!("{stem}{suffix}"));
        let plain = |c: usize| recipe.classes[c].replace(|c: char| !c.is_alphanumeric(), "-");
        // Classes whose names differ in other signs only are told apart by their numbers.
        let unique = |c: usize| (0..recipe.classes.len()).all(|o| o == c || plain(o) != plain(c));
        let suffix = |c: usize| if unique(c) { plain(c) } else { format!("{}-{c}", plain(c)) };
        let classes = (0..recipe.classes.len()).filter(|&c| maps && c != recipe.background());
        SlideFiles {
            geojson: at(if gzip { ".geojson.gz" } else { ".geojson" }),
            table: at(".csv"),
            overlay: at("_overlay.png"),
            maps: classes.map(|c| (c, at(&format!("_prob_{}.tif", suffix(c))))).collect(),
            sidecar: at(".json"),
            running: folder.join(format!(".{stem}.ampoule-running")),
        }
    }

    /// The probability map of a class.
    pub fn map(&self, class: usize) -> &Path {
        self.maps.iter().find(|m| m.0 == class).map_or(&self.sidecar, |m| &m.1)
    }

    /// All of them, the sidecar last, with what each is.
    pub fn all(&self) -> Vec<(&'static str, &PathBuf)> {
        let mut list = vec![("outlines", &self.geojson), ("table", &self.table), ("picture", &self.overlay)];
        list.extend(self.maps.iter().map(|m| ("probability", &m.1)));
        list.push(("sidecar", &self.sidecar));
        list
    }

    /// Removes temporary files that a killed run left beside the outputs.
    pub fn remove_temporaries(&self) {
        for (_, path) in self.all() {
            crate::output::remove_temporaries(path);
        }
    }

    /// The written outputs with their hashes.
    pub fn written(&self) -> crate::Result<Vec<Written>> {
        let outputs = self.all().into_iter().filter(|f| f.0 != "sidecar");
        let one = |(kind, path): (&str, &PathBuf)| {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok(Written { kind: kind.into(), file, sha256: sha256_file(path)? })
        };
        outputs.map(one).collect()
    }
}

enum Out {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

/// A GeoJSON feature collection as QuPath reads it, written feature by feature. Coordinates are pixels of
/// level 0 from the top left.
pub(super) struct Features {
    out: Out,
    /// Makes ids that differ between slides and are the same in every run.
    seed: String,
    count: u64,
}

impl Features {
    pub fn new(file: File, gzip: bool, seed: &str) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 18, file);
        let out = match gzip {
            true => Out::Gzip(Box::new(GzEncoder::new(file, Compression::new(4)))),
            false => Out::Plain(file),
        };
        let mut features = Features { out, seed: seed.into(), count: 0 };
        features.text("{\"type\":\"FeatureCollection\",\"features\":[")?;
        Ok(features)
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        match &mut self.out {
            Out::Plain(w) => w.write_all(text.as_bytes()),
            Out::Gzip(w) => w.write_all(text.as_bytes()),
        }
    }

    /// A random-looking UUID (version 8: of own making) that depends on the slide and the number alone.
    fn id(&self) -> String {
        let h = sha256_hex(format!("{} {}", self.seed, self.count).as_bytes());
        format!("{}-{}-8{}-8{}-{}", &h[..8], &h[8..12], &h[13..16], &h[17..20], &h[20..32])
    }

    fn feature(
        &mut self,
        rings: &str,
        kind: &str,
        class: (&str, u8),
        measurements: &serde_json::Map<String, serde_json::Value>,
    ) -> io::Result<()> {
        let properties = serde_json::json!({
            "objectType": kind,
            "classification": { "name": class.0, "color": colour(class.1) },
            "isLocked": true,
            "measurements": measurements,
        });
        let comma = if self.count > 0 { "," } else { "" };
        let text = format!(
            "{comma}\n{{\"type\":\"Feature\",\"id\":\"{}\",\"geometry\":{{\"type\":\"Polygon\",\"coordinates\":[{rings}]}},\"properties\":{properties}}}",
            self.id()
        );
        self.count += 1;
        self.text(&text)
    }

    /// A region with its holes; `scale` level-0 pixels a canvas pixel, `bounds` of the slide.
    pub fn region(
        &mut self,
        region: &Region,
        class: (&str, u8),
        scale: f64,
        bounds: [f64; 2],
        mpp: Option<f64>,
    ) -> io::Result<()> {
        let ring = |r: &Ring| {
            let point = |v: &[i32; 2]| {
                let [x, y] = [0, 1].map(|i| (v[i] as f64 / 2.0 * scale).clamp(0.0, bounds[i]));
                format!("[{},{}]", round(x, 100.0), round(y, 100.0))
            };
            let mut text: Vec<String> = r.iter().map(point).collect();
            text.extend(text.first().cloned());
            format!("[{}]", text.join(","))
        };
        let rings: Vec<String> = std::iter::once(&region.outer).chain(&region.holes).map(ring).collect();
        let mut m = serde_json::Map::new();
        if let Some(mpp) = mpp {
            m.insert("Area µm^2".into(), round(region.pixels as f64 * mpp * mpp, 100.0).into());
        }
        m.insert("Mean probability".into(), round(region.sum / region.pixels.max(1) as f64, 1e5).into());
        self.feature(&rings.join(","), "annotation", class, &m)
    }

    /// A window of a classifier with the probability of each class.
    pub fn tile(
        &mut self,
        [x, y, w, h]: [f64; 4],
        class: (&str, u8),
        probabilities: &[(String, f32)],
    ) -> io::Result<()> {
        let [x, y, w, h] = [x, y, w, h].map(f64::round);
        let corners = [[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]];
        let ring: Vec<String> = corners.iter().map(|[x, y]| format!("[{x},{y}]")).collect();
        let m = probabilities.iter().map(|(k, v)| (format!("prob_{k}"), round(*v as f64, 1e6).into()));
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

pub(super) fn round(v: f64, per: f64) -> f64 {
    (v * per).round() / per
}

/// One class of a slide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassArea {
    /// Its name.
    pub class: String,
    /// Its area in square millimetres, where the size of a pixel is known.
    pub area_mm2: Option<f64>,
    /// Its area as a share of what was looked at.
    pub share: f64,
    /// Outlined regions, or windows of a classifier.
    pub regions: u64,
}

/// What is recorded beside the outputs of a slide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlideSidecar {
    /// Program and version.
    pub generated_by: String,
    /// Name of the recipe.
    pub model: String,
    /// Hash of the model file.
    pub model_sha256: String,
    /// Hash of the recipe and of the settings that change results.
    pub settings_sha256: String,
    /// Name of the input, without folder.
    pub input: String,
    /// Hash of the input file.
    pub input_sha256: String,
    /// How the file was understood.
    pub format: String,
    /// Pixels across and down level 0.
    pub size: [u64; 2],
    /// Microns a pixel of level 0, where known.
    pub mpp: Option<f64>,
    /// Level that was read.
    pub level: usize,
    /// Pixels of level 0 along a side of one pixel that the network saw.
    pub downsample: f64,
    /// Windows that were looked at.
    pub tiles: usize,
    /// Windows per second, of all threads together.
    pub tiles_per_second: f64,
    /// Share of the threads' time that was spent in the network while windows were worked on.
    pub network_share: f64,
    /// Area of tissue in square millimetres, where it was looked for and the size of a pixel is known.
    pub tissue_mm2: Option<f64>,
    /// Class by class, without the background.
    pub classes: Vec<ClassArea>,
    /// Files written.
    pub outputs: Vec<Written>,
    /// How values were stored and multiplied.
    pub precision: String,
    /// Instruction-set tier.
    pub isa: String,
    /// Threads.
    pub threads: usize,
    /// CPU.
    pub cpu: String,
    /// Milliseconds per kind of work; the network's and reading's are sums over threads.
    pub timings_ms: serde_json::Map<String, serde_json::Value>,
    /// Peak resident memory of the process so far, MiB.
    pub peak_rss_mib: u64,
    /// Things a user should know.
    pub warnings: Vec<String>,
}

impl SlideSidecar {
    /// Whether this describes what would be made again, and every file still has its hash.
    pub(super) fn still_valid(&self, input: &str, model: &str, settings: &str, files: &SlideFiles) -> bool {
        let same =
            self.input_sha256 == input && self.model_sha256 == model && self.settings_sha256 == settings;
        same && files.written().is_ok_and(|w| w == self.outputs)
    }
}
