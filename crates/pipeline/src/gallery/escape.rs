//! Text and links that mean nothing to a browser.

use std::fmt::Write as _;
use std::path::Path;

/// Longest text shown, in characters.
const LONGEST: usize = 400;

/// Text for HTML, within elements and quoted attributes. Controls, direction marks and what cannot be seen
/// are written out as `\u{…}`, so that no name looks like another; very long text is cut.
pub(crate) fn text(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for (i, c) in s.chars().enumerate() {
        if i == LONGEST {
            out.push_str(" […]");
            break;
        }
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_unseen(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Controls, and format characters that reorder, join or hide text.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A relative link to a file; `None` for paths that are absolute or lead out of the page's folder. Bytes
/// that are not plain are percent-encoded, so that a colon makes no scheme and any file name is reached.
pub(super) fn link(path: &Path) -> Option<String> {
    let mut out = String::new();
    for part in path.components() {
        let std::path::Component::Normal(name) = part else {
            match part {
                std::path::Component::CurDir => continue,
                _ => return None,
            }
        };
        if !out.is_empty() {
            out.push('/');
        }
        for &b in name.as_encoded_bytes() {
            match b {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    out.push(char::from(b))
                }
                _ => {
                    let _ = write!(out, "%{b:02X}");
                }
            }
        }
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(text("<b a='1' c=\"2\">&"), "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;");
        assert_eq!(
            text("a\u{1b}[31m\n\0\u{202e}gpj\u{200b}é脑"),
            "a\\u{1b}[31m\\n\\u{0}\\u{202e}gpj\\u{200b}é脑"
        );
        assert_eq!(text(&"x".repeat(5000)).len(), 400 + " […]".len());
    }

    #[test]
    fn links_stay_within_the_folder() {
        let l = |p: &str| link(Path::new(p));
        assert_eq!(l("a b/c#1?.png").as_deref(), Some("a%20b/c%231%3F.png"));
        assert_eq!(l("javascript:alert(1)").as_deref(), Some("javascript%3Aalert%281%29"));
        assert_eq!(l("./x.png").as_deref(), Some("x.png"));
        for bad in ["/etc/passwd", "../x.png", "a/../../x", "", "."] {
            assert_eq!(l(bad), None, "{bad}");
        }
        assert_eq!(l("//host/x.png"), None);
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_text_are_reached() {
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(std::ffi::OsStr::from_bytes(b"caf\xe9\"\n.png"));
        assert_eq!(link(path).as_deref(), Some("caf%E9%22%0A.png"));
    }
}
