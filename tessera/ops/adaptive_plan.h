// Finds every exact way to compute an adaptive pool with uniform windows, and proves each by comparing windows element by element.
// May not compute a pool. Test: tests/ops/adaptive_plan_test.cpp; page: docs/ops/adaptive_plan.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::ops {

/// Input positions [first, first + count) of one output position along one axis.
struct PoolWindow {
  std::int32_t first = 0;
  std::int32_t count = 0;
  bool operator==(const PoolWindow&) const = default;
};

/// PyTorch's windows: output i covers floor(i * in / out) to ceil((i + 1) * in / out). in and out from 1 to 2^30.
/// Source: torch.nn.functional.adaptive_avg_pool2d.
std::vector<PoolWindow> adaptive_windows(std::int64_t in, std::int64_t out);

/// How an axis is served by one kernel and one stride. Position x of the input stands at `x + inserted gaps before x` of the stretched
/// axis; output i covers [i * stride - before, i * stride - before + kernel) of it; what lies outside, and gaps, take no part.
struct UniformAxis {
  std::int64_t kernel = 0;
  std::int64_t stride = 0;
  std::int64_t before = 0;         // padding: top or left
  std::int64_t after = 0;          // padding: bottom or right
  std::vector<std::int32_t> gaps;  // input position before which a neutral row (column) is inserted, ascending, with repetition
  bool padded() const noexcept { return before > 0 || after > 0; }
  bool stretched() const noexcept { return !gaps.empty(); }
};

/// The windows that a uniform axis really computes, in input positions. Empty when an output would see no or scattered input.
std::optional<std::vector<PoolWindow>> windows_of(const UniformAxis& axis, std::int64_t in);

enum class PoolStrategy : std::uint8_t { pure_uniform, padding_dominant, dilation_dominant, combined_optimal, direct };
/// "PURE_UNIFORM", "PADDING_DOMINANT", ...
std::string_view name(PoolStrategy strategy) noexcept;

/// One way to compute the pool. For `direct` the axes are empty: a kernel with variable windows, which reads each input once.
struct AdaptivePlan {
  PoolStrategy strategy = PoolStrategy::direct;
  UniformAxis h;
  UniformAxis w;
  std::array<std::int64_t, 4> padding{};       // top, bottom, left, right
  std::array<std::int64_t, 2> dilation{1, 1};  // 1: a larger one would only add gaps (the search found none that is cheaper)
  double memory_overhead = 0;                  // percent: elements of the padded and stretched input beyond the input's own
  double cost = 0;                             // estimated: elements read plus elements written in preparation, per channel
};

/// A strategy that was not chosen, and why.
struct RejectedStrategy {
  PoolStrategy strategy = PoolStrategy::direct;
  bool exact = false;  // exact, but dearer
  std::string reason;
};

struct AdaptivePlans {
  std::int64_t in_h = 0, in_w = 0, out_h = 0, out_w = 0;
  std::vector<PoolWindow> h;  // PyTorch's windows
  std::vector<PoolWindow> w;
  std::vector<AdaptivePlan> exact;                      // every exact plan, cheapest first; never empty: `direct` is always there
  std::vector<RejectedStrategy> rejected;               // all strategies but the first of `exact`
  double kernel_variance_h = 0, kernel_variance_w = 0;  // population variance of window sizes
  double stride_variance_h = 0, stride_variance_w = 0;  // and of the distances of window starts
  double coverage_gained = 0;                           // percent of outputs that the plain uniform pool (ceil, floor, no padding) computes wrongly
  const AdaptivePlan& best() const { return exact.front(); }
};

/// All plans for [in_h, in_w] -> [out_h, out_w]. Sizes from 1 to 2^15; throws Error otherwise.
AdaptivePlans plan_adaptive_pool(std::int64_t in_h, std::int64_t in_w, std::int64_t out_h, std::int64_t out_w);

/// Throws Error with TTNN's text where its acceptance rule refuses the sizes, or where it accepts them but its uniform windows would not be
/// PyTorch's (TTNN then answers wrongly; here it is refused). Source: tt-metal, adaptive_pools.
void check_ttnn_strict(std::int64_t in_h, std::int64_t in_w, std::int64_t out_h, std::int64_t out_w);

}  // namespace tessera::ops
