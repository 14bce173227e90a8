//! The 348- or 540-byte header, held as little-endian bytes and read field by field.

use super::Error;
use crate::geometry::Affine;

/// Real numeric voxel types with their NIfTI codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DataType {
    U8,
    I16,
    I32,
    F32,
    F64,
    I8,
    U16,
    U32,
    I64,
    U64,
}

const TYPES: &[(DataType, i16, usize)] = &[
    (DataType::U8, 2, 1),
    (DataType::I16, 4, 2),
    (DataType::I32, 8, 4),
    (DataType::F32, 16, 4),
    (DataType::F64, 64, 8),
    (DataType::I8, 256, 1),
    (DataType::U16, 512, 2),
    (DataType::U32, 768, 4),
    (DataType::I64, 1024, 8),
    (DataType::U64, 1280, 8),
];

fn parse<const N: usize>(raw: &[u8], f: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    raw.as_chunks::<N>().0.iter().map(|c| f(*c)).collect()
}

impl DataType {
    /// The type with this NIfTI code, or why not.
    pub fn from_code(code: i16) -> Result<Self, Error> {
        if let Some(t) = TYPES.iter().find(|t| t.1 == code) {
            return Ok(t.0);
        }
        let what = match code {
            1 => "1-bit",
            32 | 1792 | 2048 => "complex (export the magnitude image)",
            128 | 2304 => "colour (export a greyscale image)",
            1536 => "128-bit floating point",
            _ => return Err(Error::Header(format!("unknown data type code {code}"))),
        };
        Err(Error::Unsupported(format!("the voxels are {what}, which is not supported")))
    }

    fn row(self) -> &'static (DataType, i16, usize) {
        TYPES.iter().find(|t| t.0 == self).unwrap_or(&TYPES[0])
    }

    /// NIfTI code.
    pub fn code(self) -> i16 {
        self.row().1
    }

    /// Bytes per voxel.
    pub fn bytes(self) -> usize {
        self.row().2
    }

    /// Little-endian voxels as float32.
    pub fn decode(self, raw: &[u8]) -> Vec<f32> {
        match self {
            DataType::U8 => raw.iter().map(|&v| v as f32).collect(),
            DataType::I8 => raw.iter().map(|&v| v as i8 as f32).collect(),
            DataType::I16 => parse(raw, |b| i16::from_le_bytes(b) as f32),
            DataType::U16 => parse(raw, |b| u16::from_le_bytes(b) as f32),
            DataType::I32 => parse(raw, |b| i32::from_le_bytes(b) as f32),
            DataType::U32 => parse(raw, |b| u32::from_le_bytes(b) as f32),
            DataType::I64 => parse(raw, |b| i64::from_le_bytes(b) as f32),
            DataType::U64 => parse(raw, |b| u64::from_le_bytes(b) as f32),
            DataType::F32 => parse(raw, f32::from_le_bytes),
            DataType::F64 => parse(raw, |b| f64::from_le_bytes(b) as f32),
        }
    }

    /// One voxel, rounded and saturated.
    pub fn encode(self, v: f64) -> Vec<u8> {
        let r = v.round();
        match self {
            DataType::U8 => vec![r as u8],
            DataType::I8 => vec![r as i8 as u8],
            DataType::I16 => (r as i16).to_le_bytes().to_vec(),
            DataType::U16 => (r as u16).to_le_bytes().to_vec(),
            DataType::I32 => (r as i32).to_le_bytes().to_vec(),
            DataType::U32 => (r as u32).to_le_bytes().to_vec(),
            DataType::I64 => (r as i64).to_le_bytes().to_vec(),
            DataType::U64 => (r as u64).to_le_bytes().to_vec(),
            DataType::F32 => (v as f32).to_le_bytes().to_vec(),
            DataType::F64 => v.to_le_bytes().to_vec(),
        }
    }
}

/// Multi-byte fields as `(offset, width, count)`, for swapping big-endian headers.
const FIELDS_1: &[(usize, usize, usize)] = &[
    (0, 4, 1),
    (32, 4, 1),
    (36, 2, 1),
    (40, 2, 8),
    (56, 4, 3),
    (68, 2, 4),
    (76, 4, 11),
    (120, 2, 1),
    (124, 4, 6),
    (252, 2, 2),
    (256, 4, 18),
];
const FIELDS_2: &[(usize, usize, usize)] = &[
    (0, 4, 1),
    (12, 2, 2),
    (16, 8, 8),
    (80, 8, 3),
    (104, 8, 8),
    (168, 8, 9),
    (344, 4, 2),
    (352, 8, 18),
    (496, 4, 3),
];

