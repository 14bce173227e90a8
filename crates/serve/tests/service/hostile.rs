use crate::harness::{Reply, Server, binary, config};
use ampoule_serve::{Error, Limits, Token};
use std::io::Write;
use std::time::{Duration, Instant};

#[test]
fn clients_that_send_half_and_wait_are_let_go() {
    let s = Server::start(config());
    let host = s.address;
    for (what, sent, answered) in [
        ("nothing", String::new(), &[0][..]),
        ("half a head", format!("POST /v2/models/discs/infer HTTP/1.1\r\nhost: {host}\r\nx-"), &[0, 408]),
        (
            "half a body",
            format!(
                "POST /v2/models/discs/infer HTTP/1.1\r\nhost: {host}\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{{"
            ),
            &[408],
        ),
        (
            "half an upload",
            format!(
                "POST /cases?filename=a.png HTTP/1.1\r\nhost: {host}\r\ncontent-length: 100\r\nconnection: close\r\n\r\nx"
            ),
            &[408],
        ),
        (
            "half a chunk",
            format!(
                "POST /v2/models/discs/infer HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\nff\r\nx"
            ),
            &[408],
        ),
    ] {
        let begun = Instant::now();
        let mut stream = s.connect();
        stream.write_all(sent.as_bytes()).unwrap();
        let reply = Reply::read(&mut stream);
        assert!(answered.contains(&reply.status), "{what}: {}", reply.status);
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: {:?}", begun.elapsed());
    }
    assert_eq!(s.get("/cases").json(), serde_json::json!([]));
}

#[test]
fn clients_that_drip_are_let_go() {
    let s = Server::start(config());
    let mut stream = s.connect();
    let head = "content-length: 100000\r\nconnection: close\r\n\r\n";
    write!(stream, "POST /v2/models/discs/infer HTTP/1.1\r\nhost: {}\r\n{head}", s.address).unwrap();
    let begun = Instant::now();
    // A byte now and then is no silence, and still too slow.
    while begun.elapsed() < Duration::from_secs(60) && stream.write_all(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(begun.elapsed() < Duration::from_secs(55), "{:?}", begun.elapsed());
}

#[test]
fn requests_that_are_too_large_are_refused_before_they_are_taken() {
    let limits = Limits { body: 100_000, upload: 100_000, ..config().limits };
    let s = Server::start(ampoule_serve::Config { limits, ..config() });
    let large = [("content-length", "99999999999999")];
    s.ask("POST", "/v2/models/discs/infer", &large, b"{").refused(413, "limit");
    s.ask("POST", "/cases?filename=a.png", &large, b"x").refused(413, "limit");
    // What does not say how long it is.
    let chunk = format!("{:x}\r\n{}\r\n", 50_000, "x".repeat(50_000));
    let body = format!("{0}{0}{0}0\r\n\r\n", chunk);
    for path in ["/v2/models/discs/infer", "/cases?filename=a.png"] {
        let mut stream = s.connect();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
            s.address
        )
        .unwrap();
        let _ = stream.write_all(body.as_bytes());
        assert_eq!(Reply::read(&mut stream).status, 413, "{path}");
    }
    s.ask("POST", "/v2/models/discs/infer", &[("content-encoding", "gzip")], b"x").refused(415, "packed");
    let head = "x".repeat(200_000);
    let reply = s.ask("GET", "/v2", &[("x-large", &head)], b"");
    assert!([0, 431].contains(&reply.status), "{}", reply.status);
    assert_eq!(s.get("/v2").status, 200);
}

