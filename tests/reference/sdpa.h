// Scaled dot-product attention in double over [batch, heads, tokens, head_dim], one query at a time, softmax in two passes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

namespace tessera::reference {

struct SdpaResult {
  std::vector<double> y;         // as q
  std::vector<double> rounding;  // likewise, in units of eps: how far f32 arithmetic may be off
};

/// added(batch, head, query, key) is what stands on top of a scaled logit, -infinity where the key is hidden; sink: one logit a head, or empty.
inline SdpaResult sdpa(const std::vector<double>& q, const std::vector<double>& k, const std::vector<double>& v, std::int64_t b, std::int64_t hq,
                       std::int64_t hkv, std::int64_t sq, std::int64_t sk, std::int64_t d, double scale,
                       const std::function<double(std::int64_t, std::int64_t, std::int64_t, std::int64_t)>& added, const std::vector<double>& sink) {
  const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  SdpaResult result{std::vector<double>(q.size(), 0.0), std::vector<double>(q.size(), 0.0)};
  std::vector<double> logit(at(sk));
  for (std::int64_t n = 0; n < b; ++n)
    for (std::int64_t h = 0; h < hq; ++h)
      for (std::int64_t i = 0; i < sq; ++i) {
        const std::int64_t row = ((n * hq + h) * sq + i) * d;
        const std::int64_t keys = (n * hkv + h / (hq / hkv)) * sk * d;
        double most = sink.empty() ? -std::numeric_limits<double>::infinity() : sink[at(h)];
        double largest = 0;
        for (std::int64_t j = 0; j < sk; ++j) {
          const double on_top = added(n, h, i, j);
          double sum = 0, products = 0;
          for (std::int64_t c = 0; c < d; ++c) {
            sum += q[at(row + c)] * k[at(keys + j * d + c)];
            products += std::fabs(q[at(row + c)] * k[at(keys + j * d + c)]);
          }
          logit[at(j)] = sum * scale + on_top;
          if (logit[at(j)] == -std::numeric_limits<double>::infinity()) continue;
          most = std::max(most, logit[at(j)]);
          largest = std::max(largest, products * std::fabs(scale) + (on_top < -1e30 ? 0 : std::fabs(on_top)));
        }
        if (most == -std::numeric_limits<double>::infinity()) continue;  // sees nothing: zeros
        double total = sink.empty() ? 0 : std::exp(sink[at(h)] - most);
        for (std::int64_t j = 0; j < sk; ++j) total += std::exp(logit[at(j)] - most);
        // A logit is off by about eps times the sum of the magnitudes of its products, a weighted mean by at most twice that; the sums over keys add
        // sqrt(keys) eps, exp and the division a few.
        const double roundings = 2 * largest + std::sqrt(static_cast<double>(sk)) + 4;
        for (std::int64_t j = 0; j < sk; ++j) {
          const double p = std::exp(logit[at(j)] - most) / total;
          if (p == 0) continue;
          for (std::int64_t c = 0; c < d; ++c) {
            result.y[at(row + c)] += p * v[at(keys + j * d + c)];
            result.rounding[at(row + c)] += roundings * p * std::fabs(v[at(keys + j * d + c)]);
          }
        }
      }
  return result;
}

}  // namespace tessera::reference
