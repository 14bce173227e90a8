//! MetaImage: a text header with its voxels behind it (`.mha`) or in another file (`.mhd`), raw or packed by zlib.
//!
//! The format is described at <https://itk.org/Wiki/ITK/MetaIO/Documentation>. Three axes are read; the axes of space
//! lead to left, posterior and superior, as ITK takes them.

use super::error::Error;
use super::kind::Format;
use super::nifti::{DataType, Frames, Header, Nifti};
use super::stream::Stream;
use crate::geometry::Affine;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Longest header.
const LONGEST: usize = 1 << 20;
/// Bytes that are looked at to recognise one.
const HEAD: usize = 512;

fn malformed(reason: impl std::fmt::Display) -> Error {
    Error::Malformed {
        format: Format::MetaImage,
        reason: format!("{reason}; save the volume again, as MetaImage or NIfTI"),
    }
}

/// Recognises one by its first bytes: lines of `Key = Value`, among them the number of axes.
pub(super) fn sniff(head: &[u8]) -> Option<Format> {
    let text = String::from_utf8_lossy(&head[..head.len().min(HEAD)]);
    let first = text.lines().next()?.split_once('=')?.0.trim().to_owned();
    let known = ["ObjectType", "NDims", "Comment", "ObjectSubType"].contains(&first.as_str());
    let axes = text.lines().any(|l| l.split_once('=').is_some_and(|(k, _)| k.trim() == "NDims"));
    (known && axes).then_some(Format::MetaImage)
}

/// The fields of a header by their names.
struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Reads lines up to the one that names the file of the voxels, which is the last.
    fn read(stream: &mut Stream) -> Result<Fields, Error> {
        let (mut all, mut line, mut byte, mut length) = (BTreeMap::new(), Vec::new(), [0], 0);
        loop {
            stream.fill(&mut byte, "the header")?;
            length += 1;
            if length > LONGEST {
                return Err(malformed("no line says where its voxels are (ElementDataFile)"));
            }
            if byte[0] != b'\n' {
                line.push(byte[0]);
                continue;
            }
            let text = String::from_utf8_lossy(&line).trim().to_owned();
            line.clear();
            let Some((name, value)) = text.split_once('=') else {
                if text.is_empty() {
                    continue;
                }
                return Err(malformed(format!(
                    "a line of it is no field: `{}`",
                    text.chars().take(60).collect::<String>()
                )));
            };
            let name = name.trim().to_owned();
            let last = name == "ElementDataFile";
            all.insert(name, value.trim().to_owned());
            if last {
                return Ok(Fields(all));
            }
        }
    }

    /// The value of a field that goes by any of these names.
    fn get(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|n| self.0.get(*n)).map(String::as_str)
    }

    fn flag(&self, names: &[&str]) -> bool {
        self.get(names).is_some_and(|v| v.eq_ignore_ascii_case("true") || v == "1")
    }

    fn numbers<const N: usize>(&self, names: &[&str]) -> Result<Option<[f64; N]>, Error> {
        let Some(text) = self.get(names) else { return Ok(None) };
        let list: Option<Vec<f64>> =
            text.split_whitespace().map(|t| t.parse().ok().filter(|v: &f64| v.is_finite())).collect();
        let found = list.and_then(|l| <[f64; N]>::try_from(l).ok());
        found.map(Some).ok_or_else(|| malformed(format!("its {} is `{text}`, not {N} numbers", names[0])))
    }
}

fn datatype(name: &str) -> Result<DataType, Error> {
    Ok(match name {
        "MET_CHAR" => DataType::I8,
        "MET_UCHAR" => DataType::U8,
        "MET_SHORT" => DataType::I16,
        "MET_USHORT" => DataType::U16,
        "MET_INT" | "MET_LONG" => DataType::I32,
        "MET_UINT" | "MET_ULONG" => DataType::U32,
        "MET_LONG_LONG" => DataType::I64,
        "MET_ULONG_LONG" => DataType::U64,
        "MET_FLOAT" => DataType::F32,
        "MET_DOUBLE" => DataType::F64,
        other => {
            return Err(Error::Unsupported(format!(
                "its voxels are of the type `{other}`; save them as MET_SHORT or MET_FLOAT"
            )));
        }
    })
}

