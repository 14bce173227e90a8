//! Several images at every position: frames of one grid, where an attribute tells them apart.

use super::{SAME_MM, Slice};
use crate::Error;
use crate::header::Key;

/// Something that tells images at one position apart.
struct Attribute {
    name: &'static str,
    value: fn(&Key) -> Option<String>,
}

fn number(v: Option<f64>) -> Option<String> {
    v.map(|v| v.to_string())
}

/// Attributes in the order in which they are tried.
const ATTRIBUTES: [Attribute; 7] = [
    Attribute { name: "temporal position", value: |k| number(k.temporal) },
    Attribute { name: "echo time", value: |k| number(k.echo_time) },
    Attribute { name: "b-value", value: |k| number(k.b_value) },
    Attribute { name: "inversion time", value: |k| number(k.inversion_time) },
    Attribute { name: "trigger time", value: |k| number(k.trigger_time) },
    Attribute { name: "image type", value: |k| Some(k.kind.clone()).filter(|t| !t.is_empty()) },
    Attribute { name: "acquisition number", value: |k| number(k.acquisition) },
];

type Apart = (Vec<Vec<Slice>>, (&'static str, Vec<String>));

/// Slices with their places along the normal, sorted, as frames of one image a position.
pub(super) fn apart(placed: Vec<(f64, Slice)>, name: &dyn Fn(usize) -> String) -> Result<Apart, Error> {
    let mut positions: Vec<Vec<Slice>> = Vec::new();
    let mut last = f64::NEG_INFINITY;
    for (at, slice) in placed {
        match positions.last_mut() {
            Some(here) if at - last <= SAME_MM => here.push(slice),
            _ => {
                last = at;
                positions.push(vec![slice]);
            }
        }
    }
    let most = positions.iter().map(Vec::len).max().unwrap_or(0);
    if most <= 1 {
        return Ok((vec![positions.into_iter().flatten().collect()], ("", Vec::new())));
    }
    let Some((attribute, values)) = ATTRIBUTES.iter().find_map(|a| Some((a, tells(a, &positions, most)?)))
    else {
        let twice =
            positions.iter().find(|p| p.len() > 1).map(|p| [name(p[0].instance), name(p[1].instance)]);
        let [first, second] = twice.unwrap_or_default();
        return Err(Error::Duplicate { first, second });
    };
    let mut frames: Vec<Vec<Slice>> = values.iter().map(|_| Vec::new()).collect();
    for slice in positions.into_iter().flatten() {
        let own = (attribute.value)(&slice.key);
        if let Some(i) = values.iter().position(|v| Some(v) == own.as_ref()) {
            frames[i].push(slice);
        }
    }
    Ok((frames, (attribute.name, values)))
}

/// The values of an attribute where every position has one image of each, in their order.
fn tells(a: &Attribute, positions: &[Vec<Slice>], most: usize) -> Option<Vec<String>> {
    let values = |p: &[Slice]| -> Option<Vec<String>> {
        let mut all: Vec<String> = p.iter().map(|s| (a.value)(&s.key)).collect::<Option<_>>()?;
        all.sort_by(|a, b| match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(a), Ok(b)) => a.total_cmp(&b),
            _ => a.cmp(b),
        });
        all.dedup();
        Some(all).filter(|all| all.len() == p.len() && all.len() == most)
    };
    let first = values(positions.first()?)?;
    positions.iter().all(|p| values(p).as_ref() == Some(&first)).then_some(first)
}
