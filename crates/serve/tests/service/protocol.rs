use crate::harness::{Server, binary, config, discs};
use ampoule_engine::{Options, Session};
use ampoule_graph::Tensor;

/// What the engine gives for the image of [`binary`].
fn expected(side: usize, value: f32) -> Vec<f32> {
    let shape = vec![1, 3, side, side];
    let values: Vec<f32> = (0..3 * side * side).map(|i| value + (i % 7) as f32).collect();
    let options = Options { threads: 1, ..Options::default() };
    let mut session = Session::new(discs().graph, std::slice::from_ref(&shape), &options).unwrap();
    session.run_tensors(&[Tensor::f32(&shape, &values)]).unwrap()[0].to_f32().unwrap()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

#[test]
fn metadata_says_what_the_model_takes() {
    let s = Server::start(config());
    assert_eq!((s.get("/v2/health/live").status, s.get("/v2/health/ready").status), (200, 200));
    let server = s.get("/v2").json();
    assert_eq!(
        (&server["name"], &server["extensions"][0]),
        (&"ampoule".into(), &"binary_tensor_data".into())
    );
    for path in ["/v2/models/discs", "/v2/models/discs/versions/1"] {
        let model = s.get(path).json();
        assert_eq!(model["inputs"][0]["name"], "image");
        assert_eq!(model["inputs"][0]["datatype"], "FP32");
        assert_eq!(model["inputs"][0]["shape"][1], 3);
        assert_eq!(model["outputs"][0]["name"], "prob");
    }
    assert_eq!(s.get("/v2/models/discs/ready").status, 200);
    s.get("/v2/models/other/ready").refused(404, "there are discs");
    s.get("/v2/models/discs/versions/2").refused(404, "version 1");
}

#[test]
fn numbers_and_bytes_give_what_the_engine_gives() {
    let s = Server::start(config());
    let want = expected(32, 100.0);
    let (body, length) = binary(32, 100.0);
    let reply =
        s.ask("POST", "/v2/models/discs/infer", &[("inference-header-content-length", &length)], &body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let end: usize = reply.header("inference-header-content-length").unwrap().parse().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&reply.body[..end]).unwrap();
    assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 4 * want.len());
    assert_eq!(floats(&reply.body[end..]), want);
    let values: Vec<f32> = (0..3 * 32 * 32).map(|i| 100.0 + (i % 7) as f32).collect();
    let request = serde_json::json!({
        "id": "a", "inputs": [{ "name": "image", "shape": [1, 3, 32, 32], "datatype": "FP32", "data": values }],
        "outputs": [{ "name": "prob" }],
    });
    let reply = s.post("/v2/models/discs/versions/1/infer", request.to_string().as_bytes()).json();
    assert_eq!(
        (&reply["id"], &reply["model_name"], &reply["model_version"]),
        (&"a".into(), &"discs".into(), &"1".into())
    );
    let got: Vec<f32> =
        reply["outputs"][0]["data"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
    assert_eq!(got, want);
}

#[test]
fn sixteen_clients_get_their_own_answers() {
    let s = Server::start(config());
    std::thread::scope(|scope| {
        for client in 0..16 {
            let s = &s;
            scope.spawn(move || {
                // Shapes differ too, so that sessions change between requests.
                let side = 16 + 16 * (client % 3);
                let want = expected(side, client as f32);
                let (body, length) = binary(side, client as f32);
                for _ in 0..4 {
                    let headers = [("inference-header-content-length", length.as_str())];
                    let reply = s.ask("POST", "/v2/models/discs/infer", &headers, &body);
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    let end: usize =
                        reply.header("inference-header-content-length").unwrap().parse().unwrap();
                    assert_eq!(floats(&reply.body[end..]), want);
                }
            });
        }
    });
    let text = s.get("/metrics").text();
    assert!(text.contains("ampoule_requests_total{kind=\"infer\",status=\"200\"} 64"), "{text}");
    assert!(text.contains("ampoule_requests_running{model=\"discs\"} 0"), "{text}");
    assert!(text.contains("ampoule_request_bytes 0"), "{text}");
}

#[test]
fn what_a_model_does_not_take_is_refused_with_a_sentence() {
    let s = Server::start(config());
    let infer = |text: &str| s.post("/v2/models/discs/infer", text.as_bytes());
    let input = |rest: &str| format!(r#"{{"inputs":[{{"name":"image",{rest}}}]}}"#);
    infer("").refused(400, "protocol");
    infer("{\"inputs\":[]").refused(400, "protocol");
    infer("{\"inputs\":[]}").refused(400, "`image` is missing");
    infer(r#"{"inputs":[{"name":"picture","shape":[1],"datatype":"FP32","data":[1]}]}"#)
        .refused(400, "takes image");
    infer(&input(r#""shape":[1,1],"datatype":"FP32","data":[1]"#)).refused(400, "the model takes");
    infer(&input(r#""shape":[1,3,1,1],"datatype":"INT64","data":[1,2,3]"#)).refused(400, "takes FP32");
    infer(&input(r#""shape":[1,3,0,4],"datatype":"FP32","data":[]"#)).refused(400, "no elements");
    infer(&input(r#""shape":[1,3,1,1],"datatype":"FP32","data":[1,2,3]},{"name":"image","shape":[1,3,1,1],"datatype":"FP32","data":[1,2,3]"#))
        .refused(400, "twice");
    let text = r#"{"inputs":[{"name":"image","shape":[1,3,1,1],"datatype":"FP32","data":[1,2,3]}],"outputs":[{"name":"x"}]}"#;
    infer(text).refused(400, "has prob");
    s.post("/v2/models/none/infer", b"{}").refused(404, "no model");
    assert_eq!(s.get("/v2/models/discs/infer").status, 405);
    assert_eq!(s.get("/v2/other").status, 404);
    // All is well afterwards.
    let (body, length) = binary(16, 0.0);
    let reply =
        s.ask("POST", "/v2/models/discs/infer", &[("inference-header-content-length", &length)], &body);
    assert_eq!(reply.status, 200);
}
