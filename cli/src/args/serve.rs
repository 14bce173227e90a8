use super::global::parse_bytes;
use clap::Args;
use std::net::IpAddr;
use std::path::PathBuf;

/// Arguments of `serve`.
#[derive(Args, Debug)]
pub struct Serve {
    /// Model files, folders of frameworks or fetched names; NAME=MODEL gives one another name in addresses.
    #[arg(required = true, value_name = "MODEL")]
    pub models: Vec<String>,
    /// Address to listen on. One that other machines reach needs a token.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub host: IpAddr,
    /// Port of the page, HTTP and metrics; 0 for a free one.
    #[arg(long, default_value_t = 8000, value_name = "N")]
    pub port: u16,
    /// Port of gRPC; 0 for a free one.
    #[arg(long, default_value_t = 8001, value_name = "N", conflicts_with = "no_grpc")]
    pub grpc_port: u16,
    /// No gRPC.
    #[arg(long)]
    pub no_grpc: bool,
    /// File whose first line clients must send, as `Authorization: Bearer TOKEN` [default: $AMPOULE_TOKEN].
    #[arg(long, value_name = "FILE")]
    pub token: Option<PathBuf>,
    /// Requests that wait for each model, and uploads that wait; more are refused with 429.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub queue: u32,
    /// Requests with tensors that run side by side for each model, each with its share of the threads.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub instances: u32,
    /// Folder where results of uploaded files stay, each upload in its own; without it they are removed.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Minutes that results which are not kept wait for their client.
    #[arg(long, default_value_t = 15, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..=10_080))]
    pub stay: u32,
    /// Largest request with tensors; a larger one is refused with 413.
    #[arg(long, default_value = "256M", value_name = "BYTES", value_parser = parse_bytes)]
    pub max_body: u64,
    /// Largest upload of files; unpacked it may be four times as large.
    #[arg(long, default_value = "4G", value_name = "BYTES", value_parser = parse_bytes)]
    pub max_upload: u64,
    /// Seconds that a client may be silent in the middle of a request, or take nothing of its answer.
    #[arg(long, default_value_t = 15, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub patience: u32,
    /// Open the page in the browser.
    #[arg(long)]
    pub open: bool,
}

/// Arguments of `view`.
#[derive(Args, Debug)]
pub struct View {
    /// Folder that `ampoule run` wrote; or two, with the results of two variants on the same cases.
    #[arg(required = true, num_args = 1..=2, value_name = "OUT")]
    pub folders: Vec<PathBuf>,
    /// Port on this machine; 0 for a free one.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub port: u16,
    /// Do not open the browser.
    #[arg(long)]
    pub no_open: bool,
}
