//! osam's `/api/generate`: one picture with points and boxes in, masks out.
//!
//! Every request holds its picture; pictures are told apart by a hash, so that the second prompt on one meets its
//! embedding. Labels are those of osam: 1 on the object, 0 beside it, 2 and 3 the corners of a box.

use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use synthfm_image::{BoxXyxy, Mask, Point2, Size, hex};
use synthfm_sam::{MaskOutput, Prompts};

use super::reply::{Reply, whole};
use super::{Viewers, scan};
use crate::annotation::PlaneName;
use crate::engine::{Answer, ImageKey, Purpose};
use crate::error::{ApiError, ApiResult};
use crate::respond;
use crate::study::Study;

/// Bytes of a request: a picture as base64.
const MAX_BYTES: u64 = 64 << 20;
const MAX_POINTS: usize = 128;
/// Labels of points.
const BESIDE: i64 = 0;
const INSIDE: i64 = 1;
const TOP_LEFT: i64 = 2;
const BOTTOM_RIGHT: i64 = 3;

pub(super) fn router() -> Router<Arc<Viewers>> {
    Router::new().route("/api/generate", post(generate))
}

#[derive(Deserialize)]
struct Request {
    model: String,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    prompt: Option<Prompt>,
}

#[derive(Deserialize)]
struct Prompt {
    #[serde(default)]
    points: Option<Vec<[f64; 2]>>,
    #[serde(default)]
    point_labels: Option<Vec<i64>>,
}

impl Prompt {
    /// The prompts for the model.
    fn read(&self) -> ApiResult<Prompts> {
        let (Some(points), Some(labels)) = (&self.points, &self.point_labels) else {
            return Err(ApiError::bad("points are needed; the model knows no text"));
        };
        if points.len() != labels.len() || points.len() > MAX_POINTS {
            let message =
                format!("a label for each point is needed, and at most {MAX_POINTS} points");
            return Err(ApiError::bad(message));
        }
        let mut prompts = Prompts::default();
        let mut corners = [None; 2];
        for (&[x, y], &label) in points.iter().zip(labels) {
            let point = Point2::new(x, y);
            match label {
                INSIDE | BESIDE => prompts.points.push((point, label == INSIDE)),
                TOP_LEFT | BOTTOM_RIGHT => {
                    let corner = &mut corners[usize::from(label == BOTTOM_RIGHT)];
                    if corner.replace(point).is_some() {
                        return Err(ApiError::bad("a box has two corners, labelled 2 and 3"));
                    }
                }
                _ => return Err(ApiError::bad("labels are 0, 1, 2 or 3")),
            }
        }
        prompts.box_ = match corners {
            [None, None] => None,
            [Some(a), Some(b)] => Some(BoxXyxy {
                min: Point2::new(a.x.min(b.x), a.y.min(b.y)),
                max: Point2::new(a.x.max(b.x), a.y.max(b.y)),
            }),
            _ => return Err(ApiError::bad("a box has two corners, labelled 2 and 3")),
        };
        Ok(prompts)
    }
}

async fn generate(State(viewers): State<Arc<Viewers>>, headers: HeaderMap, body: Body) -> Reply {
    let body = whole(&headers, body, MAX_BYTES.min(viewers.app.max_file_bytes)).await?;
    let max_bytes = viewers.app.max_file_bytes;
    let read = viewers.read(move || {
        let request: Request = serde_json::from_slice(&body)
            .map_err(|error| ApiError::bad(format!("the body is not what is expected: {error}")))?;
        let prompts = request.prompt.as_ref().map(Prompt::read);
        let prompts = prompts.ok_or_else(|| ApiError::bad("a prompt is needed"))??;
        let image = request
            .image
            .ok_or_else(|| ApiError::bad("an image is needed"))?;
        let image = STANDARD
            .decode(image)
            .map_err(|error| ApiError::bad(format!("the image is not base64: {error}")))?;
        let name = format!("picture {}", hex(&Sha256::digest(&image)));
        let study = picture(&image, max_bytes)?;
        Ok((request.model, name, Arc::new(study), prompts))
    });
    let (model, name, study, prompts) = read.await?;
    let answer = ask(&viewers, name, &study, prompts).await?;
    let annotations: Vec<Value> = annotation(&answer)?.into_iter().collect();
    Ok(respond::json(&json!({
        "model": model,
        "image_embedding": null,
        "annotations": annotations,
    })))
}

