//! The file that says who may send, which models run on what, and where results go.

use crate::peers::{Network, Peer};
use crate::{Error, Result};
use ampoule_dicom::{SegmentationKind, Series, fits};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// Largest file that is read.
const LARGEST: u64 = 1 << 20;
/// Longest title of an application entity.
const TITLE: usize = 16;

/// What a node does.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its title, which associations must call.
    #[serde(default = "own_title")]
    pub ae: String,
    /// Address to listen on.
    #[serde(default = "loopback")]
    pub host: IpAddr,
    /// Port; 0 for a free one.
    #[serde(default = "port")]
    pub port: u16,
    /// Folder of the queue.
    pub spool: PathBuf,
    /// What senders may do.
    #[serde(default)]
    pub limits: Limits,
    /// Who may send; everybody on this machine where none is named.
    #[serde(default, rename = "peer")]
    pub peers: Vec<Peer>,
    /// What runs.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
    /// Where results go.
    #[serde(default, rename = "destination")]
    pub destinations: Vec<Destination>,
}

fn own_title() -> String {
    "AMPOULE".into()
}

fn loopback() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

fn port() -> u16 {
    11112
}

/// What senders may do.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Associations at a time.
    pub associations: usize,
    /// Seconds that a sender has for each step: its request, and each part of an object.
    pub patience: u64,
    /// Largest object in MiB.
    pub object_mib: u64,
    /// Most MiB of all studies that are there, received, at work, or put aside.
    pub spool_mib: u64,
    /// Largest part of a message in KiB; an association holds a few of them in memory.
    pub pdu_kib: u32,
    /// Seconds without another object after which a study whose senders have released is complete.
    pub quiet: u64,
    /// Minutes that a study whose sender was cut off waits for it to come again.
    pub cut_minutes: u64,
    /// Hours for which results that cannot be delivered are tried again.
    pub send_hours: u64,
    /// Days that the records of finished studies stay.
    pub record_days: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            associations: 8,
            patience: 60,
            object_mib: 4096,
            spool_mib: 102_400,
            pdu_kib: 256,
            quiet: 10,
            cut_minutes: 60,
            send_hours: 24,
            record_days: 30,
        }
    }
}

/// Which series a model runs on. Texts are patterns: `*` stands for any signs, `?` for one, letters' case does not count.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, which folders of results get.
    pub name: String,
    /// Model file or fetched name.
    pub model: String,
    /// Of these modalities, such as `MR`.
    pub modality: Option<String>,
    /// Of series whose description fits.
    pub description: Option<String>,
    /// Of this body part.
    pub body_part: Option<String>,
    /// Of this device.
    pub station: Option<String>,
    /// Of senders of this title.
    pub calling: Option<String>,
    /// As `run --fast`.
    #[serde(default)]
    pub fast: bool,
    /// As `run --labels`.
    #[serde(default)]
    pub labels: Vec<String>,
    /// As `run --seg`.
    #[serde(default)]
    pub seg: Seg,
    /// As `run --channel`: the series of each channel of a model that takes several.
    #[serde(default)]
    pub channel: BTreeMap<String, String>,
    /// Names of the destinations of its results.
    pub send: Vec<String>,
}

/// How labels are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seg {
    /// A bit a pixel, which all viewers take.
    #[default]
    Binary,
    /// Values of labels.
    Labelmap,
}

impl Seg {
    pub(crate) fn kind(self) -> SegmentationKind {
        match self {
            Seg::Binary => SegmentationKind::Binary,
            Seg::Labelmap => SegmentationKind::Labelmap,
        }
    }
}

impl Rule {
    /// Channels with what means their series.
    pub(crate) fn channels(&self) -> Vec<(String, String)> {
        self.channel.iter().map(|(name, series)| (name.clone(), series.clone())).collect()
    }

    /// Whether a series of a sender is meant.
    pub fn wants(&self, calling: &str, s: &Series) -> bool {
        let is = |pattern: &Option<String>, text: &str| pattern.as_ref().is_none_or(|p| fits(p, text));
        is(&self.calling, calling)
            && is(&self.modality, &s.modality)
            && is(&self.description, &s.description)
            && is(&self.body_part, &s.body_part)
            && is(&self.station, &s.station)
    }
}

