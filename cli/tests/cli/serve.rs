//! `serve` and `view` as commands: where they say that they are, what they refuse, how they end.

use crate::program::program;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The folder of the small network and its tiles.
fn quick() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/quick")
}

/// A command that stays, and the JSON that it printed.
struct Running(Child, serde_json::Value);

impl Running {
    fn start(command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Running(child, serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}")))
    }

    /// The status of an answer, and its body.
    fn get(&self, page: &str, more: &str) -> (u16, String) {
        let address = page.strip_prefix("http://").unwrap();
        let (host, path) = address.split_once('/').unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n").unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        let (head, body) = all.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[cfg(unix)]
    fn end(mut self) -> Option<i32> {
        Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        self.0.wait().unwrap().code()
    }

    #[cfg(not(unix))]
    fn end(mut self) -> Option<i32> {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        Some(0)
    }
}

#[test]
fn a_service_says_where_it_is_and_ends_with_0() {
    let mut command = program();
    command.arg("serve").arg(format!("tiles={}", quick().join("discs.onnx").display()));
    command.args(["--port", "0", "--grpc-port", "0", "--json", "--threads", "1"]);
    let service = Running::start(command.env("AMPOULE_TOKEN", "a-token-of-enough-characters"));
    assert!(service.1["grpc"].as_str().is_some_and(|a| a.starts_with("127.0.0.1:")), "{}", service.1);
    let models = format!("http://{}/v2/models/tiles", service.1["address"].as_str().unwrap());
    assert_eq!(service.get(&models, "").0, 401);
    let (status, text) = service.get(&models, "authorization: Bearer a-token-of-enough-characters\r\n");
    assert!(status == 200 && text.contains("\"name\":\"image\""), "{status} {text}");
    let page = service.1["page"].as_str().unwrap();
    assert_eq!(service.get(page, "").0, 200);
    assert_eq!(service.end(), Some(0));
}

#[test]
fn results_are_shown_and_end_with_0() {
    let d = tempfile::tempdir().unwrap();
    let out = d.path().join("out");
    let mut run = program();
    run.arg("run").arg(quick().join("discs.onnx")).arg(quick().join("test/test00.png"));
    run.args(["--recipe", "discs", "-o"]).arg(&out);
    assert!(run.arg("--quiet").status().unwrap().success());
    let view = Running::start(program().arg("view").arg(&out).args(["--no-open", "--json"]));
    let page = view.1["page"].as_str().unwrap();
    let (status, list) = view.get(&format!("{page}r/0/cases"), "");
    assert!(
        status == 200 && list.contains("\"name\":\"test00\"") && list.contains("\"mask\":true"),
        "{list}"
    );
    assert_eq!(view.get(&page.replace("/p/", "/p/0"), "").0, 404);
    assert_eq!(view.end(), Some(0));
}

#[test]
fn what_cannot_be_served_is_said_before_anything_listens() {
    let d = tempfile::tempdir().unwrap();
    std::fs::write(d.path().join("token"), "short\n").unwrap();
    let model = quick().join("discs.onnx");
    let model = model.to_str().unwrap();
    for (line, word) in [
        (&["serve", model, "--host", "0.0.0.0"][..], "--token"),
        (&["serve", model, "--token", "token"], "16 characters"),
        (&["serve", model, "--token", "none"], "none"),
        (&["serve", model, model, "--port", "0"], "another name"),
        (&["serve", model, "--queue", "0"], "--queue"),
        (&["view", "none"], "no such folder"),
        (&["view", "."], "cases.csv"),
    ] {
        let done = program().current_dir(d.path()).args(line).env_remove("AMPOULE_TOKEN").output().unwrap();
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(2) && text.contains(word), "{line:?}: {:?} {text}", done.status);
    }
}
