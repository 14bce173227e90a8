//! What becomes of finished rows: outlines, areas, probability maps and the picture.

use super::SlideFiles;
use crate::decide::Decider;
use crate::recipe::Recipe;
use crate::{Error, Result};
use ampoule_imaging::contour::{Region, Tracer};
use ampoule_imaging::geojson::Features;
use ampoule_imaging::picture::Coverage;
use ampoule_imaging::pyramid::{Pyramid, TILE};
use ampoule_imaging::tissue::OnTissue;
use ampoule_imaging::window::Finished as Block;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter};

const SIDE: u64 = TILE as u64;

/// Blocks of a row by their columns.
pub(super) type Row = BTreeMap<u64, Block>;

/// Where there is tissue.
#[derive(Clone, Copy)]
pub(super) struct Tissue<'a> {
    pub cover: OnTissue<'a>,
    /// Regions end where tissue ends.
    pub clip: bool,
}

/// How the pixels of the grid of scores lie on the slide.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScoreGrid {
    /// Pixels across and down.
    pub size: [u64; 2],
    /// Pixels of level 0 along a side of one of the grid's.
    pub scale: f64,
    /// Microns along a side of one of the grid's pixels.
    pub mpp: Option<f64>,
    /// Pixels across and down level 0.
    pub bounds: [f64; 2],
}

pub(super) struct Sink<'a> {
    recipe: &'a Recipe,
    decider: Decider,
    /// Colour of each label, grey for the background.
    colours: Vec<[u8; 3]>,
    files: &'a SlideFiles,
    grid: ScoreGrid,
    tissue: Option<Tissue<'a>>,
    /// Outlines by label; none for a classifier, whose tiles are drawn as they are.
    tracers: Vec<(usize, Tracer)>,
    features: Features,
    maps: Vec<(usize, Pyramid<BufWriter<File>>)>,
    overlay: Coverage,
    counts: Counts,
    row: u64,
}

/// Exact counts of the grid's pixels.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Pixels of each label that were looked at, on tissue where that was looked for. For a classifier tenths of a
    /// promille of tiles, by how much of each is tissue.
    pub pixels: Vec<u64>,
    /// All such pixels.
    pub covered: u64,
    /// Regions of each label, or tiles of a classifier.
    pub regions: Vec<u64>,
}

/// Parts that a classifier's tile is counted in.
pub(super) const PARTS: u64 = 10_000;

/// What is left when all rows are through.
pub(super) struct Finished {
    pub features: File,
    pub maps: Vec<File>,
    pub overlay: Coverage,
    pub counts: Counts,
}

impl<'a> Sink<'a> {
    pub fn new(
        recipe: &'a Recipe,
        files: &'a SlideFiles,
        grid: ScoreGrid,
        tissue: Option<Tissue<'a>>,
        features: Features,
        maps: Vec<(usize, File)>,
        overlay: Coverage,
    ) -> Result<Self> {
        let n = recipe.label.len();
        let outlines = !recipe.is_image_level();
        let drawn = (0..n).filter(|&c| outlines && recipe.label[c].value != 0);
        let begin = |(c, file): (usize, File)| {
            let out = BufWriter::with_capacity(1 << 18, file);
            let map = Pyramid::new(out, grid.size[0], grid.size[1], grid.mpp);
            Ok((c, map.map_err(Error::io(files.map(c)))?))
        };
        let named = recipe.legend();
        let colour = |v: u16| named.iter().find(|l| l.value == v).map_or([180; 3], |l| l.colour);
        Ok(Sink {
            recipe,
            decider: Decider::new(recipe),
            colours: recipe.label.iter().map(|l| colour(l.value)).collect(),
            files,
            grid,
            tissue,
            tracers: drawn.map(|c| (c, Tracer::new(grid.size[0] as usize))).collect(),
            features,
            maps: maps.into_iter().map(begin).collect::<Result<_>>()?,
            overlay,
            counts: Counts { pixels: vec![0; n], covered: 0, regions: vec![0; n] },
            row: 0,
        })
    }

