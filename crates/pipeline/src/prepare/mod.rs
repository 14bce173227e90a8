//! From an image to a network's input: the steps of a recipe, one after the other.

mod geometry;
mod intensity;
mod sizes;

use crate::Error;
use crate::grid::{Change, GridHistory};
use crate::memory::Allowance;
use crate::recipe::{Cascade, Colours, PadMode, SpacingRule, Step};
use crate::slack::slack;
use ampoule_imaging::normalise::range::least_and_most;
use ampoule_imaging::photo::{Filter, Photo, channels_of_levels};
use ampoule_imaging::{Volume, pad};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

/// Why an image cannot be processed; the caller knows the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refused {
    /// What is wrong with its content.
    Content(String),
    /// Bytes that a step needs, and those that are left.
    Memory { needed: u64, room: u64, limit: u64 },
}

pub(crate) type Content<T> = Result<T, Refused>;

impl From<String> for Refused {
    fn from(reason: String) -> Refused {
        Refused::Content(reason)
    }
}

impl From<&str> for Refused {
    fn from(reason: &str) -> Refused {
        Refused::Content(reason.into())
    }
}

impl Refused {
    /// The error for the file at `path`.
    pub fn of(self, path: &Path) -> Error {
        match self {
            Refused::Content(reason) => Error::Content { path: path.into(), reason },
            Refused::Memory { needed, room, limit } => {
                let what = format!("{}: the voxels that its network sees", path.display());
                Error::memory(&what, Allowance::of(room, Some(limit)).figures(needed))
            }
        }
    }
}

/// Intensity ranges that a network's steps keep for a later one, by name.
pub(crate) type Kept = HashMap<String, Vec<(f32, f32)>>;

/// Values of an image: eight-bit colours as long as nothing changes them, float32 channels then. They are those of
/// the file, unchanged and not copied, until a step changes them.
#[derive(Clone, Debug)]
pub(crate) enum Pixels<'a> {
    /// Red, green and blue.
    Bytes(Cow<'a, Photo>),
    /// One volume a channel, all of one size; images are one voxel thick.
    Floats(Cow<'a, [Volume<f32>]>),
}

/// An image on its way to a network.
#[derive(Clone, Debug)]
pub(crate) struct Image<'a> {
    /// Its values.
    pub pixels: Pixels<'a>,
    /// Channels that an eight-bit image is to have.
    pub colours: Colours,
    /// Whether it has two axes only, so that nothing is done along z.
    pub flat: bool,
    /// Size of a voxel in mm; 1 where nothing is known.
    pub spacing: [f64; 3],
    /// What `crop-nonzero` found, on the image's present grid.
    pub mask: Option<Volume<u8>>,
    /// Changes of grid so far.
    pub history: GridHistory,
    /// Most bytes that the process may hold, of which some are left free.
    pub limit: Option<u64>,
}

