#include "tessera/models/sweep/runner.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "tessera/core/error.h"
#include "tessera/models/sweep/judge.h"
#include "tessera/ops/kernel_table.h"
#include "tessera/ops/pool.h"
#include "tessera/ops/reorder.h"

namespace tessera::models {
namespace {

using I = std::int64_t;
using ops::ImageOrder;
using ops::ImageSize;

enum class Place : std::uint8_t { nhwc, flat, nchw, tile };
constexpr std::array<const char*, 4> kPlaces = {"nhwc", "flat", "nchw", "tile"};
constexpr std::array<const char*, 2> kDTypes = {"f32", "bf16"};

constexpr std::size_t kGuard = 256;  // bytes behind an output that nothing may write
constexpr unsigned char kUnwritten = 0xff;

std::size_t at(I i) { return static_cast<std::size_t>(i); }

ImageOrder order(Place place) { return place == Place::nchw ? ImageOrder::nchw : ImageOrder::nhwc; }

Shape shape_of(const ImageSize& s, Place place) {
  if (place == Place::nchw) return Shape{s.n, s.c, s.h, s.w};
  if (place == Place::flat) return Shape{1, 1, s.n * s.h * s.w, s.c};
  return Shape{s.n, s.h, s.w, s.c};
}

/// Calls fn(where in nhwc, where in the place's order) for every element.
template <class Fn>
void for_elements(const ImageSize& s, Place place, Fn fn) {
  const I count = s.n * s.h * s.w * s.c;
  if (place != Place::nchw) {
    for (I i = 0; i < count; ++i) fn(i, i);
    return;
  }
  const I plane = s.h * s.w;
  for (I n = 0; n < s.n; ++n)
    for (I c = 0; c < s.c; ++c)
      for (I i = 0; i < plane; ++i) fn((n * plane + i) * s.c + c, (n * s.c + c) * plane + i);
}

Tensor placed(Context& ctx, std::span<const float> values, const ImageSize& s, DType dtype, Place place) {
  Tensor t = Tensor::empty(shape_of(s, place), dtype);
  if (dtype == DType::bf16) {
    auto* to = t.data<bf16>();
    for_elements(s, place, [&](I from, I i) { to[i] = to_bf16(values[at(from)]); });
  } else {
    auto* to = t.data<float>();
    for_elements(s, place, [&](I from, I i) { to[i] = values[at(from)]; });
  }
  if (place != Place::tile) return t;
  Tensor tiles = Tensor::empty(t.shape(), dtype, Layout::tile);
  std::memset(tiles.raw(), kUnwritten, tiles.bytes());  // padding is NaN: it may take no part
  ops::to_layout(ctx, t, tiles);
  return tiles;
}

/// The elements in nhwc order.
template <class T, class To>
std::vector<To> taken(const Tensor& t, const ImageSize& s, Place place) {
  std::vector<To> values(at(t.numel()));
  const T* from = t.data<T>();
  for_elements(s, place, [&](I i, I source) {
    if constexpr (std::is_same_v<T, bf16>)
      values[at(i)] = to_f32(from[source]);
    else
      values[at(i)] = from[source];
  });
  return values;
}

std::vector<float> floats(Context& ctx, const Tensor& y, const ImageSize& s, Place place) {
  const Tensor t = y.layout() == Layout::tile ? ops::to_layout(ctx, y, Layout::row_major) : y;
  return t.dtype() == DType::bf16 ? taken<bf16, float>(t, s, place) : taken<float, float>(t, s, place);
}

/// An output with a guard behind it; every byte says that it was not written.
class Output {
 public:
  Output(const ImageSize& s, Place place, DType dtype) {
    const Shape shape = shape_of(s, place);
    if (place == Place::tile && dtype != DType::i32) {
      whole_ = tensor_ = Tensor::empty(shape, dtype, Layout::tile);
    } else {
      whole_ = Tensor::empty(Shape{shape.numel() + static_cast<I>(kGuard / size_of(dtype))}, dtype);
      tensor_ = whole_.narrow(0, shape.numel()).reshape(shape);
    }
    std::memset(whole_.raw(), kUnwritten, whole_.bytes());
  }
  Tensor& tensor() { return tensor_; }
  bool intact() const {
    if (tensor_.layout() == Layout::tile) return true;
    const auto* guard = static_cast<const unsigned char*>(whole_.raw()) + tensor_.bytes();
    return std::all_of(guard, guard + kGuard, [](unsigned char c) { return c == kUnwritten; });
  }

