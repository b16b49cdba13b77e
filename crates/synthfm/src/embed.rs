//! `synthfm embed`: encode an image once.

use anyhow::Result;
use serde_json::json;

use crate::cli::EmbedArgs;
use crate::input;
use crate::model::Model;
use crate::output::{Session, VERSION, create_parent, write_json};
use crate::progress::spinner;

/// Writes the embedding and, beside it, what it was made from.
pub(crate) fn run(args: &EmbedArgs, session: &Session) -> Result<()> {
    create_parent(&args.out)?;
    let input = input::read(&args.input, (&args.view).into())?;
    let model = Model::open(args.model.as_deref())?;
    let mut predictor = model.predictor(session, args.precision)?;
    let busy = spinner(session, "encoding");
    let started = std::time::Instant::now();
    predictor.set_image(&input.rgb)?;
    let encode_ms = started.elapsed().as_secs_f64() * 1e3;
    predictor.save_embedding(&args.out)?;
    busy.finish_and_clear();
    let (slice, axis) = input.place.slice().unzip();
    let record = json!({
        "synthfm": VERSION,
        "input": args.input,
        "slice": slice,
        "axis": axis,
        "window": input.window,
        "size": [input.rgb.size().height, input.rgb.size().width],
        "model": model.record()?,
        "precision": predictor.arithmetic().to_string(),
        "embedding": args.out,
        "encode_ms": encode_ms,
    });
    write_json(&args.out.with_extension("json"), &record)?;
    session.print(&record, || {
        format!("{}: encoded in {encode_ms:.0} ms", args.out.display())
    })
}
