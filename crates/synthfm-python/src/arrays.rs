//! Arrays of NumPy in and out. Values are in NumPy's order of axes: rows and columns of pictures, `i`, `j`, `k` of volumes.

use numpy::ndarray::{ArrayView, ArrayView2, ArrayView3, ShapeBuilder};
use numpy::{
    Element, IntoPyArray, PyArray, PyArray1, PyArray2, PyArray3, PyArrayDescrMethods, PyArrayDyn,
    PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};
use synthfm_image::{Image, Mask, Picture, RgbImage, Size};

use crate::errors::{OrRaise, usage};

/// Anything that NumPy takes for an array, as an array; no copy where it is one.
pub(crate) fn any_array<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = value.py();
    let array = py
        .import(intern!(py, "numpy"))?
        .call_method1(intern!(py, "asarray"), (value,))?;
    Ok(array.cast_into::<PyUntypedArray>()?)
}

/// An array's values as `T`; no copy where they are of that type already.
fn typed<'py, T: Element>(
    value: &Bound<'py, PyAny>,
    dtype: &str,
    order: &str,
) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    let py = value.py();
    let kwargs: Bound<'py, PyDict> = [("dtype", dtype), ("order", order)].into_py_dict(py)?;
    let array = py.import(intern!(py, "numpy"))?.call_method(
        intern!(py, "asarray"),
        (value,),
        Some(&kwargs),
    )?;
    let array = array.cast_into::<PyArrayDyn<T>>()?;
    Ok(array.try_readonly()?)
}

/// Values of a C-ordered array with its shape.
fn values<T: Element + Copy>(
    value: &Bound<'_, PyAny>,
    dtype: &str,
    order: &str,
) -> PyResult<(Vec<usize>, Vec<T>)> {
    let array = typed::<T>(value, dtype, order)?;
    let shape = array.shape().to_vec();
    let data = if array.is_c_contiguous() || array.is_fortran_contiguous() {
        array.as_slice()?.to_vec()
    } else {
        array.as_array().iter().copied().collect()
    };
    Ok((shape, data))
}

/// Numbers in C order with their shape.
pub(crate) fn numbers(value: &Bound<'_, PyAny>) -> PyResult<(Vec<usize>, Vec<f64>)> {
    values(value, "float64", "C")
}

/// Single-precision numbers in C order with their shape.
pub(crate) fn floats(value: &Bound<'_, PyAny>) -> PyResult<(Vec<usize>, Vec<f32>)> {
    values(value, "float32", "C")
}

/// Where an array is not 0, with its shape; in C order for pictures and in Fortran order (`i` fastest) for volumes.
pub(crate) fn inside(value: &Bound<'_, PyAny>) -> PyResult<(Vec<usize>, Vec<bool>)> {
    let array = any_array(value)?;
    let order = if array.ndim() == 3 { "F" } else { "C" };
    // NumPy's conversion to bool is the comparison with 0.
    values(array.as_any(), "bool", order)
}

/// Labels from 0 to 65535 with their shape, ordered as [`inside`].
pub(crate) fn labels(value: &Bound<'_, PyAny>) -> PyResult<(Vec<usize>, Vec<u16>)> {
    let py = value.py();
    let array = any_array(value)?;
    let order = if array.ndim() == 3 { "F" } else { "C" };
    let kind: String = array.dtype().getattr("kind")?.extract()?;
    if kind != "b" && array.len() > 0 {
        let numpy = py.import(intern!(py, "numpy"))?;
        let narrow = numpy.call_method(
            "asarray",
            (&array,),
            Some(&[("dtype", "uint16")].into_py_dict(py)?),
        );
        let exact = match (kind.as_str(), narrow) {
            ("u" | "i" | "f", Ok(narrow)) => numpy
                .call_method1("array_equal", (&array, narrow))?
                .extract::<bool>()?,
            _ => false,
        };
        if !exact {
            return Err(usage("labels: whole numbers from 0 to 65535 expected"));
        }
    }
    values(array.as_any(), "uint16", order)
}

