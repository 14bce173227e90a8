//! Inception v3 and GoogLeNet (Szegedy et al., 2015 and 2016), and Xception (Chollet, 2017), as torchvision and timm name
//! their layers.

use super::layers::{Map, Vision};
use crate::Result;

/// A convolution with its normalisation and function, `NAME.conv` and `NAME.bn`; `valid` leaves out the padding.
fn unit(v: &mut Vision, x: Map, name: &str, stride: usize, valid: bool) -> Result<Map> {
    let conv = format!("{name}.conv");
    let x = if valid { v.padded(x, &conv, stride, &[0; 2])? } else { v.conv(x, &conv, stride)? };
    let x = v.norm(x, &format!("{name}.bn"))?;
    Ok(v.act(x))
}

/// Units one after the other.
fn chain(v: &mut Vision, mut x: Map, name: &str, parts: &[&str]) -> Result<Map> {
    for part in parts {
        x = unit(v, x, &format!("{name}.{part}"), 1, false)?;
    }
    Ok(x)
}

/// The pooled branch of a block.
fn pooled(v: &mut Vision, x: Map, name: &str) -> Result<Map> {
    let x = v.average_pool(x, 3, 1, 1);
    unit(v, x, &format!("{name}.branch_pool"), 1, false)
}

/// A block that keeps sizes: branches of units, the last two of which may divide.
fn mixed(v: &mut Vision, x: Map, name: &str, branches: &[&[&str]]) -> Result<Map> {
    let mut list = Vec::new();
    for b in branches {
        list.push(chain(v, x, name, b)?);
    }
    list.push(pooled(v, x, name)?);
    Ok(v.concat(&list))
}

/// A block that halves sizes: branches whose last unit does, and the largest values.
fn narrowed(v: &mut Vision, x: Map, name: &str, branches: &[&[&str]]) -> Result<Map> {
    let mut list = Vec::new();
    for b in branches {
        let (last, first) = b.split_last().unwrap_or((&"", &[]));
        let y = chain(v, x, name, first)?;
        list.push(unit(v, y, &format!("{name}.{last}"), 2, true)?);
    }
    list.push(v.max_pool(x, 3, 2, 0));
    Ok(v.concat(&list))
}

/// A branch that ends as two units side by side.
fn forked(v: &mut Vision, x: Map, name: &str, first: &[&str], last: [&str; 2]) -> Result<Map> {
    let x = chain(v, x, name, first)?;
    let one = chain(v, x, name, &last[..1])?;
    let two = chain(v, x, name, &last[1..])?;
    Ok(v.concat(&[one, two]))
}

/// A block of the last stage.
fn widest(v: &mut Vision, x: Map, name: &str) -> Result<Map> {
    let one = chain(v, x, name, &["branch1x1"])?;
    let two = forked(v, x, name, &["branch3x3_1"], ["branch3x3_2a", "branch3x3_2b"])?;
    let first = ["branch3x3dbl_1", "branch3x3dbl_2"];
    let three = forked(v, x, name, &first, ["branch3x3dbl_3a", "branch3x3dbl_3b"])?;
    let four = pooled(v, x, name)?;
    Ok(v.concat(&[one, two, three, four]))
}

/// Inception v3; its auxiliary classifier is for training only.
pub(super) fn inception3(v: &mut Vision, x: Map) -> Result<Map> {
    v.net.w.ignore(|k| k.starts_with("AuxLogits."));
    let mut x = unit(v, x, "Conv2d_1a_3x3", 2, true)?;
    x = unit(v, x, "Conv2d_2a_3x3", 1, true)?;
    x = unit(v, x, "Conv2d_2b_3x3", 1, false)?;
    x = v.max_pool(x, 3, 2, 0);
    x = unit(v, x, "Conv2d_3b_1x1", 1, true)?;
    x = unit(v, x, "Conv2d_4a_3x3", 1, true)?;
    x = v.max_pool(x, 3, 2, 0);
    let double: &[&str] = &["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"];
    for name in ["Mixed_5b", "Mixed_5c", "Mixed_5d"] {
        x = mixed(v, x, name, &[&["branch1x1"], &["branch5x5_1", "branch5x5_2"], double])?;
    }
    x = narrowed(v, x, "Mixed_6a", &[&["branch3x3"], double])?;
    let seven: &[&str] = &["branch7x7_1", "branch7x7_2", "branch7x7_3"];
    let long: &[&str] =
        &["branch7x7dbl_1", "branch7x7dbl_2", "branch7x7dbl_3", "branch7x7dbl_4", "branch7x7dbl_5"];
    for name in ["Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"] {
        x = mixed(v, x, name, &[&["branch1x1"], seven, long])?;
    }
    let seven: &[&str] = &["branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4"];
    x = narrowed(v, x, "Mixed_7a", &[&["branch3x3_1", "branch3x3_2"], seven])?;
    for name in ["Mixed_7b", "Mixed_7c"] {
        x = widest(v, x, name)?;
    }
    v.head(x, "fc")
}