fn affine(f: &Fields) -> Result<Affine, Error> {
    let spacing = f.numbers::<3>(&["ElementSpacing", "ElementSize"])?.unwrap_or([1.0; 3]);
    let origin = f.numbers::<3>(&["Offset", "Position", "Origin"])?.unwrap_or([0.0; 3]);
    let turned = f.numbers::<9>(&["TransformMatrix", "Rotation", "Orientation"])?;
    let axes = turned.unwrap_or([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    let signs = [-1.0, -1.0, 1.0];
    let mut out = Affine([[0.0; 4]; 3]);
    for r in 0..3 {
        for c in 0..3 {
            // A row of the matrix is the direction of one axis.
            out.0[r][c] = signs[r] * spacing[c] * axes[3 * c + r];
        }
        out.0[r][3] = signs[r] * origin[r];
    }
    match out.usable() {
        true => Ok(out),
        false => Err(malformed("its axes do not span space")),
    }
}

/// The file beside a header that holds its voxels.
pub(super) fn voxels_beside(path: &Path) -> Option<PathBuf> {
    let f = Fields::read(&mut Stream::open(path).ok()?).ok()?;
    let name = f.get(&["ElementDataFile"]).filter(|n| !n.eq_ignore_ascii_case("local"))?;
    let file = path.with_file_name(name);
    (!name.contains(['/', '\\', '%']) && file.is_file()).then_some(file)
}

/// The header of one ([`super::describe_volume`]).
pub(super) fn header(path: &Path) -> Result<Header, Error> {
    geometry(&Fields::read(&mut Stream::open(path)?)?)
}

/// Sizes, type and place of the voxels, as a header of NIfTI.
fn geometry(f: &Fields) -> Result<Header, Error> {
    if f.get(&["NDims"]) != Some("3") || f.get(&["ElementNumberOfChannels"]).is_some_and(|n| n != "1") {
        return Err(Error::Unsupported(
            "it has not three axes with one value a voxel; save each channel or frame as a volume of its own"
                .into(),
        ));
    }
    let text = f.get(&["DimSize"]).unwrap_or_default();
    let size = |t: &str| t.parse().ok().filter(|n| (1..1usize << 31).contains(n));
    let dims = text.split_whitespace().map(size).collect::<Option<Vec<usize>>>();
    let dims = dims.and_then(|l| <[usize; 3]>::try_from(l).ok());
    let dims = dims.ok_or_else(|| malformed(format!("its DimSize is `{text}`, not three sizes")))?;
    let datatype = datatype(f.get(&["ElementType"]).unwrap_or_default())?;
    let header = Header::new(dims, datatype, &affine(f)?);
    header.check_dims()?;
    Ok(header)
}

/// Reads one ([`super::read_volume`]).
pub(super) fn read(path: &Path, frame: Option<usize>, most_bytes: u64) -> Result<Nifti, Error> {
    let mut stream = Stream::open(path)?;
    let f = Fields::read(&mut stream)?;
    let big_endian = f.flag(&["ElementByteOrderMSB", "BinaryDataByteOrderMSB"]);
    if f.get(&["BinaryData"]).is_some() && !f.flag(&["BinaryData"]) {
        return Err(Error::Unsupported("its voxels are written as text; save it with binary data".into()));
    }
    if f.get(&["HeaderSize"]).is_some_and(|v| v != "0") {
        return Err(Error::Unsupported(
            "bytes before its voxels are to be skipped (HeaderSize); save it again without them".into(),
        ));
    }
    let header = geometry(&f)?;
    let (_, mut notes) = header.affine()?;
    let data = f.get(&["ElementDataFile"]).unwrap_or_default();
    let mut voxels = match data {
        "LOCAL" | "Local" | "local" => stream,
        name if name.starts_with("LIST") || name.contains(['%', '/', '\\']) || name.is_empty() => {
            return Err(Error::Unsupported(format!(
                "its voxels are in `{name}`; only one file beside it is read"
            )));
        }
        name => Stream::open(&path.with_file_name(name))?,
    };
    let at = voxels.position;
    if f.flag(&["CompressedData"]) {
        voxels.unpack_zlib()?;
    }
    let body = Frames { at, frames: 1, big_endian, frame };
    let raw = body.read(&mut voxels, &header, most_bytes)?;
    voxels.finish(0, &mut notes)?;
    Nifti::assembled(header, raw, vec![0; 4], notes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    const HEADER: &str = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n\
        CompressedData = {C}\nTransformMatrix = 0 1 0 1 0 0 0 0 1\nOffset = 10 20 30\nElementSpacing = 2 3 4\n\
        DimSize = 2 3 2\nElementType = MET_SHORT\nElementDataFile = {F}\n";

    fn header(packed: bool, file: &str) -> Vec<u8> {
        HEADER.replace("{C}", if packed { "True" } else { "False" }).replace("{F}", file).into_bytes()
    }

    fn voxels() -> Vec<u8> {
        (0i16..12).flat_map(|v| (v * 100 - 7).to_le_bytes()).collect()
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut z = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
        z.write_all(bytes).unwrap();
        z.finish().unwrap()
    }

    #[test]
    fn voxels_and_geometry_are_read_whatever_holds_them() {
        let d = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = d.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        file("x.raw", &voxels());
        let all = [
            file("a.mha", &[header(false, "LOCAL"), voxels()].concat()),
            file("b.mha", &[header(true, "LOCAL"), packed(&voxels())].concat()),
            file("c.mhd", &header(false, "x.raw")),
        ];
        for path in all {
            let n = super::super::read_volume(&path, None, 1 << 30).unwrap();
            assert_eq!(
                (n.dims(), n.to_f32().0.data),
                ([2, 3, 2], (0..12).map(|v| v as f32 * 100.0 - 7.0).collect())
            );
            // The first axis leads along y of ITK's space, which is backwards.
            let a = n.affine();
            assert_eq!((a.0[1][0], a.0[0][1], a.0[2][2]), (-2.0, -3.0, 4.0));
            assert_eq!([a.0[0][3], a.0[1][3], a.0[2][3]], [-10.0, -20.0, 30.0]);
        }
    }

    #[test]
    fn damaged_files_are_refused() {
        let d = tempfile::tempdir().unwrap();
        let refused = |bytes: Vec<u8>| {
            let path = d.path().join("x.mha");
            std::fs::write(&path, bytes).unwrap();
            super::super::read_volume(&path, None, 1 << 30).err().map(|e| e.to_string()).unwrap_or_default()
        };
        let with = |from: &str, to: &str| {
            let text = String::from_utf8(header(false, "LOCAL")).unwrap().replace(from, to);
            refused([text.into_bytes(), voxels()].concat())
        };
        assert!(with("DimSize = 2 3 2", "DimSize = 2 3 9").contains("voxels"));
        assert!(with("DimSize = 2 3 2", "DimSize = 2 x 2").contains("DimSize"));
        assert!(with("MET_SHORT", "MET_OTHER").contains("MET_OTHER"));
        assert!(with("NDims = 3", "NDims = 4").contains("three axes"));
        assert!(with("0 1 0 1 0 0", "0 1 0 0 1 0").contains("span space"));
        assert!(with("LOCAL", "../x.raw").contains("../x.raw"));
        assert!(
            refused([header(true, "LOCAL"), packed(&voxels())[..9].to_vec()].concat()).contains("cut off")
        );
    }
}
