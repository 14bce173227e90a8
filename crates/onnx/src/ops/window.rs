//! Attributes of sliding windows, pooling and resampling.

use super::fields::{float, int, ints, sizes, text};
use crate::attrs::Attrs;
use crate::draft::Draft;
use crate::proto::{AttributeProto, NodeProto};
use crate::refusal::{Read, Refusal};
use ampoule_graph::op::*;
use ampoule_graph::{Node, Op, Tensor};

pub(super) fn read_window(a: &Attrs) -> Read<Window> {
    let padding = match a.text("auto_pad", "NOTSET")?.as_str() {
        "NOTSET" => Padding::Explicit(a.ints("pads")?.unwrap_or_default()),
        "VALID" => {
            a.ints("pads")?;
            Padding::Explicit(Vec::new())
        }
        "SAME_UPPER" => {
            a.ints("pads")?;
            Padding::SameUpper
        }
        "SAME_LOWER" => {
            a.ints("pads")?;
            Padding::SameLower
        }
        other => return Err(Refusal::Value { name: "auto_pad", value: other.into() }),
    };
    Ok(Window {
        kernel: a.sizes("kernel_shape")?,
        strides: a.sizes("strides")?,
        dilations: a.sizes("dilations")?,
        padding,
    })
}

pub(super) fn write_window(out: &mut Vec<AttributeProto>, w: &Window) {
    sizes(out, "kernel_shape", &w.kernel);
    sizes(out, "strides", &w.strides);
    sizes(out, "dilations", &w.dilations);
    match &w.padding {
        Padding::Explicit(p) if p.is_empty() => {}
        Padding::Explicit(p) => out.push(ints("pads", p.iter().copied())),
        Padding::SameUpper => out.push(text("auto_pad", "SAME_UPPER")),
        Padding::SameLower => out.push(text("auto_pad", "SAME_LOWER")),
    }
}

pub(super) fn read_pool(a: &Attrs, node: &Node) -> Read<Pool> {
    if a.int("storage_order", 0)? != 0 || node.outputs.iter().skip(1).any(Option::is_some) {
        return Err(Refusal::ExtraOutputs { names: "Indices" });
    }
    let p = Pool {
        window: read_window(a)?,
        ceil_mode: a.flag("ceil_mode", false)?,
        count_include_pad: a.flag("count_include_pad", false)?,
    };
    if p.window.kernel.is_empty() {
        return Err(Refusal::Missing { name: "kernel_shape" });
    }
    Ok(p)
}

pub(super) fn write_pool(out: &mut Vec<AttributeProto>, p: &Pool, average: bool) {
    let mut w = p.window.clone();
    // Before opset 19 averages have no dilations.
    if average && w.dilations.iter().all(|&d| d == 1) {
        w.dilations.clear();
    }
    write_window(out, &w);
    out.push(int("ceil_mode", p.ceil_mode as i64));
    if average {
        out.push(int("count_include_pad", p.count_include_pad as i64));
    }
}

pub(super) fn read_resize(r: &mut Draft, n: &NodeProto, node: &mut Node, a: &Attrs) -> Read<Op> {
    let opset = r.graph.opset;
    let legacy = n.op_type == "Upsample" || opset < 11;
    if n.op_type == "Upsample" && opset < 9 {
        let scales = a.floats("scales")?.ok_or(Refusal::Missing { name: "scales" })?;
        let id = r.extra_constant("scales", Tensor::f32(&[scales.len()], &scales));
        node.inputs.push(Some(id));
    }
    if legacy {
        // x, scales -> x, roi, scales
        node.inputs.insert(1, None);
    }
    let coordinates = match a.text("coordinate_transformation_mode", "half_pixel")?.as_str() {
        _ if legacy => Coordinates::Asymmetric,
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        other => return Err(Refusal::Value { name: "coordinate_transformation_mode", value: other.into() }),
    };
    let nearest = match a.text("nearest_mode", "round_prefer_floor")?.as_str() {
        _ if legacy => Nearest::Floor,
        "round_prefer_floor" => Nearest::RoundPreferFloor,
        "round_prefer_ceil" => Nearest::RoundPreferCeil,
        "floor" => Nearest::Floor,
        "ceil" => Nearest::Ceil,
        other => return Err(Refusal::Value { name: "nearest_mode", value: other.into() }),
    };
    let cubic = (a.float("cubic_coeff_a", -0.75)?, a.flag("exclude_outside", false)?);
    a.float("extrapolation_value", 0.0)?;
    let interpolation = match a.text("mode", "nearest")?.as_str() {
        "nearest" => Interpolation::Nearest(nearest),
        "linear" | "bilinear" | "trilinear" => Interpolation::Linear,
        "cubic" => Interpolation::Cubic { a: cubic.0, exclude_outside: cubic.1 },
        other => return Err(Refusal::Value { name: "mode", value: other.into() }),
    };
    if cubic.1 && interpolation == Interpolation::Linear {
        return Err(Refusal::ExcludeOutside);
    }
    let aspect = match a.text("keep_aspect_ratio_policy", "stretch")?.as_str() {
        "stretch" => 0,
        "not_larger" => 1,
        "not_smaller" => 2,
        other => return Err(Refusal::Value { name: "keep_aspect_ratio_policy", value: other.into() }),
    };
    Ok(Op::Resize(Resize {
        interpolation,
        coordinates,
        antialias: a.flag("antialias", false)?,
        axes: a.ints("axes")?.unwrap_or_default(),
        aspect,
    }))
}

pub(super) fn write_resize(out: &mut Vec<AttributeProto>, r: &Resize) {
    match r.interpolation {
        Interpolation::Nearest(n) => {
            out.push(text("mode", "nearest"));
            out.push(text(
                "nearest_mode",
                match n {
                    Nearest::RoundPreferFloor => "round_prefer_floor",
                    Nearest::RoundPreferCeil => "round_prefer_ceil",
                    Nearest::Floor => "floor",
                    Nearest::Ceil => "ceil",
                },
            ));
        }
        Interpolation::Linear => out.push(text("mode", "linear")),
        Interpolation::Cubic { a, exclude_outside } => {
            out.push(text("mode", "cubic"));
            out.push(float("cubic_coeff_a", a));
            out.push(int("exclude_outside", exclude_outside as i64));
        }
    }
    out.push(text(
        "coordinate_transformation_mode",
        match r.coordinates {
            Coordinates::HalfPixel => "half_pixel",
            Coordinates::HalfPixelSymmetric => "half_pixel_symmetric",
            Coordinates::PytorchHalfPixel => "pytorch_half_pixel",
            Coordinates::AlignCorners => "align_corners",
            Coordinates::Asymmetric => "asymmetric",
        },
    ));
    if r.antialias {
        out.push(int("antialias", 1));
    }
    if !r.axes.is_empty() {
        out.push(ints("axes", r.axes.iter().copied()));
    }
    if r.aspect != 0 {
        let policy = if r.aspect == 1 { "not_larger" } else { "not_smaller" };
        out.push(text("keep_aspect_ratio_policy", policy));
    }
}
