//! The files of a case, read into one image.

use crate::case::Case;
use crate::measure::Voxel;
use crate::memory::Allowance;
use crate::population::Intensity;
use crate::prepare::Image;
use crate::recipe::{Agree, Colours, Kind, Recipe, Step};
use crate::{Error, Result, series};
use ampoule_imaging::geometry::{Affine, Orientation};
use ampoule_imaging::photo::Photo;
use ampoule_imaging::{Nifti, Volume, formats, plausible, resample};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Positions in space that may differ between files of one grid, in mm.
const SAME_MM: f64 = 1e-2;

/// How a file's axes lie to those that the recipe works in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reorientation {
    file: Orientation,
    to: Option<Orientation>,
}

impl Reorientation {
    /// Axes as they are.
    pub const NONE: Reorientation = Reorientation { file: Orientation::STORED, to: None };

    /// From a file with this affine to the axes that a recipe asks for.
    fn new(recipe: &Recipe, affine: &Affine) -> Reorientation {
        match recipe.preprocess.first() {
            Some(Step::Orient { to }) => {
                let to = Orientation::parse(to).filter(|o| o.codes() != "RAS");
                Reorientation { file: Orientation::of(affine), to }
            }
            _ => Reorientation::NONE,
        }
    }

    /// Whether the recipe's axes are canonical ones, for a file of this orientation.
    pub fn is_canonical(&self, file: Orientation) -> bool {
        self.file == file && self.to.is_none()
    }

    /// The volume along the recipe's axes.
    pub fn forward<T: Copy>(&self, v: Volume<T>) -> Volume<T> {
        let canonical = if self.file == Orientation::STORED { v } else { self.file.to_canonical(&v) };
        match self.to {
            Some(to) => to.from_canonical(&canonical),
            None => canonical,
        }
    }

    /// The volume along the file's axes.
    pub fn back<T: Copy>(&self, v: Volume<T>) -> Volume<T> {
        let canonical = match self.to {
            Some(to) => to.to_canonical(&v),
            None => v,
        };
        if self.file == Orientation::STORED { canonical } else { self.file.from_canonical(&canonical) }
    }

    /// Sizes of voxels along the recipe's axes.
    fn spacing(&self, file: [f64; 3]) -> [f64; 3] {
        let canonical = self.file.spacing(file);
        match self.to {
            Some(to) => [0, 1, 2].map(|i| canonical[to.axis[i]]),
            None => canonical,
        }
    }
}

/// Where an image comes from: what results are written back onto.
pub(crate) enum Source {
    /// The first volume of the case.
    Volume {
        nifti: Box<Nifti>,
        turn: Reorientation,
        /// Orientation of the file's axes.
        orientation: Orientation,
    },
    /// A photo or tile.
    Photo(Photo),
}

/// A case in memory.
pub(crate) struct Loaded {
    /// Channels along the recipe's axes; none of a photo.
    channels: Vec<Volume<f32>>,
    /// Size of their voxels in mm.
    turned: [f64; 3],
    pub source: Source,
    /// The frame that was read, where one was asked for.
    pub frame: Option<usize>,
    /// Things a user should know.
    pub notes: Vec<String>,
    /// Intensities of each channel.
    pub intensities: Vec<Intensity>,
}

impl Loaded {
    /// The image as it is before the first step.
    pub fn image(&self, colours: Colours) -> Image<'_> {
        match &self.source {
            Source::Volume { .. } => Image::of_volumes(&self.channels[..], self.turned),
            Source::Photo(p) => Image::of_photo(Cow::Borrowed(p), colours),
        }
    }

    /// Sizes of voxels along the recipe's axes in mm; 1 where nothing is known.
    pub fn turned(&self) -> [f64; 3] {
        match &self.source {
            Source::Volume { .. } => self.turned,
            Source::Photo(_) => self.spacing(),
        }
    }

    /// The first channel along the recipe's axes.
    pub fn first(&self) -> Option<&Volume<f32>> {
        self.channels.first()
    }

    /// Voxels along the file's axes.
    pub fn dims(&self) -> [usize; 3] {
        match &self.source {
            Source::Volume { nifti, .. } => nifti.dims(),
            Source::Photo(p) => [p.width, p.height, 1],
        }
    }

    /// Sizes of voxels along the file's axes in mm, where they are known.
    pub fn known_spacing(&self) -> Option<[f64; 3]> {
        match &self.source {
            Source::Volume { nifti, .. } => Some(nifti.spacing()),
            Source::Photo(p) => p.mpp.map(|m| [m / 1000.0, m / 1000.0, 1.0]),
        }
    }

    /// The same; 1 where nothing is known.
    pub fn spacing(&self) -> [f64; 3] {
        self.known_spacing().unwrap_or([1.0; 3])
    }

    /// Size of a voxel or pixel.
    pub fn voxel(&self) -> Voxel {
        match &self.source {
            Source::Volume { nifti, .. } => Voxel::Volume(nifti.affine().determinant().abs()),
            Source::Photo(p) => p.mpp.map_or(Voxel::Unknown, |m| Voxel::Area((m / 1000.0).powi(2))),
        }
    }

    /// Orientation of a volume's axes in the file.
    pub fn orientation(&self) -> Option<Orientation> {
        match &self.source {
            Source::Volume { orientation, .. } => Some(*orientation),
            Source::Photo(_) => None,
        }
    }

    /// From a volume's voxels to millimetres.
    pub fn affine(&self) -> Option<Affine> {
        match &self.source {
            Source::Volume { nifti, .. } => Some(nifti.affine()),
            Source::Photo(_) => None,
        }
    }

    /// Whether it is an image in a plane.
    pub fn flat(&self) -> bool {
        self.orientation().is_none()
    }

    /// From the recipe's axes to the file's.
    pub fn back<T: Copy>(&self, v: Volume<T>) -> Volume<T> {
        match &self.source {
            Source::Volume { turn, .. } => turn.back(v),
            Source::Photo(_) => v,
        }
    }
}

