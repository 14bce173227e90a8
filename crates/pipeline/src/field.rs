//! Fields of tables that are written.

/// A field in quotation marks where it needs them; line breaks and other control characters become spaces.
pub fn field(s: &str) -> String {
    let plain: String = s.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match plain.contains([',', '"', ';']) || plain.starts_with([' ', '=', '+', '@']) {
        true => format!("\"{}\"", plain.replace('"', "\"\"")),
        false => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotation_marks_and_control_characters_break_no_table() {
        assert_eq!(field("a\u{1b}[31m,\"b\""), "\"a [31m,\"\"b\"\"\"");
        assert_eq!(field("plain"), "plain");
    }
}
