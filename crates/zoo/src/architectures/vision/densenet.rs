//! DenseNet (Huang et al., 2017) as torchvision and timm name its layers.

use super::layers::{Map, Vision};
use crate::Result;

/// A normalisation and the function, then a convolution.
fn before(v: &mut Vision, x: Map, norm: &str, conv: &str) -> Result<Map> {
    let x = v.norm(x, norm)?;
    let x = v.act(x);
    v.conv(x, conv, 1)
}

/// Features at half, quarter, … of the image's size: each before it is halved, the last normalised.
pub(super) fn features(v: &mut Vision, x: Map) -> Result<Vec<Map>> {
    let mut x = v.block(x, "features.conv0", "features.norm0", 2, true)?;
    let mut list = vec![x];
    x = v.max_pool(x, 3, 2, 1);
    let blocks = v.count("features.denseblock", 1);
    for b in 1..=blocks {
        let block = format!("features.denseblock{b}.denselayer");
        for l in 1..=v.count(&block, 1) {
            let name = format!("{block}{l}");
            let y = before(v, x, &format!("{name}.norm1"), &format!("{name}.conv1"))?;
            let y = before(v, y, &format!("{name}.norm2"), &format!("{name}.conv2"))?;
            x = v.concat(&[x, y]);
        }
        if b < blocks {
            let name = format!("features.transition{b}");
            x = v.norm(x, &format!("{name}.norm"))?;
            x = v.act(x);
            list.push(x);
            x = v.conv(x, &format!("{name}.conv"), 1)?;
            x = v.average_pool(x, 2, 2, 0);
        }
    }
    list.push(v.norm(x, "features.norm5")?);
    Ok(list)
}
