//! A bar of known length.

use super::canvas::{BLACK, Canvas, Font, Rect, WHITE};

/// Draws a bar of at most `most` pixels with its length, its bottom left corner at (`x`, `bottom`), where a
/// round length of at least a few pixels exists.
pub(super) fn draw(canvas: &mut Canvas, x: usize, bottom: usize, pixels_per_mm: f64, most: usize) {
    let Some((mm, text)) = length(most as f64 / pixels_per_mm) else { return };
    let bar = (mm * pixels_per_mm).round() as usize;
    if bar < 4 || bar > most {
        return;
    }
    let font = Font::Small;
    let (width, height) = (bar.max(font.width(&text)) + 8, font.height() + 10);
    let top = bottom.saturating_sub(height);
    canvas.fill(Rect { x, y: top, width, height }, BLACK, 0.6);
    canvas.text(x + 4, top + 1, &text, font, WHITE);
    canvas.fill(Rect { x: x + 4, y: top + font.height() + 2, width: bar, height: 4 }, WHITE, 1.0);
}

/// The longest of 1, 2, 5, 10, … that is not above `most` mm, from a nanometre to a kilometre, and its text.
fn length(most: f64) -> Option<(f64, String)> {
    let nanometres = (0..=12).flat_map(|k| [1, 2, 5].map(|d| d * 10u64.pow(k)));
    let best = nanometres.take_while(|&n| n as f64 * 1e-6 <= most * (1.0 + 1e-9)).last()?;
    let text = match best {
        n if n < 1_000 => format!("{n} nm"),
        n if n < 1_000_000 => format!("{} µm", n / 1_000),
        n => format!("{} mm", n / 1_000_000),
    };
    Some((best as f64 * 1e-6, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_round() {
        let text = |most: f64| length(most).map(|l| l.1).unwrap_or_default();
        assert_eq!([60.0, 50.0, 1.0, 0.15, 0.0005].map(text), ["50 mm", "50 mm", "1 mm", "100 µm", "500 nm"]);
        assert_eq!((text(f64::NAN), text(0.0), text(-1.0)), ("".into(), "".into(), "".into()));
        assert!(length(f64::INFINITY).is_some());
    }
}
