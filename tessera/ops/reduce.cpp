#include "tessera/ops/reduce.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>

#include "tessera/core/error.h"
#include "tessera/kernels/reduce/reduce.h"
#include "tessera/ops/choose.h"

namespace tessera::ops {
namespace {

using kernels::ReduceFunctions;
using kernels::ReduceStep;

/// Elements of x that one piece of work reads, and outputs that it makes.
constexpr std::int64_t kElementsPerItem = std::int64_t{1} << 15;
constexpr std::int64_t kOutputs = 512;
constexpr std::int64_t kPlaces = 256;
/// Reductions with fewer units than this are cut along the reduced dimension as well.
constexpr std::int64_t kFewUnits = 16;
constexpr std::int64_t kMostChunks = 64;

constexpr std::string_view kNames[] = {"sum", "mean", "max", "min", "prod", "var", "std"};
static_assert(std::size(kNames) == static_cast<std::size_t>(ReduceOp::std) + 1);

bool is_float(DType d) { return d == DType::f32 || d == DType::bf16; }
bool is_integer(DType d) { return d == DType::i32 || d == DType::u32 || d == DType::u16 || d == DType::u8; }

void check_tensor(const char* op, const char* what, const Tensor& t) {
  if (t.defined() && t.is_contiguous() && (is_float(t.dtype()) || is_integer(t.dtype()))) return;
  fail_expected(op, std::string(what) + " of float32, bfloat16, int32, uint32, uint16 or uint8, row-major and contiguous", t.str(),
                "ops::to_layout, ops::contiguous and ops::typecast convert");
}

/// x and y both floats, or both of one integer dtype.
void check_dtypes(const char* op, const Tensor& x, const Tensor& y) {
  if ((is_float(x.dtype()) && is_float(y.dtype())) || x.dtype() == y.dtype()) return;
  fail_expected(op, "x and y that are both floats, or both of one integer dtype", x.str() + " and " + y.str(), "ops::typecast converts");
}

std::size_t dimension(const char* op, const Shape& shape, std::int64_t dim) {
  const auto rank = std::max<std::int64_t>(1, static_cast<std::int64_t>(shape.rank()));  // a number counts as one element in a row
  const std::int64_t d = dim < 0 ? dim + rank : dim;
  if (d < 0 || d >= rank) fail_expected(op, "a dimension of " + shape.str(), std::to_string(dim));
  return static_cast<std::size_t>(d);
}

using Which = std::array<bool, Shape::kMaxRank>;

Which which_of(const char* op, const Shape& shape, std::span<const std::int64_t> dims) {
  Which which{};
  which.fill(dims.empty());
  for (const std::int64_t dim : dims) {
    bool& chosen = which[dimension(op, shape, dim)];
    if (chosen) fail_expected(op, "each dimension once", std::to_string(dim) + " a second time");
    chosen = true;
  }
  return which;
}

Shape without(const Shape& shape, const Which& which, bool keepdim) {
  std::array<std::int64_t, Shape::kMaxRank> sizes{};
  std::size_t rank = 0;
  for (std::size_t i = 0; i < shape.rank(); ++i)
    if (!which[i] || keepdim) sizes[rank++] = which[i] ? 1 : shape.sizes()[i];
  return Shape(std::span<const std::int64_t>(sizes.data(), rank));
}

void check_reduced(const char* op, const Shape& x, const Which& which, const Tensor& y) {
  const Shape left_out = without(x, which, false);
  if (y.shape() != left_out && y.shape() != without(x, which, true))
    fail_expected(op, "y of shape " + left_out.str() + ", with or without dimensions of size 1", y.shape().str());
}

// ---- the plan of a reduction ----

struct Group {
  std::int64_t size = 1;
  std::int64_t stride = 1;
};

/// x's dimensions folded into groups of neighbours, kept or reduced, innermost first. One of the two innermost groups has stride 1.
struct Plan {
  std::array<Group, Shape::kMaxRank> kept, reduced;
  std::size_t kept_rank = 0, reduced_rank = 0;
  bool rows = false;       // the reduced elements are neighbours
  std::int64_t count = 1;  // elements that make one output
  std::int64_t outputs = 1;
  std::int64_t block = 1;   // outputs of a unit of work: neighbours in the innermost kept group
  std::int64_t blocks = 1;  // units in that group
  std::int64_t units = 1;
  std::int64_t chunks = 1;  // pieces of the outermost reduced group

