//! What becomes of finished rows: outlines, areas, probability maps and the picture.

use super::canvas::Row;
use super::files::{Features, SlideFiles};
use super::overlay::Overlay;
use crate::photos::Task;
use crate::photos::recipe::PhotoRecipe;
use crate::{Error, Result};
use ampoule_imaging::Volume;
use ampoule_imaging::contour::{Region, Tracer};
use ampoule_imaging::pyramid::{Pyramid, TILE};
use std::fs::File;
use std::io::{self, BufWriter};

const SIDE: u64 = TILE as u64;

/// Where there is tissue, and how many pixels of the mask one of the canvas's is along a side.
pub(super) type Clip<'a> = (&'a Volume<u8>, f64);

/// How canvas pixels lie on the slide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Pixels across and down.
    pub size: [u64; 2],
    /// Pixels of level 0 along a side of one of the canvas's.
    pub scale: f64,
    /// Microns along a side of one of the canvas's pixels.
    pub mpp: Option<f64>,
    /// Pixels across and down level 0.
    pub bounds: [f64; 2],
}

pub(super) struct Sink<'a> {
    recipe: &'a PhotoRecipe,
    files: &'a SlideFiles,
    place: Place,
    clip: Option<Clip<'a>>,
    /// Outlines by class; none for a classifier, whose windows are drawn as they are.
    tracers: Vec<(usize, Tracer)>,
    /// Outlines and windows so far.
    pub features: Features,
    maps: Vec<(usize, Pyramid<BufWriter<File>>)>,
    overlay: Overlay,
    /// Pixels of each class, and pixels that windows cover.
    pub pixels: Vec<u64>,
    pub covered: u64,
    /// Regions of each class.
    pub regions: Vec<u64>,
    row: u64,
}

/// What is left when all rows are through.
pub(super) struct Finished {
    pub features: File,
    pub maps: Vec<File>,
    pub overlay: Overlay,
    pub pixels: Vec<u64>,
    pub covered: u64,
    pub regions: Vec<u64>,
}

impl<'a> Sink<'a> {
    pub fn new(
        recipe: &'a PhotoRecipe,
        files: &'a SlideFiles,
        place: Place,
        clip: Option<Clip<'a>>,
        features: Features,
        maps: Vec<(usize, File)>,
        overlay: Overlay,
    ) -> Result<Self> {
        let n = recipe.classes.len();
        let outlines = recipe.task == Task::Delineation;
        let drawn = (0..n).filter(|&c| outlines && c != recipe.background());
        let begin = |(c, file): (usize, File)| {
            let out = BufWriter::with_capacity(1 << 18, file);
            let map = Pyramid::new(out, place.size[0], place.size[1], place.mpp);
            Ok((c, map.map_err(Error::io(files.map(c)))?))
        };
        Ok(Sink {
            recipe,
            files,
            place,
            clip,
            tracers: drawn.map(|c| (c, Tracer::new(place.size[0] as usize))).collect(),
            features,
            maps: maps.into_iter().map(begin).collect::<Result<_>>()?,
            overlay,
            pixels: vec![0; n],
            covered: 0,
            regions: vec![0; n],
            row: 0,
        })
    }