 private:
  Tensor whole_, tensor_;
};

std::uint32_t bits_of(float v) { return std::bit_cast<std::uint32_t>(v); }
std::uint16_t bits_of(bf16 v) { return std::bit_cast<std::uint16_t>(v); }

template <class T, class Nan>
bool same_but_nan(const Tensor& a, const Tensor& b, Nan nan) {
  const auto* x = static_cast<const T*>(a.raw());
  const auto* y = static_cast<const T*>(b.raw());
  for (std::size_t i = 0; i < a.bytes() / sizeof(T); ++i)
    if (bits_of(x[i]) != bits_of(y[i]) && !(nan(x[i]) && nan(y[i]))) return false;
  return true;
}

/// The same bits; of two NaNs nothing is asked: whose sign and payload the sum of two has is the compiler's choice, tile by tile.
bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.bytes() != b.bytes()) return false;
  if (std::memcmp(a.raw(), b.raw(), a.bytes()) == 0) return true;
  if (a.dtype() == DType::f32) return same_but_nan<float>(a, b, [](float v) { return std::isnan(v); });
  if (a.dtype() == DType::bf16) return same_but_nan<bf16>(a, b, [](bf16 v) { return std::isnan(to_f32(v)); });
  return false;
}

/// One case: a problem in one dtype and place.
class Case {
 public:
  Case(const SweepProblem& p, const SweepData& data, const SweepExpected& want, DType dtype, Place place, SweepRow& row)
      : p_(p), data_(data), want_(want), dtype_(dtype), place_(place), row_(row) {}

  void run(Context& one, const std::vector<Context*>& others, bool every_row, bool shards) {
    const ImageSize& s = p_.x;
    x_ = placed(one, data_.x, s, dtype_, place_);
    if (!data_.residual.empty()) residual_ = placed(one, data_.residual, want_.y, dtype_, place_);
    prepare(one);
    row_.row = chosen_row(one);
    Output base(want_.y, place_, dtype_), indices(want_.y, place_, DType::i32);
    const double first = timed(one, base.tensor(), nullptr);
    row_.time_us = std::min(first, timed(one, base.tensor(), nullptr));
    compare(one, base, nullptr, row_.row);
    if (p_.maximum()) {
      Output again(want_.y, place_, dtype_);
      call(one, again.tensor(), &indices.tensor());
      compare(one, again, &indices, row_.row + " with indices");
    }
    const std::string& family = p_.convolution() && path_ != "depthwise" ? kLinear : p_.convolution() ? kDepthwise : kPool;
    for (const std::string& forced : ops::runnable_rows(one, family)) {
      if (!row_.pass) return;
      one.force(family, forced);
      for (Context* other : others) other->force(family, forced);
      try {
        forced_row(one, others, forced, every_row || forced == row_.row, shards && forced == row_.row, base.tensor());
      } catch (const Error& e) {
        if (std::string_view(e.what()).find("cannot serve this call") == std::string_view::npos) fails(forced, e.what());
      }
      one.force(family, "");
      for (Context* other : others) other->force(family, "");
    }
  }

  const std::string& path() const { return path_; }

 private:
  inline static const std::string kLinear = "linear", kDepthwise = "depthwise", kPool = "pool";

  void fails(std::string_view run, std::string_view what) {
    row_.pass = false;
    if (row_.error.empty()) row_.error = fmt::format("{}: {}", run, what);
  }

  ops::Conv2d conv() const {
    return {.stride = p_.stride,
            .padding = p_.padding,
            .same = false,
            .dilation = p_.dilation,
            .groups = p_.x.c,
            .activation = p_.activation,
            .order = order(place_)};
  }

  /// Weights for the row that the context chooses or forces.
  void prepare(Context& ctx) {
    if (!p_.convolution()) return;
    const I out = p_.x.c * p_.multiplier;
    const Tensor weight = Tensor::from<float>(data_.weight, Shape{out, 1, p_.kernel[0], p_.kernel[1]});
    const Tensor bias = data_.bias.empty() ? Tensor() : Tensor::from<float>(data_.bias, Shape{out});
    weights_ = ops::prepare_conv2d(ctx, weight, bias, conv(), dtype_);
    path_ = weights_.path();
  }

  std::string chosen_row(const Context& ctx) const {
    return p_.convolution() ? std::string(weights_.row()) : ops::runnable_rows(ctx, "pool").front();
  }

