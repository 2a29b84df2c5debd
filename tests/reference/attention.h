// Attention in double, one query at a time, softmax in two passes. Shares nothing with kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace tessera::reference {

struct AttentionResult {
  std::vector<double> y;         // [batch, q_tokens, heads, head_dim]
  std::vector<double> rounding;  // of the same shape, in units of eps: how far f32 arithmetic may be off (see below)
};

/// q [batch, q_tokens, heads, head_dim], k and v [batch, keys, kv_heads, head_dim], dense. visible: [q_tokens, keys] or empty;
/// added: the same or empty.
inline AttentionResult attention(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v, std::int64_t batch,
                                 std::int64_t q_tokens, std::int64_t keys, std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim,
                                 double scale, const std::vector<std::uint8_t>& visible, const std::vector<float>& added) {
  AttentionResult result;
  result.y.assign(q.size(), 0.0);
  result.rounding.assign(q.size(), 0.0);
  std::vector<double> logit(static_cast<std::size_t>(keys));
  std::vector<bool> seen(static_cast<std::size_t>(keys));
  for (std::int64_t b = 0; b < batch; ++b)
    for (std::int64_t t = 0; t < q_tokens; ++t)
      for (std::int64_t h = 0; h < heads; ++h) {
        const std::int64_t g = h / (heads / kv_heads);
        const std::size_t row = static_cast<std::size_t>((b * q_tokens + t) * heads + h);
        double max = -std::numeric_limits<double>::infinity();
        double largest_products = 0;
        for (std::int64_t j = 0; j < keys; ++j) {
          const auto sj = static_cast<std::size_t>(j);
          const std::size_t m = static_cast<std::size_t>(t * keys + j);
          seen[sj] = visible.empty() || visible[m] != 0;
          if (!seen[sj]) continue;
          double sum = 0;
          double products = 0;
          for (std::int64_t c = 0; c < head_dim; ++c) {
            const double x = q[row * static_cast<std::size_t>(head_dim) + static_cast<std::size_t>(c)];
            const double z = k[static_cast<std::size_t>(((b * keys + j) * kv_heads + g) * head_dim + c)];
            sum += x * z;
            products += std::fabs(x * z);
          }
          logit[sj] = sum * scale + (added.empty() ? 0.0 : static_cast<double>(added[m]));
          if (logit[sj] == -std::numeric_limits<double>::infinity()) {
            seen[sj] = false;
            continue;
          }
          max = std::max(max, logit[sj]);
          // The rounding of a mask that is added counts where the key can matter at all.
          const double shift = added.empty() || added[m] < -1e30f ? 0.0 : std::fabs(static_cast<double>(added[m]));
          largest_products = std::max(largest_products, products * std::fabs(scale) + shift);
        }
        double total = 0;
        for (std::int64_t j = 0; j < keys; ++j) {
          const auto sj = static_cast<std::size_t>(j);
          if (seen[sj]) total += std::exp(logit[sj] - max);
        }
        if (total == 0) continue;
        // A logit, a sum of head_dim rounded products, is off by about eps times the sum of their magnitudes (the worst case is head_dim
        // times more, which random signs do not come near); e on all logits changes a weighted mean of v by at most 2 e times the mean
        // of |v|. The sums over keys add sqrt(keys) eps, exp and the division a few eps.
        const double roundings = 2 * largest_products + std::sqrt(static_cast<double>(keys)) + 4;
        for (std::int64_t j = 0; j < keys; ++j) {
          const auto sj = static_cast<std::size_t>(j);
          if (!seen[sj]) continue;
          const double p = std::exp(logit[sj] - max) / total;
          for (std::int64_t c = 0; c < head_dim; ++c) {
            const std::size_t at = row * static_cast<std::size_t>(head_dim) + static_cast<std::size_t>(c);
            const double x = v[static_cast<std::size_t>(((b * keys + j) * kv_heads + g) * head_dim + c)];
            result.y[at] += p * x;
            result.rounding[at] += roundings * p * std::fabs(x);
          }
        }
      }
  return result;
}

}  // namespace tessera::reference
