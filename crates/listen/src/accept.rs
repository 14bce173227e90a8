//! Connections: who may connect, how many at a time, and a thread for each.

use crate::association::{Node, run};
use crate::event::Event;
use crate::peers::may_connect;
use dicom_ul::pdu::{
    AssociationRJ, AssociationRJResult, AssociationRJServiceProviderPresentationReason as Reason,
    AssociationRJSource, Pdu, write_pdu,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How often it is looked for connections, and whether the end was asked for.
const LOOK: Duration = Duration::from_millis(20);
/// Connections beyond those that may be associations which are told so; more are closed without a word.
const TOLD: usize = 16;
/// How long such a connection may take.
const SHORT: Duration = Duration::from_secs(5);

/// Counts connections.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Takes connections until the end is asked for, and gives the threads that still work.
pub(crate) fn accept(listener: &TcpListener, node: &Arc<Node>) -> Vec<JoinHandle<()>> {
    let open = Arc::new(AtomicUsize::new(0));
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while !node.stop.is_draining() {
        match listener.accept() {
            Ok((socket, from)) => threads.extend(connection(socket, from, node, &open)),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => std::thread::sleep(LOOK),
            Err(e) => {
                // Too many open files, or a client that is gone already.
                (node.tell)(&Event::Trouble { reason: format!("a connection could not be taken: {e}") });
                std::thread::sleep(10 * LOOK);
            }
        }
        threads.retain(|t| !t.is_finished());
    }
    threads
}

fn connection(
    socket: TcpStream,
    from: SocketAddr,
    node: &Arc<Node>,
    open: &Arc<AtomicUsize>,
) -> Option<JoinHandle<()>> {
    let address = from.ip().to_string();
    let refused =
        |reason: &str| (node.tell)(&Event::Refused { address: address.clone(), reason: reason.into() });
    if !may_connect(&node.config.peers, from.ip()) {
        refused("no [[peer]] has this address");
        return None;
    }
    let count = open.fetch_add(1, Ordering::SeqCst) + 1;
    let place = Place(open.clone());
    let most = node.config.limits.associations;
    if count > most + TOLD {
        refused("too many connections");
        return None;
    }
    let full = count > most;
    // Where the listener does not block, what it gives may not block either.
    let ready = socket.set_nonblocking(false).and_then(|()| socket.set_nodelay(true));
    if let Err(e) = ready {
        refused(&e.to_string());
        return None;
    }
    let own = node.clone();
    let thread = Builder::new().name("association".into()).spawn(move || {
        match full {
            true => congested(socket, from, &own),
            false => run(socket, from, &own),
        }
        drop(place);
    });
    thread.map_err(|e| refused(&format!("no thread could be started: {e}"))).ok()
}

/// Tells a client to come again later.
fn congested(mut socket: TcpStream, from: SocketAddr, node: &Node) {
    let Ok(_deadline) = node.deadlines.add(&socket, SHORT) else { return };
    // The request is taken first: closing before it was read could discard the answer.
    let mut head = [0; 6];
    let read = socket.read_exact(&mut head);
    let length = u64::from(u32::from_be_bytes([head[2], head[3], head[4], head[5]]));
    let most = u64::from(node.config.limits.pdu_kib) << 10;
    if read.is_ok() && length <= most {
        let _ = std::io::copy(&mut (&mut socket).take(length), &mut std::io::sink());
        let source = AssociationRJSource::ServiceProviderPresentation(Reason::LocalLimitExceeded);
        let answer = Pdu::AssociationRJ(AssociationRJ { result: AssociationRJResult::Transient, source });
        let mut out = Vec::new();
        if write_pdu(&mut out, &answer).is_ok() {
            let _ = socket.write_all(&out);
        }
    }
    let reason = format!("{} associations are open (associations)", node.config.limits.associations);
    (node.tell)(&Event::Refused { address: from.ip().to_string(), reason });
}
