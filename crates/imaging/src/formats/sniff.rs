//! Which format a file has.

use super::kind::Format;
use super::{VOLUMES, tif};
use ampoule_files::open_plain;
use flate2::bufread::GzDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

/// Bytes that are looked at: a NIfTI-2 header is the longest that decides.
const HEAD: u64 = 1024;
/// Compressed bytes that are read to get at them; a gzip header may hold a file name and a comment.
const COMPRESSED: u64 = 1 << 16;

impl Format {
    /// The format of the file at `path`; `None` for what is no image of a known format.
    ///
    /// At most a few kilobytes are read, of a TIFF its directories. An error where the file cannot be read,
    /// or is not a plain file (a pipe, device, socket or folder), which is never opened.
    pub fn of(path: &Path) -> io::Result<Option<Format>> {
        of(path)
    }
}

fn of(path: &Path) -> io::Result<Option<Format>> {
    let mut file = open_plain(path)?;
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    file.rewind()?;
    if head.starts_with(&[0x1f, 0x8b]) {
        return Ok(inside_gzip(file).and_then(|head| volume(&head)));
    }
    let ending = ending(path);
    if let Some(format) = magic(&head) {
        // The index of a MIRAX slide is a JPEG of the whole glass.
        return Ok(Some(if format == Format::Jpeg && ending == "mrxs" { Format::Mrxs } else { format }));
    }
    if is_tiff(&head) {
        return Ok(Some(tiff(file, &head, &ending)));
    }
    Ok(volume(&head).or_else(|| by_ending(path, &ending, &head)))
}

fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// The first bytes of what a gzip stream holds, as far as it is sound.
fn inside_gzip(file: File) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    // What was decoded before an error counts.
    let _ = GzDecoder::new(BufReader::new(file.take(COMPRESSED))).take(HEAD).read_to_end(&mut head);
    Some(head).filter(|h| !h.is_empty())
}

/// Kinds that begin with a mark of their own.
fn magic(head: &[u8]) -> Option<Format> {
    let begins = |f: &&Format| f.marks().iter().any(|mark| head.starts_with(mark));
    if let Some(format) = Format::ALL.iter().find(begins) {
        return Some(*format);
    }
    let at = |i: usize, mark: &[u8]| head.get(i..).is_some_and(|h| h.starts_with(mark));
    if at(0, b"RIFF") && at(8, b"WEBP") {
        return Some(Format::Webp);
    }
    if at(128, b"DICM") {
        return Some(Format::Dicom);
    }
    if at(0, &[8, 0]) && data_set(head) || at(0, &[2, 0]) && description(head) {
        return Some(Format::Dicom);
    }
    if at(4, b"ftyp") {
        return brand(head);
    }
    // After the mark and the file's size stand four zeros, the place of the pixels and the header's size.
    let sizes = [12u8, 16, 40, 52, 56, 64, 108, 124];
    let header = head.get(14..18).is_some_and(|h| h[1..] == [0; 3] && sizes.contains(&h[0]));
    if at(0, b"BM") && header {
        return Some(Format::Bmp);
    }
    let digit =
        head.get(2..4).is_some_and(|h| h[0].is_ascii_whitespace() && (h[1].is_ascii_digit() || h[1] == b'#'));
    (at(0, b"P") && head.get(1).is_some_and(|c| (b'1'..=b'6').contains(c)) && digit).then_some(Format::Pnm)
}

/// Whether the first element is one that data sets of DICOM without a mark begin with, of a length that it can have.
fn data_set(head: &[u8]) -> bool {
    let Some(&[_, _, element, high, a, b, c, d]) = head.first_chunk::<8>() else { return false };
    let length = match a.is_ascii_uppercase() && b.is_ascii_uppercase() {
        true => u32::from(u16::from_le_bytes([c, d])),
        false => u32::from_le_bytes([a, b, c, d]),
    };
    [0, 1, 5, 8, 0x12, 0x16].contains(&element) && high == 0 && (2..=256).contains(&length)
}

/// Whether the first element is one that the description of a DICOM file begins with, where the mark before it was lost.
fn description(head: &[u8]) -> bool {
    let Some(&[_, _, element, 0, a, b]) = head.first_chunk::<6>() else { return false };
    [(0, b"UL"), (1, b"OB"), (2, b"UI"), (3, b"UI"), (0x10, b"UI")].contains(&(element, &[a, b]))
}

/// Which image an ISO base media file is, by its brands.
fn brand(head: &[u8]) -> Option<Format> {
    let length = u32::from_be_bytes(*head.first_chunk()?) as usize;
    let brands = head.get(8..length.clamp(8, head.len()))?;
    let any = |names: &[&[u8; 4]]| brands.as_chunks::<4>().0.iter().any(|b| names.contains(&b));
    if any(&[b"avif", b"avis"]) {
        Some(Format::Avif)
    } else if any(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        Some(Format::Heic)
    } else {
        any(&[b"crx "]).then_some(Format::CameraRaw)
    }
}

fn is_tiff(head: &[u8]) -> bool {
    [&b"II*\0"[..], b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|mark| head.starts_with(mark))
}

/// Which kind of TIFF; one whose directories are damaged is one of no known scanner.
fn tiff(file: File, head: &[u8], ending: &str) -> Format {
    if ending == "vsi" {
        return Format::Vsi;
    }
    // An NDPI file of more than 4 GiB has places of eight bytes behind marks of the classic kind, so that
    // its first directory may not be found where the header says.
    match tif::summaries(BufReader::new(file)) {
        Ok(pages) => tif::kind(&pages).format(),
        Err(_) if ending == "ndpi" && head.starts_with(b"II*\0") => Format::Ndpi,
        Err(_) => Format::Tiff,
    }
}

