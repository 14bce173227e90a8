//! Tiles whose rows run over the ends of lines.

use super::GemmArgs;

/// Rows of A that lie in a buffer of padded lines: the last rows of each line belong to no output, and lines of C lie
/// apart as C says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Place of the tile's first row in its line, below `stored`.
    pub first: usize,
    /// Rows of a line that are stored.
    pub stored: usize,
    /// Rows of a line.
    pub rows: usize,
    /// Distance between lines of C, in elements.
    pub c: isize,
    /// Distance between lines of the residual, in elements.
    pub residual: isize,
}

impl<'a> GemmArgs<'a> {
    /// The parts of the tile that are stored, with the row that each begins with: parts of C and the residual, while A
    /// remains that of the whole tile.
    pub(crate) fn stored_lines(&self) -> impl Iterator<Item = (usize, GemmArgs<'a>)> + use<'a> {
        let whole = *self;
        let (mut row, mut line) = (0, 0);
        std::iter::from_fn(move || {
            let Some(lines) = whole.lines else {
                let all = (row == 0).then_some((0, whole));
                row = whole.m;
                return all;
            };
            while row < whole.m {
                let place = if line == 0 { lines.first } else { 0 };
                let (first, count) = (row, lines.stored.saturating_sub(place).min(whole.m - row));
                let part = whole.part_of_line(lines, line, count);
                row += lines.rows - place;
                line += 1;
                if count > 0 {
                    return Some((first, part));
                }
            }
            None
        })
    }

    /// The first `count` rows of line `line` that are the tile's.
    fn part_of_line(mut self, lines: Lines, line: isize, count: usize) -> Self {
        let e = &mut self.epilogue;
        let size = match &e.requantize {
            // Raw sums.
            Some(q) if q.scale.is_null() => [4, 4],
            Some(q) => [e.elem.size(), q.residual.0.size()],
            None => [e.elem.size(); 2],
        };
        let back = if line == 0 { 0 } else { lines.first as isize };
        self.c = self.c.wrapping_offset((line * lines.c - back * self.c_row) * size[0] as isize);
        if !e.residual.is_null() {
            let moved = (line * lines.residual - back * e.residual_row) * size[1] as isize;
            e.residual = e.residual.wrapping_offset(moved);
        }
        (self.m, self.lines) = (count, None);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Elem;
    use crate::gemm::{Act, Epilogue};

    fn tile(m: usize, lines: Option<Lines>) -> GemmArgs<'static> {
        let epilogue = Epilogue {
            bias: std::ptr::null(),
            residual: std::ptr::null(),
            residual_row: 0,
            act: Act::None,
            elem: Elem::F32,
            requantize: None,
        };
        let (a, b, c) = (std::ptr::null(), std::ptr::null(), std::ptr::null_mut());
        GemmArgs { a, a_row: 1, taps: &[], run: 1, b, c, c_row: 10, m, n: 1, lines, epilogue }
    }

    fn parts(m: usize, lines: Option<Lines>) -> Vec<(usize, usize, isize)> {
        let parts = tile(m, lines).stored_lines().collect::<Vec<_>>();
        parts.iter().map(|(row, part)| (*row, part.m, part.c as isize / 4)).collect()
    }

    #[test]
    fn rows_between_lines_are_left_out() {
        assert_eq!(parts(5, None), [(0, 5, 0)]);
        let lines = Lines { first: 2, stored: 4, rows: 6, c: 1000, residual: 0 };
        // Two rows of the first line, four of the second after two that are left out, then two of the third.
        assert_eq!(parts(12, Some(lines)), [(0, 2, 0), (4, 4, 980), (10, 2, 1980)]);
        assert_eq!(parts(3, Some(lines)), [(0, 2, 0)]);
        assert_eq!(parts(2, Some(Lines { first: 0, ..lines })), [(0, 2, 0)]);
    }
}