/// Where results go.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Its name in rules.
    pub name: String,
    /// Title of a node.
    pub ae: Option<String>,
    /// Its address or name.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// A folder instead of a node.
    pub folder: Option<PathBuf>,
}

/// A destination that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A node, by title and `HOST:PORT`.
    Node {
        /// Its title.
        ae: String,
        /// Where it listens.
        address: String,
    },
    /// A folder.
    Folder(PathBuf),
}

impl Destination {
    /// Where it is; `None` where it is both, or not all of one.
    pub fn target(&self) -> Option<Target> {
        match (&self.ae, &self.host, self.port, &self.folder) {
            (Some(ae), Some(host), Some(port), None) => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                Some(Target::Node { ae: ae.clone(), address: format!("{host}:{port}") })
            }
            (None, None, None, Some(folder)) => Some(Target::Folder(folder.clone())),
            _ => None,
        }
    }
}

impl Config {
    /// Reads a configuration; says everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Config> {
        let fail = |reason: String| Error::Config { path: path.into(), reason };
        let mut text = String::new();
        let file = ampoule_files::open_plain(path).map_err(|e| fail(e.to_string()))?;
        file.take(LARGEST).read_to_string(&mut text).map_err(|e| fail(e.to_string()))?;
        let config: Config = toml::from_str(&text).map_err(|e| fail(e.to_string().trim_end().to_owned()))?;
        let wrong = config.wrong();
        match wrong.is_empty() {
            true => Ok(config),
            false => Err(fail(wrong.join("; "))),
        }
    }

    /// Everything that makes no sense.
    fn wrong(&self) -> Vec<String> {
        let mut out = Vec::new();
        if !is_title(&self.ae) {
            out.push(format!("`ae` = `{}` is no title of 1 to {TITLE} characters", self.ae));
        }
        if self.peers.is_empty() && !self.host.is_loopback() {
            out.push(format!("{} is reached from other machines: name who may send by [[peer]]", self.host));
        }
        self.wrong_peers(&mut out);
        self.wrong_rules(&mut out);
        self.wrong_destinations(&mut out);
        let l = &self.limits;
        for (name, value) in [
            ("associations", l.associations as u64),
            ("patience", l.patience),
            ("object_mib", l.object_mib),
            ("spool_mib", l.spool_mib),
        ] {
            if value == 0 {
                out.push(format!("`{name}` is 0"));
            }
        }
        if !(16..=4096).contains(&l.pdu_kib) {
            out.push("`pdu_kib` is from 16 to 4096".into());
        }
        out
    }

    fn wrong_peers(&self, out: &mut Vec<String>) {
        for p in &self.peers {
            if p.ae.is_none() && p.address.is_none() {
                out.push("a [[peer]] has neither `ae` nor `address`".into());
            }
            if let Some(ae) = p.ae.as_ref().filter(|ae| !is_title(ae)) {
                out.push(format!("`{ae}` is no title of 1 to {TITLE} characters"));
            }
            if let Some(a) = p.address.as_ref().filter(|a| Network::parse(a).is_none()) {
                out.push(format!("`{a}` is no address (10.0.0.7) and no network (10.0.0.0/24)"));
            }
        }
    }

    fn wrong_rules(&self, out: &mut Vec<String>) {
        if self.rules.is_empty() {
            out.push("there is no [[rule]]".into());
        }
        let mut seen = BTreeSet::new();
        for r in &self.rules {
            if !is_name(&r.name) {
                out.push(format!("rule `{}`: a name has letters, digits, `-` and `_`", r.name));
            }
            if !seen.insert(r.name.to_lowercase()) {
                out.push(format!("two rules are called `{}`", r.name));
            }
            if r.send.is_empty() {
                out.push(format!("rule `{}` sends its results nowhere; name destinations by `send`", r.name));
            }
            for d in r.send.iter().filter(|d| !self.destinations.iter().any(|k| k.name == **d)) {
                out.push(format!("rule `{}`: there is no destination `{d}`", r.name));
            }
        }
    }

    fn wrong_destinations(&self, out: &mut Vec<String>) {
        let mut seen = BTreeSet::new();
        for d in &self.destinations {
            if !seen.insert(&d.name) {
                out.push(format!("two destinations are called `{}`", d.name));
            }
            if d.target().is_none() {
                out.push(format!("destination `{}` has either `ae`, `host` and `port`, or `folder`", d.name));
            }
            if let Some(ae) = d.ae.as_ref().filter(|ae| !is_title(ae)) {
                out.push(format!("destination `{}`: `{ae}` is no title of 1 to {TITLE} characters", d.name));
            }
        }
    }

    /// A destination by its name.
    pub(crate) fn target(&self, name: &str) -> Option<Target> {
        self.destinations.iter().find(|d| d.name == name)?.target()
    }
}