  Plan(const Shape& shape, const Which& which) {
    std::int64_t stride = 1;
    bool last = false;
    for (std::size_t i = shape.rank(); i-- > 0;) {
      const std::int64_t n = shape.sizes()[i];
      (which[i] ? count : outputs) *= n;
      if (n == 1) continue;
      auto& groups = which[i] ? reduced : kept;
      std::size_t& rank = which[i] ? reduced_rank : kept_rank;
      if (rank > 0 && last == which[i])
        groups[rank - 1].size *= n;
      else
        groups[rank++] = {n, stride};
      rows = rows || (stride == 1 && which[i]);
      last = which[i];
      stride *= n;
    }
    if (count == 0 || outputs == 0) return;
    if (kept_rank == 0) kept_rank = 1;
    if (reduced_rank == 0) reduced_rank = 1;
    block = std::min(kept[0].size, rows ? std::clamp<std::int64_t>(kElementsPerItem / count, 1, kOutputs) : kOutputs);
    blocks = (kept[0].size + block - 1) / block;
    units = outputs / kept[0].size * blocks;
    if (units < kFewUnits)
      chunks = std::clamp<std::int64_t>(count * outputs / (2 * kElementsPerItem), 1, std::min(kMostChunks, reduced[reduced_rank - 1].size));
  }

  /// One unit's outputs: the first one, how many, and where x begins for the first.
  struct Unit {
    std::int64_t output;
    std::int64_t outputs;
    std::int64_t x;
  };
  Unit unit(std::int64_t index) const {
    const std::int64_t start = index % blocks * block;
    std::int64_t outer = index / blocks;
    Unit u{outer * kept[0].size + start, std::min(block, kept[0].size - start), start * kept[0].stride};
    for (std::size_t i = 1; i < kept_rank; ++i) {
      u.x += outer % kept[i].size * kept[i].stride;
      outer /= kept[i].size;
    }
    return u;
  }
};

/// Joins a unit's elements, of one chunk, into its totals.
void join(const ReduceFunctions& f, const Plan& plan, ReduceStep step, const Tensor& x, const Plan::Unit& unit, std::int64_t chunk,
          const double* centre, void* totals) {
  std::array<std::int64_t, Shape::kMaxRank> first{}, end{}, index{};
  const std::size_t rank = plan.reduced_rank;
  for (std::size_t i = 0; i < rank; ++i) end[i] = plan.reduced[i].size;
  first[rank - 1] = chunk * end[rank - 1] / plan.chunks;
  end[rank - 1] = (chunk + 1) * end[rank - 1] / plan.chunks;
  index = first;
  const auto element = static_cast<std::int64_t>(size_of(x.dtype()));
  const Group& inner = plan.reduced[0];
  const Group& kept = plan.kept[0];
  for (;;) {
    std::int64_t at = unit.x + first[0] * inner.stride;
    for (std::size_t i = 1; i < rank; ++i) at += index[i] * plan.reduced[i].stride;
    const void* const from = static_cast<const std::byte*>(x.raw()) + at * element;
    if (plan.rows)
      f.rows(step, x.dtype(), from, unit.outputs, kept.stride, end[0] - first[0], centre, totals);
    else
      f.columns(step, x.dtype(), from, end[0] - first[0], inner.stride, unit.outputs, centre, totals);
    std::size_t i = 1;
    for (; i < rank; ++i) {
      if (++index[i] < end[i]) break;
      index[i] = first[i];
    }
    if (i >= rank) return;
  }
}

// ---- totals ----

template <class Total>
Total start_of(ReduceStep step) {
  using Limits = std::numeric_limits<Total>;
  if (step == ReduceStep::product) return 1;
  if (step == ReduceStep::maximum) return Limits::has_infinity ? -Limits::infinity() : Limits::min();
  if (step == ReduceStep::minimum) return Limits::has_infinity ? Limits::infinity() : Limits::max();
  return 0;
}

template <class Total>
Total joined(ReduceStep step, Total a, Total b) {
  bool nan = false;
  if constexpr (std::is_floating_point_v<Total>) nan = std::isnan(b);
  if (step == ReduceStep::maximum) return b > a || nan ? b : a;
  if (step == ReduceStep::minimum) return b < a || nan ? b : a;
  if constexpr (std::is_same_v<Total, double>) {
    return step == ReduceStep::product ? a * b : a + b;
  } else {
    const auto p = static_cast<std::uint64_t>(a), q = static_cast<std::uint64_t>(b);
    return static_cast<Total>(step == ReduceStep::product ? p * q : p + q);
  }
}

ReduceStep step_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::max: return ReduceStep::maximum;
    case ReduceOp::min: return ReduceStep::minimum;
    case ReduceOp::prod: return ReduceStep::product;
    case ReduceOp::sum:
    case ReduceOp::mean:
    case ReduceOp::var:
    case ReduceOp::std: return ReduceStep::sum;
  }
  return ReduceStep::sum;
}

