use crate::harness::{Reply, Server, binary, config, left, tile};
use ampoule_serve::{Config, Limits};
use std::io::Write;
use std::time::{Duration, Instant};

#[test]
fn what_runs_is_finished_and_nothing_new_is_begun() {
    let mut s = Server::start(config());
    let (body, length) = binary(1024, 1.0);
    let headers = [("inference-header-content-length", length.as_str())];
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| s.ask("POST", "/v2/models/discs/infer", &headers, &body).status))
            .collect();
        while !s.get("/metrics").text().contains("ampoule_requests_running{model=\"discs\"} 1")
            && !asked.iter().any(|t| t.is_finished())
        {}
        s.stop.drain();
        let all: Vec<u16> = asked.into_iter().map(|t| t.join().unwrap()).collect();
        // What had not arrived by then is refused.
        assert!(all.contains(&200) && all.iter().all(|r| [200, 503, 0].contains(r)), "{all:?}");
    });
    s.ended().unwrap();
    assert!(std::net::TcpStream::connect(s.address).is_err());
}

#[test]
fn results_wait_for_their_client_at_the_end() {
    let mut s = Server::start(config());
    let id = s.ask("POST", "/cases?filename=a.png", &[], &tile()).json()["id"].as_str().unwrap().to_owned();
    while s.get(&format!("/cases/{id}")).json()["state"] == "queued" {}
    s.stop.drain();
    assert_eq!(s.over(&id)["state"], "done");
    assert_eq!(s.get(&format!("/cases/{id}/result")).status, 200);
    let begun = Instant::now();
    s.ended().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn nothing_is_left_behind() {
    let before = left();
    let mut s = Server::start(config());
    let new: Vec<_> = left().into_iter().filter(|p| !before.contains(p)).collect();
    let id = s.ask("POST", "/cases?filename=a.png", &[], &tile()).json()["id"].as_str().unwrap().to_owned();
    assert_eq!(s.over(&id)["state"], "done");
    let own = new.iter().find(|p| p.join(&id).is_dir()).unwrap().clone();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(own.metadata().unwrap().permissions().mode() & 0o077, 0);
    }
    // An upload that is cut off goes at once.
    let mut stream = s.connect();
    write!(
        stream,
        "POST /cases?filename=b.png HTTP/1.1\r\nhost: {}\r\ncontent-length: 100\r\n\r\nx",
        s.address
    )
    .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    drop(stream);
    let begun = Instant::now();
    while std::fs::read_dir(&own).unwrap().count() > 1 {
        assert!(begun.elapsed() < Duration::from_secs(100), "half an upload stays");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(s.ask("DELETE", &format!("/cases/{id}"), &[], b"").status, 204);
    assert_eq!(std::fs::read_dir(&own).unwrap().count(), 0);
    s.stop.drain();
    s.ended().unwrap();
    assert!(!own.exists());
}

#[test]
fn results_go_after_a_while() {
    let limits = Limits { stay: Duration::from_millis(500), ..config().limits };
    let s = Server::start(Config { limits, ..config() });
    let id = s.ask("POST", "/cases?filename=a.png", &[], &tile()).json()["id"].as_str().unwrap().to_owned();
    let begun = Instant::now();
    while s.get(&format!("/cases/{id}")).status != 404 {
        assert!(begun.elapsed() < Duration::from_secs(120));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_is_full_says_when_to_come_again() {
    let s = Server::start(Config { queue: 1, ..config() });
    let (body, length) = binary(1024, 1.0);
    let headers = [("inference-header-content-length", length.as_str())];
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| s.ask("POST", "/v2/models/discs/infer", &headers, &body)))
            .collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let of = |status: u16| replies.iter().filter(|r| r.status == status).count();
    assert!(of(200) >= 2 && of(429) >= 1 && of(200) + of(429) == 8, "{} {}", of(200), of(429));
    let refused = replies.iter().find(|r| r.status == 429).unwrap();
    assert_eq!(refused.header("retry-after"), Some("1"));
}