/// A mask `[H, W]`: everything but 0 is inside.
pub(crate) fn mask(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Mask> {
    let (shape, data) = inside(value)?;
    let [height, width] = shape[..] else {
        return Err(usage(format!(
            "{what}: an array [H, W] expected, got {shape:?}"
        )));
    };
    Mask::new(Size::new(height, width), data).or_raise()
}

/// A picture: bytes `[H, W, 3]` are colours, `[H, W]` of any type of real numbers intensities.
pub(crate) fn picture(value: &Bound<'_, PyAny>, bgr: bool) -> PyResult<Picture> {
    let array = any_array(value)?;
    let kind: String = array.dtype().getattr("kind")?.extract()?;
    if !["b", "u", "i", "f"].contains(&kind.as_str()) {
        return Err(usage(format!(
            "image: real numbers expected, got {}",
            array.dtype()
        )));
    }
    match *array.shape() {
        [height, width, 3] if array.dtype().itemsize() == 1 && kind == "u" => {
            let (_, mut data) = values::<u8>(array.as_any(), "uint8", "C")?;
            if bgr {
                data.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
            }
            let rgb = RgbImage::new(Size::new(height, width), data).or_raise()?;
            Ok(Picture::Rgb(rgb))
        }
        [height, width] => {
            let (_, data) = floats(array.as_any())?;
            let image = Image::new(Size::new(height, width), data).or_raise()?;
            Ok(Picture::Grey(image))
        }
        ref shape => Err(usage(format!(
            "image: an array [H, W], or [H, W, 3] of uint8, expected, got {shape:?} of {}; for volumes there is \
             segment_volume",
            array.dtype()
        ))),
    }
}

/// `[rows, columns]` around values in C order; no copy.
pub(crate) fn rows_of<T: Element>(
    py: Python<'_>,
    size: Size,
    data: Vec<T>,
) -> PyResult<Bound<'_, PyArray2<T>>> {
    data.into_pyarray(py).reshape([size.height, size.width])
}

/// `[n, rows, columns]` around values in C order; no copy.
pub(crate) fn stack_of<T: Element>(
    py: Python<'_>,
    shape: [usize; 3],
    data: Vec<T>,
) -> PyResult<Bound<'_, PyArray3<T>>> {
    data.into_pyarray(py).reshape(shape)
}

/// `[i, j, k]` around values whose first axis is the fastest; no copy.
pub(crate) fn volume_of<T: Element>(
    py: Python<'_>,
    [ni, nj, nk]: [usize; 3],
    data: Vec<T>,
) -> PyResult<Bound<'_, PyAny>> {
    let reversed = data.into_pyarray(py).reshape([nk, nj, ni])?;
    reversed.as_any().getattr(intern!(py, "T"))
}

/// A list of numbers as an array.
pub(crate) fn vector<T: Element>(py: Python<'_>, data: Vec<T>) -> Bound<'_, PyArray1<T>> {
    data.into_pyarray(py)
}

/// A 4 x 4 matrix of float64.
pub(crate) fn matrix(py: Python<'_>, rows: [[f64; 4]; 4]) -> PyResult<Bound<'_, PyArray2<f64>>> {
    rows.concat().into_pyarray(py).reshape([4, 4])
}

/// Values that `owner` holds as a read-only array: `[i, j, k]` with the first axis the fastest.
///
/// # Safety
/// `data` must lie in memory that `owner` keeps, unchanged, as long as it lives.
#[expect(unsafe_code, reason = "NumPy keeps the owner alive, not the borrow")]
pub(crate) unsafe fn borrowed_volume<'py, T: Element>(
    owner: Bound<'py, PyAny>,
    shape: [usize; 3],
    data: &[T],
) -> PyResult<Bound<'py, PyAny>> {
    let view = ArrayView3::from_shape(shape.f(), data).map_err(|error| usage(error.to_string()))?;
    // SAFETY: the caller's promise.
    let array = unsafe { PyArray3::borrow_from_array(&view, owner) };
    read_only(array.into_any())
}

/// Values that `owner` holds as a read-only array `[rows, columns]`.
///
/// # Safety
/// As [`borrowed_volume`].
#[expect(unsafe_code, reason = "NumPy keeps the owner alive, not the borrow")]
pub(crate) unsafe fn borrowed_rows<'py, T: Element>(
    owner: Bound<'py, PyAny>,
    size: Size,
    data: &[T],
) -> PyResult<Bound<'py, PyAny>> {
    let view = ArrayView2::from_shape([size.height, size.width], data)
        .map_err(|error| usage(error.to_string()))?;
    // SAFETY: the caller's promise.
    let array = unsafe { PyArray2::borrow_from_array(&view, owner) };
    read_only(array.into_any())
}

/// Pixels that `owner` holds as a read-only array `[rows, columns, 3]`.
///
/// # Safety
/// As [`borrowed_volume`].
#[expect(unsafe_code, reason = "NumPy keeps the owner alive, not the borrow")]
pub(crate) unsafe fn borrowed_pixels<'py>(
    owner: Bound<'py, PyAny>,
    image: &RgbImage,
) -> PyResult<Bound<'py, PyAny>> {
    let Size { height, width } = image.size();
    let view = ArrayView::from_shape([height, width, 3], image.data())
        .map_err(|error| usage(error.to_string()))?;
    // SAFETY: the caller's promise.
    let array = unsafe { PyArray::borrow_from_array(&view, owner) };
    read_only(array.into_any())
}

fn read_only(array: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let py = array.py();
    let flags = [("write", false)].into_py_dict(py)?;
    array.call_method(intern!(py, "setflags"), (), Some(&flags))?;
    Ok(array)
}
