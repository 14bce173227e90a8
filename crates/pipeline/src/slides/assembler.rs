//! Where tiles are put together, in the order of their positions.

use super::SlideFiles;
use super::grid::{Grid, Window};
use super::sink::{Finished, Row, Sink};
use crate::batch::OnProgress;
use crate::{Error, Result};
use ampoule_imaging::Volume;
use ampoule_imaging::pyramid::TILE;
use ampoule_imaging::window::{Accumulator, Placed};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};

/// Pixels along a side of a block.
const SIDE: u64 = TILE as u64;

/// A tile's scores and their means.
#[derive(Clone)]
pub(super) struct Ready {
    /// Pixels across and down; 1 and 1 of a classifier.
    pub inner: [usize; 2],
    pub values: Vec<f32>,
    pub means: Vec<f32>,
}

pub(super) struct TileAssembler<'a, 't> {
    files: &'a SlideFiles,
    grid: &'a Grid,
    /// Whether each tile has one class.
    whole: bool,
    /// Weights of a tile's pixels.
    weights: Volume<f32>,
    accumulator: Accumulator,
    /// Rows of blocks to which later tiles may add more.
    rows: BTreeMap<u64, Row>,
    sink: Sink<'a>,
    table: BufWriter<File>,
    waiting: BTreeMap<usize, Ready>,
    next: usize,
    on_progress: &'t mut OnProgress<'t>,
}

/// Everything on the slide, and the table of tiles.
pub(super) struct Done {
    pub finished: Finished,
    pub table: File,
}

/// Where a tile lies on the grid of scores, which has one pixel for each tile of a classifier.
pub(super) fn placed(grid: &Grid, w: &Window, whole: bool) -> Placed {
    if whole {
        return ([w.cell[0], w.cell[1], 0], [1; 3]);
    }
    let inner = grid.inner(w.at);
    ([w.at[0], w.at[1], 0], [inner[0], inner[1], 1])
}

impl<'a, 't> TileAssembler<'a, 't> {
    pub fn new(
        files: &'a SlideFiles,
        grid: &'a Grid,
        weights: Volume<f32>,
        sink: Sink<'a>,
        table: BufWriter<File>,
        on_progress: &'t mut OnProgress<'t>,
    ) -> Self {
        let whole = sink.recipe().is_image_level();
        let size = if whole { grid.cells() } else { grid.size };
        let all = grid.windows.iter().map(|w| placed(grid, w, whole));
        let accumulator =
            Accumulator::new(sink.recipe().label.len(), [size[0], size[1], 1], [TILE, TILE, 1], all);
        TileAssembler {
            files,
            grid,
            whole,
            weights,
            accumulator,
            rows: BTreeMap::new(),
            sink,
            table,
            waiting: BTreeMap::new(),
            next: 0,
            on_progress,
        }
    }

    /// The tile whose turn it is.
    pub fn next(&self) -> usize {
        self.next
    }

    /// Takes tile `i`, and adds all whose turn it is.
    pub fn take(&mut self, i: usize, ready: Ready) -> Result<()> {
        self.waiting.insert(i, ready);
        while let Some(r) = self.waiting.remove(&self.next) {
            self.add(&r)?;
            self.next += 1;
            let reached = self.grid.windows.get(self.next).map(|w| placed(self.grid, w, self.whole).0[1]);
            while let Some(y) = reached
                && let Some(first) = self.rows.first_entry().filter(|e| (e.key() + 1) * SIDE <= y)
            {
                let (by, row) = first.remove_entry();
                self.sink.take(by, &row)?;
            }
            (self.on_progress)(self.next, self.grid.windows.len());
        }
        Ok(())
    }

    /// The tile whose turn it is: its row of the table, its outline, its pixels.
    fn add(&mut self, r: &Ready) -> Result<()> {
        let w = self.grid.windows[self.next];
        let rect = self.grid.in_level0(w.at);
        let text: Vec<String> = r.means.iter().map(|v| format!("{v:.7}")).collect();
        let [x, y, width, height] = rect.map(f64::round);
        let line = writeln!(self.table, "{x},{y},{width},{height},{}", text.join(","));
        line.map_err(Error::io(&self.files.table))?;
        if self.whole {
            self.sink.tile(rect, &r.means)?;
        }
        let (at, _) = placed(self.grid, &w, self.whole);
        let size = [r.inner[0], r.inner[1], 1];
        for block in self.accumulator.add((at, size), &self.weights, &r.values) {
            let [x, y, _] = block.start;
            self.rows.entry(y / SIDE).or_default().insert(x / SIDE, block);
        }
        Ok(())
    }

    /// Draws what is left and ends all outputs.
    pub fn finish(mut self) -> Result<Done> {
        for (by, row) in std::mem::take(&mut self.rows) {
            self.sink.take(by, &row)?;
        }
        let table = self.table.into_inner().map_err(std::io::IntoInnerError::into_error);
        let table = table.map_err(Error::io(&self.files.table))?;
        Ok(Done { finished: self.sink.finish()?, table })
    }
}
