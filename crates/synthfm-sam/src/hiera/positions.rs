//! Hiera's absolute positions (Bolya et al. 2023, "Window attention is bugged"; `Hiera._get_pos_embed`): a small table
//! interpolated to the grid, plus one window's table repeated over it.

use burn::tensor::{Device, Tensor, TensorData};

/// Parameter of PyTorch's cubic convolution.
const CUBIC_A: f64 = -0.75;

/// # Shapes
/// Table `[1, D, k, k']` and window `[1, D, w, w]` -> `[1, H, W, D]`; H and W are multiples of w
pub(super) fn window_positions(
    [table, window]: [Tensor<4>; 2],
    [height, width]: [usize; 2],
) -> Tensor<4> {
    let device = table.device();
    let [_, d, rows, columns] = table.dims();
    let side = window.dims()[2];
    // Rows first: [H, k] x [k, k' D]; then columns: [W, k'] x [H, k', D].
    let table = table.permute([0, 2, 3, 1]).reshape([rows, columns * d]);
    let table = cubic_weights(rows, height, &device).matmul(table);
    let table = table.reshape([height, columns, d]);
    let across = cubic_weights(columns, width, &device).unsqueeze_dim::<3>(0);
    let table = across.expand([height, width, columns]).matmul(table);
    let window = window.permute([0, 2, 3, 1]).reshape([1, side, 1, side * d]);
    let table = table.reshape([height / side, side, width / side, side * d]);
    (table + window).reshape([1, height, width, d])
}

/// `torch.nn.functional.interpolate(mode="bicubic", align_corners=False)` along one axis, as a product: `[target, source]`.
fn cubic_weights(source: usize, target: usize, device: &Device) -> Tensor<2> {
    let mut weights = vec![0.0_f32; target * source];
    let scale = source as f64 / target as f64;
    for (i, line) in weights.chunks_exact_mut(source).enumerate() {
        let position = (i as f64 + 0.5) * scale - 0.5;
        let low = position.floor();
        for tap in -1..3 {
            let place = low + f64::from(tap);
            let at = place.clamp(0.0, (source - 1) as f64) as usize;
            line[at] += cubic((position - place).abs()) as f32;
        }
    }
    Tensor::from_data(TensorData::new(weights, [target, source]), device)
}

/// Keys' cubic kernel at a distance of at most 2.
fn cubic(x: f64) -> f64 {
    let a = CUBIC_A;
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, values};

    #[test]
    fn tables_are_interpolated_as_in_pytorch() {
        // interpolate([[[[0, 1, 3]]]], size=(1, 5), mode="bicubic")
        let device = Device::flex();
        let table = Tensor::<2>::from_floats([[0.0], [1.0], [3.0]], &device);
        let got = values(cubic_weights(3, 5, &device).matmul(table));
        assert_close("interpolated", &got, &[-0.096, 0.244, 1.0, 2.296, 3.192]);
    }

    #[test]
    fn windows_are_repeated() {
        let device = Device::flex();
        let table = Tensor::<4>::zeros([1, 1, 2, 2], &device);
        let window = Tensor::<4>::from_floats([[[[1.0, 2.0], [3.0, 4.0]]]], &device);
        let got = window_positions([table, window], [2, 6]);
        assert_eq!(got.dims(), [1, 2, 6, 1]);
        let expected = [
            [1.0, 2.0, 1.0, 2.0, 1.0, 2.0],
            [3.0, 4.0, 3.0, 4.0, 3.0, 4.0],
        ];
        assert_eq!(values(got), expected.concat());
    }
}
