//! Which versions of GaNDLF may have read a configuration. What they make of the same text differs.

use super::super::config::Config;

/// A version by its three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub [u32; 3]);

/// From here on `data_preprocessing` is a table of known keys (pydantic), and comes in their order.
pub(super) const DECLARED: Version = Version([0, 1, 3]);
/// From here on `rescale` takes its `out_min_max`.
pub(super) const RESCALED: Version = Version([0, 1, 0]);
/// From here on keys of `data_preprocessing` are what this program knows of them.
pub(super) const OLDEST: Version = Version([0, 0, 14]);

impl Version {
    /// The first three numbers of a text such as `0.1.5` or `0.1.6-dev`.
    pub fn parse(text: &str) -> Option<Version> {
        let mut numbers = text.trim().split(['.', '-', '+']).map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        Some(Version([next()?, next()?, next()?]))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let [a, b, c] = self.0;
        write!(f, "{a}.{b}.{c}")
    }
}

/// Where a configuration comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Origin {
    least: Version,
    most: Version,
    /// GaNDLF has read it already and saved what it made of it, in the checkpoint.
    pub parsed: bool,
}

impl Origin {
    /// By the version that the checkpoint states, else by the versions for which the configuration is written.
    pub fn of(config: &Config, checkpoint: Option<&str>, parsed: bool) -> Origin {
        if let Some(v) = checkpoint.and_then(Version::parse) {
            return Origin { least: v, most: v, parsed };
        }
        let stated = config.get("version");
        let bound = |key: &str| {
            let text = stated.as_ref()?.get(key)?;
            text.value().as_str().and_then(Version::parse)
        };
        let least = bound("minimum").unwrap_or(Version([0; 3]));
        Origin { least, most: bound("maximum").unwrap_or(Version([u32::MAX; 3])), parsed }
    }

    /// All versions that may have trained the model come before this one.
    pub fn before(&self, v: Version) -> bool {
        self.most < v
    }

    /// None of them comes before this one.
    pub fn from(&self, v: Version) -> bool {
        self.least >= v
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_checkpoint_tells_the_version_before_the_configuration_does() {
        let value = json!({"version": {"minimum": "0.0.14", "maximum": "0.1.2"}});
        let config = Config::root(&value, "config.yaml".into());
        let of = |text: Option<&str>| {
            let o = Origin::of(&config, text, false);
            (o.before(DECLARED), o.from(DECLARED))
        };
        assert_eq!(of(Some("0.1.6-dev")), (false, true));
        assert_eq!(of(Some("0.0.20")), (true, false));
        assert_eq!(of(Some("unknown")), (true, false));
        assert_eq!(of(None), (true, false));
        let value = json!({"version": {"minimum": "0.0.14", "maximum": "0.1.5"}});
        let wide = Origin::of(&Config::root(&value, "config.yaml".into()), None, false);
        assert!(!wide.before(DECLARED) && !wide.from(DECLARED));
    }
}
