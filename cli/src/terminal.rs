//! Text for a terminal. Names and messages hold what files say, which may be commands to the terminal, or endless.

/// Most characters of a line of a message.
const LONGEST: usize = 2000;

/// Most failures that are told line by line; tables and `--json` hold all of them.
pub const MOST_LINES: usize = 50;

/// With everything written out that a terminal does not show as a sign: controls, and what changes the direction of writing.
/// Ends of lines and tabs stay.
fn text(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '\n' | '\t') { c.to_string() } else { shown(c) }).collect()
}

/// The same of a name, which is one line.
pub fn name(text: &str) -> String {
    text.chars().map(shown).collect()
}

/// The same of a message, whose lines have an end.
pub fn message(given: &str) -> String {
    let line = |line: &str| {
        let mut rest = line.chars();
        let kept: String = rest.by_ref().take(LONGEST).collect();
        match rest.count() {
            0 => text(&kept),
            more => format!("{} … ({more} characters more)", text(&kept)),
        }
    };
    given.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn shown(c: char) -> String {
    match c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
        true => c.escape_unicode().to_string(),
        false => c.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(text("a\u{1b}[2J\u{9b}b\tc\nd ü"), "a\\u{1b}[2J\\u{9b}b\tc\nd ü");
        assert_eq!(name("x\ny\u{202e}gnp"), "x\\u{a}y\\u{202e}gnp");
    }

    #[test]
    fn long_lines_of_messages_end() {
        let long = message(&format!("{}\nshort", "x".repeat(LONGEST + 7)));
        assert!(long.ends_with("x … (7 characters more)\nshort"), "{long}");
        assert_eq!(message("a\nb"), "a\nb");
    }
}
