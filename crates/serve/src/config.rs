//! What is served, where, and within which limits.

use crate::token::Token;
use ampoule_graph::Graph;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A model to serve.
pub struct Given {
    /// Name in addresses.
    pub name: String,
    /// The network or networks.
    pub graph: Graph,
    /// Its recipe; without one it takes tensors only.
    pub recipe: Option<String>,
    /// Hash of the model files, in hexadecimal.
    pub sha256: String,
}

/// How to serve.
#[derive(Clone)]
pub struct Config {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port of REST, cases, metrics and page; 0 for a free one.
    pub port: u16,
    /// Port of gRPC; `None` for no gRPC, 0 for a free port.
    pub grpc_port: Option<u16>,
    /// What clients must know; needed where the address is not of this machine alone.
    pub token: Option<Token>,
    /// Sessions of each network that run side by side.
    pub instances: usize,
    /// Requests of each model, and cases, that may wait.
    pub queue: usize,
    /// Where results stay; `None` for nowhere.
    pub keep: Option<PathBuf>,
    /// Most resident bytes of the process.
    pub max_ram: Option<u64>,
    /// Options of the engine.
    pub options: ampoule_engine::Options,
    /// Feature set, for records.
    pub isa: String,
    /// Measured constants in force, for records.
    pub calibration: Option<String>,
    /// Limits on clients.
    pub limits: Limits,
}

/// What clients may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request with tensors.
    pub body: u64,
    /// Bytes of an upload of files; unpacked they may be four times as many.
    pub upload: u64,
    /// How long a client may be silent in the middle of a request, or take nothing of its answer.
    pub patience: Duration,
    /// Connections at a time.
    pub connections: usize,
    /// How long results stay for their client.
    pub stay: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body: 256 << 20,
            upload: 4 << 30,
            patience: Duration::from_secs(15),
            connections: 256,
            stay: Duration::from_secs(15 * 60),
        }
    }
}