/// Volumes, whose first bytes may be inside a gzip stream.
fn volume(head: &[u8]) -> Option<Format> {
    VOLUMES.iter().find_map(|v| (v.sniff)(head))
}

/// Where content cannot tell.
fn by_ending(path: &Path, ending: &str, head: &[u8]) -> Option<Format> {
    match ending {
        // The voxels of a pair; the header next to them says which.
        "img" => of(&path.with_extension("hdr"))
            .ok()
            .flatten()
            .filter(|f| matches!(f, Format::NiftiPair | Format::Analyze)),
        "mnc" => (head.starts_with(b"CDF") || head.starts_with(b"\x89HDF")).then_some(Format::Minc),
        // Files without the mark begin with a group of the header or of the image.
        "dcm" | "dicom" | "ima" => {
            let group = u16::from_le_bytes(*head.first_chunk()?);
            [2, 8].contains(&group).then_some(Format::Dicom)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str, bytes: &[u8]) -> Option<Format> {
        let d = tempfile::tempdir().unwrap();
        let path = d.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        of(&path).unwrap()
    }

    #[test]
    fn marks_decide_whatever_the_name() {
        let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
        let avif = b"\0\0\0\x1cftypavif\0\0\0\0mif1avif";
        let mp4 = b"\0\0\0\x18ftypisom\0\0\0\0isommp42";
        let mut bmp = b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
        bmp.resize(60, 0);
        let mut dicom = vec![0; 128];
        dicom.extend(b"DICM");
        for (bytes, want) in [
            (&[0xff, 0xd8, 0xff, 0xe0][..], Some(Format::Jpeg)),
            (b"\x89PNG\r\n\x1a\n", Some(Format::Png)),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some(Format::Webp)),
            (b"RIFF\x10\0\0\0WAVEfmt ", None),
            (b"GIF89a", Some(Format::Gif)),
            (&bmp, Some(Format::Bmp)),
            (b"BM is the name of a museum, and this is text", None),
            (heic, Some(Format::Heic)),
            (avif, Some(Format::Avif)),
            (mp4, None),
            (b"ZISRAWFILE\0\0\0\0\0\0", Some(Format::Czi)),
            (&dicom, Some(Format::Dicom)),
            (b"P6\n20 10\n255\n", Some(Format::Pnm)),
            (b"NRRD0004\ntype: short", Some(Format::Nrrd)),
            (b"\0\0\0\x0cjP  \r\n\x87\n", Some(Format::Jpeg2000)),
            (b"case,image\n1,x.png\n", None),
            (b"{\"a\": 1}", None),
            (b"", None),
            (b"I", None),
        ] {
            for name in ["x", "x.nii.gz", "x.jpg", "x.csv"] {
                assert_eq!(kind(name, bytes), want, "{name} {:?}", String::from_utf8_lossy(bytes));
            }
        }
    }

    #[test]
    fn endings_only_break_ties() {
        assert_eq!(kind("x.mrxs", &[0xff, 0xd8, 0xff, 0xe0]), Some(Format::Mrxs));
        assert_eq!(kind("x.mha", b"ObjectType = Image\nNDims = 3\n"), Some(Format::MetaImage));
        assert_eq!(kind("x.txt", b"ObjectType = Image\nNDims = 3\n"), Some(Format::MetaImage));
        assert_eq!(kind("x.dcm", &[8, 0, 5, 0, 0x43, 0x53]), Some(Format::Dicom));
        // The description of a file without the mark, whatever the name.
        assert_eq!(kind("IM000", b"\x02\0\0\0UL\x04\0\xce\0\0\0"), Some(Format::Dicom));
        assert_eq!(kind("IM000", b"\x02\0\0\0AB\x04\0\xce\0\0\0"), None);
        assert_eq!(kind("x.mnc", b"\x89HDF\r\n\x1a\n"), Some(Format::Minc));
        assert_eq!(kind("x.h5", b"\x89HDF\r\n\x1a\n"), None);
        assert_eq!(kind("x.img", &[0; 64]), None);
    }

    #[test]
    fn pairs_are_found_from_either_file() {
        let d = tempfile::tempdir().unwrap();
        let mut header = vec![0; 348];
        header[..4].copy_from_slice(&348i32.to_le_bytes());
        let [hdr, img] = ["hdr", "img"].map(|e| d.path().join("x").with_extension(e));
        std::fs::write(&hdr, &header).unwrap();
        std::fs::write(&img, [0; 99]).unwrap();
        assert_eq!([of(&hdr).unwrap(), of(&img).unwrap()], [Some(Format::Analyze); 2]);
        header[344..348].copy_from_slice(b"ni1\0");
        std::fs::write(&hdr, &header).unwrap();
        assert_eq!([of(&hdr).unwrap(), of(&img).unwrap()], [Some(Format::NiftiPair); 2]);
    }

    #[test]
    fn what_is_no_plain_file_is_not_opened() {
        let d = tempfile::tempdir().unwrap();
        let e = of(d.path()).unwrap_err();
        assert!(e.to_string().contains("a folder"), "{e}");
        assert!(of(&d.path().join("missing")).is_err());
        #[cfg(unix)]
        {
            let fifo = d.path().join("x.nii");
            let made = std::process::Command::new("mkfifo").arg(&fifo).status();
            if !made.is_ok_and(|s| s.success()) {
                println!("SKIPPED: no mkfifo here");
                return;
            }
            assert!(of(&fifo).unwrap_err().to_string().contains("FIFO"));
            assert!(of(Path::new("/dev/zero")).unwrap_err().to_string().contains("a device"));
            let socket = d.path().join("s");
            let _held = std::os::unix::net::UnixListener::bind(&socket).unwrap();
            assert!(of(&socket).unwrap_err().to_string().contains("a socket"));
        }
    }
}