/// GoogLeNet with batch normalisation; its auxiliary classifiers are for training only.
pub(super) fn googlenet(v: &mut Vision, x: Map) -> Result<Map> {
    v.net.w.ignore(|k| k.starts_with("aux"));
    let mut x = unit(v, x, "conv1", 2, false)?;
    x = v.max_pool_ceil(x, 3, 2);
    x = unit(v, x, "conv2", 1, false)?;
    x = unit(v, x, "conv3", 1, false)?;
    x = v.max_pool_ceil(x, 3, 2);
    for name in ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"] {
        let name = format!("inception{name}");
        let mut list = vec![chain(v, x, &name, &["branch1"])?];
        list.push(chain(v, x, &name, &["branch2.0", "branch2.1"])?);
        list.push(chain(v, x, &name, &["branch3.0", "branch3.1"])?);
        let y = v.max_pool(x, 3, 1, 1);
        list.push(chain(v, y, &name, &["branch4.1"])?);
        x = v.concat(&list);
        match name.as_str() {
            "inception3b" => x = v.max_pool_ceil(x, 3, 2),
            "inception4e" => x = v.max_pool_ceil(x, 2, 2),
            _ => {}
        }
    }
    v.head(x, "fc")
}

/// A depthwise and a pointwise convolution, and their normalisation.
fn separable(v: &mut Vision, x: Map, conv: &str, norm: &str) -> Result<Map> {
    let x = v.conv(x, &format!("{conv}.conv1"), 1)?;
    let x = v.conv(x, &format!("{conv}.pointwise"), 1)?;
    v.norm(x, norm)
}

/// Xception's block: the numbers of its layers count functions too.
fn block(v: &mut Vision, x: Map, name: &str, stride: usize) -> Result<Map> {
    let (mut y, mut first) = (x, true);
    // The first block begins without a function, so that its first convolution is number 0.
    let start = if v.has(&format!("{name}.rep.0.conv1.weight")) { 0 } else { 1 };
    let mut at = start;
    while v.has(&format!("{name}.rep.{at}.conv1.weight")) {
        if !(first && start == 0) {
            y = v.act(y);
        }
        y = separable(v, y, &format!("{name}.rep.{at}"), &format!("{name}.rep.{}", at + 1))?;
        (at, first) = (at + 3, false);
    }
    if stride > 1 {
        y = v.max_pool(y, 3, stride, 1);
    }
    let around = match v.has(&format!("{name}.skip.weight")) {
        true => v.block(x, &format!("{name}.skip"), &format!("{name}.skipbn"), stride, false)?,
        false => x,
    };
    Ok(v.add(y, around))
}

/// Xception.
pub(super) fn xception(v: &mut Vision, x: Map) -> Result<Map> {
    let x = v.padded(x, "conv1", 2, &[0; 2])?;
    let x = v.norm(x, "bn1")?;
    let x = v.act(x);
    let x = v.padded(x, "conv2", 1, &[0; 2])?;
    let x = v.norm(x, "bn2")?;
    let mut x = v.act(x);
    let blocks = v.count("block", 1);
    for i in 1..=blocks {
        let stride = if i <= 3 || i == blocks { 2 } else { 1 };
        x = block(v, x, &format!("block{i}"), stride)?;
    }
    for i in [3, 4] {
        x = separable(v, x, &format!("conv{i}"), &format!("bn{i}"))?;
        x = v.act(x);
    }
    v.head(x, if v.has("fc.weight") { "fc" } else { "last_linear" })
}
