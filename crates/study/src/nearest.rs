//! The name that was probably meant.

/// Distance above which two names have nothing to do with each other.
const FAR: f64 = 0.6;

/// `; did you mean …?` for the nearest of `known`, or nothing.
pub(crate) fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let score = |k: &'a str| (strsim::jaro_winkler(name, k), k);
    let best = known.into_iter().map(score).max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((s, k)) if s > FAR => format!("; did you mean `{k}`?"),
        _ => String::new(),
    }
}

/// Adds the nearest key to what serde says of an unknown one: "unknown field `x`, expected one of `a`, `b`".
pub(crate) fn explain(message: &str) -> String {
    let quoted =
        |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let line = message.lines().find(|l| l.starts_with("unknown field") || l.starts_with("unknown variant"));
    let Some(line) = line else { return message.trim_end().to_owned() };
    let names = quoted(line);
    match names.split_first() {
        Some((name, known)) => {
            format!("{}{}", message.trim_end(), hint(name, known.iter().map(String::as_str)))
        }
        None => message.trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered() {
        assert_eq!(hint("threds", ["threads", "memory"]), "; did you mean `threads`?");
        assert_eq!(hint("zzz", ["threads"]), "");
        let text = "TOML parse error\nunknown field `modle`, expected one of `name`, `model`\n";
        assert!(explain(text).ends_with("; did you mean `model`?"));
        assert_eq!(explain("missing field `name`\n"), "missing field `name`");
    }
}
