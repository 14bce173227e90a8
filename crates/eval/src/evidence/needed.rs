//! How many cases would establish a claim.

/// Numbers of cases beyond which a claim is one that cases like these do not establish.
const MOST: usize = 1_000_000;

/// The least number of units, from `from` on, with which `enough` holds, which must stay true once it is; `None` where a
/// million are not enough.
pub(super) fn least(from: usize, enough: impl Fn(usize) -> bool) -> Option<usize> {
    let from = from.max(1);
    if enough(from) {
        return Some(from);
    }
    let (mut bad, mut good) = (from, from.saturating_mul(2));
    while !enough(good) {
        if good > MOST {
            return None;
        }
        (bad, good) = (good, good * 2);
    }
    while good - bad > 1 {
        let middle = bad + (good - bad) / 2;
        match enough(middle) {
            true => good = middle,
            false => bad = middle,
        }
    }
    Some(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_number_is_found() {
        for wanted in [1, 2, 3, 36, 368, 999_999] {
            assert_eq!(least(1, |n| n >= wanted), Some(wanted));
        }
        assert_eq!(least(50, |n| n >= 36), Some(50));
        assert_eq!(least(1, |_| false), None);
    }
}
