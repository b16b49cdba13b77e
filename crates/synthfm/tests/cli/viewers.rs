//! `serve` for viewers: the protocols of nnInteractive, ITK-SNAP and osam, request by request. `tools/viewer_clients.py`
//! drives them with the real clients.

use std::path::Path;

use serde_json::{Value, json};

use crate::http::{Reply, Server};

/// Slices, rows and columns of the volume, and its bright ellipsoid's centre.
const SHAPE: [usize; 3] = [9, 48, 70];
const CENTRE: [usize; 3] = [4, 20, 40];

fn server(args: &[&str]) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), args);
    (folder, server)
}

fn volume() -> Vec<u8> {
    let [depth, height, width] = SHAPE;
    let voxel = |at: usize| {
        let at = [at / (height * width), at / width % height, at % width];
        let distance = |axis: usize, radius: f32| (at[axis] as f32 - CENTRE[axis] as f32) / radius;
        let inside = distance(0, 3.0)
            .hypot(distance(1, 12.0))
            .hypot(distance(2, 16.0))
            < 1.0;
        // A little texture, the same everywhere.
        (if inside { 180 } else { 60 }) + (at[1] * 7 + at[2] * 13) as u8 % 16
    };
    (0..depth * height * width).map(voxel).collect()
}

/// An array as nnInteractive's client packs what does not compress: a chunk that is stored.
fn packed(shape: &[usize], values: &[u8]) -> Vec<u8> {
    let mut packed = b"NNIA\x01\x01".to_vec();
    packed.extend([shape.len() as u8, 5]);
    packed.extend(b"uint8");
    for &length in shape {
        packed.extend((length as i64).to_le_bytes());
    }
    let sizes = [values.len(), values.len(), values.len() + 32];
    packed.extend(1u32.to_le_bytes());
    packed.extend((sizes[0] as u64).to_le_bytes());
    packed.extend((sizes[2] as u64).to_le_bytes());
    packed.extend([5, 1, 7, 1]);
    for size in sizes {
        packed.extend((size as i32).to_le_bytes());
    }
    packed.extend([0; 16]);
    packed.extend(values);
    packed
}

/// A client of nnInteractive.
struct Client<'a> {
    server: &'a Server,
    lease: String,
}

impl<'a> Client<'a> {
    fn claim(server: &'a Server) -> Self {
        let claimed = server.send("POST", "/claim", &[], b"").is(200).json();
        let lease = claimed["lease_token"].as_str().unwrap().to_owned();
        Self { server, lease }
    }

    /// A client with the volume open.
    fn with_volume(server: &'a Server) -> Self {
        let client = Self::claim(server);
        let [depth, height, width] = SHAPE;
        let image = packed(&[1, depth, height, width], &volume());
        let meta = r#"{"image_properties": {"spacing": [3, 0.7, 0.7]}}"#;
        let opened = client.array("/set_image", meta, &image).is(200).json();
        assert_eq!(
            opened["original_image_shape"],
            json!([1, depth, height, width])
        );
        let buffer = json!({ "shape": SHAPE, "dtype": "uint8" });
        client.json("/set_target_buffer", &buffer).is(200);
        client
    }

    fn array(&self, path: &str, meta: &str, body: &[u8]) -> Reply {
        let headers = [("X-Lease-Token", self.lease.as_str()), ("X-Meta", meta)];
        self.server.send("POST", path, &headers, body)
    }

    fn json(&self, path: &str, body: &Value) -> Reply {
        let headers = [
            ("X-Lease-Token", self.lease.as_str()),
            ("Content-Type", "application/json"),
        ];
        self.server
            .send("POST", path, &headers, body.to_string().as_bytes())
    }

    fn point(&self, at: [usize; 3], include: bool) -> Value {
        let body = json!({ "coordinates": at, "include_interaction": include });
        meta(&self.json("/add_point_interaction", &body).is(200))
    }
}

/// The metadata of an answer; where something has changed, its body must be an array of that shape.
fn meta(reply: &Reply) -> Value {
    let line = reply.head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("x-meta").then_some(value)
    });
    let meta: Value = serde_json::from_str(line.unwrap()).unwrap();
    if meta["bbox"].is_null() {
        assert!(reply.body.is_empty());
    } else {
        assert!(reply.body.starts_with(b"NNIA\x01\x02\x03\x05uint8"));
        for axis in 0..3 {
            let bytes = reply.body[13 + 8 * axis..21 + 8 * axis].try_into().unwrap();
            assert_eq!(meta["shape"][axis], i64::from_le_bytes(bytes));
            let range = [0, 1].map(|end| meta["bbox"][axis][end].as_u64().unwrap());
            assert_eq!(meta["shape"][axis], range[1] - range[0]);
        }
    }
    meta
}

