//! Markers, and the header of the frame.

use super::super::error::Error;

/// One colour component.
#[derive(Clone, Debug)]
pub(super) struct Component {
    pub id: u8,
    /// Blocks of 8x8 samples of one MCU, across and down.
    pub sampling: [usize; 2],
    /// Blocks across and down that the component has by itself.
    pub own: [usize; 2],
    /// Blocks across and down with those that fill up the last MCUs.
    pub padded: [usize; 2],
}

/// What the frame's header says.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// The number of its marker.
    kind: u8,
    pub progressive: bool,
    bits: u8,
    pub width: usize,
    pub height: usize,
    /// MCUs across and down.
    pub mcus: [usize; 2],
    pub components: Vec<Component>,
    /// Where the segment behind the frame's header begins.
    pub end: usize,
}

/// The position behind the next marker from `at` on, and its number. Bytes before it are passed over, as
/// everyone does.
pub(super) fn next_marker(bytes: &[u8], mut at: usize) -> Option<(usize, u8)> {
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == 0xff)?;
        while *bytes.get(at)? == 0xff {
            at += 1;
        }
        let marker = *bytes.get(at)?;
        at += 1;
        if marker != 0 {
            return Some((at, marker));
        }
    }
}

/// The contents of the segment at `at`, and where it ends.
pub(super) fn segment(bytes: &[u8], at: usize) -> Result<(&[u8], usize), String> {
    let early = || "its headers end early".to_owned();
    let length = bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u16::from_be_bytes(*b) as usize);
    let length = length.filter(|&n| n >= 2).ok_or_else(early)?;
    Ok((bytes.get(at + 2..at + length).ok_or_else(early)?, at + length))
}

impl Frame {
    /// The frame's header.
    pub fn find(bytes: &[u8]) -> Result<Frame, String> {
        let mut at = 2;
        loop {
            let (after, marker) = next_marker(bytes, at).ok_or("it ends before its size is stated")?;
            at = after;
            match marker {
                0x01 | 0xd0..=0xd8 => continue,
                0xd9 | 0xda => return Err("it states no size before its pixels".into()),
                _ => {}
            }
            let (body, end) = segment(bytes, at)?;
            // Frames have these numbers, except for the tables and extensions among them.
            if (0xc0..=0xcf).contains(&marker) && ![0xc4, 0xc8, 0xcc].contains(&marker) {
                return Frame::parse(marker, body, end);
            }
            at = end;
        }
    }

    fn parse(kind: u8, body: &[u8], end: usize) -> Result<Frame, String> {
        let short = "the header of its frame is too short";
        let &[bits, h1, h2, w1, w2, count, ref rest @ ..] = body else { return Err(short.into()) };
        let [width, height] = [[w1, w2], [h1, h2]].map(|b| u16::from_be_bytes(b) as usize);
        let rows = rest.as_chunks::<3>().0.get(..count as usize).filter(|r| !r.is_empty()).ok_or(short)?;
        let sampling = |v: u8| [(v >> 4) as usize, (v & 15) as usize];
        if rows.iter().any(|r| sampling(r[1]).iter().any(|s| !(1..=4).contains(s))) {
            return Err("its components have sampling factors that cannot be".into());
        }
        let most = [0, 1].map(|i| rows.iter().map(|r| sampling(r[1])[i]).max().unwrap_or(1));
        let size = [width, height];
        let mcus = [0, 1].map(|i| size[i].div_ceil(8 * most[i]));
        let components = rows.iter().map(|r| {
            let s = sampling(r[1]);
            Component {
                id: r[0],
                sampling: s,
                own: [0, 1].map(|i| (size[i] * s[i]).div_ceil(most[i]).div_ceil(8)),
                padded: [0, 1].map(|i| mcus[i] * s[i]),
            }
        });
        let components = components.collect();
        Ok(Frame { kind, progressive: kind == 0xc2, bits, width, height, mcus, components, end })
    }

    /// Whether this kind of JPEG can be read.
    pub fn supported(&self) -> Result<(), Error> {
        let no = |what: &str| Err(Error::Unsupported { what: what.into() });
        match self.kind {
            0xc0..=0xc2 => {}
            0xc9..=0xcb => return no("arithmetic coding; save it anew as an ordinary JPEG, or as PNG"),
            0xc3 => return no("lossless JPEG compression; save it as PNG"),
            _ => return no("hierarchical JPEG compression; save it as PNG"),
        }
        if self.bits != 8 {
            return Err(Error::Unsupported { what: format!("{} bits a sample; save it as PNG", self.bits) });
        }
        match self.components.len() {
            1 | 3 => Ok(()),
            4 => Err(Error::Kind("a CMYK image; convert it to RGB first")),
            n => Err(Error::Unsupported { what: format!("{n} colour components; save it as RGB") }),
        }
    }

    /// Blocks of all components, those that fill up the last MCUs left out.
    pub fn blocks(&self) -> usize {
        self.components.iter().map(|c| c.own[0] * c.own[1]).sum()
    }

    /// Whether so many bytes can hold the blocks: each takes at least a bit for its mean, and in a
    /// sequential frame one for the end of what follows.
    pub fn fits(&self, bytes: usize) -> Result<(), String> {
        let least = if self.progressive { 1 } else { 2 };
        if self.blocks() * least / 8 > bytes {
            let [w, h] = [self.width, self.height];
            return Err(format!("{w}x{h} pixels cannot come out of {bytes} bytes"));
        }
        Ok(())
    }
}
