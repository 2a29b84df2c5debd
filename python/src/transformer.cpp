// Norms, softmax, attention and rotary embedding.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>

#include <optional>

#include "python/src/bind.h"
#include "tessera/ops/norm.h"
#include "tessera/ops/rotary.h"
#include "tessera/ops/sdpa.h"
#include "tessera/ops/softmax.h"

namespace nb = nanobind;

namespace tessera::python {
namespace {

using Maybe = std::optional<Tensor>;

Tensor layer_norm(const Tensor& x, const Maybe& weight, const Maybe& bias, const Maybe& residual, float eps, DType dtype) {
  return run([&](Context& ctx) {
    Tensor y = Tensor::empty(x.shape(), dtype);
    ops::LayerNorm options;
    options.weight = weight.value_or(Tensor()), options.bias = bias.value_or(Tensor());
    options.residual = residual.value_or(Tensor()), options.eps = eps;
    ops::layer_norm(ctx, x, options, y);
    return y;
  });
}
Tensor rms_norm(const Tensor& x, const Maybe& weight, const Maybe& residual, float eps, DType dtype) {
  return run([&](Context& ctx) {
    Tensor y = Tensor::empty(x.shape(), dtype);
    ops::RmsNorm options;
    options.weight = weight.value_or(Tensor()), options.residual = residual.value_or(Tensor());
    options.eps = eps, options.unit_offset = false;
    ops::rms_norm(ctx, x, options, y);
    return y;
  });
}
Tensor softmax(const Tensor& x, std::int64_t dim, float scale, const Maybe& mask, DType dtype) {
  return run([&](Context& ctx) {
    Tensor y = Tensor::empty(x.shape(), dtype);
    ops::Softmax options;
    options.dim = dim, options.scale = scale, options.mask = mask.value_or(Tensor());
    ops::softmax(ctx, x, options, y);
    return y;
  });
}
Tensor rotary_embedding(const Tensor& x, const Tensor& cos, const Tensor& sin, std::optional<std::int64_t> token) {
  return run([&](Context& ctx) {
    Tensor y = Tensor::empty(x.shape(), x.dtype());
    ops::rotary_embedding(ctx, x, cos, sin, y, token);
    return y;
  });
}
Tensor sdpa(const Tensor& q, const Tensor& k, const Tensor& v, bool causal, std::optional<float> scale, const Maybe& mask,
            std::optional<std::int64_t> sliding_window, const Maybe& sink) {
  return run([&](Context& ctx) {
    Tensor y = Tensor::empty(q.shape(), q.dtype());
    ops::Sdpa options;
    options.causal = causal, options.scale = scale, options.mask = mask.value_or(Tensor());
    options.sliding_window = sliding_window, options.sink = sink.value_or(Tensor()), options.scale_sink = true;
    ops::sdpa(ctx, q, k, v, options, y);
    return y;
  });
}

}  // namespace

void bind_transformer(nb::module_& m) {
  m.def("layer_norm", &layer_norm, nb::arg("x"), nb::arg("weight").none(), nb::arg("bias").none(), nb::arg("residual").none(), nb::arg("eps"),
        nb::arg("dtype"));
  m.def("rms_norm", &rms_norm, nb::arg("x"), nb::arg("weight").none(), nb::arg("residual").none(), nb::arg("eps"), nb::arg("dtype"));
  m.def("softmax", &softmax, nb::arg("x"), nb::arg("dim"), nb::arg("scale"), nb::arg("mask").none(), nb::arg("dtype"));
  m.def("rotary_embedding", &rotary_embedding, nb::arg("x"), nb::arg("cos"), nb::arg("sin"), nb::arg("token").none());
  m.def("sdpa", &sdpa, nb::arg("q"), nb::arg("k"), nb::arg("v"), nb::arg("causal"), nb::arg("scale").none(), nb::arg("mask").none(),
        nb::arg("sliding_window").none(), nb::arg("sink").none());
}

}  // namespace tessera::python
