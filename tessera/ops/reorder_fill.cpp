// Of reorder: what makes more elements than it was given.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>

#include "tessera/core/error.h"
#include "tessera/ops/reorder.h"
#include "tessera/ops/reorder_impl.h"

namespace tessera::ops {
namespace {

constexpr std::int64_t kElementsPerItem = 16 << 10;

using Element = std::array<std::byte, 4>;

Element store(DType dtype, double value) {
  Element bytes{};
  const auto put = [&](auto v) { std::memcpy(bytes.data(), &v, sizeof v); };
  switch (dtype) {
    case DType::f32: put(static_cast<float>(value)); break;
    case DType::bf16: put(to_bf16(static_cast<float>(value))); break;
    case DType::f16: put(to_f16(static_cast<float>(value))); break;
    case DType::i8: put(static_cast<std::int8_t>(value)); break;
    case DType::u8: put(static_cast<std::uint8_t>(value)); break;
    case DType::i32: put(static_cast<std::int32_t>(value)); break;
    case DType::u32: put(static_cast<std::uint32_t>(value)); break;
    case DType::u16: put(static_cast<std::uint16_t>(value)); break;
    case DType::bfloat8_b:
    case DType::bfloat4_b: break;  // tiles only: refused before
  }
  return bytes;
}

/// Integers take only whole numbers of their range (NaN is none of them).
void check_value(const char* op, DType dtype, double value) {
  const auto whole = [&](double lowest, double beyond) {
    if (value >= lowest && value < beyond && std::trunc(value) == value) return;
    fail_expected(op, "a value that " + std::string(name(dtype)) + " can hold", std::to_string(value));
  };
  if (dtype == DType::i8) whole(-128, 128);
  if (dtype == DType::u8) whole(0, 256);
  if (dtype == DType::i32) whole(-0x1p31, 0x1p31);
  if (dtype == DType::u32) whole(0, 0x1p32);
  if (dtype == DType::u16) whole(0, 0x1p16);
  if (size_of(dtype) == 0)
    fail_expected(op, "a dtype whose elements have bytes of their own", std::string(name(dtype)), "ops::typecast makes block floats");
}

}  // namespace

Tensor pad(Context& ctx, const Tensor& x, std::span<const std::int64_t> before, std::span<const std::int64_t> after, float value, PadMode mode) {
  check_row_major("pad", x);
  const std::size_t rank = x.shape().rank();
  const auto sizes = x.shape().sizes();
  if (rank == 0 || before.size() != rank || after.size() != rank)
    fail_expected("pad", "a size before and after each of " + std::to_string(rank) + " dimensions (1 or more)",
                  std::to_string(before.size()) + " and " + std::to_string(after.size()));
  std::array<std::int64_t, Shape::kMaxRank> padded{};
  for (std::size_t i = 0; i < rank; ++i) {
    if (before[i] < 0 || after[i] < 0 || before[i] > (1 << 30) || after[i] > (1 << 30))
      fail_expected("pad", "padding from 0 to 2^30", std::to_string(before[i]) + " and " + std::to_string(after[i]));
    if (mode == PadMode::replicate && sizes[i] == 0 && before[i] + after[i] > 0)
      fail_expected("pad", "an element to replicate along dimension " + std::to_string(i), x.shape().str());
    padded[i] = before[i] + sizes[i] + after[i];
  }
  if (mode == PadMode::constant) check_value("pad", x.dtype(), value);
  const Element fill = store(x.dtype(), mode == PadMode::constant ? static_cast<double>(value) : 0.0);
  Tensor y = Tensor::empty(Shape(std::span<const std::int64_t>(padded.data(), rank)), x.dtype());
  runtime::Zone zone(ctx.profiler(), "pad", "copy", 0, static_cast<double>(x.bytes() + y.bytes()));
  const auto from = steps_of(x);
  const auto to = steps_of(y);
  std::int64_t corner = 0;  // of x in y
  for (std::size_t i = 0; i < rank; ++i) corner += before[i] * to[i];
  StridedCopy inner = copy_between(x, 0, y, corner);
  for (std::size_t i = 0; i < rank; ++i) inner.add(sizes[i], from[i], to[i]);
  strided_copy(ctx, inner);
  // The last dimension first: its borders where x is, then those of the dimension before it over all of its width, and so on.
  for (std::size_t d = rank; d-- > 0;) {
    corner -= before[d] * to[d];
    for (const bool behind : {false, true}) {
      const std::int64_t nearest = corner + (before[d] + (behind ? sizes[d] - 1 : 0)) * to[d];
      StridedCopy border = copy_between(y, nearest, y, corner + (behind ? before[d] + sizes[d] : 0) * to[d]);
      if (mode == PadMode::constant) border.x = fill.data();
      for (std::size_t i = 0; i < rank; ++i) {
        const std::int64_t size = i < d ? sizes[i] : i > d ? padded[i] : behind ? after[d] : before[d];
        border.add(size, mode == PadMode::constant || i == d ? 0 : to[i], to[i]);
      }
      strided_copy(ctx, border);
    }
  }
  return y;
}

Tensor pad(Context& ctx, const Tensor& x, std::span<const std::int64_t> before, std::span<const std::int64_t> after, float value) {
  return pad(ctx, x, before, after, value, PadMode::constant);
}

Tensor repeat(Context& ctx, const Tensor& x, std::span<const std::int64_t> times) {
  check_row_major("repeat", x);
  const std::size_t rank = x.shape().rank();
  if (times.size() < rank || times.size() > Shape::kMaxRank)
    fail_expected("repeat", "times for each of " + std::to_string(rank) + " dimensions, and at most " + std::to_string(Shape::kMaxRank),
                  std::to_string(times.size()));
  const std::size_t ahead = times.size() - rank;
  std::array<std::int64_t, Shape::kMaxRank> sizes{};
  for (std::size_t i = 0; i < times.size(); ++i) {
    if (times[i] < 0 || times[i] > (std::int64_t{1} << 40)) fail_expected("repeat", "times from 0 to 2^40", std::to_string(times[i]));
    sizes[i] = i < ahead ? 1 : x.shape().sizes()[i - ahead];
    if (sizes[i] > (std::int64_t{1} << 62) / std::max<std::int64_t>(1, times[i]))
      fail_expected("repeat", "a tensor that fits a memory", std::to_string(times[i]) + " times " + std::to_string(sizes[i]));
    sizes[i] *= times[i];
  }
  Tensor y = Tensor::empty(Shape(std::span<const std::int64_t>(sizes.data(), times.size())), x.dtype());
  runtime::Zone zone(ctx.profiler(), "repeat", "copy", 0, static_cast<double>(x.bytes() + y.bytes()));
  const auto from = steps_of(x);
  const auto to = steps_of(y);
  StridedCopy copy = copy_between(x, 0, y, 0);
  for (std::size_t i = 0; i < times.size(); ++i) {
    const std::int64_t size = i < ahead ? 1 : x.shape().sizes()[i - ahead];
    copy.add(times[i], 0, size * to[i]);
    copy.add(size, i < ahead ? 0 : from[i - ahead], to[i]);
  }
  strided_copy(ctx, copy);
  return y;
}

Tensor repeat_interleave(Context& ctx, const Tensor& x, std::int64_t times, std::int64_t dim) {
  check_row_major("repeat_interleave", x);
  const std::size_t d = dimension("repeat_interleave", x.shape(), dim);
  const std::int64_t size = x.shape().sizes()[d];
  if (times < 0 || times > (std::int64_t{1} << 40) || size > (std::int64_t{1} << 62) / std::max<std::int64_t>(1, times))
    fail_expected("repeat_interleave", "times from 0 to 2^40 and a tensor that fits a memory", std::to_string(times));
  Tensor y = Tensor::empty(x.shape().with(static_cast<std::int64_t>(d), size * times), x.dtype());
  runtime::Zone zone(ctx.profiler(), "repeat_interleave", "copy", 0, static_cast<double>(x.bytes() + y.bytes()));
  const auto from = steps_of(x);
  const auto to = steps_of(y);
  StridedCopy copy = copy_between(x, 0, y, 0);
  for (std::size_t i = 0; i < x.shape().rank(); ++i) {
    copy.add(x.shape().sizes()[i], from[i], to[i] * (i == d ? times : 1));
    if (i == d) copy.add(times, 0, to[i]);
  }
  strided_copy(ctx, copy);
  return y;
}

Tensor expand(Context& ctx, const Tensor& x, const Shape& shape) {
  check_row_major("expand", x);
  const std::size_t rank = x.shape().rank();
  bool fits = rank <= shape.rank();
  const std::size_t ahead = fits ? shape.rank() - rank : 0;
  for (std::size_t i = 0; fits && i < rank; ++i) fits = x.shape().sizes()[i] == 1 || x.shape().sizes()[i] == shape.sizes()[i + ahead];
  if (!fits) fail_expected("expand", "a shape that " + x.shape().str() + " broadcasts to", shape.str());
  Tensor y = Tensor::empty(shape, x.dtype());
  runtime::Zone zone(ctx.profiler(), "expand", "copy", 0, static_cast<double>(x.bytes() + y.bytes()));
  const auto from = steps_of(x);
  const auto to = steps_of(y);
  StridedCopy copy = copy_between(x, 0, y, 0);
  for (std::size_t i = 0; i < shape.rank(); ++i) {
    const bool repeats = i < ahead || x.shape().sizes()[i - ahead] == 1;
    copy.add(shape.sizes()[i], repeats ? 0 : from[i - ahead], to[i]);
  }
  strided_copy(ctx, copy);
  return y;
}

Tensor full(Context& ctx, const Shape& shape, double value, DType dtype) {
  check_value("full", dtype, value);
  const Element element = store(dtype, value);
  Tensor y = Tensor::empty(shape, dtype);
  runtime::Zone zone(ctx.profiler(), "full", "copy", 0, static_cast<double>(y.bytes()));
  StridedCopy copy = copy_between(y, 0, y, 0);
  copy.x = element.data();
  copy.add(y.numel(), 0, 1);
  strided_copy(ctx, copy);
  return y;
}

Tensor arange(Context& ctx, double start, double end, double step, DType dtype) {
  if (!std::isfinite(start) || !std::isfinite(end) || !std::isfinite(step) || step == 0 || (end - start) / step < 0)
    fail_expected("arange", "finite numbers and a step from start towards end",
                  std::to_string(start) + ", " + std::to_string(end) + ", " + std::to_string(step));
  const double wanted = std::ceil((end - start) / step);
  if (!(wanted < 0x1p48)) fail_expected("arange", "fewer than 2^48 numbers", std::to_string(wanted));
  const auto count = static_cast<std::int64_t>(wanted);
  // Whole numbers from the first to the last: with a whole step all between are.
  check_value("arange", dtype, count > 0 ? start : 0);
  if (count > 1) check_value("arange", dtype, start + static_cast<double>(count - 1) * step);
  if (count > 1) check_value("arange", dtype, start + step);
  Tensor y = Tensor::empty(Shape{count}, dtype);
  runtime::Zone zone(ctx.profiler(), "arange", "copy", 0, static_cast<double>(y.bytes()));
  auto* const to = static_cast<std::byte*>(y.raw());
  const std::size_t size = size_of(dtype);
  ctx.pool().parallel_for((count + kElementsPerItem - 1) / kElementsPerItem, [&](std::int64_t item, int) {
    for (std::int64_t i = item * kElementsPerItem; i < std::min(count, (item + 1) * kElementsPerItem); ++i)
      std::memcpy(to + static_cast<std::size_t>(i) * size, store(dtype, start + static_cast<double>(i) * step).data(), size);
  });
  return y;
}

}  // namespace tessera::ops
