//! Where windows lie on a slide, and from which level they are read.

use crate::recipe::{Recipe, Slide as Part, SlideRule, Step};
use ampoule_imaging::Volume;
use ampoule_imaging::saturated;
use ampoule_imaging::slide::Slide;
use ampoule_imaging::window::{Style, starts};

/// Factors this close to a whole number are taken as it: pixel sizes are stated with three digits.
const SNAP: f64 = 0.01;
/// More windows than any slide needs.
const WINDOWS: u64 = 4 << 20;
/// Most pixels along a side of a window.
const LARGEST: u64 = 16_384;
/// A slide may be this many times coarser than the network's training images.
const COARSEST: f64 = 2.0;

/// One window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Its top left pixel on the network's grid.
    pub at: [u64; 2],
    /// Its column and row.
    pub cell: [u64; 2],
}

/// The network's grid on a slide.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    /// Level that is read.
    pub level: usize,
    /// Pixels of that level along a side of one of the grid's.
    pub factor: f64,
    /// Pixels of level 0 along a side of one of the grid's.
    pub scale: f64,
    /// Microns along a side of one of the grid's pixels.
    pub mpp: Option<f64>,
    /// Pixels across and down.
    pub size: [u64; 2],
    /// Pixels across and down a window.
    pub window: [usize; 2],
    /// Pixels from one window to the next.
    pub stride: [usize; 2],
    /// Whether each window has one class.
    whole: bool,
    /// WSInfer's windows: from the corner to what it takes for the middle. They may reach beyond the slide.
    half: Option<u64>,
    /// Where windows begin across and down.
    columns: Vec<u64>,
    rows: Vec<u64>,
    /// Windows that are looked at, row by row.
    pub windows: Vec<Window>,
    /// Things a user should know.
    pub notes: Vec<String>,
}

/// Tissue on a thumbnail.
#[derive(Clone, Copy)]
pub(super) struct Tissue<'a> {
    pub mask: &'a Volume<u8>,
    /// How many pixels of level 0 one of its pixels is across and down.
    pub k: [f64; 2],
    /// Middles must lie within its outlines, and not on a pixel of it.
    pub outlined: bool,
}

/// Pixels of level 0 along a side of one that the network sees, `k` of whose training pixels are reduced to
/// one.
fn wanted_scale(slide: &Slide, part: &Part, mpp: Option<f64>, k: usize) -> Result<f64, String> {
    let scale = match (part.mpp, part.level) {
        (Some(wanted), _) => {
            let Some(own) = mpp else {
                return Err("the file does not say how large its pixels are; give --mpp MICRONS".into());
            };
            wanted * k as f64 / own
        }
        (None, level) => {
            let level = level.unwrap_or(0);
            let Some(l) = slide.levels.get(level) else {
                let n = slide.levels.len();
                return Err(format!("the recipe asks for level {level}; the slide has {n}"));
            };
            l.downsample * k as f64
        }
    };
    if scale * COARSEST < 1.0 {
        return Err(format!(
            "its pixels are {:.1} times as large as those the network was trained on",
            1.0 / scale
        ));
    }
    Ok(scale)
}

/// By how much the recipe's steps reduce a tile.
fn reduced(recipe: &Recipe) -> usize {
    recipe.steps().map(|s| if let Step::Reduce { by } = s { *by } else { 1 }).product()
}

/// Sizes that the recipe's steps raise tiles to multiples of.
fn multiple(recipe: &Recipe) -> usize {
    recipe.steps().map(|s| if let Step::Pad { multiple, .. } = s { *multiple } else { 1 }).max().unwrap_or(1)
}

/// Where windows of `w` pixels begin along `n` pixels. Classifiers: one a stride. Segmentations: the
/// last window ends at the border.
fn starts_of(whole: bool, n: u64, w: u64, stride: u64, overlap: f64) -> Vec<u64> {
    let span = n.saturating_sub(w);
    match whole {
        true => (0..span.div_ceil(stride) + 1).map(|c| (c * stride).min(span)).collect(),
        false if span == 0 => vec![0],
        false => {
            let list = starts(Style::Monai, n as usize, w as usize, overlap);
            list.into_iter().map(|v| v as u64).collect()
        }
    }
}

