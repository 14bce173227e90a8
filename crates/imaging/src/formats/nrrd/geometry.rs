//! Where the voxels lie: directions of the axes and the place of the first voxel, in millimetres, turned to RAS.

use super::super::error::Error;
use super::fields::{Fields, malformed};
use crate::geometry::Affine;

/// The voxel-to-world map, and what a user should know of it.
pub(super) struct Space {
    pub affine: Affine,
    pub notes: Vec<String>,
}

/// The geometry of a file whose last axis counts frames where `frames`.
pub(super) fn of(f: &Fields, frames: bool) -> Result<Space, Error> {
    if f.get("axismins").or(f.get("axismaxs")).is_some() {
        return Err(Error::Unsupported(
            "it says by `axis mins` and `axis maxs` where its voxels lie, which is not read; save it with `space origin`".into(),
        ));
    }
    let mut notes = Vec::new();
    let signs = match f.get("space") {
        Some(space) => signs(space)?,
        None => {
            notes.push(
                "the file states no orientation; LPS (left, posterior, superior) is assumed, as ITK does"
                    .into(),
            );
            [-1.0, -1.0, 1.0]
        }
    };
    let directions = match f.get("spacedirections") {
        Some(text) => directions(text, frames)?,
        None => spacings(f, frames, &mut notes)?,
    };
    let origin = match f.get("spaceorigin") {
        Some(text) => vector(text).ok_or_else(|| {
            malformed(format!("its space origin is `{text}`, not a vector of three numbers"))
        })?,
        None => [0.0; 3],
    };
    let mm = millimetres(f)?;
    let mut affine = Affine([[0.0; 4]; 3]);
    for r in 0..3 {
        for c in 0..3 {
            affine.0[r][c] = signs[r] * mm * directions[c][r];
        }
        affine.0[r][3] = signs[r] * mm * origin[r];
    }
    match affine.usable() {
        true => Ok(Space { affine, notes }),
        false => Err(malformed("its space directions do not span space")),
    }
}

/// What takes the axes of a space to right, anterior, superior.
fn signs(space: &str) -> Result<[f64; 3], Error> {
    match space.to_ascii_lowercase().as_str() {
        "right-anterior-superior" | "ras" => Ok([1.0, 1.0, 1.0]),
        "left-anterior-superior" | "las" => Ok([-1.0, 1.0, 1.0]),
        "left-posterior-superior" | "lps" => Ok([-1.0, -1.0, 1.0]),
        _ => Err(Error::Unsupported(format!(
            "its space is `{space}`, which does not say where left and right are; save it in \
             left-posterior-superior"
        ))),
    }
}

/// The direction of each axis of space; an axis of frames has none, and must come last.
fn directions(text: &str, frames: bool) -> Result<[[f64; 3]; 3], Error> {
    let wrong =
        || malformed(format!("its space directions are `{text}`, not a vector for each axis of space"));
    let list = items(text).ok_or_else(wrong)?;
    let (axes, rest) = list.split_at_checked(3).ok_or_else(wrong)?;
    let (first, last) = (axes.iter().any(Option::is_none), rest.iter().all(Option::is_none));
    match rest.len() == frames as usize {
        true if first || !last => Err(Error::Unsupported(
            "its `space directions` are not those of three axes of space and of frames after them; save each channel as \
             a volume of its own"
                .into(),
        )),
        true => <[[f64; 3]; 3]>::try_from(axes.iter().flatten().copied().collect::<Vec<_>>()).map_err(|_| wrong()),
        false => Err(wrong()),
    }
}

/// Directions along the axes by the spacings alone.
fn spacings(f: &Fields, frames: bool, notes: &mut Vec<String>) -> Result<[[f64; 3]; 3], Error> {
    if frames {
        return Err(Error::Unsupported(
            "it does not say which of its four axes are axes of space (`space directions`); save it as NIfTI"
                .into(),
        ));
    }
    let list = match f.get("spacings") {
        Some(text) => {
            let list: Option<Vec<f64>> = text.split_whitespace().map(|t| t.parse().ok()).collect();
            let fits = |l: &Vec<f64>| l.len() == 3 && l.iter().all(|v| *v > 0.0 && v.is_finite());
            list.filter(fits)
                .ok_or_else(|| malformed(format!("its spacings are `{text}`, not three numbers above 0")))?
        }
        None => {
            notes.push("the file states no size of its voxels; 1 mm is assumed".into());
            vec![1.0; 3]
        }
    };
    Ok([[list[0], 0.0, 0.0], [0.0, list[1], 0.0], [0.0, 0.0, list[2]]])
}

/// Vectors `(x,y,z)` and, as `None`, axes without one (`none`).
fn items(text: &str) -> Option<Vec<Option<[f64; 3]>>> {
    let (mut rest, mut list) = (text.trim(), Vec::new());
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("none") {
            list.push(None);
            rest = after.trim_start();
            continue;
        }
        let end = rest.find(')')? + 1;
        list.push(Some(vector(&rest[..end])?));
        rest = rest[end..].trim_start();
    }
    Some(list)
}

/// A vector `(x,y,z)` of finite numbers.
fn vector(text: &str) -> Option<[f64; 3]> {
    let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    let list: Option<Vec<f64>> = inner.split(',').map(|t| t.trim().parse().ok()).collect();
    <[f64; 3]>::try_from(list?).ok().filter(|v| v.iter().all(|x| x.is_finite()))
}

/// Millimetres of the unit of length; not stated means millimetres, as ITK takes them.
fn millimetres(f: &Fields) -> Result<f64, Error> {
    let Some(text) = f.get("spaceunits") else { return Ok(1.0) };
    let mut units = text.split('"').map(str::trim).filter(|t| !t.is_empty());
    let first = units.next().unwrap_or("mm");
    let factor = match first {
        "mm" | "millimeter" | "millimeters" | "millimetre" | "millimetres" => 1.0,
        "cm" => 10.0,
        "m" => 1000.0,
        "um" | "µm" | "micron" | "microns" => 1e-3,
        _ => return Err(Error::Unsupported(format!("its unit of length is `{first}`; save it in mm"))),
    };
    match units.all(|u| u == first) {
        true => Ok(factor),
        false => Err(Error::Unsupported(format!("its axes have different units ({text}); save it in mm"))),
    }
}