/// Reads a case as the recipe has it. `frame` chooses one of 4D files; no more memory than is `allowed` is taken.
pub(crate) fn load(
    recipe: &Recipe,
    case: &Case,
    frame: Option<usize>,
    allowed: Allowance,
    keep_header: bool,
) -> Result<Loaded> {
    let only = series_of(recipe, case)?;
    let case = only.as_ref().unwrap_or(case);
    plain_files(case)?;
    match recipe.kind() {
        Kind::Volume => volumes(recipe, case, frame, allowed, keep_header),
        Kind::Image => photo(case, allowed),
    }
}

/// The case as a DICOM series, where its file turns out to be one, a folder of one, or packed as ZIP; `None` where nothing
/// is to be changed.
fn series_of(recipe: &Recipe, case: &Case) -> Result<Option<Case>> {
    let [path] = &case.files[..] else { return Ok(None) };
    let known = !case.series.is_empty() || recipe.kind() != Kind::Volume;
    if known || !path.is_dir() && !series::is_dicom(path) {
        return Ok(None);
    }
    Ok(Some(Case { series: vec![series::only(path)?], ..case.clone() }))
}

/// Refuses files of a case that are no plain ones.
pub(crate) fn plain_files(case: &Case) -> Result<()> {
    let mut instances = case.series.iter().flatten();
    match case.series.is_empty() {
        true => case.files.iter().try_for_each(|f| plain(f)),
        false => instances.try_for_each(|p| plain(&p.path)),
    }
}

/// Refuses what is not a plain file: folders, devices, pipes.
pub(crate) fn plain(path: &Path) -> Result<()> {
    let meta = std::fs::metadata(path).map_err(Error::io(path))?;
    match meta.is_file() {
        true => Ok(()),
        false => {
            let reason = format!("it is not a plain file but {}", ampoule_files::kind(&meta));
            Err(Error::Content { path: path.into(), reason })
        }
    }
}

fn photo(case: &Case, allowed: Allowance) -> Result<Loaded> {
    let [path] = &case.files[..] else {
        let reason = "several images of a case are not supported; combine them into one".into();
        return Err(Error::Content { path: case.files[0].clone(), reason });
    };
    let read =
        Photo::read_within(path, allowed.room).map_err(|source| Error::photo(path, source, allowed))?;
    Ok(of_photo(read))
}

fn of_photo(photo: Photo) -> Loaded {
    let mut notes = photo.notes.clone();
    notes.extend(plausible::photo(&photo));
    let intensities = Intensity::of_photo(&photo);
    let source = Source::Photo(photo);
    Loaded { channels: Vec::new(), turned: [1.0; 3], source, frame: None, notes, intensities }
}

/// The images of a case that are in memory.
#[derive(Clone, Debug)]
pub enum Images {
    /// A volume for each `[[input]]` of the recipe, in its order.
    Volumes(Vec<Nifti>),
    /// A photo or tile.
    Photo(Photo),
}

/// A case whose images are in memory; they must be of the recipe's kind, and as many as it has inputs.
pub(crate) fn taken(recipe: &Recipe, images: Images) -> Result<Loaded> {
    let wanted = |what: &str| {
        let reason = format!("the recipe takes {what}");
        Err(Error::Content { path: recipe.model.name.clone().into(), reason })
    };
    match (images, recipe.kind()) {
        (Images::Photo(photo), Kind::Image) => Ok(of_photo(photo)),
        (Images::Volumes(list), Kind::Volume) if list.len() == recipe.input.len() => {
            let names: Vec<PathBuf> = recipe.input.iter().map(|i| i.name.clone().into()).collect();
            let mut list = list.into_iter();
            let missing =
                |i: usize| Error::Content { path: names[i].clone(), reason: "it is missing".into() };
            stacked(recipe, &names, None, |i| list.next().ok_or_else(|| missing(i)))
        }
        (Images::Volumes(list), Kind::Volume) => {
            wanted(&format!("{} volumes a case; {} are given", recipe.input.len(), list.len()))
        }
        (Images::Photo(_), Kind::Volume) => wanted("volumes, and an image in a plane is given"),
        (Images::Volumes(_), Kind::Image) => wanted("images in a plane, and a volume is given"),
    }
}

