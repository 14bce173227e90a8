//! Runs the program and watches it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A folder for one test.
pub struct Dir(tempfile::TempDir);

impl Dir {
    pub fn new() -> Self {
        Dir(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub fn here(&self) -> &Path {
        self.0.path()
    }
}

/// What a run may take. Loose: the tests share a machine, and a bomb is far beyond.
pub const SECONDS: u64 = 60;
pub const MIB: u64 = 400;

/// How a run ended.
pub struct Ended {
    pub code: Option<i32>,
    pub text: String,
    pub peak_mib: u64,
    pub seconds: f64,
}

pub fn start(d: &Dir, args: &[&str]) -> Child {
    let mut c = crate::program::program();
    c.current_dir(d.here()).args(args).env("AMPOULE_MODELS", d.path("models")).env_remove("RUST_BACKTRACE");
    c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Peak memory of a process so far, where the system tells it.
fn peak_mib(id: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? >> 10)
}

/// Waits for the end, and ends what takes too long.
pub fn wait(mut child: Child, what: &str) -> Ended {
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let text = std::thread::spawn(move || {
        let mut all = Vec::new();
        err.read_to_end(&mut all).unwrap();
        out.read_to_end(&mut all).unwrap();
        String::from_utf8_lossy(&all).into_owned()
    });
    let (begun, mut peak) = (Instant::now(), 0);
    let status = loop {
        peak = peak_mib(child.id()).unwrap_or(0).max(peak);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > Duration::from_secs(SECONDS) {
            child.kill().unwrap();
            panic!("{what} takes more than {SECONDS} s");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let seconds = begun.elapsed().as_secs_f64();
    Ended { code: status.code(), text: text.join().unwrap(), peak_mib: peak, seconds }
}

/// Runs and checks exit code, words and bounds; nothing of the program's own failure may show.
#[track_caller]
pub fn refused(d: &Dir, args: &[&str], code: i32, words: &[&str]) -> Ended {
    let ended = wait(start(d, args), &format!("{args:?}"));
    assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.text);
    for w in words {
        assert!(ended.text.contains(w), "{args:?}: `{w}` is not in: {}", ended.text);
    }
    assert!(!ended.text.contains("panicked"), "{args:?}: {}", ended.text);
    assert!(ended.peak_mib <= MIB, "{args:?}: {} MiB after {:.1} s", ended.peak_mib, ended.seconds);
    ended
}
