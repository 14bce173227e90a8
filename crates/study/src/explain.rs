//! What is wrong with the text of a study: the line, the key, and what to write there.

use ampoule_pipeline::nearest;

/// `; did you mean …?` for the nearest of `known`, or nothing.
pub(crate) fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or(String::new(), |k| format!("; did you mean `{k}`?"))
}

/// What a reader of `text` says of it, with the line and the key that it speaks of.
pub(crate) fn explain(text: &str, error: &toml::de::Error) -> String {
    let said = said(error.message().trim_end());
    let Some(at) = error.span().map(|s| s.start.min(text.len())) else { return said };
    let line = text[..at].matches('\n').count() + 1;
    // What serde says of names has them in it; a value is told by its key.
    match key(text, at).filter(|k| !said.contains(&format!("`{k}`"))) {
        Some(key) => format!("line {line}: `{key}`: {said}"),
        None => format!("line {line}: {said}"),
    }
}

/// The key whose value begins at a place of a text.
fn key(text: &str, at: usize) -> Option<&str> {
    let before = text.get(..at)?.trim_end().strip_suffix('=')?.trim_end();
    let part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name = &before[before.trim_end_matches(part).len()..];
    (!name.is_empty()).then_some(name)
}

/// The message of a reader in the words of the documentation, with the nearest name where one is unknown.
pub(crate) fn said(message: &str) -> String {
    if let Some((start, name, known)) = unknown(message) {
        return format!("{start}{}", hint(name, known.iter().copied()));
    }
    let Some((place, (found, wanted))) =
        message.split_once("invalid type: ").and_then(|(p, rest)| Some((p, rest.split_once(", expected ")?)))
    else {
        return message.to_owned();
    };
    format!("{place}{} is expected, {} was found", kind(wanted), value(found))
}

/// A message about an unknown name: the message, the name, and those that are known.
fn unknown(message: &str) -> Option<(&str, &str, Vec<&str>)> {
    let at = ["unknown field", "unknown variant"].iter().find_map(|start| message.find(start))?;
    let mut names = message[at..].split('`').skip(1).step_by(2);
    Some((message, names.next()?, names.collect()))
}

/// What serde expects, for people.
fn kind(wanted: &str) -> String {
    match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of 0 or more".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a string" | "path string" | "string or map" => "a text in quotes".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list in brackets".into(),
        "a map" => "a table".into(),
        // Structures and enumerations are named by what they are in the code.
        other if other.starts_with("struct ") => "a table".into(),
        other => other.into(),
    }
}

/// What serde found, for people.
fn value(found: &str) -> String {
    let text = |v: &str| format!("the text {v}");
    let plain = |v: &str| v.trim_matches('`').to_owned();
    match found.split_once(' ') {
        Some(("string", v)) => text(v),
        Some(("integer" | "boolean", v)) => plain(v),
        Some(("floating", v)) => plain(v.trim_start_matches("point ")),
        _ => match found {
            "map" => "a table".into(),
            "sequence" => "a list".into(),
            other => other.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered() {
        assert_eq!(hint("threds", ["threads", "memory"]), "; did you mean `threads`?");
        assert_eq!(hint("zzz", ["threads"]), "");
        let text = "unknown field `modle`, expected one of `name`, `model`";
        assert!(said(text).ends_with("; did you mean `model`?"));
        assert_eq!(said("missing field `name`"), "missing field `name`");
    }

    #[test]
    fn types_are_told_with_what_was_found() {
        for (message, told) in [
            (
                "invalid type: string \"x\", expected usize",
                "a whole number of 0 or more is expected, the text \"x\" was found",
            ),
            ("invalid type: integer `3`, expected a string", "a text in quotes is expected, 3 was found"),
            (
                "invalid type: floating point `0.5`, expected u32",
                "a whole number of 0 or more is expected, 0.5 was found",
            ),
            ("invalid type: boolean `true`, expected f64", "a number is expected, true was found"),
            (
                "`epochs`: invalid type: sequence, expected u16",
                "`epochs`: a whole number of 0 or more is expected, a list was found",
            ),
        ] {
            assert_eq!(said(message), told);
        }
    }
}
