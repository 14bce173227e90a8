//! A service in this process, and a client that can be as rude as needed.

use ampoule_serve::{Config, Given, Limits, Result, Stop, serve};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bright discs in tiles of any size: a small network with a recipe.
pub fn discs() -> Given {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let graph = ampoule_onnx::read_file(&root.join("assets/quick/discs.onnx")).unwrap();
    let recipe = std::fs::read_to_string(root.join("recipes/discs.toml")).unwrap();
    Given { name: "discs".into(), graph, recipe: Some(recipe), sha256: "0".repeat(64) }
}

/// A classifier of photos, and one of its photos.
pub fn classifier() -> (Given, Vec<u8>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipeline/tests/golden/heat");
    let graph = ampoule_onnx::read_file(&folder.join("heat.onnx")).unwrap();
    let recipe = std::fs::read_to_string(folder.join("heat.toml")).unwrap();
    let photo = std::fs::read(folder.join("small.png")).unwrap();
    (Given { name: "classifier".into(), graph, recipe: Some(recipe), sha256: "1".repeat(64) }, photo)
}

/// One of the tiles.
pub fn tile() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/quick/test/test00.png")).unwrap()
}

pub fn config() -> Config {
    Config {
        host: [127, 0, 0, 1].into(),
        port: 0,
        grpc_port: None,
        token: None,
        instances: 1,
        queue: 32,
        keep: None,
        max_ram: None,
        options: ampoule_engine::Options { threads: 1, ..Default::default() },
        isa: "test".into(),
        calibration: None,
        limits: Limits { patience: Duration::from_secs(2), ..Limits::default() },
    }
}

/// A running service; it ends with this.
pub struct Server {
    pub address: SocketAddr,
    /// Path of the page.
    pub page: String,
    pub stop: Stop,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Server {
    pub fn start(config: Config) -> Server {
        Server::with(config, vec![discs()])
    }

    pub fn with(config: Config, models: Vec<Given>) -> Server {
        let stop = Stop::default();
        let (tell, told) = mpsc::channel();
        let own = stop.clone();
        let run = move || serve(config, models, &own, &mut |at| tell.send(at.clone()).unwrap());
        let thread = std::thread::spawn(run);
        let at = told.recv().expect("the service starts");
        let page = at.page.split_once("/p/").unwrap().1;
        Server { address: at.address, page: format!("/p/{page}"), stop, thread: Some(thread) }
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> Result<()> {
        self.thread.take().unwrap().join().unwrap()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(240))).unwrap();
        stream
    }

    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &[u8]) -> Reply {
        self.ask("POST", path, &[("content-type", "application/json")], body)
    }

    /// One request on a connection of its own.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut stream = self.connect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|h| h.0 == "host") {
            head += &format!("host: {}\r\n", self.address);
        }
        if !headers.iter().any(|h| h.0 == "content-length") {
            head += &format!("content-length: {}\r\n", body.len());
        }
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A service that refuses early may close before all is sent.
        let _ = stream.write_all(body);
        Reply::read(&mut stream)
    }

    /// The state of an upload once it is over.
    pub fn over(&self, id: &str) -> serde_json::Value {
        let begun = Instant::now();
        loop {
            let told = self.get(&format!("/cases/{id}")).json();
            let state = told["state"].as_str().unwrap_or("none").to_owned();
            if !["receiving", "queued", "running"].contains(&state.as_str()) {
                return told;
            }
            assert!(begun.elapsed() < Duration::from_secs(240), "{told}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.drain();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An answer.
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    /// Reads to the end; status 0 where the connection is closed without an answer.
    pub fn read(stream: &mut TcpStream) -> Reply {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let at = all.windows(4).position(|w| w == b"\r\n\r\n");
        let Some(at) = at else { return Reply { status: 0, head: String::new(), body: all } };
        let head = String::from_utf8(all[..at].to_vec()).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = match head.contains("transfer-encoding: chunked") {
            true => chunks(&all[at + 4..]),
            false => all[at + 4..].to_vec(),
        };
        Reply { status, head, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|l| l.strip_prefix(&format!("{name}: ")))
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Checks the status and a word of the sentence.
    #[track_caller]
    pub fn refused(&self, status: u16, word: &str) {
        let text = self.text();
        assert!(self.status == status && text.contains(word), "{} instead of {status}: {text}", self.status);
    }
}

fn chunks(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(at) = bytes.windows(2).position(|w| w == b"\r\n") {
        let n = usize::from_str_radix(std::str::from_utf8(&bytes[..at]).unwrap(), 16).unwrap();
        if n == 0 {
            break;
        }
        out.extend_from_slice(&bytes[at + 2..at + 2 + n]);
        bytes = &bytes[at + 4 + n..];
    }
    out
}

/// A request of bytes for an image of `side` by `side` pixels, with the length of its JSON.
pub fn binary(side: usize, value: f32) -> (Vec<u8>, String) {
    let bytes: Vec<u8> = (0..3 * side * side).flat_map(|i| (value + (i % 7) as f32).to_le_bytes()).collect();
    let json = serde_json::json!({
        "parameters": { "binary_data_output": true },
        "inputs": [{
            "name": "image", "shape": [1, 3, side, side], "datatype": "FP32",
            "parameters": { "binary_data_size": bytes.len() },
        }],
    })
    .to_string();
    let length = json.len().to_string();
    ([json.into_bytes(), bytes].concat(), length)
}

/// A ZIP file of stored or packed entries.
pub fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        out.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        out.write_all(content).unwrap();
    }
    out.finish().unwrap().into_inner()
}

/// Folders of services that are left in the folder for temporary files.
pub fn left() -> Vec<PathBuf> {
    let all = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten().map(|e| e.path());
    all.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("ampoule-serve-")).collect()
}