fn is_title(text: &str) -> bool {
    let fine = |b: u8| (b' '..=b'~').contains(&b) && b != b'\\';
    (1..=TITLE).contains(&text.len()) && text.trim() == text && text.bytes().all(fine)
}

fn is_name(text: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
        spool = "spool"
        [[rule]]
        name = "brain"
        model = "deepbet"
        modality = "MR"
        description = "*t1*"
        send = ["pacs", "disk"]
        [[destination]]
        name = "pacs"
        ae = "ORTHANC"
        host = "10.0.0.2"
        port = 4242
        [[destination]]
        name = "disk"
        folder = "results"
    "#;

    fn read(text: &str) -> std::result::Result<Config, String> {
        let d = tempfile::tempdir().unwrap();
        let path = d.path().join("listen.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn a_small_file_is_enough_and_stays_on_this_machine() {
        let c = read(SMALL).unwrap();
        assert!(c.host.is_loopback() && c.ae == "AMPOULE" && c.limits == Limits::default());
        assert_eq!(
            c.target("pacs"),
            Some(Target::Node { ae: "ORTHANC".into(), address: "10.0.0.2:4242".into() })
        );
        assert_eq!(c.target("disk"), Some(Target::Folder("results".into())));
    }

    #[test]
    fn everything_that_is_wrong_is_said() {
        let bad =
            SMALL.replace("\"disk\"]", "\"disc\"]").replace("port = 4242", "").replace("brain", "../brain");
        let told =
            read(&("host = \"0.0.0.0\"\nae = \"A TITLE THAT IS TOO LONG\"".to_owned() + &bad)).unwrap_err();
        for part in ["[[peer]]", "no title", "no destination `disc`", "`pacs` has either", "letters, digits"]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
        let unknown = read(&SMALL.replace("modality", "modalety")).unwrap_err();
        assert!(unknown.contains("modalety") && unknown.contains("modality"), "{unknown}");
        assert!(read("spool = \"x\"").unwrap_err().contains("no [[rule]]"));
        assert!(
            read(&(SMALL.to_owned() + "[[peer]]\naddress = \"10.0.0.0/40\""))
                .unwrap_err()
                .contains("10.0.0.0/40")
        );
    }

    #[test]
    fn rules_choose_series_by_all_that_they_say() {
        let series = |modality: &str, description: &str| Series {
            uid: String::new(),
            study: String::new(),
            number: None,
            description: description.into(),
            modality: modality.into(),
            body_part: "BRAIN".into(),
            station: "MR1".into(),
            places: Vec::new(),
            shape: Err(ampoule_dicom::Error::OneSlice),
            notes: Vec::new(),
        };
        let rule = &read(SMALL).unwrap().rules[0];
        assert!(rule.wants("X", &series("MR", "Ax T1 mprage")));
        assert!(!rule.wants("X", &series("CT", "Ax T1 mprage")) && !rule.wants("X", &series("MR", "T2")));
        let more = Rule { calling: Some("CT?".into()), station: Some("mr*".into()), ..rule.clone() };
        assert!(more.wants("ct1", &series("MR", "t1")) && !more.wants("MR1", &series("MR", "t1")));
    }
}
