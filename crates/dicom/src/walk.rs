//! A first walk over the elements of a file: every length is checked against the file, every depth against a bound, and
//! nothing is taken but the elements that are asked for and the place of the pixels. What the parser gets afterwards is
//! known to be sound in its lengths.

use crate::Error;
use crate::place::{Content, HEAD, begins_as_dicom};
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use flate2::bufread::DeflateDecoder;
use std::io::Read;

/// Explicit VR Big Endian, which the standard retired and archives still hold.
pub(crate) const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
/// Sequences in one another.
const DEEPEST: usize = 16;
/// The longest value outside of sequences that is asked for.
const LONGEST: u64 = 1 << 16;
/// Memory of a parsed element, roughly.
const ELEMENT: u64 = 400;
/// The length that stands for "until the delimiter".
const UNDEFINED: u32 = u32::MAX;

/// Types whose lengths have 16 bits; those of all others, which the standard may yet name, have 32 (PS3.5, 7.1.2). The parser
/// reads them so too: a length that it took from another place could ask for any amount of memory.
const SHORT: [&[u8; 2]; 21] = [
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL",
    b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
];

const ITEM: Tag = Tag(0xfffe, 0xe000);
const ITEM_END: Tag = Tag(0xfffe, 0xe00d);
const SEQUENCE_END: Tag = Tag(0xfffe, 0xe0dd);

/// What the walk found.
pub(crate) struct Walked {
    /// UID of the transfer syntax.
    pub syntax: String,
    /// The elements that were asked for, as they lie in the file.
    pub header: Vec<u8>,
    /// Where the pixels lie.
    pub pixels: Pixels,
    /// The bytes that places count in: those of the file, or of its unpacked data set.
    pub content: Content,
}

/// Where the pixels of an instance lie.
#[derive(Debug)]
pub(crate) enum Pixels {
    /// There are none.
    None,
    /// In floating point.
    Float,
    /// As they are.
    Native {
        /// First byte.
        at: u64,
        /// Bytes.
        length: u64,
    },
    /// In fragments, each from a byte on with a length; the first is the table of offsets.
    Fragments(Vec<(u64, u64)>),
}

/// Walks over `content` and keeps the elements `wanted` (sorted). Parsing them may take `most` bytes.
pub(crate) fn walk(mut content: Content, wanted: &[Tag], most: u64) -> Result<Walked, Error> {
    assert!(wanted.is_sorted(), "tags out of order would not be found");
    let (mut syntax, start) = meta(&mut content)?;
    let mut start = start;
    if syntax == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
        content = inflated(content, most)?;
        (syntax, start) = (uids::EXPLICIT_VR_LITTLE_ENDIAN.into(), 0);
    }
    let encoding =
        Encoding { explicit: syntax != uids::IMPLICIT_VR_LITTLE_ENDIAN, big: syntax == BIG_ENDIAN };
    let mut walker = Walker { end: content.length, content, at: start, encoding, count: 0, most };
    let mut header = Vec::new();
    let pixels = loop {
        let from = walker.at;
        let Some(element) = walker.element()? else { break Pixels::None };
        match element.tag {
            tags::PIXEL_DATA => break walker.pixels(&element)?,
            tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA => break Pixels::Float,
            tag if wanted.binary_search(&tag).is_ok() => {
                walker.value(&element, 0, true)?;
                let length = walker.at - from;
                if !element.sequence() && length > LONGEST {
                    return Err(Error::damaged(format!("{tag} has {length} bytes")));
                }
                walker.ask(header.len() as u64 + length)?;
                walker.copy(from, &mut header)?;
            }
            _ => walker.value(&element, 0, false)?,
        }
    };
    Ok(Walked { syntax, header, pixels, content: walker.content })
}

