//! The blocks of a GIF file, which carry no checksums.

/// What the blocks of a file hold.
pub(super) struct Blocks {
    pub frames: usize,
    /// Whether the end mark was reached.
    pub ended: bool,
}

/// Walks over all blocks of all frames; an error where they end early, or where a frame has more pixels
/// than its data can hold.
pub(super) fn check(bytes: &[u8]) -> Result<Blocks, String> {
    let early = || "its blocks end early".to_owned();
    let byte = |at: usize| bytes.get(at).copied();
    let flags = byte(10).ok_or_else(early)?;
    let mut at = 13 + table(flags);
    let mut frames = 0;
    while let Some(kind) = byte(at) {
        at += 1;
        match kind {
            0x3b => {
                return if frames > 0 {
                    Ok(Blocks { frames, ended: true })
                } else {
                    Err("it has no frame".into())
                };
            }
            0x21 => at = blocks(bytes, at + 1).ok_or_else(early)?,
            0x2c => {
                let head = bytes.get(at..at + 9).ok_or_else(early)?;
                let size = |i: usize| u16::from_le_bytes([head[i], head[i + 1]]) as usize;
                let pixels = size(4) * size(6);
                let data = at + 9 + table(head[8]) + 1;
                at = blocks(bytes, data).ok_or_else(early)?;
                // A code of 12 bits stands for at most 4096 pixels.
                if pixels / 4096 > (at - data) * 8 / 3 {
                    return Err(format!("a frame of {pixels} pixels has {} bytes", at - data));
                }
                frames += 1;
            }
            // Padding between blocks.
            0 => {}
            _ => return Err("it holds a block of an unknown kind".into()),
        }
    }
    if frames > 0 { Ok(Blocks { frames, ended: false }) } else { Err(early()) }
}

/// Bytes of the colour table that flags announce.
fn table(flags: u8) -> usize {
    if flags & 0x80 != 0 { 3 << ((flags & 7) + 1) } else { 0 }
}

/// Where the blocks that begin at `at` end.
fn blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let n = *bytes.get(at)? as usize;
        at += 1 + n;
        if n == 0 {
            return Some(at);
        }
    }
}
