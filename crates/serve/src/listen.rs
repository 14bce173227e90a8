//! Connections: accepted up to a number, closed when nothing comes, and in order at the end.

use crate::config::Limits;
use crate::pace::Taken;
use crate::stop::Stop;
use crate::{Error, Result};
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long open connections may go on once all are to be closed.
const FAREWELL: Duration = Duration::from_secs(5);
/// Bytes of a request's head.
const HEAD: usize = 64 << 10;

/// What is spoken on a port.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    Http1,
    /// Without TLS, from the first byte on, as gRPC clients do.
    Http2,
}

/// A listening socket.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|source| Error::Bind { address, source })
}

/// Answers connections until `stop` closes them.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    protocol: Protocol,
    limits: Limits,
    stop: Stop,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.closed() => break,
        };
        // Errors of single connections, or too many open files: others go on.
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        while open.try_join_next().is_some() {}
        // Beyond the limit a connection is closed at once, which its client sees.
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let (router, stop) = (router.clone(), stop.clone());
        open.spawn(async move {
            match protocol {
                Protocol::Http1 => http1(stream, router, limits, stop).await,
                Protocol::Http2 => http2(stream, router, limits, stop).await,
            }
            drop(place);
        });
    }
    drop(listener);
    let all = async { while open.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, all).await;
}

async fn http1(stream: TcpStream, router: Router, limits: Limits, stop: Stop) {
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Taken::new(stream, limits.patience));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.patience)
        .max_buf_size(HEAD)
        .serve_connection(io, TowerToHyperService::new(router));
    tokio::pin!(connection);
    // How a client ends its connection is its own affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.closed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn http2(stream: TcpStream, router: Router, limits: Limits, stop: Stop) {
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Taken::new(stream, limits.patience));
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.patience)
        .keep_alive_timeout(limits.patience)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(64)
        .max_header_list_size(HEAD as u32)
        .serve_connection(io, TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.closed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
