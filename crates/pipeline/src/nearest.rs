//! The name that was probably meant.

/// Similarity below which two names have nothing to do with each other.
const ALIKE: f64 = 0.75;

/// The nearest of `known` to a name that is none of them, where one is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
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
    }
}
