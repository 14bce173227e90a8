//! UIDs and moments of DICOM objects.

/// The moment in UTC as `YYYYMMDD` and `HHMMSS`.
pub(super) fn moment() -> [String; 2] {
    let now = jiff::Timestamp::now();
    ["%Y%m%d", "%H%M%S"].map(|f| now.strftime(f).to_string())
}

/// A UID of the root for UUIDs (PS3.5, B.2), made of the beginning of a hash.
pub(super) fn dicom_uid(hash: &str) -> String {
    let bits = hash.get(..32).and_then(|h| u128::from_str_radix(h, 16).ok()).unwrap_or(1);
    // Version 8, whose other bits are free, and the variant that all UUIDs have.
    let uuid = bits & !(0xf << 76) & !(0x3 << 62) | 0x8 << 76 | 0x2 << 62;
    format!("2.25.{uuid}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sha256_hex;

    #[test]
    fn uids_are_valid_and_differ() {
        let [a, b] = ["a", "b"].map(|t| dicom_uid(&sha256_hex(t.as_bytes())));
        assert!(a != b && a.len() <= 64 && a.chars().all(|c| c.is_ascii_digit() || c == '.'), "{a}");
    }
}
