//! Convolutions and their gradients against their definition, with every instruction set.

use super::conv::FLAT_LINE;
use super::testing::noise;
use super::tile::to_bf16;
use super::{Activation, Arithmetic, Conv, ConvShape, Isa, Kernel, ParamGrad, Placement};

/// Single precision: as many roundings as there are products, of sums whose terms cancel.
const F32_ERROR: f32 = 1e-5;
/// A bf16 has 8 bits of significand: two rounded factors are off by 2^-8 at most, and sums of such products less, for
/// the roundings are independent.
const BF16_ERROR: f32 = 1e-2;

/// Largest difference, relative to the largest value expected, or to the terms of the sums, which reach 1.
fn worst(got: &[f32], expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(1.0_f32, |m, v| m.max(v.abs()));
    super::testing::worst(got, expected) * super::testing::largest(expected) / largest
}

/// Maps smaller than the kernel, odd and not square; lines shorter than a strip, of whole strips and of neither;
/// channels that fill no word, no vector and no panel, and that fill them.
fn shapes() -> Vec<(ConvShape, Placement)> {
    let same = |[batch, height, width, input, output]: [usize; 5], side, stride| ConvShape {
        batch,
        height,
        width,
        input,
        output,
        side,
        stride,
    };
    let pixels = |shape| (shape, Placement::Pixels);
    let spread = |shape| (shape, Placement::Spread);
    vec![
        pixels(same([1, 1, 1, 1, 1], 3, 1)),
        pixels(same([2, 3, 5, 3, 7], 3, 1)),
        pixels(same([2, 9, 13, 5, 33], 3, 1)),
        pixels(same([1, 16, 24, 32, 64], 3, 1)),
        pixels(same([1, 7, 8, 16, 16], 5, 1)),
        pixels(same([1, 41, 23, 6, 48], 3, 1)),
        pixels(same([3, 1, 1, 5, 9], 1, 1)),
        pixels(same([2, 11, 17, 7, 40], 1, 1)),
        pixels(same([1, 3, FLAT_LINE, 4, 32], 1, 1)),
        pixels(same([2, 2, FLAT_LINE, 12, 16], 1, 1)),
        // Several passes and parts of a gradient by narrow weights; weights too wide for these.
        pixels(same([1, 37, 29, 9, 5], 1, 1)),
        pixels(same([1, 9, 11, 264, 260], 1, 1)),
        pixels(same([2, 6, 10, 5, 19], 2, 2)),
        pixels(same([1, 8, 32, 16, 32], 2, 2)),
        spread(same([2, 3, 5, 7, 12], 1, 1)),
        spread(same([1, 4, 16, 16, 64], 1, 1)),
        spread(same([1, 2, 9, 6, 128], 1, 1)),
    ]
}

/// Every product of the convolution: places in the input, the weight and the result as it lies.
fn each_product(
    (s, placement): (ConvShape, Placement),
    mut product: impl FnMut(usize, usize, usize),
) {
    let [rows, columns] = s.grid();
    let reach = if s.side % 2 == 1 { s.side / 2 } else { 0 };
    for (b, y, x) in grid3([s.batch, rows, columns]) {
        for (dy, dx, o) in grid3([s.side, s.side, s.output]) {
            let inside = |at: usize, d: usize, length: usize| {
                (at * s.stride + d)
                    .checked_sub(reach)
                    .filter(|&v| v < length)
            };
            let (Some(yi), Some(xi)) = (inside(y, dy, s.height), inside(x, dx, s.width)) else {
                continue;
            };
            let out = match placement {
                Placement::Pixels => ((b * rows + y) * columns + x) * s.output + o,
                Placement::Spread => {
                    let (depth, quarter) = (s.output / 4, o / (s.output / 4));
                    let (y, x) = (2 * y + quarter / 2, 2 * x + quarter % 2);
                    ((b * 2 * rows + y) * 2 * columns + x) * depth + o % depth
                }
            };
            for c in 0..s.input {
                let input = ((b * s.height + yi) * s.width + xi) * s.input + c;
                product(
                    input,
                    ((dy * s.side + dx) * s.input + c) * s.output + o,
                    out,
                );
            }
        }
    }
}

