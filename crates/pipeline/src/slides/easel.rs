//! Where windows are put together, in the order of their positions.

use super::canvas::Canvas;
use super::files::SlideFiles;
use super::grid::{Grid, Window};
use super::sink::{Finished, Sink};
use crate::photos::Task;
use crate::{Error, Result};
use ampoule_imaging::Volume;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};

/// A window's probabilities and their means.
pub(super) struct Ready {
    /// Pixels across and down; 1 and 1 of a classifier.
    pub inner: [usize; 2],
    pub values: Vec<f32>,
    pub means: Vec<f32>,
}

/// Told how many windows are done, and how many there are.
pub(super) type Told<'a> = dyn FnMut(usize, usize) + Send + 'a;

pub(super) struct Easel<'a> {
    files: &'a SlideFiles,
    grid: &'a Grid,
    /// Whether each window has one class.
    whole: bool,
    /// Weights of a window's pixels.
    weights: Volume<f32>,
    canvas: Canvas,
    sink: Sink<'a>,
    table: BufWriter<File>,
    waiting: BTreeMap<usize, Ready>,
    next: usize,
    told: &'a mut Told<'a>,
}

/// Everything on the slide, and the table of windows.
pub(super) struct Done {
    pub finished: Finished,
    pub table: File,
}

impl<'a> Easel<'a> {
    pub fn new(
        files: &'a SlideFiles,
        grid: &'a Grid,
        weights: Volume<f32>,
        sink: Sink<'a>,
        table: BufWriter<File>,
        told: &'a mut Told<'a>,
    ) -> Self {
        let canvas = Canvas::new(sink.recipe().classes.len());
        let whole = sink.recipe().task == Task::Classification;
        Easel { files, grid, whole, weights, canvas, sink, table, waiting: BTreeMap::new(), next: 0, told }
    }

    /// The window whose turn it is.
    pub fn next(&self) -> usize {
        self.next
    }

    /// Takes window `i`, and paints all whose turn it is.
    pub fn take(&mut self, i: usize, ready: Ready) -> Result<()> {
        self.waiting.insert(i, ready);
        while let Some(r) = self.waiting.remove(&self.next) {
            self.paint(&r)?;
            self.next += 1;
            let reached = self.grid.windows.get(self.next).map(|w| self.place(w)[1]);
            while let Some((by, row)) = reached.and_then(|y| self.canvas.take_above(y)) {
                self.sink.take(by, &row)?;
            }
            (self.told)(self.next, self.grid.windows.len());
        }
        Ok(())
    }

    /// Where a window lies on the canvas, which has one pixel for each window of a classifier.
    fn place(&self, w: &Window) -> [u64; 2] {
        if self.whole { w.cell } else { w.at }
    }

    /// The window whose turn it is: its row of the table, its tile, its pixels.
    fn paint(&mut self, r: &Ready) -> Result<()> {
        let w = self.grid.windows[self.next];
        let rect = self.grid.in_level0(w.at);
        let text: Vec<String> = r.means.iter().map(|v| format!("{v:.7}")).collect();
        let [x, y, width, height] = rect.map(f64::round);
        let line = writeln!(self.table, "{x},{y},{width},{height},{}", text.join(","));
        line.map_err(Error::io(&self.files.table))?;
        if self.whole {
            let recipe = self.sink.recipe();
            let class = recipe.decide(&r.means);
            let all: Vec<_> = recipe.classes.iter().cloned().zip(r.means.iter().copied()).collect();
            let name = (recipe.classes[class].as_str(), recipe.label(class));
            let drawn = self.sink.features.tile(rect, name, &all);
            drawn.map_err(Error::io(&self.files.geojson))?;
        }
        self.canvas.add(self.place(&w), r.inner, &self.weights, &r.values);
        Ok(())
    }

    /// Paints what is left and ends all outputs.
    pub fn finish(mut self) -> Result<Done> {
        while let Some((by, row)) = self.canvas.take() {
            self.sink.take(by, &row)?;
        }
        let table = self.table.into_inner().map_err(std::io::IntoInnerError::into_error);
        let table = table.map_err(Error::io(&self.files.table))?;
        Ok(Done { finished: self.sink.finish()?, table })
    }
}