impl<'a> Image<'a> {
    /// Channels of a volume.
    pub fn of_volumes(channels: impl Into<Cow<'a, [Volume<f32>]>>, spacing: [f64; 3]) -> Image<'a> {
        Image {
            pixels: Pixels::Floats(channels.into()),
            colours: Colours::Grey,
            flat: false,
            spacing,
            mask: None,
            history: GridHistory::default(),
            limit: None,
        }
    }

    /// An eight-bit photo or tile.
    pub fn of_photo(photo: Cow<'a, Photo>, colours: Colours) -> Image<'a> {
        let spacing = photo.mpp.map_or([1.0; 3], |m| [m / 1000.0, m / 1000.0, 1.0]);
        Image {
            pixels: Pixels::Bytes(photo),
            colours,
            flat: true,
            spacing,
            mask: None,
            history: GridHistory::default(),
            limit: None,
        }
    }

    /// A tile of grey levels, red, green and blue innermost, 0 to 255 and not rounded.
    pub fn of_levels(levels: &[f32], size: [usize; 2], colours: Colours) -> Image<'a> {
        let list = channels_of_levels(levels, size, colours.order());
        Image { flat: true, ..Image::of_volumes(list, [1.0; 3]) }
    }

    /// Voxels along x, y, z.
    pub fn dims(&self) -> [usize; 3] {
        match &self.pixels {
            Pixels::Bytes(p) => [p.width, p.height, 1],
            Pixels::Floats(list) => list.first().map_or([0; 3], |v| v.dims),
        }
    }

    /// Its grid.
    pub fn sizes(&self) -> Sizes {
        Sizes { dims: self.dims(), spacing: self.spacing, flat: self.flat }
    }

    /// Its channels as float32.
    pub fn floats(&mut self) -> &[Volume<f32>] {
        if let Pixels::Bytes(photo) = &self.pixels {
            self.pixels = Pixels::Floats(Cow::Owned(photo.channels(self.colours.order())));
        }
        match &self.pixels {
            Pixels::Floats(list) => list,
            Pixels::Bytes(_) => &[],
        }
    }

    /// Refuses to make `voxels` voxels of float32 channels where there is no memory for them.
    pub fn allow(&self, voxels: usize) -> Content<()> {
        let channels = match &self.pixels {
            Pixels::Bytes(_) if self.colours == Colours::Grey => 1,
            Pixels::Bytes(_) => 3,
            Pixels::Floats(list) => list.len(),
        };
        self.allow_channels(channels, voxels)
    }

    fn allow_channels(&self, channels: usize, voxels: usize) -> Content<()> {
        let Some(limit) = self.limit else { return Ok(()) };
        let needed = 4 * (channels * voxels) as u64;
        let held = ampoule_system::figures::rss_bytes().unwrap_or(0) + slack(limit);
        let room = limit.saturating_sub(held);
        if needed > room { Err(Refused::Memory { needed, room, limit }) } else { Ok(()) }
    }

    /// Its channels as float32, to be changed in place.
    fn floats_mut(&mut self) -> &mut [Volume<f32>] {
        self.floats();
        match &mut self.pixels {
            Pixels::Floats(list) => list.to_mut(),
            Pixels::Bytes(_) => &mut [],
        }
    }

    /// Adds a channel for each of `values`: 1 where `labels`, which lie on the image as it was read, have it on the
    /// image's present grid, and 0 elsewhere.
    pub fn add_labels(&mut self, labels: &Volume<u16>, how: Cascade, values: &[u16]) -> Content<()> {
        self.allow_channels(values.len(), self.dims().iter().product())?;
        let own = self.history.labels(labels, 0, how.resample);
        let channels = values.iter().map(|value| own.map(|l| f32::from(u8::from(l == *value))));
        self.floats();
        if let Pixels::Floats(list) = &mut self.pixels {
            list.to_mut().extend(channels);
        }
        Ok(())
    }

    /// Replaces every channel by what `f` makes of it.
    fn replace(&mut self, f: impl Fn(&Volume<f32>) -> Volume<f32>) {
        let list: Vec<Volume<f32>> = self.floats().iter().map(f).collect();
        self.pixels = Pixels::Floats(Cow::Owned(list));
    }

    /// A photo resampled to `size`, without a history; `None` where it has that size.
    pub fn shrunk(&self, size: [usize; 2]) -> Option<Image<'static>> {
        match &self.pixels {
            Pixels::Bytes(p) if [p.width, p.height] != size => {
                let photo = p.resized(size[0], size[1], Filter::Bilinear);
                Some(Image { limit: self.limit, ..Image::of_photo(Cow::Owned(photo), self.colours) })
            }
            Pixels::Bytes(_) | Pixels::Floats(_) => None,
        }
    }