#[test]
fn pages_of_others_and_other_hosts_are_refused() {
    let s = Server::start(config());
    let own = s.address.to_string();
    let local = format!("localhost:{}", s.address.port());
    for (headers, status) in [
        (&[("host", "example.org")][..], 421),
        (&[("host", "127.0.0.1.example.org")], 421),
        (&[("host", "localhost.example.org:8000")], 421),
        (&[("host", "")], 421),
        (&[("host", &local)], 200),
        (&[("host", "[::1]:8000")], 200),
        (&[("origin", "https://example.org")], 403),
        (&[("origin", "null")], 403),
        (&[("origin", "http://localhost:1")], 403),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("sec-fetch-site", "same-site")], 403),
        (&[("sec-fetch-site", "same-origin"), ("origin", &format!("http://{own}"))], 200),
        (&[("sec-fetch-site", "none")], 200),
    ] {
        assert_eq!(s.ask("GET", "/v2", headers, b"").status, status, "{headers:?}");
    }
}

#[test]
fn a_token_is_asked_of_programs_and_a_key_of_browsers() {
    let token = Token::new("0123456789abcdef", "test").unwrap();
    let s = Server::start(ampoule_serve::Config { token: Some(token), ..config() });
    for path in ["/v2", "/v2/models/discs", "/metrics", "/cases", "/nothing", "/v2/health/live/"] {
        let reply = s.get(path);
        reply.refused(401, "token");
        assert_eq!(reply.header("www-authenticate"), Some("bearer"));
    }
    assert_eq!((s.get("/v2/health/live").status, s.get("/v2/health/ready").status), (200, 200));
    let with = |value: &str| s.ask("GET", "/v2", &[("authorization", value)], b"").status;
    assert_eq!(with("Bearer 0123456789abcdef"), 200);
    for wrong in
        ["Bearer 0123456789abcdeg", "Bearer ", "0123456789abcdef", "Basic 0123456789abcdef", "Bearer"]
    {
        assert_eq!(with(wrong), 401, "{wrong}");
    }
    let page = s.get(&s.page);
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe") && page.header("referrer-policy") == Some("no-referrer"));
    for path in ["/p/", "/p/0/", "/p//", "/p/00000000000000000000000000000000/config", "/p/../v2"] {
        assert!([401, 404].contains(&s.get(path).status), "{path}");
    }
}

#[test]
fn no_path_leads_to_a_file() {
    let s = Server::start(config());
    for path in [
        "../Cargo.toml",
        "..%2fCargo.toml",
        "%2e%2e/%2e%2e/etc/passwd",
        "/etc/passwd",
        "app.js/../../x",
        "r/../../../etc/cases",
        "r/%2e%2e/cases",
        "r/0/cases/0/%2e%2e",
        "r/0/cases/-1/image.nii",
        "niivue.js.gz",
    ] {
        let reply = s.get(&format!("{}{path}", s.page));
        assert!([400, 404].contains(&reply.status), "{path}: {}", reply.status);
    }
    assert_eq!(s.get(&format!("{}app.js", s.page)).status, 200);
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    let open = ampoule_serve::Config { host: [0, 0, 0, 0].into(), ..config() };
    let e = ampoule_serve::serve(open, Vec::new(), &Default::default(), &mut |_| panic!("it starts"))
        .unwrap_err();
    assert!(matches!(e, Error::Open { .. }) && e.to_string().contains("--token"), "{e}");
}

#[test]
fn what_does_not_fit_in_memory_says_what_would_do() {
    // A sixteenth of a gigabyte and more is left for requests of a process that may hold 160 MiB more than it does.
    let limit = ampoule_pipeline::rss_bytes().unwrap() + (160 << 20);
    let s = Server::start(ampoule_serve::Config { max_ram: Some(limit), ..config() });
    let (body, length) = binary(32, 1.0);
    let ask = |body: &[u8], length: &str| {
        s.ask("POST", "/v2/models/discs/infer", &[("inference-header-content-length", length)], body)
    };
    assert_eq!(ask(&body, &length).status, 200);
    let (body, length) = binary(2048, 1.0);
    let reply = ask(&body, &length);
    reply.refused(507, "--max-ram of at least");
    let (body, length) = binary(32, 1.0);
    assert_eq!(ask(&body, &length).status, 200);
}
