// Movement: slices, joins, repeats, and tensors of one value.
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <vector>

#include "python/src/bind.h"
#include "tessera/core/error.h"
#include "tessera/ops/embedding.h"
#include "tessera/ops/fold.h"
#include "tessera/ops/reorder.h"
#include "tessera/ops/typecast.h"

namespace nb = nanobind;

namespace tessera::python {
namespace {

using Sizes = std::vector<std::int64_t>;

Tensor slice(const Tensor& x, const Sizes& start, const Sizes& end, const Sizes& step) {
  return run([&](Context& ctx) { return ops::slice(ctx, x, start, end, step); });
}
void slice_write(const Tensor& x, Tensor& y, const Sizes& start, const Sizes& end, const Sizes& step) {
  run([&](Context& ctx) { ops::slice_write(ctx, x, y, start, end, step); });
}
Tensor concat(const std::vector<Tensor>& parts, std::int64_t dim) {
  return run([&](Context& ctx) { return ops::concat(ctx, parts, dim); });
}
Tensor pad(const Tensor& x, const Sizes& before, const Sizes& after, float value, bool replicate) {
  return run([&](Context& ctx) { return ops::pad(ctx, x, before, after, value, replicate ? ops::PadMode::replicate : ops::PadMode::constant); });
}
Tensor permute(const Tensor& x, const Sizes& dims) {
  return run([&](Context& ctx) { return ops::permute(ctx, x, dims); });
}
Tensor repeat(const Tensor& x, const Sizes& times) {
  return run([&](Context& ctx) { return ops::repeat(ctx, x, times); });
}
Tensor repeat_interleave(const Tensor& x, std::int64_t times, std::int64_t dim) {
  return run([&](Context& ctx) { return ops::repeat_interleave(ctx, x, times, dim); });
}
Tensor expand(const Tensor& x, const Sizes& shape) {
  return run([&](Context& ctx) { return ops::expand(ctx, x, Shape(shape)); });
}
Tensor full(const Sizes& shape, double value, DType dtype) {
  return run([&](Context& ctx) { return ops::full(ctx, Shape(shape), value, dtype); });
}
Tensor arange(double start, double end, double step, DType dtype) {
  return run([&](Context& ctx) { return ops::arange(ctx, start, end, step, dtype); });
}
void copy_into(const Tensor& x, Tensor& y) {
  run([&](Context& ctx) { ops::to_layout(ctx, x, y); });
}
/// ids of any integer dtype, or whole numbers as floats; the result is [ids..., width] of `dtype`.
Tensor embedding(const Tensor& ids, const Tensor& table, DType dtype) {
  return run([&](Context& ctx) {
    const Tensor whole = ids.dtype() == DType::i32 ? ids : ops::typecast(ctx, ids, DType::i32);
    Tensor y = Tensor::empty({ids.numel(), table.cols()}, dtype);
    ops::embedding(ctx, table, whole.span<std::int32_t>(), 1.0f, y);
    return y;
  });
}
Tensor fold(const Tensor& x, std::array<std::int64_t, 2> stride, std::array<std::int64_t, 4> padding, std::array<std::int64_t, 2> channels,
            bool nchw) {
  return run([&](Context& ctx) {
    return ops::fold(ctx, x,
                     {.stride = stride, .padding = padding, .channels = channels, .order = nchw ? ops::ImageOrder::nchw : ops::ImageOrder::nhwc});
  });
}

}  // namespace

void bind_reorder(nb::module_& m) {
  m.def("slice", &slice, nb::arg("x"), nb::arg("start"), nb::arg("end"), nb::arg("step"));
  m.def("slice_write", &slice_write, nb::arg("x"), nb::arg("y"), nb::arg("start"), nb::arg("end"), nb::arg("step"));
  m.def("concat", &concat, nb::arg("parts"), nb::arg("dim"));
  m.def("pad", &pad, nb::arg("x"), nb::arg("before"), nb::arg("after"), nb::arg("value"), nb::arg("replicate"));
  m.def("permute", &permute, nb::arg("x"), nb::arg("dims"));
  m.def("repeat", &repeat, nb::arg("x"), nb::arg("times"));
  m.def("repeat_interleave", &repeat_interleave, nb::arg("x"), nb::arg("times"), nb::arg("dim"));
  m.def("expand", &expand, nb::arg("x"), nb::arg("shape"));
  m.def("full", &full, nb::arg("shape"), nb::arg("value"), nb::arg("dtype"));
  m.def("arange", &arange, nb::arg("start"), nb::arg("end"), nb::arg("step"), nb::arg("dtype"));
  m.def("copy_into", &copy_into, nb::arg("x"), nb::arg("y"), "Writes x's elements over y's: same shape and dtype.");
  m.def("embedding", &embedding, nb::arg("ids"), nb::arg("table"), nb::arg("dtype"));
  m.def("fold", &fold, nb::arg("x"), nb::arg("stride"), nb::arg("padding"), nb::arg("channels"), nb::arg("nchw"));
}

}  // namespace tessera::python
