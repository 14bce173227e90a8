//! Pixels to draw on, and text.

use super::colour::mixed;
use crate::photo::Photo;
use embedded_graphics::mono_font::iso_8859_1::{FONT_7X13, FONT_9X15, FONT_9X15_BOLD};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::prelude::{Dimensions, DrawTarget, Drawable, Pixel, Point, Size};
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::{Baseline, Text};

pub(super) const WHITE: [u8; 3] = [255; 3];
pub(super) const BLACK: [u8; 3] = [0; 3];
/// Of lesser text.
pub(super) const DIM: [u8; 3] = [170; 3];
/// Of text that must be read.
pub(super) const ALARM: [u8; 3] = [255, 176, 0];

/// Sizes of text.
#[derive(Clone, Copy)]
pub(super) enum Font {
    Title,
    Normal,
    Small,
}

impl Font {
    fn face(self) -> &'static MonoFont<'static> {
        match self {
            Font::Title => &FONT_9X15_BOLD,
            Font::Normal => &FONT_9X15,
            Font::Small => &FONT_7X13,
        }
    }

    /// Pixels from one letter to the next.
    pub fn advance(self) -> usize {
        self.face().character_size.width as usize
    }

    /// Pixels from the top to the bottom of a line.
    pub fn height(self) -> usize {
        self.face().character_size.height as usize
    }

    /// Pixels across a text.
    pub fn width(self, text: &str) -> usize {
        self.advance() * text.chars().count()
    }
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rect {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// An RGB picture; what is drawn outside of it is lost.
pub(super) struct Canvas(Photo);

impl Canvas {
    pub fn new(width: usize, height: usize, colour: [u8; 3]) -> Self {
        Canvas(Photo::new(width, height, colour.repeat(width * height)))
    }

    pub fn into_photo(self) -> Photo {
        self.0
    }

    /// Covers a pixel with a colour at `alpha` (0 to 1).
    pub fn blend(&mut self, x: usize, y: usize, colour: [u8; 3], alpha: f32) {
        if x < self.0.width && y < self.0.height {
            let at = 3 * (y * self.0.width + x);
            let new = mixed(self.0.at(x, y), colour, alpha);
            self.0.rgb[at..at + 3].copy_from_slice(&new);
        }
    }

    /// Covers a rectangle.
    pub fn fill(&mut self, r: Rect, colour: [u8; 3], alpha: f32) {
        for y in r.y..(r.y + r.height).min(self.0.height) {
            for x in r.x..(r.x + r.width).min(self.0.width) {
                self.blend(x, y, colour, alpha);
            }
        }
    }

    /// Puts a picture with its top left corner at (`x`, `y`).
    pub fn paste(&mut self, photo: &Photo, x: usize, y: usize) {
        let n = photo.width.min(self.0.width.saturating_sub(x));
        for row in 0..photo.height.min(self.0.height.saturating_sub(y)) {
            let (to, from) = (3 * ((y + row) * self.0.width + x), 3 * row * photo.width);
            self.0.rgb[to..to + 3 * n].copy_from_slice(&photo.rgb[from..from + 3 * n]);
        }
    }

    /// One line of printable text with its top left corner at (`x`, `y`).
    pub fn text(&mut self, x: usize, y: usize, text: &str, font: Font, colour: [u8; 3]) {
        self.letters(x as i32, y as i32, text, font, colour);
    }

    /// Text with a dark border, to be read on any image.
    pub fn text_on_image(&mut self, x: usize, y: usize, text: &str, font: Font, colour: [u8; 3]) {
        for (dx, dy) in [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)] {
            self.letters(x as i32 + dx, y as i32 + dy, text, font, BLACK);
        }
        self.text(x, y, text, font, colour);
    }

    fn letters(&mut self, x: i32, y: i32, text: &str, font: Font, colour: [u8; 3]) {
        let style = MonoTextStyle::new(font.face(), Rgb888::new(colour[0], colour[1], colour[2]));
        let text = printable(text);
        // The error type has no values.
        let _ = Text::with_baseline(&text, Point::new(x, y), style, Baseline::Top).draw(self);
    }
}

impl Dimensions for Canvas {
    fn bounding_box(&self) -> Rectangle {
        let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Rectangle::new(Point::zero(), Size::new(side(self.0.width), side(self.0.height)))
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = std::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Self::Error> {
        for Pixel(p, c) in pixels {
            if let (Ok(x), Ok(y)) = (usize::try_from(p.x), usize::try_from(p.y)) {
                self.blend(x, y, [c.r(), c.g(), c.b()], 1.0);
            }
        }
        Ok(())
    }
}

/// The text with all that the fonts lack as `?`: controls, escapes, direction marks, other scripts. Letters
/// of ISO 8859-1 stay.
pub(super) fn printable(text: &str) -> String {
    let known = |c: char| matches!(c, ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{ff}');
    text.chars().map(|c| if known(c) { c } else { '?' }).collect()
}

/// The text in at most `most` letters; the middle is left out, for names differ in their ends.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(3);
    let head = kept.div_ceil(2);
    let start = &letters[..head];
    let end = &letters[letters.len() - (kept - head)..];
    start.iter().chain(&['.'; 3][..most.min(3)]).chain(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cleaned_and_shortened() {
        assert_eq!(printable("a\u{1b}[31m\n\u{202e}é\u{9b}脑"), "a?[31m??é??");
        assert_eq!(shortened("sub-01_T1w.nii.gz", 11), "sub-...i.gz");
        assert_eq!((shortened("abcdef", 2), shortened("abc", 3)), ("..".into(), "abc".into()));
        assert_eq!(shortened("abc", 0), "");
    }

    #[test]
    fn nothing_is_drawn_outside() {
        let mut c = Canvas::new(3, 2, BLACK);
        c.text_on_image(0, 0, "A very long text", Font::Title, WHITE);
        c.paste(&Photo::new(9, 9, vec![7; 243]), 2, 1);
        c.paste(&Photo::new(9, 9, vec![7; 243]), 20, 10);
        c.fill(Rect { x: 1, y: 1, width: 99, height: 99 }, WHITE, 0.5);
        assert_eq!(c.into_photo().at(2, 1), [131; 3]);
        Canvas::new(0, 0, BLACK).text(0, 0, "x", Font::Small, WHITE);
    }
}
