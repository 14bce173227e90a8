//! Folders of results that the page shows, by names that hold no path.

use crate::cases::Store;
use crate::refusal::Refusal;
use crate::results::{Files, Folder};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Where results come from.
pub(crate) enum Sources {
    /// Folders that were given: variants of the same cases.
    Given(Vec<(String, Arc<Folder>)>),
    /// Uploads.
    Uploads {
        store: Arc<Store>,
        /// Folders that are looked at, by the id of the upload.
        open: Mutex<BTreeMap<String, Arc<Folder>>>,
    },
}

impl Sources {
    /// Those of a service.
    pub fn uploads(store: Arc<Store>) -> Sources {
        Sources::Uploads { store, open: Mutex::default() }
    }

    /// The folder of a name.
    pub fn find(&self, name: &str) -> Result<Arc<Folder>, Refusal> {
        match self {
            Sources::Given(list) => {
                let at: Option<usize> = name.parse().ok();
                let found = at.and_then(|i| list.get(i)).map(|s| s.1.clone());
                found.ok_or_else(|| Refusal::unknown("there are no such results"))
            }
            Sources::Uploads { store, open } => {
                let job = store.find(name)?;
                let mut open = open.lock().unwrap_or_else(|e| e.into_inner());
                open.retain(|id, _| store.find(id).is_ok());
                let new = || Arc::new(Folder::new(job.output(), Files::Below(job.input())));
                Ok(open.entry(name.to_owned()).or_insert_with(new).clone())
            }
        }
    }

    /// What the page is to know of them.
    pub fn told(&self) -> Value {
        match self {
            Sources::Given(list) => {
                let one = |(i, (name, _)): (usize, &(String, Arc<Folder>))| json!({ "id": i.to_string(), "name": name });
                json!({ "mode": "view", "sources": list.iter().enumerate().map(one).collect::<Vec<_>>() })
            }
            Sources::Uploads { store, .. } => json!({
                "mode": "serve",
                "models": store.models,
                "upload": store.limits.upload,
                "stay": store.limits.stay.as_secs(),
            }),
        }
    }
}
