// Products, with weights prepared once.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <string>

#include "python/src/bind.h"
#include "tessera/core/error.h"
#include "tessera/ops/linear.h"
#include "tessera/ops/matmul.h"

namespace nb = nanobind;

namespace tessera::python {
namespace {

ops::Activation activation(const std::string& name) {
  using enum ops::Activation;
  if (name.empty()) return none;
  if (name == "relu") return relu;
  if (name == "relu6") return relu6;
  if (name == "silu") return silu;
  if (name == "gelu") return gelu;
  if (name == "gelu_tanh") return gelu_tanh;
  if (name == "hardswish") return hardswish;
  fail_expected("matmul", "an activation that is fused: relu, relu6, silu, gelu, gelu_tanh or hardswish", "'" + name + "'");
}

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b, const std::optional<Tensor>& bias, const std::string& act,
              DType dtype) {
  const ops::Matmul options{.transpose_a = transpose_a, .transpose_b = transpose_b, .activation = activation(act), .bias = bias.value_or(Tensor())};
  return run([&](Context& ctx) {
    Tensor y = Tensor::empty(ops::matmul_shape(a.shape(), b.shape(), options), dtype);
    ops::matmul(ctx, a, b, options, y);
    return y;
  });
}

Tensor linear(const Tensor& x, const ops::PreparedLinear& w, const std::string& act, DType dtype) {
  ops::Linear options;
  options.activation = activation(act);
  return run([&](Context& ctx) { return ops::linear(ctx, x, w, options, dtype); });
}

}  // namespace

void bind_matmul(nb::module_& m) {
  nb::class_<ops::PreparedLinear>(m, "PreparedLinear", "A weight packed for the kernel that will multiply with it.")
      .def_prop_ro("n", &ops::PreparedLinear::n)
      .def_prop_ro("k", &ops::PreparedLinear::k)
      .def_prop_ro("nbytes", &ops::PreparedLinear::bytes)
      .def_prop_ro("row", [](const ops::PreparedLinear& w) { return std::string(w.row()); });
  m.def("matmul", &matmul, nb::arg("a"), nb::arg("b"), nb::arg("transpose_a"), nb::arg("transpose_b"), nb::arg("bias").none(), nb::arg("activation"),
        nb::arg("dtype"));
  m.def(
      "prepare_matmul",
      [](const Tensor& b, bool transpose_b, const std::optional<Tensor>& bias, DType precision) {
        return run([&](Context& ctx) { return ops::prepare_matmul(ctx, b, transpose_b, bias.value_or(Tensor()), precision); });
      },
      nb::arg("b"), nb::arg("transpose_b"), nb::arg("bias").none(), nb::arg("precision"));
  m.def("linear", &linear, nb::arg("x"), nb::arg("w"), nb::arg("activation"), nb::arg("dtype"));
}

}  // namespace tessera::python
