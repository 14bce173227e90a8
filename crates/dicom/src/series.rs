//! A series: its instances and what they make.

use crate::header::{Frame, Header};
use crate::identity::fits;
use crate::place::Place;
use crate::stack::{Slice, Stack, stack};
use crate::{Error, pixels, walk};

/// A series of images.
#[derive(Debug)]
pub struct Series {
    /// UID of the series; identifies the patient's examination, and belongs into no output.
    pub uid: String,
    /// UID of its study; belongs into no output.
    pub study: String,
    /// Its number.
    pub number: Option<i64>,
    /// Its description, without what names the patient.
    pub description: String,
    /// Modality, such as `MR`.
    pub modality: String,
    /// Body part that was examined, such as `BRAIN`; empty where that is not said.
    pub body_part: String,
    /// Name of the device; empty where it is not said.
    pub station: String,
    /// Where its instances lie, sorted.
    pub places: Vec<Place>,
    /// What its slices make, or why they make no volume.
    pub shape: Result<Shape, Error>,
    /// Things a user should know.
    pub notes: Vec<String>,
}

/// What the slices of a series make.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Voxels along the axes of the volume.
    pub dims: [usize; 3],
    /// Size of a voxel in mm.
    pub spacing: [f64; 3],
    /// Images at every position.
    pub frames: usize,
    /// What tells those apart; empty for one.
    pub by: &'static str,
}

impl Series {
    /// A name for results: number and description, of letters, digits, `-` and `_`.
    pub fn name(&self) -> String {
        named(self.number, &self.description)
    }

    /// The series in a few words, for lists and messages.
    pub fn described(&self) -> String {
        let number = self.number.map_or_else(String::new, |n| format!(" {n}"));
        let description = match self.description.as_str() {
            "" => String::new(),
            d => format!(" `{}`", d.escape_debug()),
        };
        format!("series{number}{description} ({}, {} files)", self.modality.escape_debug(), self.places.len())
    }

    /// Whether a number, a UID, a part of the description (whatever its letters' case) or a pattern of it means this series.
    pub fn is_meant_by(&self, text: &str) -> bool {
        let part = || match text.contains(['*', '?']) {
            true => fits(text, &self.description),
            false => !text.is_empty() && self.description.to_lowercase().contains(&text.to_lowercase()),
        };
        self.uid == text || self.number.is_some_and(|n| text.parse() == Ok(n)) || part()
    }
}

/// A name for results: number and description, of letters, digits, `-` and `_`.
pub(crate) fn named(number: Option<i64>, description: &str) -> String {
    let mut name = String::new();
    for c in description.chars().take(64) {
        match c {
            c if c.is_alphanumeric() || c == '-' => name.push(c),
            _ if name.ends_with('_') || name.is_empty() => {}
            _ => name.push('_'),
        }
    }
    let name = name.trim_matches(['_', '-']);
    match (number, name.is_empty()) {
        (Some(n), false) => format!("{n}_{name}"),
        (Some(n), true) => format!("series_{n}"),
        (None, false) => name.to_owned(),
        (None, true) => "series".into(),
    }
}

/// Slices of one image; an error where it does not say where they lie, or cannot hold them.
pub(crate) fn slices(h: &Header, at: &walk::Pixels, instance: usize) -> Result<Vec<Slice>, Error> {
    pixels::check(h, at)?;
    let one = |(frame, f): (usize, &Frame)| {
        let needs = |what| Error::NoGeometry { what };
        // What is no distance in a hospital would leave no grid to compute with.
        let spacing = f.spacing.filter(|s| s.iter().all(|v| (1e-6..1e6).contains(v)));
        let position = f.position.filter(|p| p.iter().all(|v| v.abs() < 1e6));
        Ok(Slice {
            instance,
            frame,
            size: [h.rows, h.columns],
            position: position.ok_or(needs("Image Position (Patient)"))?,
            orientation: f.orientation.ok_or(needs("Image Orientation (Patient)"))?,
            spacing: spacing.ok_or(needs("Pixel Spacing"))?,
            slope: f.slope,
            intercept: f.intercept,
            key: f.key.clone(),
        })
    };
    h.frames.iter().enumerate().map(one).collect()
}

/// The slices of a series in order; `places` name its instances in messages.
pub(crate) fn assembled(slices: Vec<Slice>, places: &[Place]) -> Result<Stack, Error> {
    stack(slices, &|i| places.get(i).map_or_else(String::new, Place::name))
}

impl Shape {
    pub(crate) fn of(stack: &Stack) -> Shape {
        let (frames, by) = (stack.frames.len(), stack.by.0);
        Shape { dims: stack.dims, spacing: stack.affine.spacing(), frames, by }
    }
}
