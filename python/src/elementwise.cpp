// Elementwise ops and reductions.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <string_view>
#include <vector>

#include "python/src/bind.h"
#include "tessera/core/error.h"
#include "tessera/ops/binary.h"
#include "tessera/ops/reduce.h"
#include "tessera/ops/unary.h"

namespace nb = nanobind;

namespace tessera::python {
namespace {

/// The number of an op by its name: Python looks it up once and calls with the number.
int unary_number(std::string_view name) {
  const auto op = ops::unary_op(name);
  if (!op) fail_expected("unary", "the name of an elementwise function", "'" + std::string(name) + "'");
  return static_cast<int>(*op);
}
int binary_number(std::string_view name) {
  const auto op = ops::binary_op(name);
  if (!op) fail_expected("binary", "the name of an elementwise function of two", "'" + std::string(name) + "'");
  return static_cast<int>(*op);
}

Tensor unary(const Tensor& x, int op, float a, float b, DType dtype) {
  return run([&](Context& ctx) {
    Tensor y = Tensor::empty(x.shape(), dtype);
    ops::unary(ctx, x, {.op = static_cast<ops::UnaryOp>(op), .a = a, .b = b}, y);
    return y;
  });
}
void unary_into(const Tensor& x, int op, float a, float b, Tensor& y) {
  run([&](Context& ctx) { ops::unary(ctx, x, {.op = static_cast<ops::UnaryOp>(op), .a = a, .b = b}, y); });
}
Tensor binary(const Tensor& a, const Tensor& b, int op, DType dtype) {
  return run([&](Context& ctx) {
    Tensor y = Tensor::empty(ops::broadcast_shape(a.shape(), b.shape()), dtype);
    ops::binary(ctx, a, b, static_cast<ops::BinaryOp>(op), y);
    return y;
  });
}
void binary_into(const Tensor& a, const Tensor& b, int op, Tensor& y) {
  run([&](Context& ctx) { ops::binary(ctx, a, b, static_cast<ops::BinaryOp>(op), y); });
}
Tensor binary_scalar(const Tensor& a, double b, int op, DType dtype) {
  return run([&](Context& ctx) {
    Tensor y = Tensor::empty(a.shape(), dtype);
    ops::binary(ctx, a, b, static_cast<ops::BinaryOp>(op), y);
    return y;
  });
}
void binary_scalar_into(const Tensor& a, double b, int op, Tensor& y) {
  run([&](Context& ctx) { ops::binary(ctx, a, b, static_cast<ops::BinaryOp>(op), y); });
}
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b, DType dtype) {
  return run([&](Context& ctx) {
    Tensor y = Tensor::empty(ops::broadcast_shape(condition.shape(), ops::broadcast_shape(a.shape(), b.shape())), dtype);
    ops::where(ctx, condition, a, b, y);
    return y;
  });
}
Tensor reduce(const Tensor& x, int op, const std::vector<std::int64_t>& dims, bool keepdim, DType dtype) {
  return run([&](Context& ctx) {
    Tensor y = Tensor::empty(ops::reduced_shape(x.shape(), dims, keepdim), dtype);
    ops::reduce(ctx, x, static_cast<ops::ReduceOp>(op), dims, y);
    return y;
  });
}
Tensor cumsum(const Tensor& x, std::int64_t dim, DType dtype) {
  return run([&](Context& ctx) {
    Tensor y = Tensor::empty(x.shape(), dtype);
    ops::cumsum(ctx, x, dim, y);
    return y;
  });
}
Tensor argmax(const Tensor& x, std::int64_t dim, bool keepdim) {
  return run([&](Context& ctx) {
    const std::int64_t dims[] = {dim};
    Tensor y = Tensor::empty(ops::reduced_shape(x.shape(), dims, keepdim), DType::u32);
    ops::argmax(ctx, x, dim, y);
    return y;
  });
}

}  // namespace

void bind_elementwise(nb::module_& m) {
  m.def("unary_number", &unary_number, nb::arg("name"));
  m.def("binary_number", &binary_number, nb::arg("name"));
  m.def("unary", &unary, nb::arg("x"), nb::arg("op"), nb::arg("a"), nb::arg("b"), nb::arg("dtype"));
  m.def("unary_into", &unary_into, nb::arg("x"), nb::arg("op"), nb::arg("a"), nb::arg("b"), nb::arg("y"));
  m.def("binary", &binary, nb::arg("a"), nb::arg("b"), nb::arg("op"), nb::arg("dtype"));
  m.def("binary_into", &binary_into, nb::arg("a"), nb::arg("b"), nb::arg("op"), nb::arg("y"));
  m.def("binary_scalar", &binary_scalar, nb::arg("a"), nb::arg("b"), nb::arg("op"), nb::arg("dtype"));
  m.def("binary_scalar_into", &binary_scalar_into, nb::arg("a"), nb::arg("b"), nb::arg("op"), nb::arg("y"));
  m.def("where", &where, nb::arg("condition"), nb::arg("a"), nb::arg("b"), nb::arg("dtype"));
  nb::enum_<ops::ReduceOp>(m, "ReduceOp", nb::is_arithmetic())
      .value("sum", ops::ReduceOp::sum)
      .value("mean", ops::ReduceOp::mean)
      .value("max", ops::ReduceOp::max)
      .value("min", ops::ReduceOp::min)
      .value("prod", ops::ReduceOp::prod)
      .value("var", ops::ReduceOp::var)
      .value("std", ops::ReduceOp::std);
  m.def("reduce", &reduce, nb::arg("x"), nb::arg("op"), nb::arg("dims"), nb::arg("keepdim"), nb::arg("dtype"));
  m.def("cumsum", &cumsum, nb::arg("x"), nb::arg("dim"), nb::arg("dtype"));
  m.def("argmax", &argmax, nb::arg("x"), nb::arg("dim"), nb::arg("keepdim"));
}

}  // namespace tessera::python
