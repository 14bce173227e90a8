//! VGG (Simonyan and Zisserman, 2015). Where it pools, the numbers of its layers tell: poolings have one, and no weights.

use super::layers::{Map, Vision};
use crate::{Error, Result};

/// Most layers that are looked for.
const LAYERS: usize = 100;

/// Features before each pooling, finest first, and after the last.
pub(super) fn features(v: &mut Vision, mut x: Map) -> Result<Vec<Map>> {
    let mut list = Vec::new();
    let mut next = 0;
    let numbered = |v: &Vision, i: usize| v.has(&format!("features.{i}.weight"));
    while let Some(at) = (next..LAYERS).find(|i| numbered(v, *i)) {
        if at > next {
            list.push(x);
            x = v.max_pool(x, 2, 2, 0);
        }
        x = v.conv(x, &format!("features.{at}"), 1)?;
        next = at + 1;
        if v.has(&format!("features.{next}.running_mean")) {
            x = v.norm(x, &format!("features.{next}"))?;
            next += 1;
        }
        x = v.act(x);
        next += 1;
    }
    list.push(x);
    list.push(v.max_pool(x, 2, 2, 0));
    Ok(list)
}

/// The three linear layers of torchvision (`classifier`) or timm (`pre_logits`, `head.fc`); the image's features are
/// seven by seven.
pub(super) fn head(v: &mut Vision, x: Map) -> Result<Map> {
    if v.has("pre_logits.fc1.weight") {
        let x = v.padded(x, "pre_logits.fc1", 1, &[0; 2])?;
        let x = v.act(x);
        let x = v.padded(x, "pre_logits.fc2", 1, &[0; 2])?;
        let x = v.act(x);
        return v.head(x, "head.fc");
    }
    let wide = v.net.w.shape("classifier.0.weight", 2)?[1];
    if wide != x.c * 49 {
        let reason =
            format!("`classifier.0.weight` reads {wide} features of {} channels, 7 by 7 are expected", x.c);
        return Err(Error::Weights { arch: "vgg", reason });
    }
    let mut x = Map { v: v.net.flatten(x.v), c: wide };
    for name in ["classifier.0", "classifier.3"] {
        x = v.row(x, name)?;
        x = v.act(x);
    }
    v.row(x, "classifier.6")
}
