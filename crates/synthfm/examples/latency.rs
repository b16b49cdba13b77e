//! Times single calls of the library in the program's own build, for comparison with the same calls from Python:
//! `tools/python_overhead.py` writes one call per line, and reads its nanoseconds back.
//!
//! ```text
//! generate SIDE SEED INDEX      a sample of SIDE x SIDE pixels
//! image PATH                    encodes a picture
//! segment X Y                   answers a click on it
//! ```

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use synthfm::api::{Model, Shown, picture};
use synthfm_image::{OpenOptions, Plane, Point2, open_scan};
use synthfm_sam::{DeviceChoice, MaskOutput, PrecisionChoice, Prompts};
use synthfm_synth::{GeneratorConfig, SampleParams, SizeConfig, render};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    synthfm::mimalloc_keeps(synthfm::Keep::ForASecond);
    let mut model = Model::open(None, DeviceChoice::Cpu, PrecisionChoice::F32, None)?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |n: usize| -> Result<u64> {
            let word = words.get(n).context("a number is missing")?;
            Ok(word.parse()?)
        };
        let began;
        match words.first() {
            Some(&"generate") => {
                let side = usize::try_from(number(1)?)?;
                let config = GeneratorConfig {
                    size: SizeConfig {
                        height: side,
                        width: side,
                    },
                    ..GeneratorConfig::default()
                };
                let (seed, index) = (number(2)?, number(3)?);
                began = Instant::now();
                let sample = render(&SampleParams::draw(&config, seed, index));
                std::hint::black_box(sample.target_labels());
            }
            Some(&"image") => {
                let path = Path::new(words.get(1).context("a path is missing")?);
                let shown = Shown {
                    slice: None,
                    plane: Plane::Axial,
                    window: None,
                };
                began = Instant::now();
                let scan = open_scan(path, &OpenOptions::default())?;
                model.predictor.set_image(&picture(&scan, path, &shown)?)?;
            }
            Some(&"segment") => {
                let point = Point2::new(number(1)? as f64, number(2)? as f64);
                let prompts = Prompts {
                    points: vec![(point, true)],
                    ..Prompts::default()
                };
                began = Instant::now();
                std::hint::black_box(model.predictor.answer(&prompts, MaskOutput::Single)?);
            }
            _ => bail!("{line}: generate, image or segment expected"),
        }
        writeln!(out, "{}", began.elapsed().as_nanos())?;
        out.flush()?;
    }
    Ok(())
}