    /// The part of an image from `start` on, mirrored where it reaches beyond, as an image without a history.
    pub fn mirrored_part(&self, start: [usize; 2], size: [usize; 2]) -> Image<'a> {
        let pixels = match &self.pixels {
            Pixels::Bytes(p) => Pixels::Bytes(Cow::Owned(p.mirrored_part(start, size))),
            Pixels::Floats(list) => {
                let (start, size) = ([start[0] as i64, start[1] as i64, 0], [size[0], size[1], 1]);
                let cut = |v: &Volume<f32>| pad::cut(v, start, size, pad_fill(PadMode::Symmetric, 0.0));
                Pixels::Floats(list.iter().map(cut).collect())
            }
        };
        Image { pixels, mask: None, history: GridHistory::default(), ..*self }
    }

    /// The box from `start` to one before `end`, as an image of its own whose history ends with that cut.
    pub fn part(&self, start: [usize; 3], end: [usize; 3]) -> Image<'a> {
        let to = [0, 1, 2].map(|i| end[i] - start[i]);
        if to == self.dims() {
            return self.clone();
        }
        let pixels = match &self.pixels {
            Pixels::Bytes(p) => {
                Pixels::Bytes(Cow::Owned(p.cropped(start[0] as i64, start[1] as i64, to[0], to[1])))
            }
            Pixels::Floats(list) => Pixels::Floats(list.iter().map(|v| v.crop(start, end)).collect()),
        };
        let mut history = self.history.clone();
        history.0.push(Change::Window { start: start.map(|s| s as i64), from: self.dims(), to });
        let mask = self.mask.as_ref().map(|m| m.crop(start, end));
        Image { pixels, mask, history, ..*self }
    }
}

pub(crate) use geometry::pad_fill;
pub(crate) use sizes::{Changed, Sizes};

/// Does all `steps` to an image. The error tells what is wrong with its content.
pub(crate) fn prepare(image: &mut Image, steps: &[Step], kept: &mut Kept) -> Content<()> {
    for step in steps {
        // Steps that make another grid ask for its voxels themselves; others make floats of bytes, or change a copy of
        // what was read.
        let copies = match &image.pixels {
            Pixels::Bytes(_) => !matches!(step, Step::Stain(_)),
            Pixels::Floats(Cow::Borrowed(_)) => true,
            Pixels::Floats(Cow::Owned(_)) => false,
        };
        if copies && !step.moves() {
            image.allow(image.dims().iter().product())?;
        }
        apply(image, step, kept)?;
    }
    if let Pixels::Bytes(_) = image.pixels {
        image.allow(image.dims().iter().product())?;
    }
    Ok(())
}

fn apply(image: &mut Image, step: &Step, kept: &mut Kept) -> Content<()> {
    let change = image.sizes().change(step)?;
    match step {
        // The reader of volumes has turned them already.
        Step::Orient { .. } => Ok(()),
        Step::CropNonzero { margin } => geometry::crop_nonzero(image, *margin),
        Step::CentreCrop { .. } => geometry::centre_crop(image, change),
        Step::Resize { rule: SpacingRule::Simpleitk, .. } => geometry::resize_from_origin(image, change),
        Step::Resize { method, .. } => geometry::resize(image, change, *method),
        Step::Resample { method, rule, separate, across, .. } => {
            let how = geometry::How { method: *method, rule: *rule, separate: *separate, across: *across };
            geometry::resample(image, change, &how)
        }
        Step::Reduce { by } => geometry::reduce(image, change, *by),
        Step::Pad { mode, value, .. } => geometry::pad(image, change, pad_fill(*mode, *value as f32)),
        Step::Stain(stain) => {
            if let Pixels::Bytes(photo) = &mut image.pixels
                && let Some(change) = ampoule_imaging::stain::change(photo, &(*stain).into())
            {
                change.apply(&mut photo.to_mut().rgb);
            }
            Ok(())
        }
        Step::Only { only, step } => intensity::on_channels(image, only, step, kept),
        Step::ZScore { .. }
        | Step::Clip { .. }
        | Step::Threshold { .. }
        | Step::PercentileClip { .. }
        | Step::Ct { .. }
        | Step::PercentileRescale { .. }
        | Step::KeptRescale { .. }
        | Step::MeanDeviation { .. }
        | Step::MinMax { .. }
        | Step::Divide { .. }
        | Step::Scale { .. }
        | Step::Brainmage {}
        | Step::Truncate {}
        | Step::HistogramMatch { .. } => intensity::apply(image, step, kept),
    }
}

/// Refuses images without contrast, where a volume has none in any channel.
pub(crate) fn contrast(channels: &[Volume<f32>]) -> Content<()> {
    for v in channels {
        let (low, high) = least_and_most(&v.data);
        if low < high {
            return Ok(());
        }
        if channels.len() == 1 {
            return Err(format!("all voxels have the value {low}; there is nothing to segment").into());
        }
    }
    Err("no channel has any contrast; there is nothing to segment".into())
}