#[test]
fn a_point_is_answered_and_carried_and_undone() {
    let (_folder, server) = server(&[]);
    let client = Client::with_volume(&server);
    let answer = client.point(CENTRE, true);
    assert_eq!(answer["ran_prediction"], true);
    let range =
        |axis: usize| [0, 1].map(|end| answer["bbox"][axis][end].as_u64().unwrap() as usize);
    let [slices, rows, cols] = [0, 1, 2].map(range);
    assert!(
        slices[0] < CENTRE[0] && slices[1] > CENTRE[0] + 1,
        "{answer}"
    );
    // The ellipsoid has 23 rows and 31 columns.
    assert!(
        (6..=10).contains(&rows[0]) && (30..=35).contains(&rows[1]),
        "{answer}"
    );
    assert!(
        (21..=27).contains(&cols[0]) && (53..=60).contains(&cols[1]),
        "{answer}"
    );
    let undone = meta(&client.json("/undo", &json!({})).is(200));
    assert_eq!(
        (&undone["bbox"], &undone["ran_prediction"]),
        (&answer["bbox"], &json!(true))
    );
    let nothing = meta(&client.json("/undo", &json!({})).is(200));
    assert_eq!(nothing, json!({ "ran_prediction": false, "bbox": null }));
    client
        .json("/set_do_autozoom", &json!({ "do_autozoom": false }))
        .is(200);
    let answer = client.point(CENTRE, true);
    assert_eq!(answer["bbox"][0], json!([CENTRE[0], CENTRE[0] + 1]));
}

