//! What is read of OME's XML.

/// The value of an attribute in the first `Pixels` element.
pub(crate) fn attribute<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let pixels = &xml[xml.find("<Pixels").or_else(|| xml.find(":Pixels"))?..];
    let pixels = &pixels[..pixels.find('>')?];
    let after = &pixels[pixels.find(&format!(" {name}=\""))? + name.len() + 3..];
    after.split('"').next()
}

/// The pixel size in OME's XML; the standard's unit is the micron where none is given.
pub(crate) fn size(xml: &str) -> Option<f64> {
    let factor = match attribute(xml, "PhysicalSizeXUnit") {
        None | Some("µm" | "um" | "\u{3bc}m" | "\u{fffd}m" | "&#181;m" | "&#xb5;m" | "&#xB5;m") => 1.0,
        Some("nm") => 1e-3,
        Some("mm") => 1e3,
        Some("cm") => 1e4,
        _ => return None,
    };
    let v: f64 = attribute(xml, "PhysicalSizeX")?.parse().ok()?;
    (v > 0.0).then_some(v * factor)
}
