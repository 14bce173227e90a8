//! PyTorch in eager mode: a Python process that runs the graph node by node and reports its own times.

use crate::engine_error::EngineError;
use crate::transfer::Transfer;
use ampoule_engine::{ExternalError, ExternalNetwork};
use ampoule_files::Scratch;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Runs an ONNX graph with torch's functions; see the file.
const SCRIPT: &str = include_str!("torch.py");

/// Start of the lines that the script prints for us.
const MARK: &str = "ampoule-torch ";

struct Torch {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    folder: Scratch,
    transfer: Arc<Mutex<Transfer>>,
}

/// Starts Python on the network in `file`, which lies in `folder`.
pub(crate) fn start(
    environment: &Path,
    file: &Path,
    threads: usize,
    folder: Scratch,
    transfer: Arc<Mutex<Transfer>>,
) -> Result<Box<dyn ExternalNetwork>, EngineError> {
    let python = environment.join("bin/python");
    if !python.exists() {
        return Err(EngineError::NotInstalled { environment: environment.into() });
    }
    let script = folder.path().join("torch_eager.py");
    std::fs::write(&script, SCRIPT)?;
    let mut command = Command::new(python);
    command.arg(&script).arg(file).arg(threads.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let to = child.stdin.take().ok_or_else(no_pipe)?;
    let from = BufReader::new(child.stdout.take().ok_or_else(no_pipe)?);
    let mut torch = Torch { child, to, from, folder, transfer };
    let version = torch.answer()?;
    torch.transfer.lock().unwrap_or_else(|e| e.into_inner()).engine = version;
    Ok(Box::new(torch))
}

fn no_pipe() -> std::io::Error {
    std::io::Error::other("a pipe of its process is missing")
}

impl Torch {
    fn answer(&mut self) -> Result<String, EngineError> {
        let mut text = String::new();
        loop {
            text.clear();
            if self.from.read_line(&mut text)? == 0 {
                let mut said = String::new();
                if let Some(mut e) = self.child.stderr.take() {
                    let _ = std::io::Read::read_to_string(&mut e, &mut said);
                }
                let last = said.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no word").to_owned();
                return Err(EngineError::Ended { last });
            }
            if let Some(words) = text.strip_prefix(MARK) {
                return Ok(words.trim().to_owned());
            }
        }
    }
}

impl ExternalNetwork for Torch {
    fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, ExternalError> {
        let start = Instant::now();
        let path = |what: &str, i: usize| self.folder.path().join(format!("{what}{i}.f32"));
        for (i, v) in inputs.iter().enumerate() {
            let bytes: Vec<u8> = v.iter().flat_map(|x| x.to_le_bytes()).collect();
            std::fs::write(path("in", i), bytes)?;
        }
        writeln!(self.to, "run {}", self.folder.path().display())?;
        self.to.flush()?;
        // Milliseconds in the network, MiB at most so far, outputs.
        let words = self.answer()?;
        let numbers: Option<Vec<f64>> = words.split_whitespace().map(|w| w.parse().ok()).collect();
        let Some([ms, peak, outputs]) = numbers.as_deref() else {
            return Err(EngineError::Answer { answer: words }.into());
        };
        let path = |i: usize| self.folder.path().join(format!("out{i}.f32"));
        let mut found = Vec::new();
        for i in 0..*outputs as usize {
            let bytes = std::fs::read(path(i))?;
            found.push(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect());
        }
        let mut transfer = self.transfer.lock().unwrap_or_else(|e| e.into_inner());
        transfer.ms += start.elapsed().as_secs_f64() * 1e3 - ms;
        transfer.peak_mib = Some(*peak);
        Ok(found)
    }
}

impl Drop for Torch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