    /// The recipe in force.
    pub fn recipe(&self) -> &'a PhotoRecipe {
        self.recipe
    }

    /// Takes row `by` of blocks; rows in between hold nothing.
    pub fn take(&mut self, by: u64, blocks: &Row) -> Result<()> {
        self.blank_until(by * SIDE)?;
        let n = self.recipe.classes.len();
        let width = self.place.size[0] as usize;
        let rows = SIDE.min(self.place.size[1] - by * SIDE) as usize;
        let mut labels = vec![0u8; width * rows];
        let mut chosen = vec![0f32; width * rows];
        let mut p = vec![0f32; n];
        for (&bx, block) in blocks {
            let columns = (width - bx as usize * TILE).min(TILE);
            let mut tiles = vec![vec![0u8; TILE * TILE]; self.maps.len()];
            for y in 0..rows {
                for x in 0..columns {
                    if !block.mean(y * TILE + x, n, &mut p) {
                        continue;
                    }
                    let [u, v] = [bx * SIDE + x as u64, by * SIDE + y as u64];
                    self.covered += 1;
                    if !self.on_tissue(u, v) {
                        continue;
                    }
                    let class = self.recipe.decide(&p);
                    let at = y * width + bx as usize * TILE + x;
                    (labels[at], chosen[at]) = (self.recipe.label(class), p[class]);
                    self.pixels[class] += 1;
                    for (tile, (c, _)) in tiles.iter_mut().zip(&self.maps) {
                        tile[y * TILE + x] = (p[*c] * 255.0).round().clamp(0.0, 255.0) as u8;
                    }
                    if labels[at] > 0 {
                        self.overlay.mark(u, v, labels[at]);
                    }
                }
            }
            for (tile, (c, map)) in tiles.iter().zip(&mut self.maps) {
                map.put(bx, by, tile).map_err(Error::io(self.files.map(*c)))?;
            }
        }
        for y in 0..rows {
            let (labels, chosen) = (&labels[y * width..][..width], &chosen[y * width..][..width]);
            self.trace(|t, label, ended| {
                t.push(|x| (labels[x] == label).then_some(chosen[x]), ended);
            })?;
        }
        self.row += rows as u64;
        Ok(())
    }

    /// Whether a pixel counts: all do unless regions end with tissue.
    fn on_tissue(&self, x: u64, y: u64) -> bool {
        let Some((mask, ratio)) = self.clip else { return true };
        let at = |v: u64, n: usize| (((v as f64 + 0.5) * ratio) as usize).min(n - 1);
        mask.at(at(x, mask.dims[0]), at(y, mask.dims[1]), 0) != 0
    }

    fn blank_until(&mut self, row: u64) -> Result<()> {
        for _ in self.row..row {
            self.trace(|t, _, ended| t.push_blank(ended))?;
        }
        self.row = self.row.max(row);
        Ok(())
    }

    /// Lets every tracer take a row, and writes the regions that end by it.
    fn trace(&mut self, step: impl Fn(&mut Tracer, u8, &mut dyn FnMut(Region))) -> Result<()> {
        let mut tracers = std::mem::take(&mut self.tracers);
        let mut ended = Vec::new();
        for (class, tracer) in &mut tracers {
            step(tracer, self.recipe.label(*class), &mut |r| ended.push((*class, r)));
        }
        self.tracers = tracers;
        ended.into_iter().try_for_each(|(class, r)| self.region(class, &r))
    }

    fn region(&mut self, class: usize, r: &Region) -> Result<()> {
        let p = self.place;
        let smallest = self.recipe.slide.as_ref().map_or(0.0, |s| s.smallest);
        if p.mpp.is_some_and(|mpp| (r.pixels as f64) * mpp * mpp < smallest) {
            return Ok(());
        }
        self.regions[class] += 1;
        let name = (self.recipe.classes[class].as_str(), self.recipe.label(class));
        let written = self.features.region(r, name, p.scale, p.bounds, p.mpp);
        written.map_err(Error::io(&self.files.geojson))
    }

    /// Ends all outputs.
    pub fn finish(mut self) -> Result<Finished> {
        let mut ended = Vec::new();
        for (class, tracer) in std::mem::take(&mut self.tracers) {
            tracer.finish(&mut |r| ended.push((class, r)));
        }
        ended.iter().try_for_each(|(class, r)| self.region(*class, r))?;
        let files = self.files;
        let end = |(c, map): (usize, Pyramid<BufWriter<File>>)| {
            let whole = || map.finish()?.into_inner().map_err(io::IntoInnerError::into_error);
            whole().map_err(Error::io(files.map(c)))
        };
        Ok(Finished {
            features: self.features.finish().map_err(Error::io(&files.geojson))?,
            maps: self.maps.into_iter().map(end).collect::<Result<_>>()?,
            overlay: self.overlay,
            pixels: self.pixels,
            covered: self.covered,
            regions: self.regions,
        })
    }
}
