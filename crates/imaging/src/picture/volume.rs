//! The picture of a volume: three planes through the labels, then rows of slices.

use super::Legend;
use super::canvas::{ALARM, Canvas, DIM, Font};
use super::colour::Key;
use super::frame::{GROUND, Header, MARGIN};
use super::plane::{AXIAL, CORONAL, Plane, SAGITTAL, Window};
use super::scale_bar;
use super::survey::Survey;
use crate::Volume;
use crate::photo::Photo;

/// Pixels across the picture.
const WIDTH: usize = 1240;
const GAP: usize = 8;
/// Columns and rows of slices below the planes.
const COLUMNS: usize = 6;
const ROWS: usize = 2;
/// Largest height of a panel, by its width.
const TALLEST: f64 = 1.25;
/// How much thicker slices are than voxels are wide where they count as the plane of acquisition.
const THICK: f64 = 2.0;
/// Room for a panel's text above it.
const CAPTION: usize = 18;

/// A picture to check a segmentation by. `image` and `labels` are on one grid in canonical (RAS) orientation,
/// `spacing` is in mm; labels may be of 8 or 16 bits, 0 is background.
///
/// The upper row shows axial, coronal and sagittal planes through the labels' centre (the volume's when there
/// are none) in one scale, with a scale bar; below are up to twelve slices over what is labelled (over the
/// whole volume when nothing is; of neighbours the one with most labels), axial ones, or those of the acquisition where slices are at least twice as thick as
/// voxels are wide. The patient's right is on the left of axial and coronal panels, anterior on the left of
/// sagittal ones. Slices are counted from 1 at the left, posterior or inferior end.
///
/// All labels are outlined in their colours; the legend holds those that occur. Title and names are any text.
/// Grids that differ, volumes without voxels and spacings that make no sense are said in the picture.
pub fn volume_qc<L: Copy + Into<u16>>(
    image: &Volume<f32>,
    labels: &Volume<L>,
    spacing: [f64; 3],
    legend: &[Legend],
    title: &str,
) -> Photo {
    let mut alarms = Vec::new();
    let sound = spacing.iter().all(|s| (1e-6..=1e6).contains(s));
    if !sound {
        alarms.push("voxel size unknown: shown as 1 mm".to_owned());
    }
    let spacing = if sound { spacing } else { [1.0; 3] };
    if image.data.is_empty() {
        return notice(title, "the volume holds no voxels");
    }
    let fits = labels.dims == image.dims;
    let survey = if fits { Survey::of(labels) } else { Survey::of(&Volume::filled(image.dims, 0u8)) };
    if !fits {
        alarms.push(format!("labels have another grid ({}) and are not shown", product(labels.dims)));
    } else if survey.is_empty() {
        alarms.push("EMPTY RESULT: no voxel is labelled".to_owned());
    }
    let scene = Scene {
        image,
        labels: fits.then_some(labels),
        spacing,
        window: Window::of(image),
        key: Key::new(legend, true),
        survey,
    };
    scene.picture(title, alarms)
}

/// A picture of a title and a sentence.
fn notice(title: &str, text: &str) -> Photo {
    let header =
        Header { title: title.to_owned(), lines: vec![(text.to_owned(), ALARM)], labels: Vec::new() };
    let mut canvas = Canvas::new(WIDTH, header.height(WIDTH) + MARGIN, GROUND);
    header.draw(&mut canvas, WIDTH);
    canvas.into_photo()
}

struct Scene<'a, L> {
    image: &'a Volume<f32>,
    labels: Option<&'a Volume<L>>,
    spacing: [f64; 3],
    window: Window,
    key: Key,
    survey: Survey,
}

/// A panel: which slice, how large, and where.
struct Panel<'a> {
    plane: &'a Plane,
    index: usize,
    size: [usize; 2],
    at: [usize; 2],
}

