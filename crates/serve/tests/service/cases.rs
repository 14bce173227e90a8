use crate::harness::{Server, classifier, config, tile, zip};
use ampoule_serve::{Config, Limits};
use std::io::Read;
use std::time::{Duration, Instant};

/// Uploads a file; gives the id.
#[track_caller]
fn upload(s: &Server, name: &str, body: &[u8]) -> String {
    let reply = s.ask("POST", &format!("/cases?filename={name}"), &[], body);
    assert_eq!(reply.status, 202, "{}", reply.text());
    reply.json()["id"].as_str().unwrap().to_owned()
}

/// Names in a ZIP file.
fn names(archive: &[u8]) -> Vec<String> {
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    (0..zip.len()).map(|i| zip.by_index(i).unwrap().name().unwrap().into_owned()).collect()
}

#[test]
fn a_photo_goes_in_and_its_labels_come_out() {
    let s = Server::start(config());
    let id = upload(&s, "a%20tile.png", &tile());
    let told = s.over(&id);
    assert_eq!((&told["state"], &told["failed"]), (&"done".into(), &0.into()), "{told}");
    let record = &told["results"][0]["record"];
    assert_eq!((&record["case"], &record["shape"][0]), (&"a tile".into(), &64.into()));
    let reply = s.get(&format!("/cases/{id}/result"));
    assert_eq!(reply.status, 200);
    let all = names(&reply.body);
    for name in ["a tile_mask.png", "a tile_ampoule.json", "cases.csv"] {
        assert!(all.iter().any(|n| n == name), "{name}: {all:?}");
    }
    // The folders of the service are none of the client's affair.
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(&reply.body)).unwrap();
    let mut table = String::new();
    zip.by_name("cases.csv").unwrap().read_to_string(&mut table).unwrap();
    assert!(!table.contains("ampoule-serve-"), "{table}");
    assert_eq!(s.ask("DELETE", &format!("/cases/{id}"), &[], b"").status, 204);
    assert_eq!(
        (s.get(&format!("/cases/{id}")).status, s.get(&format!("/cases/{id}/result")).status),
        (404, 404)
    );
}

#[test]
fn the_page_shows_what_was_uploaded() {
    let s = Server::start(config());
    let form = [
        b"--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"t.png\"\r\n\r\n".to_vec(),
        tile(),
        b"\r\n--b--\r\n".to_vec(),
    ]
    .concat();
    let kind = [("content-type", "multipart/form-data; boundary=b")];
    let reply = s.ask("POST", &format!("{}cases?model=discs", s.page), &kind, &form);
    assert_eq!(reply.status, 202, "{}", reply.text());
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(s.over(&id)["state"], "done");
    let at = |rest: &str| s.get(&format!("{}r/{id}/cases{rest}", s.page));
    let list = at("").json();
    assert_eq!(
        (&list[0]["name"], &list[0]["kind"], &list[0]["mask"]),
        (&"t".into(), &"photo".into(), &true.into())
    );
    let photo = at("/0/photo.jpg");
    assert!(photo.status == 200 && photo.body.starts_with(&[0xff, 0xd8]), "{}", photo.text());
    let overlay = at("/0/overlay.png");
    assert!(overlay.status == 200 && overlay.body.starts_with(b"\x89PNG"), "{}", overlay.text());
    assert_eq!(at("/1/photo.jpg").status, 404);
    assert_eq!(at("/0/pictures/record/0").status, 404);
    assert_eq!(at("/0/slide.json").status, 422);
    // Others do not see it.
    assert_eq!(s.get(&format!("{}r/{}/cases", s.page, "0".repeat(32))).status, 404);
}

#[test]
fn a_classifier_shows_what_it_saw_where_if_that_is_asked_for() {
    let (model, photo) = classifier();
    let s = Server::with(config(), vec![model]);
    for (query, maps) in [("", 0), ("&heat=1", 1)] {
        let path = format!("{}cases?model=classifier&filename=foot.png{query}", s.page);
        let reply = s.ask("POST", &path, &[], &photo);
        assert_eq!(reply.status, 202, "{}", reply.text());
        let id = reply.json()["id"].as_str().unwrap().to_owned();
        let told = s.over(&id);
        assert_eq!(told["state"], "done", "{told}");
        let at = |rest: &str| s.get(&format!("{}r/{id}/cases{rest}", s.page));
        assert_eq!(at("").json()[0]["heat"], maps, "{}", at("").text());
        let map = at("/0/pictures/heat/0");
        assert_eq!(map.status == 200 && map.body.starts_with(b"\x89PNG"), maps == 1, "{}", map.status);
        let all = names(&s.get(&format!("/cases/{id}/result")).body);
        assert_eq!(all.iter().any(|n| n == "foot_heat.png"), maps == 1, "{all:?}");
    }
}

