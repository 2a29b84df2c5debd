#include "tessera/ops/binary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "tessera/core/error.h"
#include "tessera/ops/broadcast.h"
#include "tessera/ops/choose.h"

namespace tessera::ops {
namespace {

using kernels::BinaryFunctions;

constexpr std::int64_t kElementsPerItem = std::int64_t{1} << 15;

/// In the order of the enumeration.
constexpr std::string_view kNames[] = {
    "add",       "subtract",    "rsub",       "multiply",    "divide",       "power",       "maximum",    "minimum",           "eq",
    "ne",        "lt",          "le",         "gt",          "ge",           "logical_and", "logical_or", "logical_xor",       "prelu",
    "bias_gelu", "bitwise_and", "bitwise_or", "bitwise_xor", "floor_divide", "remainder",   "fmod",       "squared_difference"};
static_assert(std::size(kNames) == static_cast<std::size_t>(BinaryOp::squared_difference) + 1);

// ---- checks ----

bool is_float(DType d) { return d == DType::f32 || d == DType::bf16; }
bool is_integer(DType d) { return d == DType::i32 || d == DType::u32 || d == DType::u16 || d == DType::u8; }
bool is_bitwise(BinaryOp op) { return op == BinaryOp::bitwise_and || op == BinaryOp::bitwise_or || op == BinaryOp::bitwise_xor; }

void check_tensor(const char* op, const char* what, const Tensor& t) {
  if (t.defined() && t.is_contiguous() && (is_float(t.dtype()) || is_integer(t.dtype()))) return;
  fail_expected(op, std::string(what) + " of float32, bfloat16, int32, uint32, uint16 or uint8, row-major and contiguous", t.str(),
                "ops::to_layout, ops::contiguous and ops::typecast convert");
}

/// a, b and y are all floats, or all of one integer dtype.
void check_dtypes(const char* op, const Tensor& a, const Tensor& b, const Tensor& y) {
  if (is_float(a.dtype()) && is_float(b.dtype()) && is_float(y.dtype())) return;
  if (a.dtype() == b.dtype() && b.dtype() == y.dtype()) return;
  fail_expected(op, "operands and y that are all floats, or all of one integer dtype", a.str() + ", " + b.str() + " and " + y.str(),
                "ops::typecast converts");
}

void check_op(const char* name, BinaryOp op, DType dtype) {
  if (is_float(dtype) ? !is_bitwise(op) : op != BinaryOp::bias_gelu) return;
  fail_expected(name, is_float(dtype) ? "integers" : "float32 or bfloat16", tessera::name(dtype), "ops::typecast converts");
}

void check_shape(const char* op, const Shape& shape, const Tensor& y) {
  if (y.shape() != shape) fail_expected(op, "y of shape " + shape.str(), y.shape().str());
}

/// y may lie where an operand lies only if each element is written where it was read.
void check_memory(const char* op, const Tensor& x, const Tensor& y) {
  const bool same = x.raw() == y.raw() && x.numel() == y.numel() && size_of(x.dtype()) == size_of(y.dtype());
  if (!same && overlap(x, y)) fail_expected(op, "y in memory of its own, or an operand itself", "memory that overlaps an operand");
}

// ---- operands ----

/// Where elements come from: a tensor, or a number.
struct Operand {
  const void* data;
  DType dtype;
};
Operand operand(const Tensor& t) { return {t.raw(), t.dtype()}; }

float widened(float v) { return v; }
float widened(bf16 v) { return to_f32(v); }

struct Stretch {
  const float* data;
  bool one;
};

/// Elements [at, at + n) of operand k as f32: where they lie if they can be used there, else in `buffer`.
template <std::size_t kOperands>
Stretch read_floats(const BinaryFunctions& f, const Broadcast<kOperands>& plan, std::size_t k, const Operand& x, std::int64_t at, std::int64_t n,
                    float* buffer) {
  const auto read = [&](const auto* p) -> Stretch {
    const bool inside = plan.whole[k] || plan.one[k] || plan.inside(at, n);
    if (!inside) {
      plan.gather(k, p, at, n, buffer, [](auto v) { return widened(v); });
      return {buffer, false};
    }
    const auto* const from = p + (plan.whole[k] ? at : plan.place(k, at));
    if (!plan.whole[k] && plan.stride[k][0] == 0) {
      *buffer = widened(*from);
      return {buffer, true};
    }
    if constexpr (sizeof(*p) == sizeof(float)) {
      return {from, false};
    } else {
      f.widen(from, buffer, n);
      return {buffer, false};
    }
  };
  if (x.dtype == DType::bf16) return read(static_cast<const bf16*>(x.data));
  return read(static_cast<const float*>(x.data));
}

/// Elements [at, at + n) of operand k as they are, one for each of the output's. A repeated number has been written to `buffer` before.
template <class T, std::size_t kOperands>
const T* read_as_is(const Broadcast<kOperands>& plan, std::size_t k, const T* x, std::int64_t at, std::int64_t n, T* buffer) {
  if (plan.whole[k]) return x + at;
  if (plan.one[k]) return buffer;
  if (plan.stride[k][0] != 0 && plan.inside(at, n)) return x + plan.place(k, at);
  plan.gather(k, x, at, n, buffer, [](T v) { return v; });
  return buffer;
}

template <class T, std::size_t kOperands>
void fill_repeated(const Broadcast<kOperands>& plan, std::size_t k, const T* x, T* buffer) {
  if (plan.one[k]) std::fill_n(buffer, kBroadcastBlock, *x);
}

/// f(at, end) for items of a fixed number of elements.
template <class F>
void for_items(Context& ctx, std::int64_t n, F f) {
  ctx.pool().parallel_for((n + kElementsPerItem - 1) / kElementsPerItem,
                          [&](std::int64_t item, int) { f(item * kElementsPerItem, std::min(n, (item + 1) * kElementsPerItem)); });
}

/// f(T{}) with the C++ type of an integer dtype.
template <class F>
void with_integer(DType dtype, F f) {
  switch (dtype) {
    case DType::i32: return f(std::int32_t{});
    case DType::u32: return f(std::uint32_t{});
    case DType::u16: return f(std::uint16_t{});
    default: return f(std::uint8_t{});
  }
}

// ---- binary ----

void run_floats(Context& ctx, const BinaryFunctions& f, BinaryOp op, const Broadcast<2>& plan, const Operand& a, const Operand& b, Tensor& y) {
  const bool narrow = y.dtype() == DType::bf16;
  const bool buffered = narrow || a.dtype == DType::bf16 || b.dtype == DType::bf16;
  for_items(ctx, y.numel(), [&](std::int64_t at, std::int64_t end) {
    alignas(64) float buffers[3][kBroadcastBlock];
    while (at < end) {
      std::int64_t n = plan.stretch(at, end);
      if (buffered) n = std::min(n, kBroadcastBlock);
      const Stretch p = read_floats(f, plan, 0, a, at, n, buffers[0]);
      const Stretch q = read_floats(f, plan, 1, b, at, n, buffers[1]);
      float* const to = narrow ? buffers[2] : static_cast<float*>(y.raw()) + at;
      f.floats(op, p.data, p.one, q.data, q.one, to, n);
      if (narrow) f.narrow(to, static_cast<bf16*>(y.raw()) + at, n);
      at += n;
    }
  });
}

void run_integers(Context& ctx, const BinaryFunctions& f, BinaryOp op, const Broadcast<2>& plan, const Operand& a, const Operand& b, Tensor& y) {
  with_integer(y.dtype(), [&]<class T>(T) {
    const auto* const pa = static_cast<const T*>(a.data);
    const auto* const pb = static_cast<const T*>(b.data);
    auto* const py = static_cast<T*>(y.raw());
    for_items(ctx, y.numel(), [&](std::int64_t at, std::int64_t end) {
      alignas(64) T buffers[2][kBroadcastBlock];
      fill_repeated(plan, 0, pa, buffers[0]);
      fill_repeated(plan, 1, pb, buffers[1]);
      while (at < end) {
        const std::int64_t n = std::min(plan.stretch(at, end), kBroadcastBlock);
        f.integers(op, y.dtype(), read_as_is(plan, 0, pa, at, n, buffers[0]), read_as_is(plan, 1, pb, at, n, buffers[1]), py + at, n);
        at += n;
      }
    });
  });
}

double flops_of(BinaryOp op) { return op == BinaryOp::power || op == BinaryOp::bias_gelu ? 10 : 1; }

void run(Context& ctx, BinaryOp op, const Shape& a_shape, const Operand& a, const Shape& b_shape, const Operand& b, double bytes, Tensor& y) {
  const auto& row = choose(ctx, "binary", kernels::binary_rows());
  const double n = static_cast<double>(y.numel());
  runtime::Zone zone(ctx.profiler(), name(op).data(), row.info.name, flops_of(op) * n, bytes);
  if (y.numel() == 0) return;
  const Broadcast<2> plan(y.shape(), {&a_shape, &b_shape});
  if (is_float(y.dtype()))
    run_floats(ctx, row.functions, op, plan, a, b, y);
  else
    run_integers(ctx, row.functions, op, plan, a, b, y);
}

template <class T>
bool holds(double v) {
  return v >= static_cast<double>(std::numeric_limits<T>::min()) && v <= static_cast<double>(std::numeric_limits<T>::max()) && std::trunc(v) == v;
}

// ---- where ----

/// Elements [at, at + n) of the condition as f32 that is 0 where it is.
const float* read_condition(const BinaryFunctions& f, const Broadcast<3>& plan, const Operand& x, std::int64_t at, std::int64_t n, float* buffer) {
  const auto gather = [&](const auto* p) {
    plan.gather(0, p, at, n, buffer, [](auto v) { return static_cast<float>(v); });
    return static_cast<const float*>(buffer);
  };
  switch (x.dtype) {
    case DType::i32: return gather(static_cast<const std::int32_t*>(x.data));
    case DType::u32: return gather(static_cast<const std::uint32_t*>(x.data));
    case DType::u16: return gather(static_cast<const std::uint16_t*>(x.data));
    case DType::u8: return gather(static_cast<const std::uint8_t*>(x.data));
    case DType::i8: return gather(static_cast<const std::int8_t*>(x.data));
    default: break;
  }
  const Stretch s = read_floats(f, plan, 0, x, at, n, buffer);
  if (s.one) std::fill_n(buffer, n, *s.data);
  return s.data;
}

/// Elements of `Stored` bits moved as they are; floats of two kinds by way of f32.
template <class Stored>
void run_where(Context& ctx, const BinaryFunctions& f, const Broadcast<3>& plan, const Operand& condition, const Tensor& a, const Tensor& b,
               Tensor& y) {
  const auto* const pa = static_cast<const Stored*>(a.raw());
  const auto* const pb = static_cast<const Stored*>(b.raw());
  auto* const py = static_cast<Stored*>(y.raw());
  for_items(ctx, y.numel(), [&](std::int64_t at, std::int64_t end) {
    alignas(64) float truth[kBroadcastBlock];
    alignas(64) Stored buffers[2][kBroadcastBlock];
    fill_repeated(plan, 1, pa, buffers[0]);
    fill_repeated(plan, 2, pb, buffers[1]);
    while (at < end) {
      const std::int64_t n = std::min(plan.stretch(at, end), kBroadcastBlock);
      const float* const c = read_condition(f, plan, condition, at, n, truth);
      f.select(sizeof(Stored), c, read_as_is(plan, 1, pa, at, n, buffers[0]), read_as_is(plan, 2, pb, at, n, buffers[1]), py + at, n);
      at += n;
    }
  });
}

void run_where_mixed(Context& ctx, const BinaryFunctions& f, const Broadcast<3>& plan, const Operand& condition, const Operand& a, const Operand& b,
                     Tensor& y) {
  const bool narrow = y.dtype() == DType::bf16;
  for_items(ctx, y.numel(), [&](std::int64_t at, std::int64_t end) {
    alignas(64) float truth[kBroadcastBlock];
    alignas(64) float buffers[3][kBroadcastBlock];
    while (at < end) {
      const std::int64_t n = std::min(plan.stretch(at, end), kBroadcastBlock);
      const float* const c = read_condition(f, plan, condition, at, n, truth);
      const Stretch p = read_floats(f, plan, 1, a, at, n, buffers[0]);
      const Stretch q = read_floats(f, plan, 2, b, at, n, buffers[1]);
      if (p.one) std::fill_n(buffers[0], n, *p.data);
      if (q.one) std::fill_n(buffers[1], n, *q.data);
      float* const to = narrow ? buffers[2] : static_cast<float*>(y.raw()) + at;
      f.select(sizeof(float), c, p.data, q.data, to, n);
      if (narrow) f.narrow(to, static_cast<bf16*>(y.raw()) + at, n);
      at += n;
    }
  });
}

}  // namespace

std::string_view name(BinaryOp op) noexcept {
  const auto i = static_cast<std::size_t>(op);
  return i < std::size(kNames) ? kNames[i] : "?";
}

std::optional<BinaryOp> binary_op(std::string_view name) noexcept {
  const auto* const found = std::ranges::find(kNames, name);
  if (found == std::end(kNames)) return std::nullopt;
  return static_cast<BinaryOp>(found - std::begin(kNames));
}

Shape broadcast_shape(const Shape& a, const Shape& b) {
  if (a == b) return a;
  const std::size_t rank = std::max(a.rank(), b.rank());
  std::array<std::int64_t, Shape::kMaxRank> sizes{};
  for (std::size_t back = 1; back <= rank; ++back) {
    const std::int64_t p = back <= a.rank() ? a.sizes()[a.rank() - back] : 1;
    const std::int64_t q = back <= b.rank() ? b.sizes()[b.rank() - back] : 1;
    if (p != q && p != 1 && q != 1)
      fail_expected("binary", "shapes whose sizes are equal or 1, from the last dimension on", a.str() + " and " + b.str(),
                    "Invalid subtile broadcast type");
    sizes[rank - back] = p == 1 ? q : p;
  }
  return Shape(std::span<const std::int64_t>(sizes.data(), rank));
}

void binary(Context& ctx, const Tensor& a, const Tensor& b, BinaryOp op, Tensor& y) {
  const char* const text = name(op).data();
  check_tensor(text, "a", a);
  check_tensor(text, "b", b);
  check_tensor(text, "y", y);
  check_dtypes(text, a, b, y);
  check_op(text, op, y.dtype());
  check_shape(text, broadcast_shape(a.shape(), b.shape()), y);
  check_memory(text, a, y);
  check_memory(text, b, y);
  run(ctx, op, a.shape(), operand(a), b.shape(), operand(b), static_cast<double>(a.bytes() + b.bytes() + y.bytes()), y);
}

void binary(Context& ctx, const Tensor& a, double b, BinaryOp op, Tensor& y) {
  const char* const text = name(op).data();
  check_tensor(text, "a", a);
  check_tensor(text, "y", y);
  check_dtypes(text, a, a, y);
  check_op(text, op, y.dtype());
  check_shape(text, a.shape(), y);
  check_memory(text, a, y);
  const double bytes = static_cast<double>(a.bytes() + y.bytes());
  const Shape one;
  if (is_float(y.dtype())) {
    const auto number = static_cast<float>(b);
    return run(ctx, op, a.shape(), operand(a), one, {&number, DType::f32}, bytes, y);
  }
  with_integer(y.dtype(), [&]<class T>(T) {
    if (!holds<T>(b)) fail_expected(text, "a number that " + std::string(tessera::name(y.dtype())) + " can hold", std::to_string(b));
    const auto number = static_cast<T>(b);
    run(ctx, op, a.shape(), operand(a), one, {&number, y.dtype()}, bytes, y);
  });
}

void where(Context& ctx, const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y) {
  constexpr const char* kOp = "where";
  const DType c = condition.dtype();
  if (!condition.defined() || !condition.is_contiguous() || !(is_float(c) || is_integer(c) || c == DType::i8))
    fail_expected(kOp, "a condition of float32, bfloat16 or integers, row-major and contiguous", condition.str(),
                  "ops::to_layout, ops::contiguous and ops::typecast convert");
  check_tensor(kOp, "a", a);
  check_tensor(kOp, "b", b);
  check_tensor(kOp, "y", y);
  check_dtypes(kOp, a, b, y);
  check_shape(kOp, broadcast_shape(condition.shape(), broadcast_shape(a.shape(), b.shape())), y);
  for (const Tensor* x : {&condition, &a, &b}) check_memory(kOp, *x, y);
  const auto& row = choose(ctx, "binary", kernels::binary_rows());
  runtime::Zone zone(ctx.profiler(), kOp, row.info.name, 0, static_cast<double>(condition.bytes() + a.bytes() + b.bytes() + y.bytes()));
  if (y.numel() == 0) return;
  const Broadcast<3> plan(y.shape(), {&condition.shape(), &a.shape(), &b.shape()});
  const Operand truth = operand(condition);
  if (a.dtype() != b.dtype() || b.dtype() != y.dtype()) return run_where_mixed(ctx, row.functions, plan, truth, operand(a), operand(b), y);
  if (size_of(y.dtype()) == 4) return run_where<std::uint32_t>(ctx, row.functions, plan, truth, a, b, y);
  if (size_of(y.dtype()) == 2) return run_where<std::uint16_t>(ctx, row.functions, plan, truth, a, b, y);
  run_where<std::uint8_t>(ctx, row.functions, plan, truth, a, b, y);
}

}  // namespace tessera::ops
