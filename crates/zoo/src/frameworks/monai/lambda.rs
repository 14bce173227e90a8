//! The functions of a bundle that are known by their text.

use super::evaluate::dotted;
use super::expression::{Between, Expr, parse};

/// The channel and the label of each part of `lambda x: torch.where(x[[CHANNEL]] > 0, LABEL, …)`, the weakest first, where
/// nothing is 0 at its end.
pub(super) fn regions(text: &str) -> Option<Vec<(usize, u16)>> {
    let Expr::Lambda(name, body) = parse(text.trim().strip_prefix('$')?).ok()? else { return None };
    let mut out = Vec::new();
    let mut here = &*body;
    loop {
        if *here == Expr::Whole(0) {
            out.reverse();
            return (!out.is_empty()).then_some(out);
        }
        let Expr::Call(of, arguments) = here else { return None };
        if !matches!(dotted(of)?.as_str(), "torch.where" | "np.where" | "numpy.where") {
            return None;
        }
        let [(None, condition), (None, Expr::Whole(label)), (None, rest)] = &arguments[..] else {
            return None;
        };
        out.push((channel(condition, &name)?, u16::try_from(*label).ok()?));
        here = rest;
    }
}

/// The channel of `x[[CHANNEL]] > 0`.
fn channel(condition: &Expr, of: &str) -> Option<usize> {
    let Expr::Chain(first, rest) = condition else { return None };
    let [(Between::More, Expr::Whole(0))] = &rest[..] else { return None };
    let Expr::Item(parts) = &**first else { return None };
    let [Expr::Name(name), Expr::List(channels)] = &**parts else { return None };
    let [Expr::Whole(channel)] = &channels[..] else { return None };
    usize::try_from(*channel).ok().filter(|_| name == of)
}

/// Whether a function leaves out the first channel: `lambda x: x[1:]`.
pub(super) fn without_first(text: &str) -> bool {
    let Some(Ok(Expr::Lambda(name, body))) = text.trim().strip_prefix('$').map(parse) else { return false };
    *body == Expr::Part(Box::new(Expr::Name(name)), Some(Box::new(Expr::Whole(1))), None)
}

/// Whether a function is that of values above 0.
pub(super) fn above_zero(text: &str) -> bool {
    let Some(Ok(Expr::Lambda(name, body))) = text.trim().strip_prefix('$').map(parse) else { return false };
    let chain = |zero| Expr::Chain(Box::new(Expr::Name(name.clone())), vec![(Between::More, zero)]);
    *body == chain(Expr::Whole(0)) || *body == chain(Expr::Real(0.0))
}

/// Whether a function makes photos coloured.
pub(super) fn colours(text: &str) -> bool {
    let Some(Ok(Expr::Lambda(name, body))) = text.trim().strip_prefix('$').map(parse) else { return false };
    let convert = Expr::Attribute(Box::new(Expr::Name(name)), "convert".into());
    *body == Expr::Call(Box::new(convert), vec![(None, Expr::Text("RGB".into()))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_known_by_what_they_say() {
        let brats = "$lambda x: torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0)))";
        assert_eq!(regions(brats), Some(vec![(1, 2), (0, 1), (2, 4)]));
        for other in [
            "$lambda x: torch.where(x[[2]] > 1, 4, 0)",
            "$lambda x: torch.where(y[[2]] > 0, 4, 0)",
            "$lambda x: torch.where(x[[2]] > 0, 4, x)",
            "$lambda x: 0",
            "$lambda x: x[1:]",
            "$f",
        ] {
            assert_eq!(regions(other), None, "{other}");
        }
        assert!(
            above_zero("$lambda x: x > 0")
                && above_zero("$lambda img:img>0.0")
                && !above_zero("$lambda x: x > -1")
        );
        assert!(without_first("$lambda x : x[1:]") && !without_first("$lambda x: x[2:]"));
        assert!(!without_first("$lambda x: x[1:3]") && !without_first("$lambda x: y[1:]"));
        assert!(colours("$lambda x: x.convert('RGB')") && !colours("$lambda x: x.convert('L')"));
    }
}