#[test]
fn what_is_no_image_fails_and_says_so() {
    let s = Server::start(config());
    let told = s.over(&upload(&s, "a.png", b"no picture"));
    assert_eq!(told["state"], "failed");
    let error = told["error"].as_str().unwrap();
    assert!(error.contains("a.png") && !error.contains("/"), "{error}");
    assert_eq!(s.get(&format!("/cases/{}/result", told["id"].as_str().unwrap())).status, 409);
    let cut = &tile()[..1000];
    assert_eq!(s.over(&upload(&s, "a.png", cut))["state"], "failed");
    s.ask("POST", "/cases?filename=a.png", &[], b"").refused(400, "empty");
    s.ask("POST", "/cases?model=none", &[], b"x").refused(404, "there are discs");
}

#[test]
fn names_and_archives_stay_in_their_folder() {
    let s = Server::start(config());
    let outside = std::env::temp_dir().join("ampoule-escaped.png");
    let _ = std::fs::remove_file(&outside);
    let id = upload(&s, "..%2f..%2f..%2fampoule-escaped.png", &tile());
    assert_eq!(s.over(&id)["results"][0]["case"], "ampoule-escaped");
    for name in [
        "../ampoule-escaped.png",
        "a/../../ampoule-escaped.png",
        "/tmp/ampoule-escaped.png",
        "..\\ampoule-escaped.png",
    ] {
        let archive = zip(&[("ok.png", &tile()), (name, &tile())]);
        s.ask("POST", "/cases?filename=a.zip", &[], &archive).refused(400, "leads out");
    }
    assert!(!outside.exists());
    // Folders in an archive are kept, and one bad file does not spoil the others.
    let archive =
        zip(&[("x/a.png", &tile()), ("y/a.png", &tile()), ("bad.png", b"nothing"), (".hidden.png", &tile())]);
    let told = s.over(&upload(&s, "a.zip", &archive));
    assert_eq!((&told["state"], &told["failed"]), (&"done".into(), &1.into()), "{told}");
    assert_eq!(told["results"].as_array().unwrap().len(), 4);
}

#[test]
fn archives_that_unpack_to_more_than_is_taken_are_refused() {
    let limits = Limits { upload: 1 << 20, ..config().limits };
    let s = Server::start(Config { limits, ..config() });
    let zeros = vec![0; 6 << 20];
    s.ask("POST", "/cases?filename=a.zip", &[], &zip(&[("a.png", &zeros)])).refused(413, "unpacks");
    let part = &zeros[..1 << 20];
    let parts: Vec<(String, &[u8])> = (0..6).map(|i| (format!("{i}.png"), part)).collect();
    let parts: Vec<(&str, &[u8])> = parts.iter().map(|(n, c)| (n.as_str(), *c)).collect();
    s.ask("POST", "/cases?filename=a.zip", &[], &zip(&parts)).refused(413, "unpacks");
    s.ask("POST", "/cases?filename=a.zip", &[], b"PK\x03\x04 and nothing more").refused(400, "ZIP");
    assert_eq!(s.get("/cases").json(), serde_json::json!([]));
}

/// An archive whose run takes a while.
fn many(n: usize) -> Vec<u8> {
    let (tile, names): (_, Vec<String>) = (tile(), (0..n).map(|i| format!("{i}.png")).collect());
    zip(&names.iter().map(|n| (n.as_str(), &tile[..])).collect::<Vec<_>>())
}

#[test]
fn what_runs_can_be_ended_and_what_waits_is_bounded() {
    let s = Server::start(Config { queue: 2, ..config() });
    let first = upload(&s, "many.zip", &many(3000));
    let begun = Instant::now();
    while s.get(&format!("/cases/{first}")).json()["state"] != "running" {
        assert!(begun.elapsed() < Duration::from_secs(120));
    }
    let waiting = [upload(&s, "a.png", &tile()), upload(&s, "b.png", &tile())];
    let refused = s.ask("POST", "/cases?filename=c.png", &[], &tile());
    refused.refused(429, "wait already");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(s.get(&format!("/cases/{}", waiting[1])).json()["position"], 1);
    assert_eq!(s.ask("DELETE", &format!("/cases/{}", waiting[0]), &[], b"").status, 204);
    assert_eq!(s.ask("DELETE", &format!("/cases/{first}"), &[], b"").status, 204);
    assert_eq!(s.get(&format!("/cases/{first}")).status, 404);
    // The next one runs soon: what was ended did not run to its end.
    assert_eq!(s.over(&waiting[1])["state"], "done");
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
    let text = s.get("/metrics").text();
    assert!(text.contains("ampoule_cases_total{model=\"discs\",outcome=\"cancelled\"} 1"), "{text}");
}

#[test]
fn results_stay_only_where_they_are_asked_to() {
    let kept = tempfile::tempdir().unwrap();
    let mut s = Server::start(Config { keep: Some(kept.path().into()), ..config() });
    let id = upload(&s, "a.png", &tile());
    assert_eq!(s.over(&id)["state"], "done");
    s.stop.drain();
    s.ended().unwrap();
    let own: Vec<String> = std::fs::read_dir(kept.path().join(&id))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(own.contains(&"a_mask.png".into()) && !own.contains(&"input".into()), "{own:?}");
}