impl<L: Copy + Into<u16>> Scene<'_, L> {
    fn picture(&self, title: &str, alarms: Vec<String>) -> Photo {
        let header = self.header(title, alarms);
        let top = header.height(WIDTH);
        let (planes, scale, after) = self.planes(top);
        let (slices, slice_scale, bottom) = self.slices(after + GAP);
        let mut canvas = Canvas::new(WIDTH, bottom + MARGIN, GROUND);
        header.draw(&mut canvas, WIDTH);
        for p in &planes {
            self.draw(&mut canvas, p, true);
        }
        for p in &slices {
            self.draw(&mut canvas, p, false);
        }
        for (panels, scale, columns) in [(&planes, scale, 3), (&slices, slice_scale, COLUMNS)] {
            // In the first panel with room for it.
            if let Some(p) = panels.iter().find(|p| p.size[0] >= 64 && p.size[1] >= 48) {
                let most = p.size[0].min(cell(columns) * 2 / 5);
                scale_bar::draw(&mut canvas, p.at[0] + 4, p.at[1] + p.size[1] - 4, scale, most - 12);
            }
        }
        canvas.into_photo()
    }

    fn header(&self, title: &str, alarms: Vec<String>) -> Header {
        let Window { low, high } = self.window;
        let about = format!(
            "{} voxels of {} mm, window {} to {}",
            product(self.image.dims),
            product(self.spacing.map(|s| short(s as f32))),
            short(low),
            short(high)
        );
        let mut lines = vec![(about, DIM)];
        lines.extend(alarms.into_iter().map(|a| (a, ALARM)));
        Header { title: title.to_owned(), lines, labels: self.key.entries(self.survey.found()) }
    }

    /// The three planes through the centre, pixels per mm, and where they end.
    fn planes(&self, top: usize) -> (Vec<Panel<'static>>, f64, usize) {
        let centre = self.survey.centre();
        let planes: [&'static Plane; 3] = [&AXIAL, &CORONAL, &SAGITTAL];
        let scale = planes.iter().map(|p| self.scale(p, cell(3))).fold(f64::INFINITY, f64::min);
        let sizes = planes.map(|p| self.size(p, scale, cell(3)));
        let height = sizes.iter().map(|s| s[1]).max().unwrap_or(1);
        let panel = |i: usize| Panel {
            plane: planes[i],
            index: centre[planes[i].axes[2]],
            size: sizes[i],
            at: place(i, 3, sizes[i], top + CAPTION, height),
        };
        ((0..3).map(panel).collect(), scale, top + CAPTION + height)
    }

    /// Slices spread over what is labelled, pixels per mm, and where they end.
    fn slices(&self, top: usize) -> (Vec<Panel<'static>>, f64, usize) {
        let plane = self.acquired();
        let scale = self.scale(plane, cell(COLUMNS));
        let size = self.size(plane, scale, cell(COLUMNS));
        let through = plane.axes[2];
        let variety = self.labels.map(|l| self.survey.variety(l, through));
        let indices = spread(self.survey.extent(through), COLUMNS * ROWS, &variety.unwrap_or_default());
        let row = |i: usize| top + i / COLUMNS * (size[1] + CAPTION + GAP) + CAPTION;
        let panel = |(i, index): (usize, usize)| Panel {
            plane,
            index,
            size,
            at: place(i % COLUMNS, COLUMNS, size, row(i), size[1]),
        };
        let bottom = row(indices.len() - 1) + size[1];
        (indices.into_iter().enumerate().map(panel).collect(), scale, bottom)
    }

    /// The plane of the slices.
    fn acquired(&self) -> &'static Plane {
        let planes: [&'static Plane; 3] = [&AXIAL, &CORONAL, &SAGITTAL];
        let thick = |p: &&&'static Plane| {
            let [a, b, c] = p.axes.map(|i| self.spacing[i]);
            c >= THICK * a.max(b) && self.image.dims[p.axes[2]] > 1
        };
        planes.iter().find(thick).copied().unwrap_or(&AXIAL)
    }

    /// Pixels per mm so that a plane fits a cell.
    fn scale(&self, plane: &Plane, cell: usize) -> f64 {
        let [u, v] = plane.extent([0, 1, 2].map(|i| self.image.dims[i] as f64 * self.spacing[i]));
        (cell as f64 / u).min(TALLEST * cell as f64 / v)
    }

    /// Pixels of a panel; three at least, so that a single row of voxels is seen.
    fn size(&self, plane: &Plane, scale: f64, cell: usize) -> [usize; 2] {
        let mm = plane.extent([0, 1, 2].map(|i| self.image.dims[i] as f64 * self.spacing[i]));
        mm.map(|e| ((e * scale).round() as usize).clamp(3, (TALLEST * cell as f64) as usize))
    }

    fn draw(&self, canvas: &mut Canvas, p: &Panel, large: bool) {
        canvas.paste(&p.plane.grey(self.image, p.index, p.size, self.window), p.at[0], p.at[1]);
        if let Some(labels) = self.labels {
            let thickness = if large { 3 } else { 2 };
            p.plane.outlines(canvas, p.at, labels, p.index, p.size, thickness, &self.key);
        }
        let count = self.image.dims[p.plane.axes[2]];
        let caption = match large {
            true => format!("{}, slice {} of {count}", p.plane.name, p.index + 1),
            false => format!("{} {}", p.plane.name, p.index + 1),
        };
        canvas.text(p.at[0], p.at[1] - CAPTION + 2, &caption, Font::Small, DIM);
        p.plane.letters(canvas, p.at, p.size, large);
    }
}

