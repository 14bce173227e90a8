//! What is unlikely about a result by its recipe: sentences for a user, on which nothing is decided.

use crate::measure::Measured;
use crate::recipe::Recipe;
use ampoule_imaging::Volume;
use ampoule_imaging::plausible::touched;

/// What is unlikely about a result.
pub(crate) fn result(
    recipe: &Recipe,
    labels: &Volume<u16>,
    measured: &[Measured],
    flat: bool,
) -> Vec<String> {
    let mut out = Vec::new();
    if measured.iter().all(|m| m.voxels == 0) {
        out.push("the result is empty: no label was found".into());
    }
    for m in measured {
        let Some(label) = recipe.label.iter().find(|l| l.value == m.value) else { continue };
        let mut judge = |value: Option<f64>, range: Option<[f64; 2]>, unit: &str| {
            if let (Some(v), Some([low, high])) = (value, range)
                && !(low..=high).contains(&v)
            {
                let name = &m.name;
                out.push(format!("{name}: {v:.1} {unit} is outside the plausible {low} to {high} {unit}"));
            }
        };
        judge(m.ml, label.volume_ml, "ml");
        judge(m.mm2, label.area_mm2, "mm²");
        judge(Some(m.share), label.share, "of the image");
    }
    if !flat {
        let faces = touched(labels);
        if !faces.is_empty() {
            out.push(format!(
                "the result touches the border of the image ({}); part of it may lie outside the field of view",
                faces.join(", ")
            ));
        }
    }
    out
}
