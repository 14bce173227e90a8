//! What stands above a picture: title, lines of text, legend.

use super::canvas::{Canvas, Font, Rect, WHITE, printable, shortened};

/// Colour around panels.
pub(super) const GROUND: [u8; 3] = [18, 18, 20];
/// Pixels around everything.
pub(super) const MARGIN: usize = 12;
/// Rows of a legend; labels beyond are counted.
const ROWS: usize = 4;
/// Letters of a label's name.
const NAME: usize = 32;
const LINE: usize = 20;
/// Side of a label's square.
const SQUARE: usize = 13;
const FONT: Font = Font::Normal;

/// Title, lines with their colours, and labels with their colours.
pub(super) struct Header {
    pub title: String,
    pub lines: Vec<(String, [u8; 3])>,
    pub labels: Vec<([u8; 3], String)>,
}

/// A label's place: row, pixels from the left, which label.
type Place = (usize, usize, usize);

impl Header {
    /// Pixels down, in a picture of `width`.
    pub fn height(&self, width: usize) -> usize {
        let rows = self.flow(width).0.last().map_or(0, |p| p.0 + 1);
        MARGIN + LINE * (1 + self.lines.len() + rows) + if rows > 0 { 6 } else { 2 }
    }

    /// Draws it at the top of a picture of `width`.
    pub fn draw(&self, canvas: &mut Canvas, width: usize) {
        let letters = |font: Font| width.saturating_sub(2 * MARGIN) / font.advance();
        let mut y = MARGIN;
        let title = shortened(&printable(&self.title), letters(Font::Title));
        canvas.text(MARGIN, y, &title, Font::Title, WHITE);
        for (line, colour) in &self.lines {
            y += LINE;
            canvas.text(MARGIN, y, &shortened(line, letters(FONT)), FONT, *colour);
        }
        y += LINE + 4;
        let (places, more) = self.flow(width);
        for &(row, x, i) in &places {
            let (colour, name) = (self.labels[i].0, name(&self.labels[i].1));
            let top = y + row * LINE;
            canvas.fill(Rect { x, y: top, width: SQUARE, height: SQUARE }, [110; 3], 1.0);
            canvas.fill(Rect { x: x + 1, y: top + 1, width: SQUARE - 2, height: SQUARE - 2 }, colour, 1.0);
            canvas.text(x + SQUARE + 5, top - 1, &name, FONT, WHITE);
        }
        if let (Some(text), Some(&(row, x, i))) = (more, places.last()) {
            canvas.text(x + entry(&self.labels[i].1), y + row * LINE - 1, &text, FONT, WHITE);
        }
    }

    /// Places of the labels that fit, and a text for those that do not.
    fn flow(&self, width: usize) -> (Vec<Place>, Option<String>) {
        let right = width.saturating_sub(MARGIN);
        let (mut places, mut row, mut x) = (Vec::<Place>::new(), 0, MARGIN);
        for (i, (_, name)) in self.labels.iter().enumerate() {
            if x > MARGIN && x + entry(name) > right {
                (row, x) = (row + 1, MARGIN);
            }
            if row == ROWS {
                break;
            }
            places.push((row, x, i));
            x += entry(name);
        }
        if places.len() == self.labels.len() {
            return (places, None);
        }
        // Labels give way until the text has room; one always stays.
        loop {
            let text = format!("+ {} more", self.labels.len() - places.len());
            let end = places.last().map_or(0, |&(_, x, i)| x + entry(&self.labels[i].1));
            if places.len() <= 1 || end + FONT.width(&text) <= right {
                return (places, Some(text));
            }
            places.pop();
        }
    }
}

fn name(name: &str) -> String {
    shortened(&printable(name), NAME)
}

/// Pixels across a label with its square and the gap to the next.
fn entry(label: &str) -> usize {
    SQUARE + 5 + FONT.width(&name(label)) + 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(n: usize) -> Header {
        let labels = (0..n).map(|i| ([9; 3], format!("label {i}"))).collect();
        Header { title: "t".into(), lines: vec![], labels }
    }

    #[test]
    fn labels_that_do_not_fit_are_counted() {
        assert_eq!(header(3).flow(1000).1, None);
        let h = header(300);
        let (places, more) = h.flow(1000);
        assert!(places.iter().all(|p| p.0 < ROWS));
        assert_eq!(more.unwrap(), format!("+ {} more", 300 - places.len()));
        assert_eq!(h.height(1000), h.height(900));
        for width in [0, 1, 50] {
            h.draw(&mut Canvas::new(width, 40, GROUND), width);
        }
        assert_eq!(header(0).flow(10), (vec![], None));
    }
}
