//! What a JPEG or JPEG-LS stream says of its size, read before a decoder takes memory for it.

use super::{Asked, damaged};
use crate::Error;

/// The header of a frame.
pub(super) struct FrameHeader {
    pub precision: u8,
    /// The marker's second byte.
    pub kind: u8,
}

/// The header of the first frame; refuses another size than is asked for, and several components.
pub(super) fn frame_header(codec: &str, data: &[u8], asked: Asked) -> Result<FrameHeader, Error> {
    let cut = || damaged(codec, "it ends within its header");
    if !data.starts_with(&[0xff, 0xd8]) {
        return Err(damaged(codec, "it does not begin as one"));
    }
    let mut at = 2;
    loop {
        let [mark, kind] = *data.get(at..at + 2).and_then(|b| b.first_chunk()).ok_or_else(cut)?;
        if mark != 0xff {
            return Err(damaged(codec, "a marker is missing"));
        }
        if kind == 0xff {
            at += 1;
            continue;
        }
        let length = data.get(at + 2..at + 4).and_then(|b| b.first_chunk()).ok_or_else(cut)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let frame = matches!(kind, 0xc0..=0xcf | 0xf7) && ![0xc4, 0xc8, 0xcc].contains(&kind);
        if frame {
            let b: &[u8; 6] = data.get(at + 4..).and_then(|b| b.first_chunk()).ok_or_else(cut)?;
            let size = [1, 3].map(|i| usize::from(u16::from_be_bytes([b[i], b[i + 1]])));
            if size != [asked.rows, asked.columns] || b[5] != 1 {
                return Err(damaged(
                    codec,
                    format!(
                        "{} rows, {} columns and {} components instead of {}, {} and 1",
                        size[0], size[1], b[5], asked.rows, asked.columns
                    ),
                ));
            }
            return Ok(FrameHeader { precision: b[0], kind });
        }
        if kind == 0xda {
            return Err(damaged(codec, "its frame has no header"));
        }
        at += 2 + length.max(2);
    }
}