double result_of(ReduceOp op, double total, std::int64_t count) {
  const auto n = static_cast<double>(count);
  if (op == ReduceOp::mean) return total / n;
  if (op != ReduceOp::var && op != ReduceOp::std) return total;
  const double var = count > 1 ? total / (n - 1) : std::numeric_limits<double>::quiet_NaN();
  return op == ReduceOp::var ? var : std::sqrt(var);
}

void store(Tensor& y, std::int64_t at, double value) {
  if (y.dtype() == DType::bf16)
    static_cast<bf16*>(y.raw())[at] = to_bf16(static_cast<float>(value));
  else
    static_cast<float*>(y.raw())[at] = static_cast<float>(value);
}

void store(Tensor& y, std::int64_t at, std::int64_t value) {
  switch (y.dtype()) {
    case DType::i32: static_cast<std::int32_t*>(y.raw())[at] = static_cast<std::int32_t>(value); return;
    case DType::u32: static_cast<std::uint32_t*>(y.raw())[at] = static_cast<std::uint32_t>(value); return;
    case DType::u16: static_cast<std::uint16_t*>(y.raw())[at] = static_cast<std::uint16_t>(value); return;
    default: static_cast<std::uint8_t*>(y.raw())[at] = static_cast<std::uint8_t>(value); return;
  }
}

double finished(ReduceOp op, double total, std::int64_t count) { return result_of(op, total, count); }
std::int64_t finished(ReduceOp, std::int64_t total, std::int64_t) { return total; }

bool two_passes(ReduceOp op) { return op == ReduceOp::var || op == ReduceOp::std; }

/// Each unit by itself, from its first element to its last.
template <class Total>
void reduce_units(Context& ctx, const ReduceFunctions& f, const Plan& plan, ReduceOp op, const Tensor& x, Tensor& y) {
  const std::int64_t together = std::max<std::int64_t>(1, kElementsPerItem / (plan.count * plan.block));
  const ReduceStep step = step_of(op);
  ctx.pool().parallel_for((plan.units + together - 1) / together, [&](std::int64_t item, int) {
    Total totals[kOutputs];
    double centre[kOutputs];
    for (std::int64_t index = item * together; index < std::min(plan.units, (item + 1) * together); ++index) {
      const Plan::Unit unit = plan.unit(index);
      std::fill_n(totals, unit.outputs, start_of<Total>(step));
      join(f, plan, step, x, unit, 0, nullptr, totals);
      if (two_passes(op)) {
        for (std::int64_t i = 0; i < unit.outputs; ++i) centre[i] = static_cast<double>(totals[i]) / static_cast<double>(plan.count);
        std::fill_n(totals, unit.outputs, Total{0});
        join(f, plan, ReduceStep::squares, x, unit, 0, centre, totals);
      }
      for (std::int64_t i = 0; i < unit.outputs; ++i) store(y, unit.output + i, finished(op, totals[i], plan.count));
    }
  });
}