fn grid3([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

/// Input, weight, result or its gradient, and bias.
struct Case {
    of: (ConvShape, Placement),
    x: Vec<f32>,
    weight: Vec<f32>,
    out: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    fn new(of: (ConvShape, Placement)) -> Self {
        let s = of.0;
        let [rows, columns] = s.grid();
        Self {
            of,
            x: noise(s.batch * s.height * s.width * s.input, 1),
            weight: noise(s.side * s.side * s.input * s.output, 2),
            out: noise(s.batch * rows * columns * s.output, 3),
            bias: noise(s.output, 4),
        }
    }

    /// The column of the convolution that place `out` of the result has.
    fn column(&self, out: usize) -> usize {
        let (s, placement) = self.of;
        match placement {
            Placement::Pixels => out % s.output,
            Placement::Spread => {
                let (depth, width) = (s.output / 4, 2 * s.grid()[1]);
                let (x, y) = (out / depth % width, out / depth / width);
                (y % 2 * 2 + x % 2) * depth + out % depth
            }
        }
    }

    /// The convolution by its definition, in double precision.
    fn forward(&self, activation: Activation, residual: Option<&[f32]>) -> Vec<f32> {
        let mut sums: Vec<f64> = (0..self.out.len())
            .map(|i| f64::from(self.bias[self.column(i)]))
            .collect();
        each_product(self.of, |x, w, out| {
            sums[out] += f64::from(self.x[x]) * f64::from(self.weight[w]);
        });
        let finish = |(i, sum): (usize, f64)| {
            let v = match activation {
                Activation::None => sum as f32,
                Activation::Relu => (sum as f32).max(0.0),
                Activation::Gelu => super::activation::gelu_of(sum as f32),
            };
            v + residual.map_or(0.0, |all| all[i])
        };
        sums.into_iter().enumerate().map(finish).collect()
    }

    /// The gradients by input, weight and bias, of a result that a rectifier made where `output` is given.
    fn gradients(&self, output: Option<&[f32]>) -> [Vec<f32>; 3] {
        let kept = |i: usize| output.is_none_or(|all| all[i] > 0.0);
        let grad: Vec<f64> = (0..self.out.len())
            .map(|i| if kept(i) { f64::from(self.out[i]) } else { 0.0 })
            .collect();
        let [mut by_x, mut by_weight, mut by_bias] =
            [self.x.len(), self.weight.len(), self.bias.len()].map(|n| vec![0.0_f64; n]);
        each_product(self.of, |x, w, out| {
            by_x[x] += grad[out] * f64::from(self.weight[w]);
            by_weight[w] += grad[out] * f64::from(self.x[x]);
        });
        for (i, grad) in grad.iter().enumerate() {
            by_bias[self.column(i)] += grad;
        }
        [by_x, by_weight, by_bias].map(|sums| sums.into_iter().map(|v| v as f32).collect())
    }

    fn conv(&self) -> Conv<'_> {
        Conv {
            shape: self.of.0,
            x: &self.x,
            cut: None,
            weight: Kernel::Plain(&self.weight),
            bias: &self.bias,
            activation: Activation::None,
            residual: None,
            placement: self.of.1,
        }
    }

    fn param_grad<'a>(&'a self, output: Option<&'a [f32]>) -> ParamGrad<'a> {
        ParamGrad {
            shape: self.of.0,
            x: &self.x,
            grad: &self.out,
            output,
            placement: self.of.1,
        }
    }

    /// The convolution whose result is the gradient by the input.
    fn input_grad<'a>(&'a self, output: Option<&'a [f32]>) -> Conv<'a> {
        let (s, placement) = self.of;
        let [height, width] = s.grid();
        let back = ConvShape {
            height,
            width,
            input: s.output,
            output: s.input,
            stride: 1,
            ..s
        };
        let (shape, weight, placement) = if placement == Placement::Spread {
            let shape = ConvShape {
                height: 2 * height,
                width: 2 * width,
                input: s.output / 4,
                side: 2,
                stride: 2,
                ..back
            };
            (shape, Kernel::Transposed(&self.weight), Placement::Pixels)
        } else if s.stride > 1 {
            let shape = ConvShape {
                output: s.side * s.side * s.input,
                side: 1,
                ..back
            };
            (shape, Kernel::Transposed(&self.weight), Placement::Spread)
        } else {
            (back, Kernel::Turned(&self.weight), Placement::Pixels)
        };
        Conv {
            shape,
            x: &self.out,
            cut: output,
            weight,
            bias: &[],
            placement,
            ..self.conv()
        }
    }
}

const PRECISIONS: [(Arithmetic, f32); 2] =
    [(Arithmetic::F32, F32_ERROR), (Arithmetic::Bf16, BF16_ERROR)];

#[test]
fn every_shape_and_ending_is_the_definition() {
    for of in shapes() {
        let case = Case::new(of);
        let extra = noise(case.out.len(), 5);
        for activation in [Activation::None, Activation::Relu, Activation::Gelu] {
            let residual = (activation != Activation::Gelu).then_some(&extra[..]);
            for residual in [None, residual] {
                let expected = case.forward(activation, residual);
                let conv = Conv {
                    activation,
                    residual,
                    ..case.conv()
                };
                for (isa, (arithmetic, bound)) in settings() {
                    let error = worst(&conv.run(isa, arithmetic), &expected);
                    let what = (isa, arithmetic, activation);
                    assert!(error < bound, "{of:?} {what:?}: off by {error}");
                }
            }
        }
    }
}

fn settings() -> impl Iterator<Item = (Isa, (Arithmetic, f32))> {
    Isa::all()
        .into_iter()
        .flat_map(|isa| PRECISIONS.map(|precision| (isa, precision)))
}

#[test]
fn strides_skip_pixels() {
    let shape = |height, width, side, stride| ConvShape {
        batch: 2,
        height,
        width,
        input: 5,
        output: 18,
        side,
        stride,
    };
    for shape in [shape(7, 10, 3, 2), shape(12, 33, 5, 3), shape(9, 20, 1, 2)] {
        let case = Case::new((shape, Placement::Pixels));
        let expected = case.forward(Activation::None, None);
        for (isa, (arithmetic, bound)) in settings() {
            let error = worst(&case.conv().run(isa, arithmetic), &expected);
            assert!(error < bound, "{shape:?} {isa:?} {arithmetic:?}: {error}");
        }
    }
}

#[test]
fn gradients_are_the_definition() {
    for of in shapes() {
        let case = Case::new(of);
        // Zeros too, which a rectifier does not let through.
        let output: Vec<f32> = noise(case.out.len(), 6)
            .into_iter()
            .map(|v| v.max(0.0))
            .collect();
        for output in [None, Some(&output[..])] {
            let [by_x, by_weight, by_bias] = case.gradients(output);
            for (isa, (arithmetic, bound)) in settings() {
                let what = format!("{of:?} {isa:?} {arithmetic:?}");
                let error = worst(&case.input_grad(output).run(isa, arithmetic), &by_x);
                assert!(error < bound, "by input, {what}: off by {error}");
                let [got, got_bias] = case.param_grad(output).run(isa, arithmetic);
                let error = worst(&got, &by_weight);
                assert!(error < bound, "by weight, {what}: off by {error}");
                // Sums of gradients are not products, and never rounded.
                let error = worst(&got_bias, &by_bias);
                assert!(error < F32_ERROR, "by bias, {what}: off by {error}");
            }
        }
    }
}

#[test]
fn bf16_is_the_convolution_of_rounded_values() {
    let round = |values: &[f32]| -> Vec<f32> {
        let bf16 = |&v| f32::from_bits(to_bf16(v));
        values.iter().map(bf16).collect()
    };
    for of in shapes() {
        let case = Case::new(of);
        let rounded = Case {
            x: round(&case.x),
            weight: round(&case.weight),
            out: round(&case.out),
            bias: case.bias.clone(),
            ..case
        };
        let expected = rounded.forward(Activation::None, None);
        let [by_x, by_weight, _] = rounded.gradients(None);
        for isa in Isa::all() {
            let got = case.conv().run(isa, Arithmetic::Bf16);
            assert!(worst(&got, &expected) < F32_ERROR, "{of:?} {isa:?}");
            let got = case.input_grad(None).run(isa, Arithmetic::Bf16);
            assert!(worst(&got, &by_x) < F32_ERROR, "by input, {of:?} {isa:?}");
            let [got, _] = case.param_grad(None).run(isa, Arithmetic::Bf16);
            assert!(
                worst(&got, &by_weight) < F32_ERROR,
                "by weight, {of:?} {isa:?}"
            );
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let of = |threads: usize, run: &(dyn Fn() -> Vec<Vec<f32>> + Sync)| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let results = pool.build().unwrap().install(run);
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        results.into_iter().map(bits).collect::<Vec<_>>()
    };
    for shape in shapes() {
        let case = Case::new(shape);
        for (isa, (arithmetic, _)) in settings() {
            let run = || {
                let [by_weight, by_bias] = case.param_grad(None).run(isa, arithmetic);
                vec![
                    case.conv().run(isa, arithmetic),
                    case.input_grad(None).run(isa, arithmetic),
                    by_weight,
                    by_bias,
                ]
            };
            let alone = of(1, &run);
            for threads in [2, 5] {
                assert_eq!(of(threads, &run), alone, "{shape:?} {isa:?} {arithmetic:?}");
            }
        }
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    let shape = ConvShape {
        batch: 1,
        height: 3,
        width: 9,
        input: 4,
        output: 16,
        side: 3,
        stride: 1,
    };
    let mut case = Case::new((shape, Placement::Pixels));
    case.x[5 * 4] = f32::NAN;
    for activation in [Activation::None, Activation::Relu] {
        let conv = Conv {
            activation,
            ..case.conv()
        };
        for (isa, (arithmetic, _)) in settings() {
            let got = conv.run(isa, arithmetic);
            for (pixel, values) in got.chunks(16).enumerate() {
                let near = pixel / 9 < 2 && (4..=6).contains(&(pixel % 9));
                let all = values.iter().all(|v| v.is_nan() == near);
                assert!(all, "{isa:?} {arithmetic:?} {activation:?}: pixel {pixel}");
            }
        }
    }
}