/// The transfer syntax and where the data set begins.
fn meta(content: &mut Content) -> Result<(String, u64), Error> {
    let mut head = vec![0; HEAD.min(content.length) as usize];
    content.read_exact(&mut head)?;
    let marked = head.get(128..132) == Some(b"DICM");
    let begins = |b: &[u8]| head.starts_with(b);
    if !begins_as_dicom(&head) {
        return Err(Error::NotDicom("it has neither the mark DICM nor a data set".into()));
    }
    if !marked && !begins(&[2, 0]) {
        content.skip(-(head.len() as i64))?;
        let explicit = head[4..6].iter().all(u8::is_ascii_uppercase);
        let syntax = if explicit { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { uids::IMPLICIT_VR_LITTLE_ENDIAN };
        return Ok((syntax.into(), 0));
    }
    let at = if marked { 132 } else { 0 };
    if !marked {
        content.skip(-(head.len() as i64))?;
    }
    let mut syntax = String::new();
    let encoding = Encoding { explicit: true, big: false };
    let end = content.length;
    let mut walker = Meta { content, at, end, encoding };
    while walker.goes_on()? {
        let Some(element) = walker.element()? else { break };
        let length = u64::from(element.length);
        if element.length == UNDEFINED || length > walker.end - walker.at {
            return Err(Error::damaged(format!("{} is longer than the file", element.tag)));
        }
        if element.tag == tags::TRANSFER_SYNTAX_UID && length <= 128 {
            let mut value = vec![0; length as usize];
            walker.content.read_exact(&mut value)?;
            syntax = String::from_utf8_lossy(&value).trim_end_matches(['\0', ' ']).to_owned();
        } else {
            walker.content.skip(length as i64)?;
        }
        walker.at += length;
    }
    match syntax.is_empty() {
        true => Err(Error::damaged("it does not say its transfer syntax")),
        false => Ok((syntax, walker.at)),
    }
}

/// The data set of a file that is packed as a whole.
fn inflated(content: Content, most: u64) -> Result<Content, Error> {
    let mut out = Vec::new();
    // It is held twice while it grows.
    let room = most / 2;
    let read = DeflateDecoder::new(content).take(room.saturating_add(1)).read_to_end(&mut out);
    read.map_err(|e| Error::damaged(format!("its packed data set cannot be unpacked ({e})")))?;
    match out.len() as u64 > room {
        true => Err(Error::memory(most.saturating_add(2), most)),
        false => Ok(Content::of(out)),
    }
}

/// How elements are written.
#[derive(Clone, Copy)]
struct Encoding {
    explicit: bool,
    big: bool,
}

struct Element {
    tag: Tag,
    vr: [u8; 2],
    length: u32,
    /// Bytes before the value.
    header: u64,
}

impl Element {
    fn sequence(&self) -> bool {
        self.vr == *b"SQ" || self.length == UNDEFINED
    }
}

/// The element that begins at `at`; `None` at `end`.
fn element(content: &mut Content, at: &mut u64, end: u64, e: Encoding) -> Result<Option<Element>, Error> {
    if *at >= end {
        return Ok(None);
    }
    let short = || Error::damaged("it ends within an element");
    if end - *at < 8 {
        return Err(short());
    }
    let mut b = [0u8; 8];
    content.read_exact(&mut b)?;
    let word = |b: [u8; 2]| if e.big { u16::from_be_bytes(b) } else { u16::from_le_bytes(b) };
    let long = |b: [u8; 4]| if e.big { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) };
    let tag = Tag(word([b[0], b[1]]), word([b[2], b[3]]));
    let mut found = Element { tag, vr: [b[4], b[5]], length: long([b[4], b[5], b[6], b[7]]), header: 8 };
    if !e.explicit || tag.group() == 0xfffe {
        found.vr = *b"  ";
    } else if SHORT.contains(&&found.vr) {
        found.length = word([b[6], b[7]]).into();
    } else if found.vr.iter().all(u8::is_ascii_uppercase) {
        if end - *at < 12 {
            return Err(short());
        }
        let mut more = [0; 4];
        content.read_exact(&mut more)?;
        (found.length, found.header) = (long(more), 12);
    } else {
        return Err(Error::damaged(format!("{tag} at byte {at} has no type")));
    }
    *at += found.header;
    Ok(Some(found))
}

/// Over the file's own description.
struct Meta<'a> {
    content: &'a mut Content,
    at: u64,
    end: u64,
    encoding: Encoding,
}

impl Meta<'_> {
    /// Whether the next element is of the file's description; those of the data set may be written in another way.
    fn goes_on(&mut self) -> Result<bool, Error> {
        let mut group = [0; 2];
        if self.end - self.at < 8 {
            return Ok(false);
        }
        self.content.read_exact(&mut group)?;
        self.content.skip(-2)?;
        Ok(group == [2, 0])
    }

    fn element(&mut self) -> Result<Option<Element>, Error> {
        element(self.content, &mut self.at, self.end, self.encoding)
    }
}

/// Over the data set.
struct Walker {
    content: Content,
    at: u64,
    end: u64,
    encoding: Encoding,
    /// Elements that the parser will make.
    count: u64,
    most: u64,
}

impl Walker {
    fn element(&mut self) -> Result<Option<Element>, Error> {
        element(&mut self.content, &mut self.at, self.end, self.encoding)
    }

    /// Asks for the memory that parsing takes, with `bytes` of header.
    fn ask(&self, bytes: u64) -> Result<(), Error> {
        let needed = self.count.saturating_mul(ELEMENT).saturating_add(bytes.saturating_mul(3));
        if needed > self.most { Err(Error::memory(needed, self.most)) } else { Ok(()) }
    }

