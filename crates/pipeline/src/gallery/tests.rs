use super::*;

fn page(head: &Head, rows: Vec<Row>) -> String {
    let mut out = Vec::new();
    write(&mut out, head, &mut rows.into_iter()).unwrap();
    String::from_utf8(out).unwrap()
}

fn row(name: &str, status: Status) -> Row {
    Row {
        name: name.into(),
        status,
        picture: Some(PathBuf::from(format!("{name}_qc.png"))),
        thumbnail: None,
        class: None,
        quantities: vec![],
        seconds: Some(1.5),
        warnings: vec![],
    }
}

/// A row as a run of a real data set has them.
fn usual(i: usize) -> Row {
    let name = format!("sub-{i:05}_ses-01_acq-mprage_T1w.nii.gz");
    let status = match i % 50 {
        0 => Status::Failed("the file is truncated or damaged: 1234567 of 7654321 bytes".into()),
        1 => Status::Skipped("HEIC images are not readable; convert them to JPEG or PNG".into()),
        n if n % 3 == 0 => Status::Kept,
        _ => Status::Done,
    };
    let quantity = |n: &str, v: f64| Quantity { name: n.into(), value: v, unit: "ml".into() };
    Row {
        picture: Some(format!("sub-{i:05}/ses-01/anat/sub-{i:05}_ses-01_acq-mprage_T1w_qc.png").into()),
        thumbnail: Some(format!(".thumbnails/{i:032x}.jpg").into()),
        quantities: vec![quantity("intracranial mask", 1432.1 + i as f64), quantity("ventricles", 23.4)],
        warnings: if i.is_multiple_of(7) {
            vec!["the mask touches the image's border (12 voxels)".into()]
        } else {
            vec![]
        },
        ..row(&name, status)
    }
}

#[test]
fn hostile_names_stay_text() {
    let evil = "<script>alert(1)</script>\"'&\u{202e}\u{1b}[2J\n";
    let head = Head { title: evil.into(), recipe: evil.into(), model: evil.into(), ..Head::default() };
    let mut r = row("x", Status::Failed(evil.into()));
    r.name = evil.into();
    r.picture = Some(PathBuf::from(evil));
    r.class = Some(evil.into());
    r.quantities = vec![Quantity { name: evil.into(), value: f64::NAN, unit: evil.into() }];
    r.warnings = vec![evil.into()];
    let html = page(&head, vec![r]);
    assert_eq!(html.matches("<script").count(), 1, "only the page's own");
    assert!(!html.contains("alert(1)</script>") && !html.contains('\u{202e}') && !html.contains('\u{1b}'));
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;\\u{202e}\\u{1b}[2J\\n"));
    assert!(html.contains("src=\"%3Cscript%3Ealert%281%29%3C/script%3E%22%27%26"));
}

#[test]
fn counts_and_cases_to_look_at_stand_first() {
    let mut warned = row("warned", Status::Kept);
    warned.warnings = (0..9).map(|i| format!("warning {i}")).collect();
    let rows = vec![
        row("fine", Status::Done),
        warned,
        row("broken", Status::Failed("no header".into())),
        row("other", Status::Skipped("HEIC".into())),
    ];
    let html = page(&Head { model_sha256: "0123456789abcdef".into(), ..Head::default() }, rows);
    for part in [
        "<b>1</b> done",
        "<b>1</b> kept",
        "<b>1</b> failed",
        "<b>1</b> skipped",
        "<b>1</b> with warnings",
        "3 to look at first",
        "<li><a href=#c2>warned</a> warning 0",
        "<a href=#c3>broken</a> failed: no header",
        "<a href=#c4>other</a> skipped: HEIC",
        "+ 3 more warnings",
        "<b>0123456789ab</b>",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("href=#c1>"));
    assert!(
        html.find("href=#c3>") < html.find("href=#c4>") && html.find("href=#c4>") < html.find("href=#c2>")
    );
}

#[test]
fn an_empty_run_is_a_page() {
    let html = page(&Head::default(), vec![]);
    assert!(html.contains("No cases.") && html.contains("<b>0</b> failed") && !html.contains("to look at"));
}

#[test]
fn five_thousand_cases_are_below_three_megabytes() {
    let start = std::time::Instant::now();
    let html = page(&Head::default(), (0..5000).map(usual).collect());
    assert!(html.len() < 3_000_000, "{} bytes", html.len());
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    assert_eq!(html.matches("<article").count(), 5000);
    assert_eq!(html.matches("<li><a").count(), LINKS);
    assert_eq!(html.matches(" failed: the file").count(), 100, "none is hidden by warnings");
    // Outside of the script nothing is loaded from elsewhere.
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("url("));
    if let Some(path) = std::env::var_os("AMPOULE_GALLERY") {
        std::fs::write(path, html).unwrap();
    }
}

#[test]
fn a_small_copy_is_shown_and_the_picture_linked() {
    let mut r = row("a", Status::Done);
    r.thumbnail = Some(".thumbnails/0f.jpg".into());
    let html = page(&Head::default(), vec![r.clone()]);
    assert!(html.contains("<a href=\"a_qc.png\"><img loading=lazy src=\".thumbnails/0f.jpg\""), "{html}");
    // What leads out of the folder is not shown.
    r.thumbnail = Some("../0f.jpg".into());
    assert!(page(&Head::default(), vec![r]).contains("src=\"a_qc.png\""));
}
