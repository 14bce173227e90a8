//! The pixels of one frame: sizes checked against the file, fragments put together, decoded, and brought to the type of
//! their description.

use crate::Error;
use crate::codec;
use crate::header::{Header, Opened, PixelLayout};
use crate::walk::{BIG_ENDIAN, Pixels};
use ampoule_imaging::nifti::DataType;

/// Bytes of an item's tag and length.
const ITEM: u64 = 8;

/// Refuses pixels of a layout that is not read, and files that cannot hold what they describe.
pub(crate) fn check(h: &Header, pixels: &Pixels) -> Result<(), Error> {
    let l = &h.layout;
    if h.rows == 0 || h.columns == 0 || h.rows > 65535 || h.columns > 65535 {
        return Err(Error::damaged(format!("it has {} rows and {} columns", h.rows, h.columns)));
    }
    if ![8, 16, 32].contains(&l.allocated) || l.stored == 0 || l.stored > l.allocated {
        let reason = format!("its pixels have {} bits in {}, which is not supported", l.stored, l.allocated);
        return Err(Error::Unsupported(reason));
    }
    if !["MONOCHROME1", "MONOCHROME2"].contains(&l.photometric.as_str()) {
        return Err(Error::Unsupported(format!(
            "its pixels are `{}`, not shades of grey",
            l.photometric.escape_default().take(32).collect::<String>()
        )));
    }
    let frames = h.frames.len() as u64;
    match pixels {
        Pixels::Native { length, .. } => {
            if codec::of(&l.syntax)?.is_some() {
                return Err(Error::damaged("its transfer syntax packs pixels, and they are not packed"));
            }
            let described = frame_bytes(h) * frames;
            if *length < described {
                return Err(Error::damaged(format!(
                    "{described} bytes of pixels are described, it has {length}"
                )));
            }
        }
        Pixels::Fragments(list) => {
            if codec::of(&l.syntax)?.is_none() {
                return Err(Error::damaged(
                    "its pixels are packed, and its transfer syntax does not pack them",
                ));
            }
            if (list.len() as u64).saturating_sub(1) < frames {
                return Err(Error::damaged(format!(
                    "{frames} frames are described, it has {} parts",
                    list.len()
                )));
            }
        }
        Pixels::None | Pixels::Float => return Err(Error::damaged("it has no pixels")),
    }
    Ok(())
}

/// Bytes of an unpacked frame.
pub(crate) fn frame_bytes(h: &Header) -> u64 {
    h.rows as u64 * h.columns as u64 * u64::from(h.layout.allocated / 8)
}

/// The type of voxels as they are stored.
pub(crate) fn datatype(l: &PixelLayout) -> DataType {
    match (l.allocated, l.signed) {
        (8, false) => DataType::U8,
        (8, true) => DataType::I8,
        (16, false) => DataType::U16,
        (16, true) => DataType::I16,
        (_, false) => DataType::U32,
        (_, true) => DataType::I32,
    }
}

/// The pixels of frame `i`, little-endian, of the type [`datatype`], rows from the first one down.
pub(crate) fn frame(o: &mut Opened, i: usize) -> Result<Vec<u8>, Error> {
    let bytes = frame_bytes(&o.header);
    let width = (o.header.layout.allocated / 8) as usize;
    let mut raw = match &o.pixels {
        Pixels::Native { at, .. } => {
            let mut raw = o.content.range(at + i as u64 * bytes, bytes)?;
            if o.header.layout.syntax == BIG_ENDIAN {
                swap(&mut raw, width)?;
            }
            raw
        }
        Pixels::Fragments(list) => {
            let mut packed = Vec::new();
            for (at, length) in parts(o, list, i)? {
                packed.extend(o.content.range(at, length)?);
            }
            let h = &o.header;
            let Some(codec) = codec::of(&h.layout.syntax)? else {
                return Err(Error::damaged("its transfer syntax does not pack pixels"));
            };
            let asked = codec::Asked { rows: h.rows, columns: h.columns, bytes: width };
            codec(&packed, asked)?
        }
        Pixels::None | Pixels::Float => return Err(Error::damaged("it has no pixels")),
    };
    keep_stored(&mut raw, &o.header.layout);
    Ok(raw)
}

fn swap(raw: &mut [u8], width: usize) -> Result<(), Error> {
    if width == 1 {
        return Err(Error::Unsupported(
            "pixels of eight bits in big-endian order are not read; convert it with `gdcmconv --raw IN OUT`"
                .into(),
        ));
    }
    raw.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    Ok(())
}

/// The fragments of a frame: the table of offsets says where each begins, unless there is one fragment a frame.
fn parts(o: &Opened, list: &[(u64, u64)], i: usize) -> Result<Vec<(u64, u64)>, Error> {
    let frames = o.header.frames.len();
    let Some((_, list)) = list.split_first() else { return Err(Error::damaged("it has no pixels")) };
    if frames == 1 {
        return Ok(list.to_vec());
    }
    if list.len() == frames {
        return Ok(vec![list[i]]);
    }
    let offsets = &o.offsets;
    let wrong = || Error::damaged("it does not say which of its fragments belong to which frame");
    if offsets.len() != frames {
        return Err(wrong());
    }
    let base = list[0].0 - ITEM;
    let begins = |offset: u64| list.iter().position(|f| f.0 - ITEM - base == offset).ok_or_else(wrong);
    let from = begins(offsets[i])?;
    let to = offsets.get(i + 1).map_or(Ok(list.len()), |o| begins(*o))?;
    list.get(from..to).map(<[_]>::to_vec).filter(|l| !l.is_empty()).ok_or_else(wrong)
}

/// Keeps the bits that are stored: others may hold overlays. The highest is a sign where values have one.
fn keep_stored(raw: &mut [u8], l: &PixelLayout) {
    let unused = l.allocated - l.stored;
    if unused == 0 {
        return;
    }
    match l.allocated {
        8 => raw.iter_mut().for_each(|b| {
            let v = *b << unused;
            *b = if l.signed { (v as i8 >> unused) as u8 } else { v >> unused };
        }),
        16 => raw.as_chunks_mut::<2>().0.iter_mut().for_each(|b| {
            let v = u16::from_le_bytes(*b) << unused;
            *b = if l.signed { (v as i16 >> unused).to_le_bytes() } else { (v >> unused).to_le_bytes() };
        }),
        _ => raw.as_chunks_mut::<4>().0.iter_mut().for_each(|b| {
            let v = u32::from_le_bytes(*b) << unused;
            *b = if l.signed { (v as i32 >> unused).to_le_bytes() } else { (v >> unused).to_le_bytes() };
        }),
    }
}