    /// The recipe in force.
    pub fn recipe(&self) -> &'a Recipe {
        self.recipe
    }

    /// A classifier's tile at `rect` (pixels of level 0) with its scores.
    pub fn tile(&mut self, rect: [f64; 4], scores: &[f32]) -> Result<()> {
        let Some(k) = self.decider.choose(scores) else { return Ok(()) };
        let all: Vec<_> =
            self.recipe.label.iter().map(|l| l.name.clone()).zip(scores.iter().copied()).collect();
        self.counts.regions[k] += 1;
        let class = (self.recipe.label[k].name.as_str(), self.colours[k]);
        self.features.tile(rect, class, &all).map_err(Error::io(&self.files.geojson))
    }

    /// Takes row `by` of blocks; rows in between hold nothing.
    pub fn take(&mut self, by: u64, blocks: &Row) -> Result<()> {
        self.blank_until(by * SIDE)?;
        let n = self.recipe.label.len();
        let width = self.grid.size[0] as usize;
        let rows = SIDE.min(self.grid.size[1] - by * SIDE) as usize;
        // The label's number in the recipe and one, 0 where there is none.
        let mut labels = vec![0u32; width * rows];
        let mut chosen = vec![0f32; width * rows];
        for (&bx, block) in blocks {
            let columns = block.size[0];
            let mut tiles = vec![vec![0u8; TILE * TILE]; self.maps.len()];
            for y in 0..rows.min(block.size[1]) {
                for x in 0..columns {
                    let p = &block.scores[n * (y * columns + x)..n * (y * columns + x + 1)];
                    if p[0].is_nan() {
                        continue;
                    }
                    let [u, v] = [bx * SIDE + x as u64, by * SIDE + y as u64];
                    let share = self.on_tissue(u, v);
                    self.counts.covered += share;
                    if share == 0 && self.tissue.is_some_and(|t| t.clip) {
                        continue;
                    }
                    let Some(k) = self.decider.choose(p) else { continue };
                    self.counts.pixels[k] += share;
                    let at = y * width + bx as usize * TILE + x;
                    (labels[at], chosen[at]) = (k as u32 + 1, p[k]);
                    for (tile, (c, _)) in tiles.iter_mut().zip(&self.maps) {
                        tile[y * TILE + x] = (p[*c] * 255.0).round().clamp(0.0, 255.0) as u8;
                    }
                    if self.recipe.label[k].value != 0 {
                        let drawn = self.recipe.label[..k].iter().filter(|l| l.value != 0).count();
                        self.overlay.mark(u, v, drawn);
                    }
                }
            }
            for (tile, (c, map)) in tiles.iter().zip(&mut self.maps) {
                map.put(bx, by, tile).map_err(Error::io(self.files.map(*c)))?;
            }
        }
        for y in 0..rows {
            let (labels, chosen) = (&labels[y * width..][..width], &chosen[y * width..][..width]);
            self.trace(|t, k, ended| {
                t.push(|x| (labels[x] == k as u32 + 1).then_some(chosen[x]), ended);
            })?;
        }
        self.row += rows as u64;
        Ok(())
    }

    /// How much of a pixel counts as tissue: all of it where that was not looked for; for a classifier, whose pixels
    /// are tiles, in parts.
    fn on_tissue(&self, x: u64, y: u64) -> u64 {
        let all = if self.recipe.is_image_level() { PARTS } else { 1 };
        let Some(t) = self.tissue else { return all };
        match self.recipe.is_image_level() {
            true => t.cover.parts(x, y, PARTS),
            false => t.cover.middle(x, y) as u64,
        }
    }

    fn blank_until(&mut self, row: u64) -> Result<()> {
        for _ in self.row..row {
            self.trace(|t, _, ended| t.push_blank(ended))?;
        }
        self.row = self.row.max(row);
        Ok(())
    }

    /// Lets every tracer take a row, and writes the regions that end by it.
    fn trace(&mut self, step: impl Fn(&mut Tracer, usize, &mut dyn FnMut(Region))) -> Result<()> {
        let mut tracers = std::mem::take(&mut self.tracers);
        let mut ended = Vec::new();
        for (k, tracer) in &mut tracers {
            step(tracer, *k, &mut |r| ended.push((*k, r)));
        }
        self.tracers = tracers;
        ended.into_iter().try_for_each(|(k, r)| self.region(k, &r))
    }

    fn region(&mut self, k: usize, r: &Region) -> Result<()> {
        let p = self.grid;
        let smallest = self.recipe.slide.as_ref().map_or(0.0, |s| s.smallest);
        if p.mpp.is_some_and(|mpp| (r.pixels as f64) * mpp * mpp < smallest) {
            return Ok(());
        }
        self.counts.regions[k] += 1;
        let name = (self.recipe.label[k].name.as_str(), self.colours[k]);
        let written = self.features.region(r, name, p.scale, p.bounds, p.mpp);
        written.map_err(Error::io(&self.files.geojson))
    }

    /// Ends all outputs.
    pub fn finish(mut self) -> Result<Finished> {
        let mut ended = Vec::new();
        for (k, tracer) in std::mem::take(&mut self.tracers) {
            tracer.finish(&mut |r| ended.push((k, r)));
        }
        ended.iter().try_for_each(|(k, r)| self.region(*k, r))?;
        let files = self.files;
        let end = |(c, map): (usize, Pyramid<BufWriter<File>>)| {
            let whole = || map.finish()?.into_inner().map_err(io::IntoInnerError::into_error);
            whole().map_err(Error::io(files.map(c)))
        };
        Ok(Finished {
            features: self.features.finish().map_err(Error::io(&files.geojson))?,
            maps: self.maps.into_iter().map(end).collect::<Result<_>>()?,
            overlay: self.overlay,
            counts: self.counts,
        })
    }
}
