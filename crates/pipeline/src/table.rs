//! Tables as people have them: any usual separator, encoding and line end.

use crate::{Error, Result};
use std::path::Path;

/// Largest table that is read.
const MOST: u64 = 256 << 20;

/// A table with a header.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Names of the columns, without space around them.
    pub header: Vec<String>,
    /// Rows with their lines in the file, counted from 1; as many fields as columns.
    pub rows: Vec<(usize, Vec<String>)>,
}

impl Table {
    /// Reads a file in UTF-8 (with or without mark), UTF-16 or Windows-1252, separated by commas, semicolons or tabs.
    pub fn read(path: &Path) -> Result<Table> {
        crate::read::plain(path)?;
        let size = std::fs::metadata(path).map_err(Error::io(path))?.len();
        if size > MOST {
            let reason = format!("a table of {} MiB is too large; {} are allowed", size >> 20, MOST >> 20);
            return Err(Error::Content { path: path.into(), reason });
        }
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let bad = |line, reason| Error::Manifest { path: path.into(), problems: vec![(line, reason)] };
        let text = decode(&bytes).map_err(|reason| bad(1, reason))?;
        Table::parse(&text).map_err(|(line, reason)| bad(line, reason))
    }

    /// Parses the text of a table; an error tells its line.
    pub fn parse(text: &str) -> std::result::Result<Table, (usize, String)> {
        let first = text.lines().find(|l| !l.trim().is_empty()).unwrap_or("");
        let separator = separator(first);
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(separator)
            .has_headers(true)
            .flexible(true)
            .from_reader(text.as_bytes());
        let as_problem = |e: csv::Error| {
            let line = e.position().map_or(1, |p| p.line() as usize);
            (line, format!("it is not a table: {e}"))
        };
        let header: Vec<String> =
            reader.headers().map_err(as_problem)?.iter().map(|h| h.trim().to_owned()).collect();
        if header.iter().all(String::is_empty) {
            return Err((1, "it has no header".into()));
        }
        let mut rows = Vec::new();
        let mut lines = Lines { text: text.as_bytes(), at: 0, breaks: 0 };
        for record in reader.records() {
            let record = record.map_err(as_problem)?;
            let line = record.position().map_or(0, |p| lines.of(p.byte() as usize));
            let mut fields: Vec<String> = record.iter().map(|f| f.trim().to_owned()).collect();
            if fields.iter().all(String::is_empty) {
                continue;
            }
            // Spreadsheets leave empty fields at the end of lines.
            while fields.len() > header.len() && fields.last().is_some_and(String::is_empty) {
                fields.pop();
            }
            if fields.len() > header.len() {
                let reason = format!("the line has {} fields, the header {}", fields.len(), header.len());
                return Err((line, reason));
            }
            fields.resize(header.len(), String::new());
            rows.push((line, fields));
        }
        Ok(Table { header, rows })
    }

    /// The column called one of `names`, whatever the case of its letters.
    pub fn column(&self, names: &[&str]) -> Option<usize> {
        let is = |h: &String| names.iter().any(|n| n.eq_ignore_ascii_case(h));
        self.header.iter().position(is)
    }
}

/// Counts lines on the way through a text.
struct Lines<'t> {
    text: &'t [u8],
    /// Up to where line breaks were counted, and how many.
    at: usize,
    breaks: usize,
}

impl Lines<'_> {
    /// The line, counted from 1, in which a record begins whose line break before it may be counted as its own. Records
    /// come in their order.
    fn of(&mut self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        let end = at + rest.iter().take_while(|b| **b == b'\n' || **b == b'\r').count();
        let new = self.text.get(self.at..end).unwrap_or_default();
        self.breaks += new.iter().filter(|b| **b == b'\n').count();
        self.at = self.at.max(end);
        1 + self.breaks
    }
}

/// The separator that a header uses: the commonest outside quotation marks.
fn separator(line: &str) -> u8 {
    let count = |s: u8| {
        let mut quoted = false;
        line.bytes()
            .filter(|b| {
                quoted ^= *b == b'"';
                *b == s && !quoted
            })
            .count()
    };
    [b',', b';', b'\t'].into_iter().max_by_key(|s| (count(*s), *s == b',')).unwrap_or(b',')
}

/// The text of a file in one of the usual encodings.
fn decode(bytes: &[u8]) -> std::result::Result<String, String> {
    let utf16 = |rest: &[u8], word: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest.chunks_exact(2).map(|c| word([c[0], c[1]])).collect();
        String::from_utf16(&units).map_err(|_| "it is damaged UTF-16".to_owned())
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => {
            String::from_utf8(rest.to_vec()).map_err(|_| "it is damaged UTF-8".to_owned())
        }
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [a, 0, ..] if a.is_ascii() => utf16(bytes, u16::from_le_bytes),
        [0, a, ..] if a.is_ascii() => utf16(bytes, u16::from_be_bytes),
        _ => Ok(match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) if bytes.contains(&0) => return Err("it is not a text file".into()),
            Err(_) => bytes.iter().map(|b| windows(*b)).collect(),
        }),
    }
}

/// A byte of Windows-1252.
fn windows(b: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match b {
        0x80..=0x9f => HIGH[(b - 0x80) as usize],
        _ => b as char,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_every_kind_are_read() {
        let want = Table {
            header: vec!["file".into(), "label".into()],
            rows: vec![
                (2, vec!["a.png".into(), "größer".into()]),
                (3, vec!["b,c.png".into(), String::new()]),
            ],
        };
        for text in [
            "file,label\na.png,größer\n\"b,c.png\"\n",
            "file;label;\r\na.png;größer;\r\n\"b,c.png\";;\r\n\r\n",
            "file\tlabel\na.png\tgrößer\nb,c.png\t\n",
        ] {
            let mut t = Table::parse(text).unwrap();
            t.header.retain(|h| !h.is_empty());
            t.rows.iter_mut().for_each(|r| r.1.truncate(2));
            assert_eq!(t, want, "{text}");
            let mark = [&[0xef, 0xbb, 0xbf], text.as_bytes()].concat();
            let wide: Vec<u8> =
                [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
            let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
            for bytes in [text.as_bytes().to_vec(), mark, wide, latin] {
                assert_eq!(decode(&bytes).unwrap(), text);
            }
        }
        let t = Table::parse("a,b\n\n\n1,2\r\n\r\n3,4\n5,6").unwrap();
        assert_eq!(t.rows.iter().map(|r| r.0).collect::<Vec<_>>(), [4, 6, 7]);
        assert!(Table::parse("").is_err() && Table::parse("a,b\n1,2,3\n").is_err());
    }
}