/// Pixels across one of `columns` cells.
const fn cell(columns: usize) -> usize {
    (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns
}

/// Where a panel stands in its cell: in the middle.
fn place(column: usize, columns: usize, size: [usize; 2], top: usize, height: usize) -> [usize; 2] {
    let left = MARGIN + column * (cell(columns) + GAP);
    [left + cell(columns).saturating_sub(size[0]) / 2, top + (height - size[1].min(height)) / 2]
}

/// At most `n` slices from `first` to `last`: of each share the one with most different labels, of equals the
/// nearest to its middle. `variety` counts the labels of each slice.
fn spread((first, last): (usize, usize), n: usize, variety: &[u32]) -> Vec<usize> {
    let count = last - first + 1;
    let n = n.min(count);
    let best = |i: usize| {
        let share = first + i * count / n..first + (i + 1) * count / n;
        let middle = first + (2 * i + 1) * count / (2 * n);
        let labels = |k: usize| variety.get(k).copied().unwrap_or(0);
        share.min_by_key(|&k| (std::cmp::Reverse(labels(k)), k.abs_diff(middle))).unwrap_or(middle)
    };
    (0..n).map(best).collect()
}

fn product<T: std::fmt::Display>(sizes: [T; 3]) -> String {
    let [a, b, c] = sizes;
    format!("{a} × {b} × {c}")
}

/// A number with three digits or all those before the point.
fn short(v: f32) -> String {
    let digits = match v.abs() {
        a if a >= 1e6 || (a < 1e-3 && a > 0.0) => return format!("{v:.2e}"),
        a if a >= 100.0 => 0,
        a if a >= 10.0 => 1,
        a if a >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{v:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_spread_over_what_is_there() {
        assert_eq!(spread((5, 5), 12, &[]), [5]);
        assert_eq!(spread((0, 2), 12, &[]), [0, 1, 2]);
        assert_eq!(spread((10, 33), 12, &[]).first(), Some(&11));
        assert_eq!(spread((0, 5), 2, &[1, 1, 1, 0, 2, 2]), [1, 4]);
        assert_eq!(spread((0, 119), 12, &[]), [5, 15, 25, 35, 45, 55, 65, 75, 85, 95, 105, 115]);
        assert_eq!(
            [1.0, 0.9375, 123.4, 1.25e7, 0.0, -2.5].map(short),
            ["1", "0.938", "123", "1.25e7", "0", "-2.5"]
        );
    }
}
