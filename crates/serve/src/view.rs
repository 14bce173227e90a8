//! A page on this machine that shows folders of results.

use crate::config::Limits;
use crate::gate::Gate;
use crate::listen::{Protocol, bind, serve};
use crate::metrics::Metrics;
use crate::page::{Page, Sources, router};
use crate::results::{Files, Folder};
use crate::service::{Started, runtime};
use crate::stop::Stop;
use crate::token::{Token, random};
use crate::{Error, Result};
use axum::Router;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// Shows the results in `folders` on a port of this machine (0 for a free one) until `stop` ends it; `started` is told
/// where.
pub fn view(folders: &[PathBuf], port: u16, stop: &Stop, started: &mut dyn FnMut(&Started)) -> Result<()> {
    let mut list = Vec::new();
    for path in folders {
        let folder = Folder::new(path, Files::Named);
        if !path.join("cases.csv").is_file() {
            return Err(Error::NoResults { path: path.clone() });
        }
        // What is wrong with the table is said before a page is opened.
        ampoule_pipeline::results(path).map_err(Error::Results)?;
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let name = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
        list.push((name, Arc::new(folder)));
    }
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let key = random()?;
    let limits = Limits::default();
    let gate = Gate {
        loopback: true,
        host,
        token: None,
        key: Token::new(&key, "the page's address")?,
        limits,
        metrics: Arc::new(Metrics::default()),
        programs: Router::new(),
        page: router(Page { sources: Sources::Given(list) }),
    };
    runtime()?.block_on(async {
        let listener = bind(SocketAddr::new(host, port)).await?;
        let address = listener.local_addr().map_err(Error::System)?;
        started(&Started { address, grpc: None, page: format!("http://{address}/p/{key}/") });
        let ended = stop.clone();
        let serving = serve(listener, gate.router(), Protocol::Http1, limits, stop.clone());
        let closing = async {
            ended.draining().await;
            ended.close();
        };
        tokio::join!(serving, closing);
        Ok(())
    })
}