/// Few outputs of many elements: the totals of every chunk, then those of all chunks in their order.
template <class Total>
void reduce_chunks(Context& ctx, const ReduceFunctions& f, const Plan& plan, ReduceOp op, const Tensor& x, Tensor& y) {
  runtime::Workspace::Scope scope(ctx.workspace());
  auto* const parts = scope.array<Total>(plan.chunks * plan.outputs);
  auto* const totals = scope.array<Total>(plan.outputs);
  double* const centre = two_passes(op) ? scope.array<double>(plan.outputs) : nullptr;
  const auto pass = [&](ReduceStep step, const double* around) {
    std::fill_n(parts, plan.chunks * plan.outputs, start_of<Total>(step));
    ctx.pool().parallel_for(plan.units * plan.chunks, [&](std::int64_t item, int) {
      const std::int64_t chunk = item / plan.units;
      const Plan::Unit unit = plan.unit(item % plan.units);
      join(f, plan, step, x, unit, chunk, around == nullptr ? nullptr : around + unit.output, parts + chunk * plan.outputs + unit.output);
    });
    for (std::int64_t i = 0; i < plan.outputs; ++i) {
      totals[i] = parts[i];
      for (std::int64_t chunk = 1; chunk < plan.chunks; ++chunk) totals[i] = joined(step, totals[i], parts[chunk * plan.outputs + i]);
    }
  };
  pass(step_of(op), nullptr);
  if (centre != nullptr) {
    for (std::int64_t i = 0; i < plan.outputs; ++i) centre[i] = static_cast<double>(totals[i]) / static_cast<double>(plan.count);
    pass(ReduceStep::squares, centre);
  }
  for (std::int64_t i = 0; i < plan.outputs; ++i) store(y, i, finished(op, totals[i], plan.count));
}

template <class Total>
void run(Context& ctx, const ReduceFunctions& f, const Plan& plan, ReduceOp op, const Tensor& x, Tensor& y) {
  if (plan.outputs == 0) return;
  if (plan.count == 0) {
    for (std::int64_t i = 0; i < plan.outputs; ++i) store(y, i, finished(op, start_of<Total>(step_of(op)), 0));
    return;
  }
  if (plan.chunks > 1) return reduce_chunks<Total>(ctx, f, plan, op, x, y);
  reduce_units<Total>(ctx, f, plan, op, x, y);
}

/// x as [outer, n, inner] around one dimension.
struct Around {
  std::int64_t outer = 1;
  std::int64_t n = 1;
  std::int64_t inner = 1;
};
Around around(const Shape& shape, std::size_t dim) {
  Around a;
  for (std::size_t i = 0; i < shape.rank(); ++i) (i < dim ? a.outer : i == dim ? a.n : a.inner) *= shape.sizes()[i];
  return a;
}

/// f(offset of the first element, columns) for blocks of at most `most` columns, several to an item while they are short.
template <class F>
void for_columns(Context& ctx, const Around& a, std::int64_t most, F f) {
  const std::int64_t width = std::min(most, a.inner);
  const std::int64_t blocks = (a.inner + width - 1) / width;
  const std::int64_t together = std::max<std::int64_t>(1, kElementsPerItem / (a.n * width));
  const std::int64_t units = a.outer * blocks;
  ctx.pool().parallel_for((units + together - 1) / together, [&](std::int64_t item, int) {
    for (std::int64_t unit = item * together; unit < std::min(units, (item + 1) * together); ++unit) {
      const std::int64_t column = unit % blocks * width;
      f(unit / blocks, column, std::min(width, a.inner - column));
    }
  });
}

const void* element(const Tensor& t, std::int64_t at) {
  return static_cast<const std::byte*>(t.raw()) + at * static_cast<std::int64_t>(size_of(t.dtype()));
}

}  // namespace

std::string_view name(ReduceOp op) noexcept {
  const auto i = static_cast<std::size_t>(op);
  return i < std::size(kNames) ? kNames[i] : "?";
}

std::optional<ReduceOp> reduce_op(std::string_view name) noexcept {
  const auto* const found = std::ranges::find(kNames, name);
  if (found == std::end(kNames)) return std::nullopt;
  return static_cast<ReduceOp>(found - std::begin(kNames));
}

Shape reduced_shape(const Shape& x, std::span<const std::int64_t> dims, bool keepdim) { return without(x, which_of("reduce", x, dims), keepdim); }

