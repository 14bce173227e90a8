/// Sizes of three spatial axes, slowest first.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub [usize; 3]);

impl Size {
    /// Reads `128` or `128x160x128`.
    pub fn parse(text: &str) -> Result<Size, String> {
        let axis = |part: &str| part.parse().ok().filter(|n| (1..=65_536).contains(n));
        let axes: Option<Vec<usize>> = text.split('x').map(axis).collect();
        match axes.as_deref() {
            Some([n]) => Ok(Size([*n; 3])),
            Some([a, b, c]) => Ok(Size([*a, *b, *c])),
            _ => Err("a size such as 128 or 128x160x128, each 1 to 65536".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_size_or_three() {
        assert_eq!(Size::parse("64").unwrap().0, [64; 3]);
        assert_eq!(Size::parse("1x2x3").unwrap().0, [1, 2, 3]);
        for wrong in ["", "0", "1x2", "1x2x3x4", "-1", "65537"] {
            assert!(Size::parse(wrong).is_err(), "{wrong}");
        }
    }
}
