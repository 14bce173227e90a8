//! The chunks of a WebP file, which carry no checksums but their sizes.

/// Whether all chunks are there; then, whether the image is animated.
pub(super) fn check(bytes: &[u8]) -> Result<bool, String> {
    let word =
        |at: usize| bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u32::from_le_bytes(*b) as usize);
    let claimed = word(4).unwrap_or(0);
    let end = claimed.saturating_add(8);
    if end > bytes.len() {
        return Err(format!("it claims {end} bytes and has {}", bytes.len()));
    }
    let (mut at, mut animated, mut image) = (12, false, false);
    while at + 8 <= end {
        let size = word(at + 4).unwrap_or(0);
        let name = &bytes[at..at + 4];
        if at.saturating_add(8).saturating_add(size) > end {
            return Err(format!("its chunk {} ends beyond the file", String::from_utf8_lossy(name)));
        }
        animated |= name == b"ANMF";
        image |= [&b"VP8 "[..], b"VP8L", b"ANMF"].contains(&name);
        at += 8 + size + size % 2;
    }
    if image { Ok(animated) } else { Err("it holds no image".into()) }
}
