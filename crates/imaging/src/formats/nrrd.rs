//! NRRD with its voxels in the same file, raw or gzipped: a text header, an empty line, the voxels.
//!
//! The format is described at <https://teem.sourceforge.net/nrrd/format.html>. Three axes of space are read, and
//! frames of them where a fourth axis, the slowest, is no axis of space.

mod fields;
mod geometry;

use super::error::Error;
use super::kind::Format;
use super::nifti::{DataType, Frames, Header, Nifti};
use super::stream::Stream;
use fields::{Fields, malformed};
use std::path::Path;

/// Recognises one by its first bytes.
pub(super) fn sniff(head: &[u8]) -> Option<Format> {
    head.starts_with(b"NRRD000").then_some(Format::Nrrd)
}

/// The header of one ([`super::describe_volume`]).
pub(super) fn header(path: &Path) -> Result<Header, Error> {
    Ok(begin(&mut Stream::open(path)?)?.1)
}

/// How the voxels are stored, the header as that of NIfTI, and what a user should know.
fn begin(stream: &mut Stream) -> Result<(Layout, Header, Vec<String>), Error> {
    let fields = Fields::read(stream)?;
    let layout = Layout::of(&fields)?;
    let geometry::Space { affine, notes } = geometry::of(&fields, layout.frames_axis)?;
    let header = Header::new(layout.dims, layout.datatype, &affine);
    header.check_dims()?;
    Ok((layout, header, notes))
}

/// Reads one ([`super::read_volume`]).
pub(super) fn read(path: &Path, frame: Option<usize>, most_bytes: u64) -> Result<Nifti, Error> {
    let mut stream = Stream::open(path)?;
    let (layout, header, mut notes) = begin(&mut stream)?;
    notes.extend(header.affine()?.1);
    let at = stream.position;
    if layout.gzip {
        stream.unpack()?;
    }
    let body = Frames { at, frames: layout.frames, big_endian: layout.big_endian, frame };
    let raw = body.read(&mut stream, &header, most_bytes)?;
    stream.finish(0, &mut notes)?;
    Nifti::assembled(header, raw, vec![0; 4], notes)
}

/// How the voxels are stored.
struct Layout {
    dims: [usize; 3],
    /// 1 where there is no fourth axis.
    frames: usize,
    /// Whether the fourth axis counts frames.
    frames_axis: bool,
    datatype: DataType,
    big_endian: bool,
    gzip: bool,
}

impl Layout {
    fn of(f: &Fields) -> Result<Layout, Error> {
        if f.get("datafile").is_some() {
            return Err(Error::Unsupported(
                "its voxels are in another file (`data file`); save it as one .nrrd file, or as NIfTI".into(),
            ));
        }
        for skip in ["lineskip", "byteskip"] {
            if f.get(skip).is_some_and(|v| v != "0") {
                return Err(Error::Unsupported(
                    "its header has bytes before the voxels skipped (`line skip`, `byte skip`); save it again without them"
                        .into(),
                ));
            }
        }
        let sizes = sizes(f)?;
        kinds(f, sizes.len())?;
        let datatype = datatype(f.needed("type")?)?;
        Ok(Layout {
            dims: [sizes[0], sizes[1], sizes[2]],
            frames: sizes.get(3).copied().unwrap_or(1),
            frames_axis: sizes.len() == 4,
            big_endian: big_endian(f, datatype)?,
            gzip: gzip(f.needed("encoding")?)?,
            datatype,
        })
    }
}

/// Sizes of three axes, or of three and of frames.
fn sizes(f: &Fields) -> Result<Vec<usize>, Error> {
    let wrong = |text: &str| malformed(format!("its sizes are `{text}`, not whole numbers above 0"));
    let text = f.needed("sizes")?;
    let size = |t: &str| t.parse().ok().filter(|n| (1..1usize << 31).contains(n));
    let list =
        text.split_whitespace().map(size).collect::<Option<Vec<usize>>>().ok_or_else(|| wrong(text))?;
    let dimension = f.needed("dimension")?;
    if dimension.parse() != Ok(list.len()) {
        return Err(malformed(format!("its dimension is {dimension}, and its sizes are `{text}`")));
    }
    match list.len() {
        3 | 4 => Ok(list),
        n => Err(Error::Unsupported(format!(
            "it has {n} axes; save it with the three of space, or with frames as a fourth"
        ))),
    }
}

/// Refuses axes that count values of a voxel, such as colours or the parts of a vector, where axes of space are read.
fn kinds(f: &Fields, axes: usize) -> Result<(), Error> {
    let Some(text) = f.get("kinds") else { return Ok(()) };
    let list: Vec<String> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
    if list.len() != axes {
        return Err(malformed(format!("its kinds are `{text}`, and its axes are {axes}")));
    }
    let space = |k: &String| ["domain", "space", "none", "???"].contains(&k.as_str());
    let frames = |k: &String| space(k) || ["list", "time", "point"].contains(&k.as_str());
    match list.iter().take(3).all(space) && list.iter().skip(3).all(frames) {
        true => Ok(()),
        false => Err(Error::Unsupported(format!(
            "its axes are of the kinds `{text}`, not three of space and frames after them; save each channel as a volume \
             of its own"
        ))),
    }
}

/// The type of voxels by any of the names that the format has for it.
fn datatype(name: &str) -> Result<DataType, Error> {
    let plain = name.to_ascii_lowercase();
    Ok(match plain.as_str() {
        "signed char" | "int8" | "int8_t" => DataType::I8,
        "uchar" | "unsigned char" | "uint8" | "uint8_t" => DataType::U8,
        "short" | "short int" | "signed short" | "signed short int" | "int16" | "int16_t" => DataType::I16,
        "ushort" | "unsigned short" | "unsigned short int" | "uint16" | "uint16_t" => DataType::U16,
        "int" | "signed int" | "int32" | "int32_t" => DataType::I32,
        "uint" | "unsigned int" | "uint32" | "uint32_t" => DataType::U32,
        "longlong"
        | "long long"
        | "long long int"
        | "signed long long"
        | "signed long long int"
        | "int64"
        | "int64_t" => DataType::I64,
        "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" | "uint64_t" => {
            DataType::U64
        }
        "float" => DataType::F32,
        "double" => DataType::F64,
        _ => {
            return Err(Error::Unsupported(format!(
                "its voxels are of the type `{name}`; save them as short or float"
            )));
        }
    })
}

fn big_endian(f: &Fields, t: DataType) -> Result<bool, Error> {
    match f.get("endian") {
        Some("little") => Ok(false),
        Some("big") => Ok(true),
        None if t.bytes() == 1 => Ok(false),
        Some(other) => Err(malformed(format!("its endian is `{other}`, not little or big"))),
        None => Err(malformed("it does not say whether its voxels are little or big endian")),
    }
}

fn gzip(encoding: &str) -> Result<bool, Error> {
    match encoding.to_ascii_lowercase().as_str() {
        "raw" => Ok(false),
        "gz" | "gzip" => Ok(true),
        _ => Err(Error::Unsupported(format!(
            "its encoding is `{encoding}`; raw and gzip are read, so save it with one of these"
        ))),
    }
}

#[cfg(test)]
mod tests;