  void call(Context& ctx, const Tensor& x, Tensor& y, Tensor* indices) const {
    const ImageSize flat = place_ == Place::flat ? ImageSize{p_.x.n, p_.x.h, p_.x.w, 0} : ImageSize{};
    const ops::AdaptivePool2d adaptive{.output = p_.output, .ttnn_strict = false, .order = order(place_)};
    switch (p_.op) {
      case SweepOp::adaptive_avg_pool2d: return ops::adaptive_avg_pool2d(ctx, x, adaptive, y, flat);
      case SweepOp::adaptive_max_pool2d: return ops::adaptive_max_pool2d(ctx, x, adaptive, y, indices, flat);
      case SweepOp::max_pool2d:
        return ops::max_pool2d(ctx, x,
                               {.kernel = p_.kernel,
                                .stride = p_.stride,
                                .padding = p_.padding,
                                .dilation = p_.dilation,
                                .ceil_mode = p_.ceil_mode,
                                .order = order(place_)},
                               y, indices, flat);
      case SweepOp::avg_pool2d:
        return ops::avg_pool2d(ctx, x,
                               {.kernel = p_.kernel,
                                .stride = p_.stride,
                                .padding = p_.padding,
                                .ceil_mode = p_.ceil_mode,
                                .count_include_pad = p_.count_include_pad,
                                .divisor_override = p_.divisor,
                                .order = order(place_)},
                               y, flat);
      case SweepOp::depthwise_conv2d: return ops::conv2d(ctx, x, weights_, y, residual_, flat);
    }
  }
  void call(Context& ctx, Tensor& y, Tensor* indices) const { call(ctx, x_, y, indices); }

  double timed(Context& ctx, Tensor& y, Tensor* indices) const {
    const auto start = std::chrono::steady_clock::now();
    call(ctx, y, indices);
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
  }

  void take(const SweepVerdict& v, std::string_view run) {
    if (v.max_abs > row_.max_abs || row_.runs == 0) row_.max_abs = v.max_abs, row_.limit = v.limit;
    row_.of_limit = std::max(row_.of_limit, v.of_limit);
    if (v.pcc && (!row_.pcc || *v.pcc < *row_.pcc)) row_.pcc = v.pcc;
    if (!v.pass) fails(run, v.first);
  }

  void compare(Context& ctx, Output& y, Output* indices, const std::string& run) {
    const std::vector<float> got = floats(ctx, y.tensor(), want_.y, place_);
    take(judge(want_, got, dtype_), run);
    if (indices != nullptr) take(judge_indices(want_, taken<std::int32_t, std::int32_t>(indices->tensor(), want_.y, place_)), run);
    if (!y.intact() || (indices != nullptr && !indices->intact())) fails(run, "wrote behind the output");
    ++row_.runs;
  }

  void forced_row(Context& one, const std::vector<Context*>& others, const std::string& forced, bool threads, bool shards, const Tensor& chosen) {
    prepare(one);
    Output y(want_.y, place_, dtype_), indices(want_.y, place_, DType::i32);
    call(one, y.tensor(), p_.maximum() ? &indices.tensor() : nullptr);
    const bool judged = same_bits(y.tensor(), chosen) && y.intact() && !p_.maximum();  // the chosen row's result was
    if (judged)
      ++row_.runs;
    else
      compare(one, y, p_.maximum() ? &indices : nullptr, forced);
    if (p_.maximum() && forced != row_.row) {
      Output alone(want_.y, place_, dtype_);
      call(one, alone.tensor(), nullptr);
      compare(one, alone, nullptr, forced + " without indices");
    }
    const auto equal = [&](Context& ctx, const Tensor& x, const std::string& what) {
      Output z(want_.y, place_, dtype_), places(want_.y, place_, DType::i32);
      call(ctx, x, z.tensor(), p_.maximum() ? &places.tensor() : nullptr);
      ++row_.runs;
      if (!same_bits(z.tensor(), y.tensor()) || (p_.maximum() && !same_bits(places.tensor(), indices.tensor())) || !z.intact())
        fails(forced, what + " gives other bits than one thread");
    };
    if (threads)
      for (Context* other : others) equal(*other, x_, fmt::format("{} threads", other->threads()));
    if (shards && !others.empty()) sharded([&](const Tensor& x) { equal(*others.front(), x, x.memory_config().str()); });
  }

