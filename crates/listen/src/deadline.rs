//! Connections that take too long are closed, whatever they are waiting for.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Longer than storing an object takes.
const LONG: Duration = Duration::from_secs(86_400);

/// When each connection must have got on.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(Mutex<Watched>);

#[derive(Debug, Default)]
struct Watched {
    next: u64,
    list: BTreeMap<u64, One>,
}

#[derive(Debug)]
struct One {
    until: Instant,
    socket: TcpStream,
    expired: bool,
}

/// The time of one connection; it is no longer watched once this is dropped.
#[derive(Debug)]
pub(crate) struct Deadline<'a> {
    all: &'a Deadlines,
    number: u64,
}

impl Deadlines {
    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Watches a connection, which has `patience` for its first step.
    pub fn add(&self, socket: &TcpStream, patience: Duration) -> io::Result<Deadline<'_>> {
        let one = One { until: Instant::now() + patience, socket: socket.try_clone()?, expired: false };
        let mut w = self.watched();
        let number = w.next;
        w.next += 1;
        w.list.insert(number, one);
        Ok(Deadline { all: self, number })
    }

    /// Closes connections whose time is over; all of them where `all` is set.
    pub fn expire(&self, all: bool) {
        let now = Instant::now();
        for one in self.watched().list.values_mut().filter(|o| !o.expired && (all || o.until < now)) {
            one.expired = true;
            // One that is closed already needs no closing.
            let _ = one.socket.shutdown(Shutdown::Both);
        }
    }
}

impl Deadline<'_> {
    /// The next step has so much time.
    pub fn renew(&self, patience: Duration) {
        if let Some(one) = self.all.watched().list.get_mut(&self.number) {
            one.until = Instant::now() + patience;
        }
    }

    /// What comes next is this side's work, however long it takes.
    pub fn hold(&self) {
        self.renew(LONG);
    }

    /// Whether the connection was closed because its time was over.
    pub fn is_over(&self) -> bool {
        self.all.watched().list.get(&self.number).is_some_and(|o| o.expired)
    }
}

impl Drop for Deadline<'_> {
    fn drop(&mut self) {
        self.all.watched().list.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    #[test]
    fn a_connection_that_waits_is_closed_and_one_that_gets_on_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let clients: Vec<_> =
            (0..2).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
        let mut sockets: Vec<_> = (0..2).map(|_| listener.accept().unwrap().0).collect();
        let all = Deadlines::default();
        let [slow, quick] = [0, 1].map(|i| all.add(&sockets[i], Duration::from_millis(1)).unwrap());
        quick.renew(Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
        all.expire(false);
        assert!(slow.is_over() && !quick.is_over());
        assert_eq!(sockets[0].read(&mut [0]).unwrap_or(0), 0);
        drop((slow, quick));
        all.expire(true);
        sockets[1].set_nonblocking(true).unwrap();
        // What is not watched stays open.
        assert_eq!(sockets[1].read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(clients);
    }
}