/// Reads a picture from bytes of any format that files may have.
fn picture(bytes: &[u8], max_bytes: u64) -> ApiResult<Study> {
    let mut file = tempfile::NamedTempFile::new().context("a place for the picture")?;
    file.write_all(bytes).context("a place for the picture")?;
    file.flush().context("a place for the picture")?;
    let root = std::env::temp_dir();
    let study = Study::read(file.path(), None, max_bytes, &root).map_err(|error| {
        let path = file.path().display().to_string();
        let mut error = ApiError::from(error);
        error.message = error.message.replace(&path, "the picture");
        error
    })?;
    if study.is_picture() {
        Ok(study)
    } else {
        Err(ApiError::bad("a picture is expected, not a volume"))
    }
}

async fn ask(
    viewers: &Viewers,
    name: String,
    study: &Arc<Study>,
    prompts: Prompts,
) -> ApiResult<Answer> {
    let engine = &viewers.app.engine;
    let key = ImageKey::new(&name, PlaneName::Axial, 0, study.window());
    let image = engine.embedding(&key, study).await?;
    // Who asks is not known, so that no request overtakes another: each has a key of its own.
    let number = crate::sessions::random_text()?;
    let call = (format!("{name} {number}"), scan::place(0, 0), Purpose::Look);
    let number = engine.announce(call.clone());
    engine
        .ask(call, number, image, prompts, MaskOutput::Single)
        .await
}

/// The mask as osam gives it: a box with both ends, and a PNG of its inside. `None` for an empty mask.
fn annotation(answer: &Answer) -> ApiResult<Option<Value>> {
    let Some(BoxXyxy { min, max }) = answer.mask.bounding_box() else {
        return Ok(None);
    };
    let [xmin, ymin, xmax, ymax] = [min.x, min.y, max.x, max.y].map(|v| v as usize);
    let size = Size::new(ymax - ymin + 1, xmax - xmin + 1);
    let mask = png_of(&answer.mask, [xmin, ymin], size).context("writing the mask")?;
    Ok(Some(json!({
        "bounding_box": { "xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax },
        "text": null,
        "score": answer.iou,
        "mask": STANDARD.encode(mask),
    })))
}

fn png_of(mask: &Mask, [left, top]: [usize; 2], size: Size) -> anyhow::Result<Vec<u8>> {
    let rows = (0..size.height).flat_map(|row| (0..size.width).map(move |col| (row, col)));
    let grey = rows.map(|(row, col)| 255 * u8::from(mask.at(top + row, left + col)));
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, size.width as u32, size.height as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&grey.collect::<Vec<u8>>())?;
    writer.finish()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_and_corners_become_prompts() {
        let read = |text: &str| serde_json::from_str::<Prompt>(text).unwrap().read();
        let text =
            r#"{"points": [[30, 5.5], [10, 20], [4, 40], [1, 2]], "point_labels": [1, 3, 2, 0]}"#;
        let prompts = read(text).unwrap();
        let points = [
            (Point2::new(30.0, 5.5), true),
            (Point2::new(1.0, 2.0), false),
        ];
        assert_eq!(prompts.points, points);
        let corners = prompts.box_.unwrap();
        assert_eq!(
            (corners.min, corners.max),
            (Point2::new(4.0, 20.0), Point2::new(10.0, 40.0))
        );
        for (text, reason) in [
            (r#"{"texts": ["liver"]}"#, "no text"),
            (
                r#"{"points": [[1, 2]], "point_labels": [1, 0]}"#,
                "a label for each",
            ),
            (r#"{"points": [[1, 2]], "point_labels": [-1]}"#, "labels"),
            (
                r#"{"points": [[1, 2], [3, 4]], "point_labels": [2, 2]}"#,
                "two corners",
            ),
            (
                r#"{"points": [[1, 2]], "point_labels": [3]}"#,
                "two corners",
            ),
        ] {
            let message = read(text).unwrap_err().message;
            assert!(message.contains(reason), "{text}: {message}");
        }
    }

    #[test]
    fn masks_are_cut_to_their_box() {
        let size = Size::new(6, 9);
        let mut mask = Mask::zeros(size);
        for (row, col) in [(2, 3), (2, 4), (4, 7)] {
            mask.data_mut()[size.index(row, col)] = true;
        }
        let answer = |mask| Answer {
            mask,
            iou: 0.5,
            decode_ms: 0.0,
        };
        let found = annotation(&answer(mask)).unwrap().unwrap();
        let expected = json!({ "xmin": 3, "ymin": 2, "xmax": 7, "ymax": 4 });
        assert_eq!(
            (&found["bounding_box"], &found["score"]),
            (&expected, &json!(0.5))
        );
        let bytes = STANDARD.decode(found["mask"].as_str().unwrap()).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .unwrap();
        let mut grey = vec![0; 15];
        reader.next_frame(&mut grey).unwrap();
        assert_eq!(grey, [255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255]);
        assert_eq!(annotation(&answer(Mask::zeros(size))).unwrap(), None);
    }
}
