//! What a client must know.

use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Fewest characters that are hard to guess.
const SHORTEST: usize = 16;
/// Largest file that is read for one.
const LARGEST: u64 = 4096;

/// A secret text. It is kept as a hash, and compared in a time that does not depend on what differs.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// A text of at least 16 visible ASCII characters. `place` is where it comes from, for errors.
    pub fn new(text: &str, place: &str) -> Result<Token> {
        let fail = |reason: &str| Err(Error::Token { place: place.into(), reason: reason.into() });
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return fail("a token has visible ASCII characters only, without spaces");
        }
        if text.len() < SHORTEST {
            return fail("a token has at least 16 characters; `openssl rand -hex 32` makes one");
        }
        Ok(Token(Sha256::digest(text).into()))
    }

    /// The first line of a file.
    pub fn of_file(path: &Path) -> Result<Token> {
        let place = path.display().to_string();
        let fail = |reason: String| Error::Token { place: place.clone(), reason };
        let file = ampoule_files::open_plain(path).map_err(|e| fail(e.to_string()))?;
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(file, LARGEST), &mut text)
            .map_err(|e| fail(e.to_string()))?;
        Token::new(text.lines().next().unwrap_or("").trim(), &place)
    }

    /// Whether `text` is it.
    pub fn is(&self, text: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(text).into();
        let differing = self.0.iter().zip(given).fold(0u8, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(differing) == 0
    }
}

/// 128 random bits of the system as hexadecimal digits.
pub(crate) fn random() -> Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| Error::System(std::io::Error::other(e.to_string())))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_plain() {
        let token = Token::new("0123456789abcdef", "test").unwrap();
        assert!(token.is("0123456789abcdef") && !token.is("0123456789abcdeg") && !token.is(""));
        for bad in ["", "short", "with a space in the middle", "0123456789abcdef\n"] {
            assert!(Token::new(bad, "test").is_err(), "{bad:?}");
        }
        let d = tempfile::tempdir().unwrap();
        let path = d.path().join("token");
        std::fs::write(&path, "  0123456789abcdef \r\nmore\n").unwrap();
        assert!(Token::of_file(&path).unwrap().is("0123456789abcdef"));
        assert_ne!(random().unwrap(), random().unwrap());
    }
}
