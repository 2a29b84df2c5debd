#include "tessera/ops/elementwise.h"

#include <atomic>
#include <string>

#include "tessera/core/error.h"
#include "tessera/kernels/elementwise/elementwise.h"
#include "tessera/ops/choose.h"
#include "tessera/ops/stretches.h"

namespace tessera::ops {
namespace {

using kernels::Binary;
using kernels::Unary;

bool is_float(const Tensor& t) { return t.dtype() == DType::f32 || t.dtype() == DType::bf16; }

void check_operand(const char* op, const char* what, const Tensor& t) {
  if (!t.defined() || t.layout() != Layout::row_major || !is_float(t))
    fail_expected(op, std::string(what) + " of float32 or bfloat16 in row-major layout", t.str(), "ops::to_layout and ops::typecast convert");
}

void check_same(const char* op, const Tensor& x, const Tensor& y) {
  if (x.shape() != y.shape()) fail_expected(op, "y of shape " + x.shape().str(), y.shape().str());
}

bool is_bf16(const Tensor& t) { return t.dtype() == DType::bf16; }

void run_binary(Context& ctx, const char* op, Binary which, const Tensor& a, const Tensor& b, Tensor& y) {
  check_operand(op, "a", a);
  check_operand(op, "b", b);
  check_operand(op, "y", y);
  check_same(op, a, y);
  const bool row_vector = b.shape() != a.shape();
  if (row_vector && !(b.numel() == a.cols() && b.cols() == a.cols()))
    fail_expected(op, "b of shape " + a.shape().str() + " or [" + std::to_string(a.cols()) + "]", b.shape().str());
  const auto& row = choose(ctx, "elementwise", kernels::elementwise_rows());
  runtime::Zone zone(ctx.profiler(), op, row.info.name, static_cast<double>(a.numel()), static_cast<double>(a.bytes() + b.bytes() + y.bytes()));
  const Rows r = row_vector ? Rows{a.rows(), a.cols()} : rows_of({&a, &b, &y});
  for_stretches(ctx, r.rows, r.cols, [&](std::int64_t i, std::int64_t c, std::int64_t n) {
    row.functions.binary(which, in(a, i, c), is_bf16(a), in(b, row_vector ? 0 : i, c), is_bf16(b), out(y, i, c), is_bf16(y), n);
  });
}

void run_unary(Context& ctx, const char* op, Unary which, double flops, const Tensor& x, Tensor& y) {
  check_operand(op, "x", x);
  check_operand(op, "y", y);
  check_same(op, x, y);
  const auto& row = choose(ctx, "elementwise", kernels::elementwise_rows());
  runtime::Zone zone(ctx.profiler(), op, row.info.name, flops * static_cast<double>(x.numel()), static_cast<double>(x.bytes() + y.bytes()));
  const Rows r = rows_of({&x, &y});
  for_stretches(ctx, r.rows, r.cols, [&](std::int64_t i, std::int64_t c, std::int64_t n) {
    row.functions.unary(which, in(x, i, c), is_bf16(x), out(y, i, c), is_bf16(y), n);
  });
}

}  // namespace

void add(Context& ctx, const Tensor& a, const Tensor& b, Tensor& y) { run_binary(ctx, "add", Binary::add, a, b, y); }
void subtract(Context& ctx, const Tensor& a, const Tensor& b, Tensor& y) { run_binary(ctx, "subtract", Binary::subtract, a, b, y); }
void multiply(Context& ctx, const Tensor& a, const Tensor& b, Tensor& y) { run_binary(ctx, "multiply", Binary::multiply, a, b, y); }

void gelu(Context& ctx, const Tensor& x, Tensor& y) { run_unary(ctx, "gelu", Unary::gelu, 10, x, y); }
void gelu_tanh(Context& ctx, const Tensor& x, Tensor& y) { run_unary(ctx, "gelu_tanh", Unary::gelu_tanh, 10, x, y); }
void silu(Context& ctx, const Tensor& x, Tensor& y) { run_unary(ctx, "silu", Unary::silu, 5, x, y); }

void scale_shift(Context& ctx, const Tensor& x, float alpha, float beta, Tensor& y) {
  check_operand("scale_shift", "x", x);
  check_operand("scale_shift", "y", y);
  check_same("scale_shift", x, y);
  const auto& row = choose(ctx, "elementwise", kernels::elementwise_rows());
  runtime::Zone zone(ctx.profiler(), "scale_shift", row.info.name, 2.0 * static_cast<double>(x.numel()), static_cast<double>(x.bytes() + y.bytes()));
  const Rows r = rows_of({&x, &y});
  for_stretches(ctx, r.rows, r.cols, [&](std::int64_t i, std::int64_t c, std::int64_t n) {
    row.functions.scale_shift(in(x, i, c), is_bf16(x), alpha, beta, out(y, i, c), is_bf16(y), n);
  });
}

void axpy(Context& ctx, float alpha, const Tensor& x, Tensor& y) {
  check_operand("axpy", "x", x);
  check_operand("axpy", "y", y);
  if (x.dtype() != DType::f32 || y.dtype() != DType::f32) fail_expected("axpy", "float32 x and y", x.str() + " and " + y.str());
  check_same("axpy", x, y);
  const auto& row = choose(ctx, "elementwise", kernels::elementwise_rows());
  runtime::Zone zone(ctx.profiler(), "axpy", row.info.name, 2.0 * static_cast<double>(x.numel()), static_cast<double>(x.bytes() + 2 * y.bytes()));
  const Rows r = rows_of({&x, &y});
  for_stretches(ctx, r.rows, r.cols, [&](std::int64_t i, std::int64_t c, std::int64_t n) {
    row.functions.axpy(alpha, static_cast<const float*>(in(x, i, c)), static_cast<float*>(out(y, i, c)), n);
  });
}

bool all_finite(Context& ctx, const Tensor& x) {
  if (!x.defined() || x.layout() != Layout::row_major) fail_expected("all_finite", "x in row-major layout", x.str(), "ops::to_layout converts");
  if (!is_float(x) && x.dtype() != DType::f16) return true;
  const auto& row = choose(ctx, "elementwise", kernels::elementwise_rows());
  runtime::Zone zone(ctx.profiler(), "all_finite", row.info.name, 0, static_cast<double>(x.bytes()));
  std::atomic<bool> finite{true};
  const Rows r = rows_of({&x});
  for_stretches(ctx, r.rows, r.cols, [&](std::int64_t i, std::int64_t c, std::int64_t n) {
    if (!finite.load(std::memory_order_relaxed)) return;
    bool ok = true;
    if (x.dtype() == DType::f16) {
      const auto* p = static_cast<const f16*>(in(x, i, c));
      for (std::int64_t k = 0; k < n; ++k) ok = ok && (p[k].bits & 0x7c00u) != 0x7c00u;
    } else {
      ok = row.functions.all_finite(in(x, i, c), is_bf16(x), n);
    }
    if (!ok) finite.store(false, std::memory_order_relaxed);
  });
  return finite.load();
}

}  // namespace tessera::ops