/// Whether so many columns and rows of windows can be worked on.
fn few([columns, rows]: [u64; 2]) -> Result<(), String> {
    match columns.saturating_mul(rows) <= WINDOWS {
        true => Ok(()),
        false => Err(format!(
            "{columns} by {rows} windows are too many; give the recipe larger ones or less overlap"
        )),
    }
}

impl Grid {
    /// The grid for a recipe, without windows; `mpp` is the size of the slide's pixels. An error
    /// message says what to do.
    pub fn new(slide: &Slide, recipe: &Recipe, part: &Part, mpp: Option<f64>) -> Result<Grid, String> {
        if part.rule == SlideRule::Wsinfer {
            return Grid::of_wsinfer(slide, part, mpp);
        }
        let whole = recipe.is_image_level();
        // A classifier's patches are reduced as photos are; for a segmentation reduced pixels are read at once.
        let k = if whole { 1 } else { reduced(recipe) };
        let mut notes = Vec::new();
        let scale = wanted_scale(slide, part, mpp, k)?;
        let level = slide.level_for(scale);
        let downsample = slide.levels[level].downsample;
        let mut factor = scale / downsample;
        let near = factor.round().max(1.0);
        if (factor / near - 1.0).abs() <= SNAP {
            factor = near;
        }
        if factor < 1.0 {
            notes.push(format!(
                "its pixels are {:.2} times as large as those the network was trained on; it is enlarged",
                1.0 / factor
            ));
        }
        let scale = factor * downsample;
        let l = &slide.levels[level];
        let size = [l.width, l.height].map(|n| ((n as f64 / factor) as u64).max(1));
        let multiple = if whole { 1 } else { multiple(recipe) };
        let window = size.map(|n| (part.window / k).min((n as usize).next_multiple_of(multiple)));
        let step = |w: usize| ((w as f64 * (1.0 - part.overlap)) as usize).max(1);
        // A classifier's cells are squares, also where the slide is narrower than a window.
        let stride = if whole { [step(part.window); 2] } else { window.map(step) };
        let count = |i: usize| size[i].saturating_sub(window[i] as u64).div_ceil(stride[i] as u64) + 1;
        few([count(0), count(1)])?;
        let lines = |i: usize| starts_of(whole, size[i], window[i] as u64, stride[i] as u64, part.overlap);
        let (columns, rows) = (lines(0), lines(1));
        Ok(Grid {
            whole,
            half: None,
            level,
            factor,
            scale,
            mpp: mpp.map(|m| m * scale),
            size,
            window,
            stride,
            columns,
            rows,
            windows: Vec::new(),
            notes,
        })
    }

    /// WSInfer's grid: a window has a whole number of level 0's pixels, whichever level would do, and lies where its middle is
    /// on the slide. Numbers are rounded to the even neighbour, as Python does.
    fn of_wsinfer(slide: &Slide, part: &Part, mpp: Option<f64>) -> Result<Grid, String> {
        // As for the other rule: says what is missing, or far too coarse.
        wanted_scale(slide, part, mpp, 1)?;
        let (Some(wanted), Some(own)) = (part.mpp, mpp) else { return Err("give --mpp MICRONS".into()) };
        let whole = |v: f64| v.round_ties_even().max(1.0) as u64;
        let side = whole(part.window as f64 * wanted / own);
        if side > LARGEST {
            return Err(format!("a window has {side} pixels along a side; is --mpp right?"));
        }
        let half = (side as f64 / 2.0).round_ties_even() as u64;
        let step = whole((1.0 - part.overlap) * side as f64);
        let size = [slide.levels[0].width, slide.levels[0].height];
        let count = |n: u64| n.saturating_sub(half).div_ceil(step);
        few(size.map(count))?;
        let narrow = size.map(count).contains(&0).then(|| {
            format!("it is {} by {} pixels, at most half a patch of {side} along a side, on which WSInfer lays no patch", size[0], size[1])
        });
        let [columns, rows] = size.map(|n| (0..count(n)).map(|c| c * step).collect());
        Ok(Grid {
            whole: true,
            half: Some(half),
            level: 0,
            factor: 1.0,
            scale: 1.0,
            mpp,
            size,
            window: [side as usize; 2],
            stride: [step as usize; 2],
            columns,
            rows,
            windows: Vec::new(),
            notes: narrow.into_iter().collect(),
        })
    }