  /// fn(x) for memory configs that divide x, which decide how the work is split.
  template <class Fn>
  void sharded(Fn fn) const {
    if (!p_.convolution() || place_ != Place::nhwc) return;
    const I rows = x_.rows(), columns = x_.cols();
    const auto part = [](I size) {  // the smallest divisor above 1
      for (I d = 2; d <= 16; ++d)
        if (size % d == 0) return d;
      return I{1};
    };
    const I down = part(rows), across = part(columns);
    using enum TensorMemoryLayout;
    const auto with = [&](TensorMemoryLayout layout, I r, I c) {
      fn(x_.with_memory_config({layout, BufferType::l1, ShardSpec{r, c, rows / r, columns / c}}));
    };
    if (down > 1) with(height_sharded, down, 1);
    if (across > 1) with(width_sharded, 1, across);
    if (down > 1 && across > 1) with(block_sharded, down, across);
  }

  const SweepProblem& p_;
  const SweepData& data_;
  const SweepExpected& want_;
  DType dtype_;
  Place place_;
  SweepRow& row_;
  Tensor x_, residual_;
  ops::PreparedConv2d weights_;
  std::string path_ = "uniform";
};

/// Full sweeps run every size in both orders; flat and tiled forms, which only move data, take turns.
std::vector<Place> places(const SweepProblem& p, SweepSuite suite, DType dtype) {
  std::vector<Place> all = {Place::nhwc, Place::nchw};
  const I turn = p.index * 2 + (dtype == DType::bf16 ? 1 : 0);
  if (suite == SweepSuite::brief || turn % 7 == 0) all.push_back(Place::flat);
  if (!p.convolution() && (suite == SweepSuite::brief || turn % 7 == 3)) all.push_back(Place::tile);
  return all;
}

}  // namespace

SweepRunner::SweepRunner(std::string_view isa, SweepSuite suite, double limits)
    : one_({.threads = 1, .isa = std::string(isa)}),
      two_({.threads = 2, .isa = std::string(isa)}),
      three_({.threads = 3, .isa = std::string(isa)}),
      suite_(suite),
      limits_(limits) {}

SweepResult SweepRunner::run(const SweepProblem& p) {
  SweepResult result;
  SweepRow model;
  model.op = p.op;
  model.size = p.index;
  model.shape = shape_text(p.x);
  model.options = options_text(p);
  model.plan = "uniform";
  const bool brief = suite_ == SweepSuite::brief;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const SweepData data = make_data(p, dtype);
    SweepExpected want = expected(p, data);
    for (double& limit : want.limit) limit *= limits_;
    for (const Place place : places(p, suite_, dtype)) {
      SweepRow row = model;
      row.output = shape_text(want.y);
      row.dtype = kDTypes[dtype == DType::bf16 ? 1 : 0];
      row.layout = kPlaces[static_cast<std::size_t>(place)];
      try {
        if (p.adaptive() && result.rows.empty()) {
          for (std::string& kind : check_plans(one_, p, data, want, row)) result.kinds.push_back(std::move(kind));
          model.plan = row.plan, model.uniform_plan = row.uniform_plan, model.memory_overhead = row.memory_overhead;
        }
        Case one(p, data, want, dtype, place, row);
        const I turn = p.index + static_cast<I>(place) + (dtype == DType::bf16 ? 2 : 0);
        if (brief)
          one.run(one_, {&two_, &three_}, true, true);
        else if (turn % 4 == 0)
          one.run(one_, {&three_}, false, true);
        else
          one.run(one_, {}, false, false);
        if (p.convolution()) row.plan = one.path();
      } catch (const std::exception& e) {
        row.pass = false;
        if (row.error.empty()) row.error = e.what();
      }
      result.rows.push_back(std::move(row));
    }
  }
  const auto kind = [&](bool is, const char* what) {
    if (is) result.kinds.emplace_back(what);
  };
  if (p.convolution()) result.kinds.push_back(result.rows.front().plan);
  const bool one = !p.adaptive();
  kind(one && p.padding != std::array<I, 4>{}, "padding");
  kind(one && (p.padding[0] != p.padding[1] || p.padding[2] != p.padding[3]), "unequal padding");
  kind(one && (p.kernel[0] == 1) != (p.kernel[1] == 1), "1-D");
  kind(one && (p.kernel[0] % 2 == 0 || p.kernel[1] % 2 == 0), "even kernel");
  kind(p.dilation != std::array<I, 2>{1, 1}, "dilation");
  kind(p.ceil_mode, "ceil_mode");
  kind(p.op == SweepOp::avg_pool2d && !p.count_include_pad, "without padding");
  kind(p.divisor != 0, "divisor");
  kind(p.multiplier > 1, "multiplier");
  kind(p.residual, "residual");
  kind(p.adaptive() && (p.output[0] > p.x.h || p.output[1] > p.x.w), "output larger than input");
  return result;
}

}  // namespace tessera::models