void reduce(Context& ctx, const Tensor& x, ReduceOp op, std::span<const std::int64_t> dims, Tensor& y) {
  const char* const text = name(op).data();
  check_tensor(text, "x", x);
  check_tensor(text, "y", y);
  check_dtypes(text, x, y);
  const bool whole = op == ReduceOp::sum || op == ReduceOp::max || op == ReduceOp::min || op == ReduceOp::prod;
  if (!whole && is_integer(x.dtype())) fail_expected(text, "float32 or bfloat16", x.str(), "ops::typecast converts");
  const Which which = which_of(text, x.shape(), dims);
  check_reduced(text, x.shape(), which, y);
  if (overlap(x, y)) fail_expected(text, "y in memory of its own", "memory that overlaps x");
  const Plan plan(x.shape(), which);
  if (plan.count == 0 && plan.outputs > 0 && (op == ReduceOp::max || op == ReduceOp::min))
    fail_expected(text, "dimensions that are not empty", x.shape().str());
  const auto& row = choose(ctx, "reduce", kernels::reduce_rows());
  runtime::Zone zone(ctx.profiler(), text, row.info.name, static_cast<double>(x.numel()) * (two_passes(op) ? 4 : 1),
                     static_cast<double>(x.bytes() + y.bytes()));
  if (is_float(x.dtype()))
    run<double>(ctx, row.functions, plan, op, x, y);
  else
    run<std::int64_t>(ctx, row.functions, plan, op, x, y);
}

void cumsum(Context& ctx, const Tensor& x, std::int64_t dim, Tensor& y) {
  constexpr const char* kOp = "cumsum";
  check_tensor(kOp, "x", x);
  check_tensor(kOp, "y", y);
  check_dtypes(kOp, x, y);
  const Around a = around(x.shape(), dimension(kOp, x.shape(), dim));
  if (y.shape() != x.shape()) fail_expected(kOp, "y of shape " + x.shape().str(), y.shape().str());
  if (overlap(x, y) && !(x.raw() == y.raw() && x.dtype() == y.dtype()))
    fail_expected(kOp, "y in memory of its own, or x itself", "memory that overlaps x");
  const auto& row = choose(ctx, "reduce", kernels::reduce_rows());
  runtime::Zone zone(ctx.profiler(), kOp, row.info.name, static_cast<double>(x.numel()), static_cast<double>(x.bytes() + y.bytes()));
  if (x.numel() == 0) return;
  for_columns(ctx, a, kOutputs, [&](std::int64_t outer, std::int64_t column, std::int64_t cols) {
    const std::int64_t at = outer * a.n * a.inner + column;
    alignas(double) std::byte totals[kOutputs * sizeof(double)] = {};
    row.functions.running(x.dtype(), element(x, at), a.n, a.inner, cols, totals, y.dtype() == DType::bf16, const_cast<void*>(element(y, at)));
  });
}

void argmax(Context& ctx, const Tensor& x, std::int64_t dim, Tensor& y) {
  constexpr const char* kOp = "argmax";
  check_tensor(kOp, "x", x);
  if (!y.defined() || !y.is_contiguous() || (y.dtype() != DType::i32 && y.dtype() != DType::u32))
    fail_expected(kOp, "y of int32 or uint32, row-major and contiguous", y.str());
  const std::size_t d = dimension(kOp, x.shape(), dim);
  Which which{};
  which[d] = true;
  check_reduced(kOp, x.shape(), which, y);
  if (overlap(x, y)) fail_expected(kOp, "y in memory of its own", "memory that overlaps x");
  const Around a = around(x.shape(), d);
  if (a.n == 0 && y.numel() > 0) fail_expected(kOp, "a dimension that is not empty", x.shape().str());
  if (a.n > std::numeric_limits<std::int32_t>::max()) fail_expected(kOp, "a dimension of less than 2^31 elements", x.shape().str());
  const auto& row = choose(ctx, "reduce", kernels::reduce_rows());
  runtime::Zone zone(ctx.profiler(), kOp, row.info.name, static_cast<double>(x.numel()), static_cast<double>(x.bytes() + y.bytes()));
  if (x.numel() == 0) return;
  for_columns(ctx, a, kPlaces, [&](std::int64_t outer, std::int64_t column, std::int64_t cols) {
    std::int32_t places[kPlaces];
    row.functions.argmax(x.dtype(), element(x, outer * a.n * a.inner + column), a.n, a.inner, cols, places);
    std::memcpy(static_cast<std::byte*>(y.raw()) + (outer * a.inner + column) * 4, places, static_cast<std::size_t>(cols) * 4);
  });
}

}  // namespace tessera::ops
