#include "tessera/ops/adaptive_plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "tessera/core/error.h"

namespace tessera::ops {
namespace {

constexpr std::int64_t kLargest = std::int64_t{1} << 15;
constexpr const char* kOp = "adaptive_pool2d";

std::int64_t start_of(const PoolWindow& w) { return w.first; }
std::int64_t end_of(const PoolWindow& w) { return std::int64_t{w.first} + w.count; }

double variance(const std::vector<double>& values) {
  if (values.empty()) return 0;
  double mean = 0;
  for (const double v : values) mean += v;
  mean /= static_cast<double>(values.size());
  double sum = 0;
  for (const double v : values) sum += (v - mean) * (v - mean);
  return sum / static_cast<double>(values.size());
}

double kernel_variance(const std::vector<PoolWindow>& windows) {
  std::vector<double> sizes;
  for (const PoolWindow& w : windows) sizes.push_back(w.count);
  return variance(sizes);
}

double stride_variance(const std::vector<PoolWindow>& windows) {
  std::vector<double> steps;
  for (std::size_t i = 1; i < windows.size(); ++i) steps.push_back(windows[i].first - windows[i - 1].first);
  return variance(steps);
}

/// Places the inputs of one axis for given kernel, stride and padding before: every input as far to the front as its windows allow.
/// Answers nothing when some input cannot stand inside all of its windows and outside of all others.
std::optional<UniformAxis> place(const std::vector<PoolWindow>& windows, std::int64_t in, std::int64_t kernel, std::int64_t stride,
                                 std::int64_t before) {
  const auto out = static_cast<std::int64_t>(windows.size());
  UniformAxis axis{kernel, stride, before, 0, {}};
  std::int64_t next = 0;   // first free position of the stretched axis
  std::int64_t lower = 0;  // last window that begins at or before x
  std::int64_t upper = 0;  // first window that ends after x
  for (std::int64_t x = 0; x < in; ++x) {
    while (lower + 1 < out && start_of(windows[static_cast<std::size_t>(lower + 1)]) <= x) ++lower;
    while (upper < out && end_of(windows[static_cast<std::size_t>(upper)]) <= x) ++upper;
    // Not before the last window that holds x begins, nor before the windows that do not hold it have ended.
    std::int64_t at = std::max(next, lower * stride - before);
    if (upper > 0) at = std::max(at, (upper - 1) * stride - before + kernel);
    // Not after the first window that holds it ends, nor after the next window has begun.
    std::int64_t last = upper * stride - before + kernel - 1;
    if (lower + 1 < out) last = std::min(last, (lower + 1) * stride - before - 1);
    if (at > last) return {};
    for (std::int64_t gap = next; gap < at; ++gap) axis.gaps.push_back(static_cast<std::int32_t>(x));
    next = at + 1;
  }
  axis.after = std::max<std::int64_t>(0, (out - 1) * stride - before + kernel - next);
  // A uniform pool must not find room for one more window, and no library pads by more than half a kernel.
  if ((next + before + axis.after - kernel) / stride + 1 != out) return {};
  if (before > kernel / 2 || axis.after > kernel / 2) return {};
  if (windows_of(axis, in) != windows) return {};
  return axis;
}

struct AxisPlans {
  std::optional<UniformAxis> pure, padded, stretched, both;
};

std::int64_t extra(const UniformAxis& a) { return a.before + a.after + static_cast<std::int64_t>(a.gaps.size()); }

void keep(std::optional<UniformAxis>& best, const UniformAxis& candidate) {
  const auto rank = [](const UniformAxis& a) { return std::array{extra(a), a.kernel, a.stride, a.before}; };
  if (!best || rank(candidate) < rank(*best)) best = candidate;
}

AxisPlans plan_axis(const std::vector<PoolWindow>& windows, std::int64_t in) {
  AxisPlans plans;
  if (windows.size() == 1) {  // one window: the whole axis
    plans.pure = UniformAxis{in, in, 0, 0, {}};
    return plans;
  }
  std::int64_t smallest = std::numeric_limits<std::int64_t>::max(), largest = 0, step = 0;
  for (std::size_t i = 0; i < windows.size(); ++i) {
    smallest = std::min<std::int64_t>(smallest, windows[i].count);
    largest = std::max<std::int64_t>(largest, windows[i].count);
    if (i > 0) step = std::max<std::int64_t>(step, windows[i].first - windows[i - 1].first);
  }
  // A kernel may not be smaller than the largest window; with gaps one more than the largest step is always enough where windows share at
  // most one input, and every further size only adds gaps.
  const auto others = static_cast<std::int64_t>(windows.size()) - 1;
  for (std::int64_t kernel = largest; kernel <= largest + 2; ++kernel)
    for (std::int64_t before = 0; before <= std::min<std::int64_t>(kernel / 2, largest - smallest + 2); ++before) {
      // No input moves to the front, so the last window can begin no earlier than its first input.
      const std::int64_t least = std::max<std::int64_t>(1, (windows.back().first + before + others - 1) / others);
      for (std::int64_t stride = least; stride <= std::max(step, largest) + 1; ++stride) {
        const std::optional<UniformAxis> axis = place(windows, in, kernel, stride, before);
        if (!axis) continue;
        keep(axis->padded() ? (axis->stretched() ? plans.both : plans.padded) : (axis->stretched() ? plans.stretched : plans.pure), *axis);
      }
    }
  return plans;
}

double elements_read(const std::vector<PoolWindow>& h, const std::vector<PoolWindow>& w) {
  double rows = 0, columns = 0;
  for (const PoolWindow& v : h) rows += v.count;
  for (const PoolWindow& v : w) columns += v.count;
  return rows * columns;
}

std::int64_t stretched_size(const UniformAxis& a, std::int64_t in) { return in + static_cast<std::int64_t>(a.gaps.size()); }

AdaptivePlan make_plan(PoolStrategy strategy, const UniformAxis& h, const UniformAxis& w, const AdaptivePlans& all) {
  AdaptivePlan plan;
  plan.strategy = strategy;
  plan.h = h;
  plan.w = w;
  plan.padding = {h.before, h.after, w.before, w.after};
  const double input = static_cast<double>(all.in_h) * static_cast<double>(all.in_w);
  const double rows = static_cast<double>(stretched_size(h, all.in_h));
  const double columns = static_cast<double>(stretched_size(w, all.in_w));
  const double whole = (rows + static_cast<double>(h.before + h.after)) * (columns + static_cast<double>(w.before + w.after));
  plan.memory_overhead = 100 * (whole - input) / input;
  // A uniform kernel visits every position of its windows, neutral ones too; a stretched input must be written and read first. Padding is
  // not written: the window is clipped.
  plan.cost = static_cast<double>(all.out_h * h.kernel) * static_cast<double>(all.out_w * w.kernel);
  if (h.stretched() || w.stretched()) plan.cost += input + rows * columns;
  return plan;
}

/// The cheaper of the axis plans that a strategy may use; `wants` is whether it has the strategy's own property.
struct Choice {
  const UniformAxis* axis = nullptr;
  bool padded = false;
  bool stretched = false;
};

std::vector<Choice> choices(const AxisPlans& p) {
  std::vector<Choice> all;
  for (const auto* axis : {&p.pure, &p.padded, &p.stretched, &p.both})
    if (axis->has_value()) all.push_back({&**axis, (*axis)->padded(), (*axis)->stretched()});
  return all;
}

std::string why_not(PoolStrategy strategy, const AxisPlans& h, const AxisPlans& w) {
  const auto axes = [&](bool h_ok, bool w_ok) { return std::string(h_ok ? "" : "height") + (!h_ok && !w_ok ? " and " : "") + (w_ok ? "" : "width"); };
  switch (strategy) {
    case PoolStrategy::pure_uniform: return "no kernel and stride gives PyTorch's windows along " + axes(h.pure.has_value(), w.pure.has_value());
    case PoolStrategy::padding_dominant:
      if (h.pure && w.pure) return "the sizes need no padding";
      if ((h.pure || h.padded) && (w.pure || w.padded)) return "padding changes nothing that PURE_UNIFORM does not do";
      return "clipped windows at the borders do not give PyTorch's windows along " + axes(h.pure || h.padded, w.pure || w.padded) +
             ": the windows in the middle differ";
    case PoolStrategy::dilation_dominant:
      if (h.pure && w.pure) return "the sizes need no gaps";
      return "no gaps alone make the windows uniform along " + axes(h.pure || h.stretched, w.pure || w.stretched);
    case PoolStrategy::combined_optimal:
      if (h.pure && w.pure) return "the sizes need neither padding nor gaps";
      return "no padding together with gaps makes the windows uniform";
    case PoolStrategy::direct: break;
  }
  return "always exact";
}

}  // namespace

std::string_view name(PoolStrategy strategy) noexcept {
  switch (strategy) {
    case PoolStrategy::pure_uniform: return "PURE_UNIFORM";
    case PoolStrategy::padding_dominant: return "PADDING_DOMINANT";
    case PoolStrategy::dilation_dominant: return "DILATION_DOMINANT";
    case PoolStrategy::combined_optimal: return "COMBINED_OPTIMAL";
    case PoolStrategy::direct: break;
  }
  return "DIRECT";
}

std::vector<PoolWindow> adaptive_windows(std::int64_t in, std::int64_t out) {
  if (in < 1 || out < 1 || in > std::int64_t{1} << 30 || out > std::int64_t{1} << 30)
    fail_expected(kOp, "sizes from 1 to 2^30", std::to_string(in) + " -> " + std::to_string(out));
  std::vector<PoolWindow> windows;
  windows.reserve(static_cast<std::size_t>(out));
  for (std::int64_t i = 0; i < out; ++i) {
    const std::int64_t first = i * in / out;
    const std::int64_t end = ((i + 1) * in + out - 1) / out;
    windows.push_back({static_cast<std::int32_t>(first), static_cast<std::int32_t>(end - first)});
  }
  return windows;
}

std::optional<std::vector<PoolWindow>> windows_of(const UniformAxis& axis, std::int64_t in) {
  std::vector<std::int32_t> held;  // what stands at each position of the stretched axis: an input, or -1 for a gap
  std::size_t gap = 0;
  for (std::int64_t x = 0; x < in; ++x) {
    for (; gap < axis.gaps.size() && axis.gaps[gap] <= x; ++gap) held.push_back(-1);
    held.push_back(static_cast<std::int32_t>(x));
  }
  const auto length = static_cast<std::int64_t>(held.size());
  const std::int64_t out = (length + axis.before + axis.after - axis.kernel) / axis.stride + 1;
  std::vector<PoolWindow> windows;
  for (std::int64_t i = 0; i < out; ++i) {
    PoolWindow w{-1, 0};
    const std::int64_t first = std::max<std::int64_t>(0, i * axis.stride - axis.before);
    const std::int64_t end = std::min(length, i * axis.stride - axis.before + axis.kernel);
    for (std::int64_t p = first; p < end; ++p) {
      const std::int32_t x = held[static_cast<std::size_t>(p)];
      if (x < 0) continue;
      if (w.count == 0) w.first = x;
      ++w.count;
    }
    if (w.count == 0) return {};
    windows.push_back(w);
  }
  return windows;
}

AdaptivePlans plan_adaptive_pool(std::int64_t in_h, std::int64_t in_w, std::int64_t out_h, std::int64_t out_w) {
  for (const std::int64_t size : {in_h, in_w, out_h, out_w})
    if (size < 1 || size > kLargest) fail_expected(kOp, "sizes from 1 to 32768", std::to_string(size));
  AdaptivePlans all;
  all.in_h = in_h, all.in_w = in_w, all.out_h = out_h, all.out_w = out_w;
  all.h = adaptive_windows(in_h, out_h);
  all.w = adaptive_windows(in_w, out_w);
  all.kernel_variance_h = kernel_variance(all.h), all.kernel_variance_w = kernel_variance(all.w);
  all.stride_variance_h = stride_variance(all.h), all.stride_variance_w = stride_variance(all.w);
  const AxisPlans h = plan_axis(all.h, in_h);
  const AxisPlans w = plan_axis(all.w, in_w);

  AdaptivePlan direct;
  direct.cost = elements_read(all.h, all.w);
  std::vector<AdaptivePlan> plans;
  for (const PoolStrategy strategy :
       {PoolStrategy::pure_uniform, PoolStrategy::padding_dominant, PoolStrategy::dilation_dominant, PoolStrategy::combined_optimal}) {
    const bool padded = strategy == PoolStrategy::padding_dominant || strategy == PoolStrategy::combined_optimal;
    const bool stretched = strategy == PoolStrategy::dilation_dominant || strategy == PoolStrategy::combined_optimal;
    std::optional<AdaptivePlan> best;
    for (const Choice& a : choices(h))
      for (const Choice& b : choices(w)) {
        if ((a.padded || b.padded) != padded || (a.stretched || b.stretched) != stretched) continue;
        const AdaptivePlan plan = make_plan(strategy, *a.axis, *b.axis, all);
        if (!best || plan.cost < best->cost) best = plan;
      }
    if (best)
      plans.push_back(*best);
    else
      all.rejected.push_back({strategy, false, why_not(strategy, h, w)});
  }
  plans.push_back(direct);
  // Equal costs keep this order: of two plans that read the same, the one with a uniform kernel is simpler.
  std::ranges::stable_sort(plans, {}, &AdaptivePlan::cost);
  all.exact = std::move(plans);
  for (std::size_t i = 1; i < all.exact.size(); ++i) {
    const double more = 100 * (all.exact[i].cost / all.exact[0].cost - 1);
    all.rejected.push_back(
        {all.exact[i].strategy, true,
         more > 0 ? "exact, but estimated " + std::to_string(std::lround(more)) + " % dearer than " + std::string(name(all.exact[0].strategy))
                  : "exact and as cheap; " + std::string(name(all.exact[0].strategy)) + " is simpler"});
  }
  std::ranges::sort(all.rejected, {}, &RejectedStrategy::strategy);

  // The plain uniform pool: kernel ceil(in / out), stride floor(in / out), no padding.
  const auto right = [](const std::vector<PoolWindow>& windows, std::int64_t in) {
    const auto out = static_cast<std::int64_t>(windows.size());
    const std::int64_t kernel = (in + out - 1) / out, stride = std::max<std::int64_t>(1, in / out);
    if (kernel > in || (in - kernel) / stride + 1 != out) return std::int64_t{0};
    std::int64_t equal = 0;
    for (std::int64_t i = 0; i < out; ++i) {
      const PoolWindow& v = windows[static_cast<std::size_t>(i)];
      equal += v.first == i * stride && v.count == kernel ? 1 : 0;
    }
    return equal;
  };
  const double outputs = static_cast<double>(out_h) * static_cast<double>(out_w);
  all.coverage_gained = 100 * (1 - static_cast<double>(right(all.h, in_h)) * static_cast<double>(right(all.w, in_w)) / outputs);
  return all;
}

namespace {

/// TTNN's rule for one axis: the sizes of all windows, and what it would run.
struct TtnnAxis {
  std::vector<std::int64_t> sizes;
  bool middle_uniform = true;
  bool borders_fit = true;
  bool uniform = true;
  bool feasible() const { return sizes.size() <= 2 || (middle_uniform && borders_fit); }
};

TtnnAxis ttnn_axis(const std::vector<PoolWindow>& windows) {
  TtnnAxis axis;
  for (const PoolWindow& w : windows) axis.sizes.push_back(w.count);
  const std::size_t n = axis.sizes.size();
  axis.uniform = std::ranges::all_of(axis.sizes, [&](std::int64_t s) { return s == axis.sizes[0]; });
  if (n < 3) return axis;
  const std::int64_t middle = axis.sizes[1];
  for (std::size_t i = 1; i + 1 < n; ++i) axis.middle_uniform = axis.middle_uniform && axis.sizes[i] == middle;
  axis.borders_fit = axis.sizes[0] <= middle && axis.sizes[n - 1] <= middle;
  return axis;
}

std::string pattern(const std::vector<std::int64_t>& sizes) {
  std::string text = "[";
  for (std::size_t i = 0; i < sizes.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(sizes[i]);
  return text + "]";
}

UniformAxis ttnn_uniform(const TtnnAxis& a, std::int64_t in, bool all_uniform) {
  const auto out = static_cast<std::int64_t>(a.sizes.size());
  const UniformAxis base{(in + out - 1) / out, std::max<std::int64_t>(1, in / out), 0, 0, {}};
  if (all_uniform) return base;
  UniformAxis axis = base;
  axis.kernel = out >= 3 ? a.sizes[1] : base.kernel;
  if (a.sizes.front() < axis.kernel || a.sizes.back() < axis.kernel) {
    axis.stride = std::max<std::int64_t>(1, axis.kernel - 1);
    axis.before = axis.kernel - a.sizes.front();
    axis.after = axis.kernel - a.sizes.back();
  }
  const std::int64_t found = (in + axis.before + axis.after - axis.kernel) / axis.stride + 1;
  return found == out ? axis : base;
}

}  // namespace

void check_ttnn_strict(std::int64_t in_h, std::int64_t in_w, std::int64_t out_h, std::int64_t out_w) {
  const std::vector<PoolWindow> windows_h = adaptive_windows(in_h, out_h), windows_w = adaptive_windows(in_w, out_w);
  const TtnnAxis h = ttnn_axis(windows_h), w = ttnn_axis(windows_w);
  if (!h.feasible() || !w.feasible()) {
    std::string text = "Adaptive pooling configuration not supported.";
    const auto add = [&](const char* axis, const TtnnAxis& a) {
      if (a.feasible()) return;
      text += std::string(" ") + axis + " kernel pattern " + pattern(a.sizes) + ": " +
              (a.middle_uniform ? "border elements larger than middle (padding won't help)." : "middle elements not uniform.");
    };
    add("Height", h);
    add("Width", w);
    fail(kOp, text + " Correctable patterns require uniform middle kernels AND borders <= middle");
  }
  const bool uniform = h.uniform && w.uniform;
  const auto refuse = [](const char* axis, const TtnnAxis& a, const UniformAxis& u) {
    fail(kOp, std::string(axis) + " kernel pattern " + pattern(a.sizes) + " with kernel " + std::to_string(u.kernel) + ", stride " +
                  std::to_string(u.stride) + " and padding " + std::to_string(u.before) + " + " + std::to_string(u.after) +
                  ": windows do not produce uniform pooling behavior");
  };
  const UniformAxis uh = ttnn_uniform(h, in_h, uniform), uw = ttnn_uniform(w, in_w, uniform);
  if (windows_of(uh, in_h) != windows_h) refuse("Height", h, uh);
  if (windows_of(uw, in_w) != windows_w) refuse("Width", w, uw);
}

}  // namespace tessera::ops