/// The volume of a case of one file, or of the first of its files, or of its DICOM series.
pub fn read_image(case: &Case, frame: Option<usize>, allowed: Allowance) -> Result<Nifti> {
    image_of(case, 0, frame, allowed)
}

/// The volume of file `i` of a case.
fn image_of(case: &Case, i: usize, frame: Option<usize>, allowed: Allowance) -> Result<Nifti> {
    let room = allowed.room;
    let path = case.files.get(i).map_or(Path::new(""), PathBuf::as_path);
    match case.series.get(i) {
        None => formats::read_volume(path, frame, room).map_err(|source| Error::image(path, source, allowed)),
        Some(series) => match ampoule_dicom::read(series, frame, room) {
            Ok(read) => Ok(read.image),
            Err(source) => Err(Error::dicom(path, source, allowed)),
        },
    }
}

fn volumes(
    recipe: &Recipe,
    case: &Case,
    frame: Option<usize>,
    allowed: Allowance,
    keep_header: bool,
) -> Result<Loaded> {
    // Every file is held while its values are made.
    let share = Allowance { room: allowed.room / (case.files.len() as u64).max(1), ..allowed };
    stacked(recipe, &case.files, frame, |i| {
        let mut nifti = image_of(case, i, recipe.input[i].frame.or(frame), share)?;
        nifti.keep_header = keep_header;
        Ok(nifti)
    })
}

/// Volumes as channels on the grid of the first of them; `files` are their names in messages.
fn stacked(
    recipe: &Recipe,
    files: &[PathBuf],
    frame: Option<usize>,
    mut volume: impl FnMut(usize) -> Result<Nifti>,
) -> Result<Loaded> {
    let mut first: Option<(Nifti, Reorientation, Orientation)> = None;
    let (mut channels, mut notes, mut intensities) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (path, input)) in files.iter().zip(&recipe.input).enumerate() {
        let nifti = volume(i)?;
        let name = if files.len() > 1 { format!("{}: ", input.name) } else { String::new() };
        notes.extend(nifti.warnings.iter().map(|w| format!("{name}{w}")));
        // Values that are not finite are 0 and noted by the reader.
        let (stored, _) = nifti.to_f32();
        let content = |reason: String| Error::Content { path: path.clone(), reason };
        notes.extend(plausible::volume(&stored).into_iter().map(|w| format!("{name}{w}")));
        intensities.extend(Intensity::of_volume(&input.name, &stored));
        let affine = nifti.affine();
        let stored = match &first {
            None => stored,
            Some((grid, ..)) => match differs(grid, &nifti) {
                None => stored,
                Some(how) if input.grid == Agree::Same => {
                    return Err(content(format!(
                        "it lies on another grid than {} ({how}); resample it, or set `grid = \"resample\"` in its [[input]]",
                        files[0].display()
                    )));
                }
                Some(how) => {
                    notes.push(format!("{name}resampled to the grid of the first file ({how})"));
                    resample::onto(&stored, &affine, grid.dims(), &grid.affine())
                        .ok_or_else(|| content("its affine does not span space".into()))?
                }
            },
        };
        let turn = first.as_ref().map_or_else(|| Reorientation::new(recipe, &affine), |f| f.1);
        channels.push(turn.forward(stored));
        if first.is_none() {
            first = Some((nifti, turn, Orientation::of(&affine)));
        }
    }
    let Some((nifti, turn, orientation)) = first else {
        return Err(Error::Content { path: PathBuf::from("case"), reason: "it names no files".into() });
    };
    let spacing = turn.spacing(nifti.spacing());
    Ok(Loaded {
        channels,
        turned: spacing,
        source: Source::Volume { nifti: Box::new(nifti), turn, orientation },
        frame: recipe.input.first().and_then(|i| i.frame).or(frame),
        notes,
        intensities,
    })
}

/// How far two files are from lying on one grid; `None` where they do.
pub(crate) fn differs(a: &Nifti, b: &Nifti) -> Option<String> {
    grids_differ((a.dims(), a.affine()), (b.dims(), b.affine()))
}

/// How the second grid differs from the first, each given by its size in voxels and its voxel-to-world map in mm:
/// another size, or corners further apart than a hundredth of a millimetre. `None` where they are the same.
pub fn grids_differ(a: ([usize; 3], Affine), b: ([usize; 3], Affine)) -> Option<String> {
    if a.0 != b.0 {
        let text = |d: [usize; 3]| format!("{}x{}x{}", d[0], d[1], d[2]);
        return Some(format!("{} voxels, the other {}", text(b.0), text(a.0)));
    }
    let most = a.1.largest_displacement(&b.1, a.0);
    (most > SAME_MM).then(|| format!("up to {most:.2} mm apart"))
}
