//! The name that was probably meant.

/// Similarity below which two names have nothing to do with each other.
const ALIKE: f64 = 0.75;

/// Most bytes of a name that anybody mistyped: comparing takes a time that grows with the square.
const LONGEST: usize = 200;

/// The nearest of `known` to a name that is none of them, where one is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    let alike = |k: &'a str| (strsim::jaro_winkler(name, k), k);
    let best = known.into_iter().map(alike).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(s, _)| *s > ALIKE).map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_offered() {
        assert_eq!(nearest("threds", ["threads", "memory"]), Some("threads"));
        assert_eq!(nearest("zzz", ["threads"]), None);
        assert_eq!(nearest("x", []), None);
        let long = "x".repeat(300);
        assert_eq!(nearest(&long, [long.as_str()]), None);
    }
}
