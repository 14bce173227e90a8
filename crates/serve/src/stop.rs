//! Ending in order: what runs is finished, nothing new is begun.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// How far a service is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Stage {
    Running,
    /// What runs is finished; results are still handed out.
    Draining,
    /// Nothing is handed out any more.
    Closed,
}

/// Ends a service from another thread. Clones end the same one.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stage: watch::Sender<Stage>,
    /// Folders that are nobody's once the service is gone.
    folders: Mutex<BTreeSet<PathBuf>>,
}

impl Default for Stop {
    fn default() -> Self {
        Stop(Arc::new(Inner { stage: watch::Sender::new(Stage::Running), folders: Mutex::default() }))
    }
}

impl Stop {
    /// Begins nothing new, finishes what runs, then ends.
    pub fn drain(&self) {
        self.reach(Stage::Draining);
    }

    /// Removes what would be left behind, for a process that ends now.
    pub fn discard(&self) {
        let all = std::mem::take(&mut *self.0.folders.lock().unwrap_or_else(|e| e.into_inner()));
        for folder in all {
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    /// Notes a folder that [`Stop::discard`] removes.
    pub(crate) fn temporary(&self, folder: &Path) {
        self.0.folders.lock().unwrap_or_else(|e| e.into_inner()).insert(folder.to_owned());
    }

    /// The folders that were noted.
    #[cfg(test)]
    pub(crate) fn folders(&self) -> BTreeSet<PathBuf> {
        self.0.folders.lock().unwrap().clone()
    }

    /// Whether nothing new is begun.
    pub(crate) fn is_draining(&self) -> bool {
        *self.0.stage.borrow() >= Stage::Draining
    }

    /// Closes all connections.
    pub(crate) fn close(&self) {
        self.reach(Stage::Closed);
    }

    /// Returns once nothing new is begun.
    pub(crate) async fn draining(&self) {
        self.wait(Stage::Draining).await;
    }

    /// Returns once connections are to be closed.
    pub(crate) async fn closed(&self) {
        self.wait(Stage::Closed).await;
    }

    async fn wait(&self, stage: Stage) {
        // The sender lives as long as this.
        let _ = self.0.stage.subscribe().wait_for(|s| *s >= stage).await;
    }

    fn reach(&self, stage: Stage) {
        self.0.stage.send_if_modified(|now| {
            let later = stage > *now;
            *now = if later { stage } else { *now };
            later
        });
    }
}