    /// Columns and rows of windows.
    pub fn cells(&self) -> [u64; 2] {
        [self.columns.len() as u64, self.rows.len() as u64]
    }

    /// Keeps the windows with tissue; all for which the file holds data where it was not looked for.
    pub fn choose(&mut self, slide: &Slide, tissue: Option<Tissue>) {
        let mut kept = Vec::new();
        for (cy, &y) in self.rows.iter().enumerate() {
            for (cx, &x) in self.columns.iter().enumerate() {
                let w = Window { at: [x, y], cell: [cx as u64, cy as u64] };
                let keep = match tissue {
                    Some(t) if self.whole && t.outlined => {
                        let middle = self.middle(w.at);
                        saturated::inside(t.mask, [0, 1].map(|i| middle[i] / t.k[i]))
                    }
                    Some(t) if self.whole => self.centre_in(t, w.at),
                    Some(t) => self.core_in(t, &w),
                    None => self.has_data(slide, w.at),
                };
                if keep {
                    kept.push(w);
                }
            }
        }
        self.windows = kept;
    }

    /// Pixels of a window that are read: those within the grid, and of WSInfer's all.
    pub fn inner(&self, at: [u64; 2]) -> [usize; 2] {
        if self.half.is_some() {
            return self.window;
        }
        [0, 1].map(|i| self.window[i].min((self.size[i] - at[i]) as usize))
    }

    /// A window's place and size in pixels of level 0.
    pub fn in_level0(&self, at: [u64; 2]) -> [f64; 4] {
        let inner = self.inner(at);
        [at[0] as f64, at[1] as f64, inner[0] as f64, inner[1] as f64].map(|v| v * self.scale)
    }

    /// A window's middle in pixels of level 0.
    fn middle(&self, at: [u64; 2]) -> [f64; 2] {
        let inner = self.inner(at);
        [0, 1].map(|i| match self.half {
            Some(half) => (at[i] + half) as f64,
            None => (at[i] as f64 + inner[i] as f64 / 2.0) * self.scale,
        })
    }

    /// Whether the window's middle lies on tissue.
    fn centre_in(&self, Tissue { mask, k, .. }: Tissue, at: [u64; 2]) -> bool {
        let middle = self.middle(at);
        let place = |i: usize| (middle[i] / k[i]) as usize;
        mask.at(place(0).min(mask.dims[0] - 1), place(1).min(mask.dims[1] - 1), 0) != 0
    }

    /// Whether there is tissue in the part of the window that is nearer to its middle than to its
    /// neighbours'. These parts tile the slide, so all tissue is covered.
    fn core_in(&self, Tissue { mask, k, .. }: Tissue, w: &Window) -> bool {
        let range = |i: usize| {
            let margin = (self.window[i] - self.stride[i]) as f64 / 2.0;
            let first = w.cell[i] == 0;
            let last = w.cell[i] + 1 == self.cells()[i];
            let from = w.at[i] as f64 + if first { 0.0 } else { margin };
            let to = (w.at[i] + self.window[i] as u64) as f64 - if last { 0.0 } else { margin };
            let at = |v: f64| v * self.scale / k[i];
            let n = mask.dims[i];
            (at(from) as usize).min(n - 1)..(at(to).ceil() as usize).clamp(1, n)
        };
        range(1).any(|y| range(0).any(|x| mask.at(x, y, 0) != 0))
    }

    /// Whether the file holds any data for the window.
    fn has_data(&self, slide: &Slide, at: [u64; 2]) -> bool {
        let (chunk, n) = (slide.chunk_size(self.level), slide.chunks(self.level));
        let range = |i: usize| {
            let from = (at[i] as f64 * self.factor) as u64 / chunk[i];
            let to = ((at[i] + self.window[i] as u64) as f64 * self.factor).ceil() as u64;
            from.min(n[i] - 1)..to.div_ceil(chunk[i]).clamp(1, n[i])
        };
        range(1).any(|y| range(0).any(|x| slide.has(self.level, [x, y])))
    }
}
