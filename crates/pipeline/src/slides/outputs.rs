//! The files of a slide while they are written, and their final names.

use super::SlideFiles;
use super::assembler::Done;
use super::sink::{ScoreGrid, Sink, Tissue};
use crate::field::field;
use crate::recipe::Recipe;
use crate::record::Written;
use crate::{Error, Result, sha256_file, sha256_hex};
use ampoule_files::{Pending, write_atomic};
use ampoule_imaging::geojson::Features;
use ampoule_imaging::picture::Coverage;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Files that wait for their names.
pub(super) struct Outputs<'a> {
    files: &'a SlideFiles,
    features: Pending,
    table: Pending,
    maps: Vec<Pending>,
}

fn create(path: &Path) -> Result<(Pending, File)> {
    Pending::create(path).map_err(Error::io(path))
}

/// A random-looking UUID (version 8: of own making) that depends on the slide (`seed`) and the feature's number alone.
fn feature_id(seed: &str, number: u64) -> String {
    let h = sha256_hex(format!("{seed} {number}").as_bytes());
    format!("{}-{}-8{}-8{}-{}", &h[..8], &h[8..12], &h[13..16], &h[17..20], &h[20..32])
}

impl<'a> Outputs<'a> {
    /// Begins all files; `seed` makes the ids of features. Gives what takes rows, and the table with its
    /// header.
    pub fn begin(
        files: &'a SlideFiles,
        recipe: &'a Recipe,
        grid: ScoreGrid,
        tissue: Option<Tissue<'a>>,
        overlay: Coverage,
        seed: &str,
    ) -> Result<(Self, Sink<'a>, BufWriter<File>)> {
        let (features, file) = create(&files.geojson)?;
        let gzip = files.geojson.extension().is_some_and(|e| e == "gz");
        let seed = seed.to_owned();
        let ids = move |number| feature_id(&seed, number);
        let drawn = Features::new(file, gzip, Box::new(ids)).map_err(Error::io(&files.geojson))?;
        let (table, file) = create(&files.table)?;
        let mut rows = BufWriter::with_capacity(1 << 16, file);
        let header: Vec<String> = recipe.label.iter().map(|l| field(&format!("prob_{}", l.name))).collect();
        writeln!(rows, "minx,miny,width,height,{}", header.join(",")).map_err(Error::io(&files.table))?;
        let (mut maps, mut map_files) = (Vec::new(), Vec::new());
        for (class, path) in &files.maps {
            let (pending, file) = create(path)?;
            maps.push(pending);
            map_files.push((*class, file));
        }
        let sink = Sink::new(recipe, files, grid, tissue, drawn, map_files, overlay)?;
        Ok((Outputs { files, features, table, maps }, sink, rows))
    }

    /// Gives all files their final names.
    pub fn place(self, done: &Done) -> Result<Vec<Written>> {
        let files = self.files;
        let one = |pending: Pending, file: &File| {
            let path = pending.path().to_owned();
            pending.commit(file).map_err(Error::io(&path))
        };
        one(self.features, &done.finished.features)?;
        one(self.table, &done.table)?;
        self.maps.into_iter().zip(&done.finished.maps).try_for_each(|(p, f)| one(p, f))?;
        let overlay = &done.finished.overlay;
        write_atomic(&files.overlay, |out| overlay.write(out)).map_err(Error::io(&files.overlay))?;
        let written = |(kind, path): (&str, &PathBuf)| {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok(Written { kind: kind.into(), file, sha256: sha256_file(path)? })
        };
        files.all().into_iter().map(written).collect()
    }
}
