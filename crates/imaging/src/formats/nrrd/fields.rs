//! The text header: fields by their names.

use super::super::error::Error;
use super::super::kind::Format;
use super::super::stream::Stream;
use std::collections::BTreeMap;

/// Longest header; those of segmentations with hundreds of segments have some hundred kilobytes.
const LONGEST: usize = 4 << 20;

/// The error for a header that makes no sense.
pub(super) fn malformed(reason: impl std::fmt::Display) -> Error {
    Error::Malformed {
        format: Format::Nrrd,
        reason: format!("{reason}; save the volume again, as NRRD or NIfTI"),
    }
}

/// The fields of a header. Their names are in lower case and without blanks.
pub(super) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Reads the header up to the empty line that ends it; `stream` stands at the first voxel then.
    pub fn read(stream: &mut Stream) -> Result<Fields, Error> {
        let text = header(stream)?;
        let mut lines = text.lines();
        let magic = lines.next().unwrap_or_default().trim_end();
        if !matches!(magic, "NRRD0001" | "NRRD0002" | "NRRD0003" | "NRRD0004" | "NRRD0005") {
            return Err(Error::Unsupported(format!(
                "its version is `{magic}`; save it in NRRD0005 or an earlier one, or as NIfTI"
            )));
        }
        let mut fields = BTreeMap::new();
        for line in lines.map(str::trim_end).filter(|l| !l.starts_with('#')) {
            // `name: value` is a field, `name:=value` a remark of whoever wrote the file.
            let Some((name, value)) = line.split_once(':') else {
                return Err(malformed(format!("the line `{}` is no field", shortened(line))));
            };
            if value.starts_with('=') {
                continue;
            }
            let name: String = name.to_ascii_lowercase().split_whitespace().collect();
            if fields.insert(name, value.trim().to_owned()).is_some() {
                return Err(malformed(format!("the field `{}` occurs twice", shortened(line))));
            }
        }
        Ok(Fields(fields))
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of a field that every file has.
    pub fn needed(&self, name: &str) -> Result<&str, Error> {
        self.get(name).ok_or_else(|| malformed(format!("the field `{name}` is missing")))
    }
}

fn shortened(line: &str) -> String {
    line.chars().take(60).collect()
}

/// The bytes before the empty line, as text; what is not UTF-8 is replaced.
fn header(stream: &mut Stream) -> Result<String, Error> {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while bytes.len() < LONGEST {
        stream.fill(&mut byte, "the header")?;
        bytes.push(byte[0]);
        if bytes.ends_with(b"\n\n") || bytes.ends_with(b"\n\r\n") {
            return Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned());
        }
    }
    Err(malformed("no empty line ends it"))
}