/// A NIfTI header.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// 348 or 540 bytes, little-endian.
    bytes: Vec<u8>,
    datatype: DataType,
    /// Whether the file was big-endian.
    pub big_endian: bool,
}

impl Header {
    /// Version 1 or 2.
    pub fn version(&self) -> u8 {
        if self.bytes.len() == 348 { 1 } else { 2 }
    }

    /// The bytes, little-endian.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Parses header bytes: exactly 348 or 540 of them, as the first four say. What was put right is
    /// noted.
    pub fn parse(mut bytes: Vec<u8>) -> Result<(Self, Vec<String>), Error> {
        let big_endian = match bytes.first_chunk::<4>() {
            Some(b) => i32::from_be_bytes(*b) == bytes.len() as i32,
            None => return Err(Error::NotNifti("it is too short".into())),
        };
        if big_endian {
            for &(at, width, count) in if bytes.len() == 348 { FIELDS_1 } else { FIELDS_2 } {
                bytes[at..at + width * count].chunks_exact_mut(width).for_each(<[u8]>::reverse);
            }
        }
        let mut h = Header { bytes, datatype: DataType::U8, big_endian };
        let magic = if h.version() == 1 { &h.bytes[344..348] } else { &h.bytes[4..8] };
        match magic {
            b"n+1\0" | b"n+2\0" => {}
            // What is made of a pair is one file.
            b"ni1\0" => h.bytes[344..348].copy_from_slice(b"n+1\0"),
            b"ni2\0" => h.bytes[4..8].copy_from_slice(b"n+2\0"),
            b"\0\0\0\0" => {
                return Err(Error::Unsupported(
                    "it is an ANALYZE 7.5 image, whose orientation is not defined; convert it to NIfTI"
                        .into(),
                ));
            }
            other => {
                return Err(Error::NotNifti(format!("its magic is {:?}", String::from_utf8_lossy(other))));
            }
        }
        if h.version() == 2 && h.bytes[8..12] != [13, 10, 26, 10] {
            return Err(Error::NotNifti("line endings were changed in transfer".into()));
        }
        h.datatype = DataType::from_code(h.i16(if h.version() == 1 { 70 } else { 12 }))?;
        let bitpix = h.i16(if h.version() == 1 { 72 } else { 14 });
        let mut notes = Vec::new();
        if bitpix != h.bitpix() {
            let right = h.bitpix();
            notes.push(format!(
                "bitpix is {bitpix} where the data type has {right} bits; the data type was believed"
            ));
            let at = if h.version() == 1 { 72 } else { 14 };
            h.bytes[at..at + 2].copy_from_slice(&right.to_le_bytes());
        }
        h.fill_trailing_dims(&mut notes);
        h.check_dims()?;
        // Other readers refuse a file whose intercept is not a number.
        if !h.float(116, 184).is_finite() {
            h.set_float(116, 184, 0.0);
        }
        Ok((h, notes))
    }

    /// Bits per voxel of the data type.
    fn bitpix(&self) -> i16 {
        8 * self.datatype.bytes() as i16
    }

    /// Zeros behind the three axes of space count as 1.
    fn fill_trailing_dims(&mut self, notes: &mut Vec<String>) {
        for i in 4..=self.dim(0).clamp(0, 7) as usize {
            if self.dim(i) == 0 {
                self.set_dim(i, 1);
                notes.push(format!("dim[{i}] is 0 and counts as 1"));
            }
        }
    }

    /// Three axes of at least two voxels, and a number of voxels that can be counted.
    pub(crate) fn check_dims(&self) -> Result<(), Error> {
        let rank = self.dim(0);
        if !(1..=7).contains(&rank) {
            return Err(Error::Header(format!("dim[0] is {rank}, 3 is expected")));
        }
        for i in 1..=rank as usize {
            if self.dim(i) < 1 {
                return Err(Error::Header(format!("dim[{i}] is {}", self.dim(i))));
            }
        }
        if rank < 3 || (1..=3).any(|i| self.dim(i) < 2) {
            let sizes: Vec<String> = (1..=(rank as usize).min(3)).map(|i| self.dim(i).to_string()).collect();
            return Err(Error::Unsupported(format!(
                "the image is 2D ({}); a 3D volume is needed",
                sizes.join("x")
            )));
        }
        if self.frames().is_none() || self.voxels().is_none() {
            return Err(Error::Header("the product of the dimensions overflows".into()));
        }
        Ok(())
    }

    fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut b = [0; N];
        b.copy_from_slice(&self.bytes[at..at + N]);
        b
    }

    fn i16(&self, at: usize) -> i16 {
        i16::from_le_bytes(self.get(at))
    }

    /// A float field by its offsets in the two versions.
    fn float(&self, v1: usize, v2: usize) -> f64 {
        match self.version() {
            1 => f32::from_le_bytes(self.get(v1)) as f64,
            _ => f64::from_le_bytes(self.get(v2)),
        }
    }

    fn set_float(&mut self, v1: usize, v2: usize, v: f64) {
        match self.version() {
            1 => self.bytes[v1..v1 + 4].copy_from_slice(&(v as f32).to_le_bytes()),
            _ => self.bytes[v2..v2 + 8].copy_from_slice(&v.to_le_bytes()),
        }
    }

    fn code(&self, v1: usize, v2: usize) -> i32 {
        match self.version() {
            1 => self.i16(v1) as i32,
            _ => i32::from_le_bytes(self.get(v2)),
        }
    }

    fn dim(&self, i: usize) -> i64 {
        match self.version() {
            1 => self.i16(40 + 2 * i) as i64,
            _ => i64::from_le_bytes(self.get(16 + 8 * i)),
        }
    }

    fn set_dim(&mut self, i: usize, v: i64) {
        match self.version() {
            1 => self.bytes[40 + 2 * i..42 + 2 * i].copy_from_slice(&(v as i16).to_le_bytes()),
            _ => self.bytes[16 + 8 * i..24 + 8 * i].copy_from_slice(&v.to_le_bytes()),
        }
    }

    /// Sizes along the three voxel axes.
    pub fn dims3(&self) -> [usize; 3] {
        [1, 2, 3].map(|i| self.dim(i).max(0) as usize)
    }

    /// Number of frames: the product of dimensions 4 and up. `None` on overflow.
    pub fn frames(&self) -> Option<usize> {
        (4..=self.dim(0) as usize).try_fold(1usize, |n, i| n.checked_mul(usize::try_from(self.dim(i)).ok()?))
    }

    /// Voxels of all frames. `None` on overflow.
    pub fn voxels(&self) -> Option<usize> {
        let volume = self.dims3().iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        volume.checked_mul(self.frames()?).filter(|n| n.checked_mul(8).is_some())
    }

    /// Voxel type.
    pub fn datatype(&self) -> DataType {
        self.datatype
    }

    /// Changes the voxel type and removes scaling.
    pub(super) fn set_datatype(&mut self, t: DataType) {
        self.datatype = t;
        let (a, b) = if self.version() == 1 { (70, 72) } else { (12, 14) };
        self.bytes[a..a + 2].copy_from_slice(&t.code().to_le_bytes());
        self.bytes[b..b + 2].copy_from_slice(&(8 * t.bytes() as i16).to_le_bytes());
        self.set_float(112, 176, 1.0);
        self.set_float(116, 184, 0.0);
    }

    pub(super) fn set_frames_to_one(&mut self) {
        self.set_dim(0, 3);
        (4..8).for_each(|i| self.set_dim(i, 1));
    }

    pub(super) fn set_display_range(&mut self, low: f64, high: f64) {
        self.set_float(128, 200, low);
        self.set_float(124, 192, high);
    }

    /// Slope and intercept; `(1, 0)` where the slope is 0 or not finite, which means no scaling.
    pub fn scaling(&self) -> (f64, f64) {
        let (slope, inter) = (self.float(112, 176), self.float(116, 184));
        if slope == 0.0 || !slope.is_finite() {
            return (1.0, 0.0);
        }
        (slope, if inter.is_finite() { inter } else { 0.0 })
    }

    /// Sets slope and intercept, which hold for all voxels.
    pub fn set_scaling(&mut self, slope: f64, intercept: f64) {
        self.set_float(112, 176, slope);
        self.set_float(116, 184, intercept);
    }

    /// Byte offset of the voxels. One inside the header or the extension flag is not believed, which is
    /// noted.
    pub fn data_offset(&self) -> Result<(u64, Option<String>), Error> {
        let (v, least) = (self.stated_offset()?, self.bytes.len() as u64 + 4);
        if v < least {
            let note = format!("vox_offset is {v}, inside the header; voxels are read from byte {least} on");
            return Ok((least, Some(note)));
        }
        Ok((v, None))
    }

    /// `vox_offset` as it stands; of a pair, a byte of the file of the voxels.
    pub(super) fn stated_offset(&self) -> Result<u64, Error> {
        let v = match self.version() {
            1 => self.float(108, 0),
            _ => i64::from_le_bytes(self.get(168)) as f64,
        };
        if !(0.0..9e15).contains(&v) || v.fract() != 0.0 {
            return Err(Error::Header(format!("vox_offset is {v}")));
        }
        Ok(v as u64)
    }

    pub(super) fn set_data_offset(&mut self, v: u64) {
        match self.version() {
            1 => self.set_float(108, 0, v as f64),
            _ => self.bytes[168..176].copy_from_slice(&(v as i64).to_le_bytes()),
        }
    }

    fn pixdim(&self, i: usize) -> f64 {
        self.float(76 + 4 * i, 104 + 8 * i)
    }

    fn sform(&self) -> Affine {
        Affine(
            [0, 1, 2].map(|r| [0, 1, 2, 3].map(|c| self.float(280 + 16 * r + 4 * c, 400 + 32 * r + 8 * c))),
        )
    }

    /// The quaternion form (NIfTI-1 standard, method 2).
    fn qform(&self) -> Affine {
        let [b, c, d] = [0, 1, 2].map(|i| self.float(256 + 4 * i, 352 + 8 * i));
        let square = 1.0 - (b * b + c * c + d * d);
        // Just below zero is rounding of a half turn; then the other three are normalised.
        let (a, b, c, d) = if square < 1e-7 {
            let n = (b * b + c * c + d * d).sqrt();
            (0.0, b / n, c / n, d / n)
        } else {
            (square.sqrt(), b, c, d)
        };
        let r = [
            [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
            [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
            [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ];
        let qfac = if self.pixdim(0) < 0.0 { -1.0 } else { 1.0 };
        let zoom = [self.pixdim(1).abs(), self.pixdim(2).abs(), self.pixdim(3).abs() * qfac];
        let offset = [0, 1, 2].map(|i| self.float(268 + 4 * i, 376 + 8 * i));
        Affine([0, 1, 2].map(|i| [r[i][0] * zoom[0], r[i][1] * zoom[1], r[i][2] * zoom[2], offset[i]]))
    }

    /// Millimetres of the unit of length (`xyzt_units`); not stated means millimetres.
    fn millimetres(&self, notes: &mut Vec<String>) -> f64 {
        let unit = match self.version() {
            1 => self.bytes[123] as i32,
            _ => i32::from_le_bytes(self.get(500)),
        };
        match unit & 7 {
            0 | 2 => 1.0,
            1 => 1e3,
            3 => 1e-3,
            n => {
                notes.push(format!(
                    "xyzt_units holds the unknown unit of length {n}; millimetres are assumed"
                ));
                1.0
            }
        }
    }

    /// The voxel-to-world map in millimetres and what was odd about it: sform if its code is set, else
    /// qform, else spacing with the volume centred and x towards the left (as nibabel and ANALYZE do);
    /// unusable forms are passed over with a note, and a note says by how much forms disagree.
    pub fn affine(&self) -> Result<(Affine, Vec<String>), Error> {
        let mut notes = Vec::new();
        let mm = self.millimetres(&mut notes);
        let sform = Some(self.sform().scaled(mm)).filter(|_| self.code(254, 348) > 0);
        let qform = Some(self.qform().scaled(mm)).filter(|_| self.code(252, 344) > 0);
        for (name, form) in [("sform", sform), ("qform", qform)] {
            match form {
                Some(form) if form.usable() => {
                    if name == "sform" {
                        self.disagreements(&form, qform.as_ref(), mm, &mut notes);
                    }
                    return self.sane(form, notes);
                }
                Some(_) => notes.push(format!("the {name} is not invertible and was ignored")),
                None => {}
            }
        }
        notes.push(
            "the file states no orientation; x towards the left, y anterior, z superior is assumed, as nibabel \
             does"
                .into(),
        );
        let zoom = self.zooms(mm).map(|z| if z.is_finite() && z > 0.0 { z } else { 1.0 });
        let mut a = [[0.0; 4]; 3];
        for i in 0..3 {
            a[i][i] = if i == 0 { -zoom[i] } else { zoom[i] };
            a[i][3] = -a[i][i] * (self.dims3()[i] as f64 - 1.0) / 2.0;
        }
        self.sane(Affine(a), notes)
    }

    /// Spacing by `pixdim`, in millimetres.
    fn zooms(&self, mm: f64) -> [f64; 3] {
        [1, 2, 3].map(|i| self.pixdim(i).abs() * mm)
    }

    /// Sizes of voxels in mm: `pixdim`, as ITK and so nnU-Net has them, where the affine says the same but for the
    /// rounding of its columns; else those of the affine.
    pub(crate) fn spacing(&self, affine: &Affine) -> [f64; 3] {
        let stated = self.zooms(self.millimetres(&mut Vec::new()));
        let own = affine.spacing();
        [0, 1, 2].map(|i| if (stated[i] - own[i]).abs() <= 1e-4 * own[i] { stated[i] } else { own[i] })
    }

    /// Notes where the other ways to state the geometry contradict the sform.
    fn disagreements(&self, sform: &Affine, qform: Option<&Affine>, mm: f64, notes: &mut Vec<String>) {
        let spacing = sform.spacing();
        if let Some(q) = qform.filter(|q| q.usable()) {
            let apart = sform.largest_displacement(q, self.dims3());
            // The qform of a half turn is only good to some hundredths of a millimetre.
            if apart > 0.1 * spacing.iter().copied().fold(f64::MAX, f64::min) {
                notes.push(format!(
                    "sform and qform place voxels up to {apart:.1} mm apart; the sform was used"
                ));
            }
        }
        let zoom = self.zooms(mm);
        let differ = |(z, s): (&f64, &f64)| z.is_finite() && *z > 0.0 && (z - s).abs() > 0.01 * s;
        if zoom.iter().zip(&spacing).any(differ) {
            let [a, b] = [zoom, spacing].map(|v| v.map(|x| format!("{x:.4}")).join(" x "));
            notes.push(format!("pixdim states a spacing of {a} mm, the sform {b} mm; the sform was used"));
        }
    }

    fn sane(&self, a: Affine, mut notes: Vec<String>) -> Result<(Affine, Vec<String>), Error> {
        let s = a.spacing();
        if s.iter().any(|v| !(0.01..=100.0).contains(v)) {
            return Err(Error::Header(format!(
                "the voxel size is {:.3e} x {:.3e} x {:.3e} mm, which no scan has; put pixdim, sform and \
                 xyzt_units right",
                s[0], s[1], s[2]
            )));
        }
        let orthogonal = a.determinant().abs() / s.iter().product::<f64>();
        if orthogonal < 0.99 {
            notes.push("the voxel axes are not at right angles; the affine is used as it is".into());
        }
        Ok((a, notes))
    }

    /// Blanks the fields of free text, which may name a patient.
    pub(super) fn blank_text(&mut self) {
        // What the format kept of ANALYZE: data_type and db_name; then descrip, aux_file, intent_name.
        let fields: &[(usize, usize)] = match self.version() {
            1 => &[(4, 32), (148, 228), (228, 252), (328, 344)],
            _ => &[(240, 320), (320, 344), (508, 524), (525, 540)],
        };
        for &(from, to) in fields {
            self.bytes[from..to].fill(0);
        }
    }

    /// A new version-1 header (version 2 where a size exceeds 32767).
    pub fn new(dims: [usize; 3], t: DataType, affine: &Affine) -> Self {
        let large = dims.iter().any(|&d| d > i16::MAX as usize);
        let mut bytes = vec![0u8; if large { 540 } else { 348 }];
        let size = bytes.len() as i32;
        bytes[..4].copy_from_slice(&size.to_le_bytes());
        if large {
            bytes[4..12].copy_from_slice(b"n+2\0\r\n\x1a\n");
        } else {
            bytes[344..348].copy_from_slice(b"n+1\0");
        }
        let mut h = Header { bytes, datatype: t, big_endian: false };
        h.set_dim(0, 3);
        (1..8).for_each(|i| h.set_dim(i, dims.get(i - 1).map_or(1, |&d| d as i64)));
        h.set_datatype(t);
        h.set_float(76, 104, 1.0);
        let spacing = affine.spacing();
        for i in 0..3 {
            h.set_float(80 + 4 * i, 112 + 8 * i, spacing[i]);
            for c in 0..4 {
                h.set_float(280 + 16 * i + 4 * c, 400 + 32 * i + 8 * c, affine.0[i][c]);
            }
        }
        // Units millimetres; sform "scanner".
        if large {
            h.bytes[500] = 2;
            h.bytes[348] = 1;
        } else {
            h.bytes[123] = 2;
            h.bytes[254] = 1;
        }
        let offset = h.bytes.len() as u64 + 4;
        h.set_data_offset(offset);
        h
    }
}
