use super::*;
use crate::kernels::testing::{noise, worst};

/// Sizes of a problem.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    objects: usize,
    tokens: usize,
    n: usize,
    c: usize,
    inner: usize,
    heads: usize,
    /// One map for all objects.
    shared: bool,
}

/// All inputs of both operations, one after the other in memory of double precision.
struct Inputs {
    map: Vec<f64>,
    position: Vec<f64>,
    first_weight: Vec<f64>,
    first_bias: Vec<f64>,
    second_weight: Vec<f64>,
    second_bias: Vec<f64>,
    /// Projected tokens: queries, or keys and values.
    tokens: [Vec<f64>; 2],
}

fn double(count: usize, salt: u32) -> Vec<f64> {
    noise(count, salt).into_iter().map(f64::from).collect()
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

impl Inputs {
    /// `out`: whether the second weight leads back to the map.
    fn new(s: Sizes, out: bool) -> Self {
        let maps = if s.shared { 1 } else { s.objects };
        let tokens = s.objects * s.tokens * s.inner;
        Self {
            map: double(maps * s.n * s.c, 1),
            position: double(s.n * s.c, 2),
            first_weight: double(s.c * s.inner, 3),
            first_bias: double(s.inner, 4),
            second_weight: double(s.c * s.inner, 5),
            second_bias: double(if out { s.c } else { s.inner }, 6),
            tokens: [double(tokens, 7), double(tokens, 8)],
        }
    }

    /// The memory of each input with a gradient, in the order of the operations' arguments.
    fn parts(&mut self) -> [&mut Vec<f64>; 7] {
        let [first, second] = &mut self.tokens;
        [
            &mut self.map,
            first,
            second,
            &mut self.first_weight,
            &mut self.first_bias,
            &mut self.second_weight,
            &mut self.second_bias,
        ]
    }

    fn map_of(&self, s: Sizes, i: usize) -> &[f64] {
        let size = s.n * s.c;
        &self.map[if s.shared { 0 } else { i * size }..][..size]
    }

    fn with_position(&self, s: Sizes, i: usize) -> Vec<f64> {
        let pairs = self.map_of(s, i).iter().zip(&self.position);
        pairs.map(|(a, b)| a + b).collect()
    }

    fn tokens_of(&self, s: Sizes, kind: usize, i: usize) -> &[f64] {
        let size = s.tokens * s.inner;
        &self.tokens[kind][i * size..][..size]
    }
}

/// `[rows, k] · [k, n] + bias`
fn project(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let (n, k) = (bias.len(), weight.len() / bias.len());
    let rows = x.chunks_exact(k).flat_map(|row| {
        (0..n).map(move |j| {
            let dot: f64 = (0..k).map(|i| row[i] * weight[i * n + j]).sum();
            dot + bias[j]
        })
    });
    rows.collect()
}

/// Multi-head attention by its definition: `[Q, I]`, `[K, I]`, `[K, I]` -> `[Q, I]`.
fn attend(q: &[f64], k: &[f64], v: &[f64], inner: usize, heads: usize) -> Vec<f64> {
    let d = inner / heads;
    let mut out = vec![0.0; q.len()];
    for (i, q) in q.chunks_exact(inner).enumerate() {
        for head in 0..heads {
            let columns = head * d..(head + 1) * d;
            let weights: Vec<f64> = k
                .chunks_exact(inner)
                .map(|k| {
                    let pairs = q[columns.clone()].iter().zip(&k[columns.clone()]);
                    (pairs.map(|(q, k)| q * k).sum::<f64>() / (d as f64).sqrt()).exp()
                })
                .collect();
            let total: f64 = weights.iter().sum();
            for j in columns {
                let sum: f64 = weights
                    .iter()
                    .zip(v.chunks_exact(inner))
                    .map(|(w, v)| w * v[j])
                    .sum();
                out[i * inner + j] = sum / total;
            }
        }
    }
    out
}

fn to_image(s: Sizes, x: &Inputs) -> Vec<f64> {
    let of = |i: usize| {
        let keys = project(&x.with_position(s, i), &x.first_weight, &x.first_bias);
        let values = project(x.map_of(s, i), &x.second_weight, &x.second_bias);
        attend(x.tokens_of(s, 0, i), &keys, &values, s.inner, s.heads)
    };
    (0..s.objects).flat_map(of).collect()
}

fn to_tokens(s: Sizes, x: &Inputs) -> Vec<f64> {
    let of = |i: usize| {
        let queries = project(&x.with_position(s, i), &x.first_weight, &x.first_bias);
        let (keys, values) = (x.tokens_of(s, 0, i), x.tokens_of(s, 1, i));
        let attended = attend(&queries, keys, values, s.inner, s.heads);
        let out = project(&attended, &x.second_weight, &x.second_bias);
        let pairs = out.into_iter().zip(x.map_of(s, i));
        pairs.map(|(a, b)| a + b).collect::<Vec<_>>()
    };
    (0..s.objects).flat_map(of).collect()
}

/// Derivatives of `Σ grad · f(inputs)` by every `step`-th value of each input, by central differences; NaN elsewhere.
fn differences(
    s: Sizes,
    x: &mut Inputs,
    grad: &[f64],
    step: usize,
    f: fn(Sizes, &Inputs) -> Vec<f64>,
) -> Vec<Vec<f64>> {
    const H: f64 = 1e-5;
    let loss = |x: &Inputs| -> f64 { f(s, x).iter().zip(grad).map(|(a, b)| a * b).sum() };
    let mut all = Vec::new();
    for part in 0..7 {
        let count = x.parts()[part].len();
        let by = |i: usize, x: &mut Inputs| {
            if !i.is_multiple_of(step) {
                return f64::NAN;
            }
            let before = x.parts()[part][i];
            x.parts()[part][i] = before + H;
            let high = loss(x);
            x.parts()[part][i] = before - H;
            let low = loss(x);
            x.parts()[part][i] = before;
            (high - low) / (2.0 * H)
        };
        all.push((0..count).map(|i| by(i, x)).collect());
    }
    all
}

fn single_inputs(x: &mut Inputs) -> ([Vec<f32>; 7], Vec<f32>) {
    let position = single(&x.position);
    (x.parts().map(|part| single(part)), position)
}

/// Largest error of the values that are known, relative to the largest of them.
fn worst_known(got: &[f32], expected: &[f64]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let known = |(&g, &e): (&f32, &f64)| (!e.is_nan()).then_some((g, e as f32));
    let (got, expected): (Vec<f32>, Vec<f32>) = got.iter().zip(expected).filter_map(known).unzip();
    worst(&got, &expected)
}

fn check_to_image(s: Sizes, step: usize) {
    let mut x = Inputs::new(s, false);
    let grad = double(s.objects * s.tokens * s.inner, 9);
    let expected = single(&to_image(s, &x));
    let mut by = differences(s, &mut x, &grad, step, to_image);
    // Keys are shifted alike by their bias: no gradient.
    let by_key_bias = by.remove(4);
    assert!(by_key_bias.iter().all(|v| v.is_nan() || v.abs() < 1e-7));
    by.remove(2);
    let ([map, query, _, key, key_bias, value, value_bias], position) = single_inputs(&mut x);
    let attention = TokensToMap {
        query: &query,
        image: ImageKeys {
            map: &map,
            position: &position,
            channels: s.c,
        },
        key: [&key, &key_bias],
        value: [&value, &value_bias],
        objects: s.objects,
        heads: s.heads,
    };
    for isa in Isa::all() {
        for (arithmetic, allowed) in [(Arithmetic::F32, 2e-5), (Arithmetic::Bf16, 4e-2)] {
            let (out, projected) = attention.forward(isa, arithmetic);
            let error = worst(&out, &expected);
            assert!(error < allowed, "{isa:?} {arithmetic:?} {s:?}: {error}");
            let got = attention.backward(isa, arithmetic, &projected, &single(&grad));
            let [by_key, bias] = got.key;
            assert!(bias.iter().all(|v| v.abs() < 1e-4));
            let [by_value, by_bias] = got.value;
            let got = [got.map, got.query, by_key, by_value, by_bias];
            for (part, (got, by)) in got.iter().zip(&by).enumerate() {
                let error = worst_known(got, by);
                assert!(
                    error < allowed,
                    "{isa:?} {arithmetic:?} {s:?}, by {part}: {error}"
                );
            }
        }
    }
}

fn check_to_tokens(s: Sizes, step: usize) {
    let mut x = Inputs::new(s, true);
    let grad = double(s.objects * s.n * s.c, 9);
    let expected = single(&to_tokens(s, &x));
    let by = differences(s, &mut x, &grad, step, to_tokens);
    let ([map, key, value, query, query_bias, out, out_bias], position) = single_inputs(&mut x);
    let attention = MapToTokens {
        image: ImageKeys {
            map: &map,
            position: &position,
            channels: s.c,
        },
        key: &key,
        value: &value,
        query: [&query, &query_bias],
        out: [&out, &out_bias],
        objects: s.objects,
        heads: s.heads,
    };
    for isa in Isa::all() {
        for (arithmetic, allowed) in [(Arithmetic::F32, 2e-5), (Arithmetic::Bf16, 4e-2)] {
            let (out, queries) = attention.forward(isa, arithmetic);
            let error = worst(&out, &expected);
            assert!(error < allowed, "{isa:?} {arithmetic:?} {s:?}: {error}");
            let got = attention.backward(isa, arithmetic, &queries, &single(&grad));
            let ([query, query_bias], [out, out_bias]) = (got.query, got.out);
            let got = [
                got.map, got.key, got.value, query, query_bias, out, out_bias,
            ];
            for (part, (got, by)) in got.iter().zip(&by).enumerate() {
                let error = worst_known(got, by);
                assert!(
                    error < allowed,
                    "{isa:?} {arithmetic:?} {s:?}, by {part}: {error}"
                );
            }
        }
    }
}

fn sizes([objects, tokens, n, c, inner, heads]: [usize; 6], shared: bool) -> Sizes {
    Sizes {
        objects,
        tokens,
        n,
        c,
        inner,
        heads,
        shared,
    }
}

#[test]
fn gradients_are_the_differences() {
    for check in [check_to_image, check_to_tokens] {
        check(sizes([1, 2, 3, 3, 2, 1], false), 1);
        // Several blocks, odd everything; a map for all objects.
        check(sizes([2, 3, 101, 5, 6, 2], false), 7);
        check(sizes([3, 2, 37, 17, 9, 3], true), 5);
        // Several tasks for an object; our own model's heads.
        check(sizes([2, 9, 400, 16, 16, 8], false), 997);
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let s = sizes([3, 7, 500, 16, 16, 2], false);
    let grad = noise(s.objects * s.n * s.c, 9);
    let token_grad = noise(s.objects * s.tokens * s.inner, 10);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut bits = Vec::new();
            let mut note = |values: &[f32]| bits.extend(values.iter().map(|v| v.to_bits()));
            let ([map, key, value, query, query_bias, out, out_bias], position) =
                single_inputs(&mut Inputs::new(s, true));
            let image = ImageKeys {
                map: &map,
                position: &position,
                channels: s.c,
            };
            let query = [&query[..], &query_bias[..]];
            let attention = MapToTokens {
                image,
                key: &key,
                value: &value,
                query,
                out: [&out, &out_bias],
                objects: s.objects,
                heads: s.heads,
            };
            let (result, queries) = attention.forward(Isa::best(), Arithmetic::Bf16);
            note(&result);
            let by = attention.backward(Isa::best(), Arithmetic::Bf16, &queries, &grad);
            for values in [by.map, by.key, by.value]
                .iter()
                .chain(&by.query)
                .chain(&by.out)
            {
                note(values);
            }
            let attention = TokensToMap {
                query: &key,
                image,
                key: query,
                value: [&out, &query_bias],
                objects: s.objects,
                heads: s.heads,
            };
            let (result, projected) = attention.forward(Isa::best(), Arithmetic::F32);
            note(&result);
            let by = attention.backward(Isa::best(), Arithmetic::F32, &projected, &token_grad);
            for values in [by.map, by.query].iter().chain(&by.key).chain(&by.value) {
                note(values);
            }
            bits
        })
    };
    assert!(run(1) == run(2) && run(1) == run(5));
}
