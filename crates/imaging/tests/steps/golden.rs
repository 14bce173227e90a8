//! Reads the golden files.

use ampoule_imaging::Volume;
use serde_json::Value;
use std::path::Path;

/// The cases of one topic and the numbers of their arrays.
pub struct Topic {
    cases: Vec<Value>,
    numbers: Vec<f32>,
}

impl Topic {
    pub fn read(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/steps");
        let text = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
        let mut root: Value = serde_json::from_slice(&text).unwrap();
        let numbers = match std::fs::read(folder.join(format!("{name}.f32"))) {
            Ok(bytes) => bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
            Err(_) => {
                let bytes = std::fs::read(folder.join(format!("{name}.u8"))).unwrap();
                bytes.into_iter().map(f32::from).collect()
            }
        };
        let Value::Array(cases) = root["cases"].take() else { panic!("{name}: no cases") };
        Topic { cases, numbers }
    }

    /// All cases of a kind; at least one.
    pub fn cases(&self, kind: &str) -> Vec<Case<'_>> {
        let list: Vec<Case> = self
            .cases
            .iter()
            .filter(|c| c["kind"] == kind)
            .map(|fields| Case { fields, topic: self })
            .collect();
        assert!(!list.is_empty(), "no case of {kind}");
        list
    }

    /// An array of the first case of a kind.
    pub fn array(&self, kind: &str, key: &str) -> Volume<f32> {
        self.cases(kind)[0].array(key)
    }
}

pub struct Case<'a> {
    pub fields: &'a Value,
    topic: &'a Topic,
}

impl Case<'_> {
    /// A stored array.
    pub fn array(&self, key: &str) -> Volume<f32> {
        self.volume(&self.fields[key])
    }

    pub fn volume(&self, v: &Value) -> Volume<f32> {
        let dims = triple(&v["dims"]);
        let at = v["at"].as_u64().unwrap() as usize;
        Volume::new(dims, self.topic.numbers[at..at + dims.iter().product::<usize>()].to_vec())
    }

    pub fn has(&self, key: &str) -> bool {
        !self.fields[key].is_null()
    }

    pub fn number(&self, key: &str) -> f64 {
        self.fields[key].as_f64().unwrap_or_else(|| panic!("{key} of {}", self.fields))
    }

    pub fn text(&self, key: &str) -> &str {
        self.fields[key].as_str().unwrap_or_else(|| panic!("{key} of {}", self.fields))
    }

    pub fn flag(&self, key: &str) -> bool {
        self.fields[key].as_bool().unwrap_or_else(|| panic!("{key} of {}", self.fields))
    }

    pub fn triple(&self, key: &str) -> [usize; 3] {
        triple(&self.fields[key])
    }

    pub fn spacing(&self, key: &str) -> [f64; 3] {
        [0, 1, 2].map(|i| self.fields[key][i].as_f64().unwrap())
    }

    /// The size of a stored array.
    pub fn triple_of(&self, key: &str) -> [usize; 3] {
        triple(&self.fields[key]["dims"])
    }

    /// Two numbers, each perhaps null.
    pub fn ends(&self, key: &str) -> (Option<f64>, Option<f64>) {
        (self.fields[key][0].as_f64(), self.fields[key][1].as_f64())
    }

    pub fn pair(&self, key: &str) -> (f64, f64) {
        let (a, b) = self.ends(key);
        (a.unwrap(), b.unwrap())
    }

    /// Asserts that `got` is the array `key` within `tolerance`.
    pub fn check(&self, key: &str, got: &Volume<f32>, tolerance: f32) {
        let want = self.array(key);
        assert_eq!(got.dims, want.dims, "{}", self.fields);
        let mut worst = (0.0, 0);
        for (i, (a, b)) in got.data.iter().zip(&want.data).enumerate() {
            let d = if a.is_finite() && b.is_finite() { (a - b).abs() } else { f32::INFINITY };
            if d > worst.0 {
                worst = (d, i);
            }
        }
        if std::env::var_os("GOLDEN_WORST").is_some() {
            println!("worst {:.2e} of {tolerance:.0e} {}", worst.0, self.fields);
        }
        let (d, i) = worst;
        assert!(d <= tolerance, "[{i}]: {} instead of {} in {}", got.data[i], want.data[i], self.fields);
    }
}

pub fn triple(v: &Value) -> [usize; 3] {
    [0, 1, 2].map(|i| v[i].as_u64().unwrap() as usize)
}