    /// Appends the bytes from `from` up to here.
    fn copy(&mut self, from: u64, into: &mut Vec<u8>) -> Result<(), Error> {
        let length = (self.at - from) as usize;
        self.content.skip(-(length as i64))?;
        let start = into.len();
        into.resize(start + length, 0);
        self.content.read_exact(&mut into[start..])?;
        Ok(())
    }

    /// Goes behind the value of an element; where it is `kept`, sequences of a known length are looked into too.
    fn value(&mut self, element: &Element, depth: usize, kept: bool) -> Result<(), Error> {
        self.count += u64::from(kept);
        if element.length == UNDEFINED {
            // A sequence of an unknown type is written without types.
            let outside = self.encoding;
            if element.vr == *b"UN" {
                self.encoding = Encoding { explicit: false, big: false };
            }
            self.items(None, depth + 1, kept)?;
            self.encoding = outside;
            return Ok(());
        }
        let length = u64::from(element.length);
        if length > self.end - self.at {
            let left = self.end - self.at;
            return Err(Error::damaged(format!(
                "{} claims {length} bytes, the file has {left} more",
                element.tag
            )));
        }
        if kept && (element.vr == *b"SQ" || element.vr == *b"  " && self.item_follows(length)?) {
            return self.items(Some(self.at + length), depth + 1, kept);
        }
        self.content.skip(length as i64)?;
        self.at += length;
        Ok(())
    }

    /// Whether a value whose type is not written begins as a sequence does.
    fn item_follows(&mut self, length: u64) -> Result<bool, Error> {
        if length < 8 {
            return Ok(false);
        }
        let mut b = [0; 4];
        self.content.read_exact(&mut b)?;
        self.content.skip(-4)?;
        Ok(b == [0xfe, 0xff, 0x00, 0xe0])
    }

    /// Goes behind the items of a sequence that ends at `until`, or with its delimiter.
    fn items(&mut self, until: Option<u64>, depth: usize, kept: bool) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(Error::damaged(format!("more than {DEEPEST} sequences lie in one another")));
        }
        let outside = self.end;
        self.end = until.unwrap_or(outside);
        while until.is_none_or(|end| self.at < end) {
            let Some(item) = self.element()? else {
                return Err(Error::damaged("it ends within a sequence"));
            };
            match item.tag {
                SEQUENCE_END => break,
                ITEM if item.length == UNDEFINED => self.elements(None, depth, kept)?,
                ITEM if u64::from(item.length) <= self.end - self.at => {
                    self.elements(Some(self.at + u64::from(item.length)), depth, kept)?;
                }
                ITEM => return Err(Error::damaged("an item is longer than its sequence")),
                tag => return Err(Error::damaged(format!("{tag} stands where an item should begin"))),
            }
        }
        self.end = outside;
        Ok(())
    }

    /// Goes behind the elements of an item.
    fn elements(&mut self, until: Option<u64>, depth: usize, kept: bool) -> Result<(), Error> {
        let outside = self.end;
        if let (Some(end), false) = (until, kept) {
            self.content.skip((end - self.at) as i64)?;
            self.at = end;
            return Ok(());
        }
        self.end = until.unwrap_or(outside);
        loop {
            match self.element()? {
                Some(e) if e.tag == ITEM_END => break,
                Some(e) => self.value(&e, depth, kept)?,
                None if until.is_some() => break,
                None => return Err(Error::damaged("it ends within an item")),
            }
        }
        self.end = outside;
        Ok(())
    }

    /// Where the pixels lie.
    fn pixels(&mut self, element: &Element) -> Result<Pixels, Error> {
        let (at, left) = (self.at, self.end - self.at);
        if element.length != UNDEFINED {
            let length = u64::from(element.length);
            if length > left {
                return Err(Error::damaged(format!(
                    "its pixels claim {length} bytes, the file has {left} more"
                )));
            }
            return Ok(Pixels::Native { at, length });
        }
        let mut fragments = Vec::new();
        loop {
            let Some(item) = self.element()? else {
                return Err(Error::damaged("it ends within its pixels"));
            };
            let length = u64::from(item.length);
            match item.tag {
                SEQUENCE_END => return Ok(Pixels::Fragments(fragments)),
                ITEM if length <= self.end - self.at => fragments.push((self.at, length)),
                ITEM => return Err(Error::damaged("it ends within its pixels")),
                tag => return Err(Error::damaged(format!("{tag} stands among the fragments of its pixels"))),
            }
            self.content.skip(length as i64)?;
            self.at += length;
        }
    }
}