#[test]
fn what_the_model_cannot_use_is_refused() {
    let (_folder, server) = server(&[]);
    let capabilities = server.get("/capabilities").is(200).json();
    let supported = &capabilities["supported_interactions"];
    assert_eq!(
        (&supported["bbox2d"], &supported["bbox3d"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(capabilities["license"], "MIT OR Apache-2.0");
    let client = Client::with_volume(&server);
    let point = |at: Value| {
        client.json(
            "/add_point_interaction",
            &json!({ "coordinates": at, "include_interaction": true }),
        )
    };
    let boxed = |range: Value, include: bool| {
        let body = json!({ "bbox_coords": range, "include_interaction": include, "override_capability_checks": true });
        client.json("/add_bbox_interaction", &body)
    };
    point(json!([9, 0, 0])).fails(400, "bad_request", "outside");
    point(json!([-1, 0, 0])).fails(400, "bad_request", "outside");
    point(json!([1, 2])).fails(400, "bad_request", "");
    boxed(json!([[1, 3], [5, 9], [5, 9]]), true).fails(400, "bad_request", "three-dimensional");
    boxed(json!([[1, 2], [5, 9], [5, 9]]), false).fails(400, "bad_request", "not the object");
    boxed(json!([[1, 2], [5, 5], [5, 9]]), true).fails(400, "bad_request", "empty");
    boxed(json!([[1, 2], [50, 60], [5, 9]]), true).fails(400, "bad_request", "outside");
    let mask = packed(&[1, 2, 2], &[0; 4]);
    let drawn = |meta: &str| client.array("/add_lasso_interaction", meta, &mask);
    drawn(r#"{"include_interaction": true, "interaction_bbox": [[0,1],[0,2],[0,2]]}"#).fails(
        400,
        "bad_request",
        "nothing is drawn",
    );
    drawn(r#"{"include_interaction": true, "interaction_bbox": [[0,1],[0,3],[0,2]]}"#).fails(
        400,
        "bad_request",
        "is expected",
    );
    drawn(r#"{"include_interaction": true, "interaction_bbox": [[0,1],[0,2],[0,99]]}"#).fails(
        400,
        "bad_request",
        "outside",
    );
    drawn(r#"{"interaction_bbox": null}"#).fails(400, "bad_request", "include_interaction");
    let buffer = json!({ "shape": [9, 70, 48], "dtype": "uint8" });
    client
        .json("/set_target_buffer", &buffer)
        .fails(400, "bad_request", "for an image of");
    let buffer = json!({ "shape": SHAPE, "dtype": "float32" });
    client
        .json("/set_target_buffer", &buffer)
        .fails(400, "bad_request", "whole numbers");
    // Nothing of it is left, and the image of before stays where another one is damaged.
    assert_eq!(
        meta(&client.json("/predict", &json!({})).is(200))["ran_prediction"],
        false
    );
    client
        .array("/set_image", "{}", b"NNIA")
        .fails(400, "bad_request", "cut off");
    client
        .array("/set_image", "{}", &packed(&[2, 1, 1, 2], &[0; 4]))
        .fails(400, "bad_request", "one channel");
    assert_eq!(client.point(CENTRE, true)["ran_prediction"], true);
}

#[test]
fn sessions_are_limited_and_have_owners() {
    let (_folder, server) = server(&["--sessions", "2", "--token", "0123456789abcdef"]);
    let key = ("Authorization", "Bearer 0123456789abcdef");
    assert_eq!(server.get("/healthz").is(200).json(), json!({ "ok": true }));
    for path in ["/claim", "/release", "/heartbeat", "/set_image"] {
        server
            .send("POST", path, &[], b"{}")
            .fails(401, "no_token", "token");
    }
    let claim = || server.send("POST", "/claim", &[key], b"");
    let first = claim().is(200).json();
    assert_eq!(
        (&first["max_sessions"], &first["idle_timeout_seconds"]),
        (&json!(2), &json!(600.0))
    );
    claim().is(200);
    let full = claim().is(503);
    assert!(
        full.head.to_lowercase().contains("retry-after: 10"),
        "{}",
        full.head
    );
    assert!(
        full.json()["detail"]
            .as_str()
            .unwrap()
            .contains("all 2 sessions")
    );
    let lease = ("X-Lease-Token", first["lease_token"].as_str().unwrap());
    let beat = |lease| server.send("POST", "/heartbeat", &[key, lease], b"{}");
    assert!(
        beat(lease).is(200).json()["remaining_seconds"]
            .as_f64()
            .unwrap()
            > 590.0
    );
    beat(("X-Lease-Token", "wrong")).fails(410, "no_session", "ended");
    server
        .send("POST", "/undo", &[key, lease], b"{}")
        .fails(400, "bad_request", "no image");
    server.send("POST", "/release", &[key, lease], b"").is(200);
    beat(lease).fails(410, "no_session", "ended");
    server
        .send("POST", "/set_image", &[key, lease], &vec![7; 100_000])
        .fails(410, "no_session", "ended");
    claim().is(200);
}

#[test]
fn other_sites_cannot_reach_viewers() {
    let (_folder, server) = server(&[]);
    let link = [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
    ];
    for path in [
        "/start_session",
        "/v2/start_session/synthfm",
        "/status",
        "/capabilities",
        "/end_session/1",
    ] {
        server
            .send("GET", path, &link, b"")
            .fails(403, "wrong_origin", "other sites");
    }
    let origin = [("Origin", "http://elsewhere.example")];
    server
        .send("POST", "/claim", &origin, b"")
        .fails(403, "wrong_origin", "other sites");
}

/// A form as ITK-SNAP sends it.
fn form(dimensions: [usize; 3], numbers: impl Iterator<Item = f32>) -> Vec<u8> {
    use std::io::Write;
    let mut file = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let bytes: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
    file.write_all(&bytes).unwrap();
    let metadata = json!({ "dimensions": dimensions, "components_per_pixel": 1 });
    let mut form = Vec::new();
    for (name, content) in [
        ("file\"; filename=\"image.gz", file.finish().unwrap()),
        ("metadata", metadata.to_string().into_bytes()),
    ] {
        form.extend(
            format!("--line\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n")
                .into_bytes(),
        );
        form.extend(content);
        form.extend(b"\r\n");
    }
    form.extend(b"--line--\r\n");
    form
}

/// Voxels of the mask of an answer, in the order of the array.
fn voxels(answer: &Value) -> Vec<u8> {
    use std::io::Read;

    use base64::Engine as _;
    assert_eq!(answer["status"], "success");
    let packed =
        base64::engine::general_purpose::STANDARD.decode(answer["result"].as_str().unwrap());
    let mut voxels = Vec::new();
    flate2::read::GzDecoder::new(&packed.unwrap()[..])
        .read_to_end(&mut voxels)
        .unwrap();
    voxels
}

#[test]
fn itk_snap_opens_marks_and_ends() {
    let (_folder, server) = server(&[]);
    assert_eq!(server.get("/status").is(200).json()["status"], "ok");
    let models = server.get("/v2/models").is(200).json();
    let model = models["models"][0]["id"].as_str().unwrap().to_owned();
    let started = server
        .get(&format!("/v2/start_session/{model}"))
        .is(200)
        .json();
    let id = started["session_id"].as_str().unwrap();
    let [depth, height, width] = SHAPE;
    let dimensions = [width, height, depth];
    let kind = [("Content-Type", "multipart/form-data; boundary=line")];
    let send = |what: &str, body: &[u8]| server.send("POST", &format!("/{what}"), &kind, body);
    let image = form(dimensions, volume().into_iter().map(f32::from));
    send(&format!("upload_raw/{id}"), &image).is(200);
    let [z, y, x] = CENTRE;
    let at = (z * height + y) * width + x;
    let point = |query: &str| server.get(&format!("/process_point_interaction/{id}?{query}"));
    let first = voxels(
        &point(&format!("x={x}&y={y}&z={z}&foreground=true"))
            .is(200)
            .json(),
    );
    assert_eq!((first.len(), first[at]), (depth * height * width, 1));
    let slice = &first[z * height * width..(z + 1) * height * width];
    let area = slice.iter().map(|&voxel| usize::from(voxel)).sum::<usize>();
    assert!((500..750).contains(&area), "{area}");
    // A lasso that takes everything away on the slice.
    let drawn = form(
        dimensions,
        (0..first.len()).map(|at| f32::from(u8::from(at / (height * width) == z))),
    );
    let answer = send(
        &format!("process_lasso_interaction/{id}?foreground=false"),
        &drawn,
    )
    .is(200);
    let lassoed = voxels(&answer.json());
    assert!(
        lassoed[z * height * width..(z + 1) * height * width]
            .iter()
            .all(|&voxel| voxel == 0)
    );
    server.get(&format!("/reset_interactions/{id}")).is(200);
    let scribbled = (0..first.len())
        .map(|n| f32::from(u8::from(n / width == at / width && n.abs_diff(at) < 8)));
    let answer = send(
        &format!("process_scribble_interaction/{id}?foreground=true"),
        &form(dimensions, scribbled),
    )
    .is(200);
    assert_eq!(voxels(&answer.json())[at], 1);
    point("x=1&y=2").fails(400, "bad_request", "three whole numbers");
    point("point=1&point=2&point=99").fails(400, "bad_request", "outside");
    send(&format!("upload_raw/{id}"), b"--line--").fails(400, "bad_request", "no field");
    server.get(&format!("/end_session/{id}")).is(200);
    point(&format!("x={x}&y={y}&z={z}")).fails(410, "no_session", "ended");
}

#[test]
fn osam_gives_masks_of_pictures() {
    use base64::Engine as _;
    let (_folder, server) = server(&[]);
    let picture = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/Dataset001_Example/imagesTs/fetal_head_0000.png");
    let image = base64::engine::general_purpose::STANDARD.encode(std::fs::read(picture).unwrap());
    let generate = |prompt: Value| {
        let body =
            json!({ "model": "sam:latest", "image": image, "prompt": prompt, "annotations": null });
        let kind = [("Content-Type", "application/json")];
        server.send("POST", "/api/generate", &kind, body.to_string().as_bytes())
    };
    let corners = json!({ "points": [[222.0, 120.0], [632.0, 467.0]], "point_labels": [2, 3] });
    let answer = generate(corners).is(200).json();
    let annotation = &answer["annotations"][0];
    let side = |name: &str| annotation["bounding_box"][name].as_i64().unwrap();
    assert!(
        (200..260).contains(&side("xmin")) && (600..660).contains(&side("xmax")),
        "{annotation}"
    );
    let mask =
        base64::engine::general_purpose::STANDARD.decode(annotation["mask"].as_str().unwrap());
    let mask = mask.unwrap();
    assert_eq!(mask[..8], *b"\x89PNG\r\n\x1a\n");
    let size = [16, 20].map(|at| u32::from_be_bytes(mask[at..at + 4].try_into().unwrap()));
    let expected = [("xmin", "xmax"), ("ymin", "ymax")].map(|(min, max)| side(max) - side(min) + 1);
    assert_eq!(size.map(i64::from), expected);
    generate(json!({ "points": [[400, 300]], "point_labels": [1] })).is(200);
    for (prompt, reason) in [
        (
            json!({ "points": [[400, 300]], "point_labels": [] }),
            "a label for each point",
        ),
        (
            json!({ "points": [[400, 300]], "point_labels": [4] }),
            "labels",
        ),
        (
            json!({ "points": [[4000, 300]], "point_labels": [1] }),
            "outside",
        ),
        (json!({ "texts": ["head"] }), "text"),
        (
            json!({ "points": [[1, 1]], "point_labels": [2] }),
            "two corners",
        ),
    ] {
        generate(prompt).fails(400, "bad_request", reason);
    }
}
