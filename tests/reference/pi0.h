// pi0 and pi0.5 in plain double loops, the long way round: every token of the suffix in every step, no folded weights, modulations per token,
// concatenated keys with a mask. Shares nothing with the library but names and sizes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tessera/models/pi0/pi0.h"

namespace tessera::reference {

struct Matrix {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<double> v;

  Matrix() = default;
  Matrix(std::int64_t r, std::int64_t c) : rows(r), cols(c), v(static_cast<std::size_t>(r * c)) {}
  double& at(std::int64_t r, std::int64_t c) { return v[static_cast<std::size_t>(r * cols + c)]; }
  double at(std::int64_t r, std::int64_t c) const { return v[static_cast<std::size_t>(r * cols + c)]; }
  void append(const Matrix& other) {
    rows += other.rows;
    cols = other.cols;
    v.insert(v.end(), other.v.begin(), other.v.end());
  }
};

inline Matrix to_matrix(const Tensor& x) {
  Matrix m(x.rows(), x.cols());
  for (std::int64_t r = 0; r < m.rows; ++r)
    for (std::int64_t c = 0; c < m.cols; ++c) {
      const std::int64_t i = r * x.row_stride() + c;
      m.at(r, c) = x.dtype() == DType::bf16 ? to_f32(x.data<bf16>()[i]) : x.data<float>()[i];
    }
  return m;
}

/// The network over the same weights.
class Pi0 {
 public:
  Pi0(const models::WeightSource& source, const models::Pi0Config& config) : source_(source), c_(config) {}

  struct Cache {
    std::vector<Matrix> k;  // per layer [tokens, kv_heads * head_dim]
    std::vector<Matrix> v;
    std::int64_t tokens = 0;
  };

  Matrix siglip(const Tensor& image) const {
    const std::string tower = "paligemma_with_expert.paligemma.model.vision_tower.vision_model.";
    const std::int64_t side = c_.vision.image / c_.vision.patch, p = c_.vision.patch, s = c_.vision.image;
    Matrix patches(side * side, 3 * p * p);
    for (std::int64_t n = 0; n < patches.rows; ++n)
      for (std::int64_t ch = 0; ch < 3; ++ch)
        for (std::int64_t y = 0; y < p; ++y)
          for (std::int64_t x = 0; x < p; ++x)
            patches.at(n, (ch * p + y) * p + x) = image.data<float>()[(ch * s + n / side * p + y) * s + n % side * p + x];
    Matrix x = linear(patches, tower + "embeddings.patch_embedding", true);
    add(x, positions(weight(tower + "embeddings.position_embedding.weight"), side));
    for (std::int64_t l = 0; l < c_.vision.layers; ++l) {
      const std::string layer = tower + "encoder.layers." + std::to_string(l) + ".";
      const Matrix h = layer_norm(x, layer + "layer_norm1");
      const Matrix mixed = attention(linear(h, layer + "self_attn.q_proj", true), linear(h, layer + "self_attn.k_proj", true),
                                     linear(h, layer + "self_attn.v_proj", true), c_.vision.heads, c_.vision.heads, -1);
      add(x, linear(mixed, layer + "self_attn.out_proj", true));
      Matrix inner = linear(layer_norm(x, layer + "layer_norm2"), layer + "mlp.fc1", true);
      for (double& value : inner.v) value = gelu(value);
      add(x, linear(inner, layer + "mlp.fc2", true));
    }
    return layer_norm(x, tower + "post_layernorm");
  }

  Matrix prefix_embeddings(const models::Pi0Inputs& in) const {
    Matrix x(0, c_.vlm.width);
    for (const Tensor& image : in.images)
      if (image.defined()) x.append(linear(siglip(image), "paligemma_with_expert.paligemma.model.multi_modal_projector.linear", true));
    const Matrix table = weight(kVlm + "embed_tokens.weight");
    Matrix prompt(static_cast<std::int64_t>(in.tokens.size()), c_.vlm.width);
    for (std::int64_t t = 0; t < prompt.rows; ++t)
      for (std::int64_t i = 0; i < prompt.cols; ++i)
        prompt.at(t, i) = table.at(in.tokens[static_cast<std::size_t>(t)], i) * std::sqrt(static_cast<double>(c_.vlm.width));
    x.append(prompt);
    return x;
  }

  Cache prefix(const models::Pi0Inputs& in) const {
    Matrix x = prefix_embeddings(in);
    Cache cache;
    cache.tokens = x.rows;
    for (std::int64_t l = 0; l < c_.vlm.depth; ++l) {
      // Of the last layer only keys and values exist in a source that leaves the unread tensors out.
      gemma_layer(x, kVlm + "layers." + std::to_string(l) + ".", c_.vlm, {}, 0, cache, l, l + 1 == c_.vlm.depth, false);
    }
    return cache;
  }

  /// v for x [chunk, action_dim] with one time per action (all equal but in trained real-time chunking).
  Matrix velocity(const Cache& cache, const Tensor& state, const Matrix& x, const std::vector<double>& times) const {
    const std::int64_t width = c_.expert.width;
    Matrix actions = linear(x, "action_in_proj", true);
    Matrix h(0, width);
    Matrix cond;
    if (c_.pi05) {
      h = actions;
      cond = silu(linear(silu(linear(embed(times), "time_mlp_in", true)), "time_mlp_out", true));
    } else {
      h = linear(to_matrix(state.reshape({1, c_.state_dim})), "state_proj", true);
      const Matrix time = embed(times);
      Matrix joined(x.rows, 2 * width);
      for (std::int64_t r = 0; r < x.rows; ++r)
        for (std::int64_t i = 0; i < width; ++i) {
          joined.at(r, i) = actions.at(r, i);
          joined.at(r, width + i) = time.at(r, i);
        }
      h.append(linear(silu(linear(joined, "action_time_mlp_in", true)), "action_time_mlp_out", true));
    }
    Cache own = cache;
    for (std::int64_t l = 0; l < c_.expert.depth; ++l)
      gemma_layer(h, kExpert + "layers." + std::to_string(l) + ".", c_.expert, cond, cache.tokens, own, l, false, !c_.pi05);
    const Matrix last = norm(h, kExpert + "norm", cond).first;
    Matrix moving(x.rows, width);
    std::copy(last.v.end() - x.rows * width, last.v.end(), moving.v.begin());
    return linear(moving, "action_out_proj", true);
  }

  /// Plain Euler steps at the given times.
  Matrix sample(const models::Pi0Inputs& in, const Tensor& noise, const std::vector<float>& times) const {
    const Cache cache = prefix(in);
    Matrix x = to_matrix(noise);
    for (const float t : times) {
      const Matrix v = velocity(cache, in.state, x, std::vector<double>(static_cast<std::size_t>(x.rows), t));
      for (std::size_t i = 0; i < x.v.size(); ++i) x.v[i] -= v.v[i] / static_cast<double>(times.size());
    }
    return x;
  }

 private:
  const std::string kVlm = "paligemma_with_expert.paligemma.model.language_model.";
  const std::string kExpert = "paligemma_with_expert.gemma_expert.model.";

  Matrix weight(const std::string& name) const {
    const Tensor t = source_.load(name);
    return to_matrix(t.shape().rank() == 1 ? t.reshape({1, t.numel()}) : t.reshape({t.shape()[0], t.numel() / t.shape()[0]}));
  }
  Matrix linear(const Matrix& x, const std::string& prefix, bool bias) const {
    const Matrix w = weight(prefix + ".weight");
    const Matrix b = bias ? weight(prefix + ".bias") : Matrix(1, w.rows);
    Matrix y(x.rows, w.rows);
    for (std::int64_t r = 0; r < x.rows; ++r)
      for (std::int64_t o = 0; o < w.rows; ++o) {
        double sum = b.at(0, o);
        for (std::int64_t i = 0; i < x.cols; ++i) sum += x.at(r, i) * w.at(o, i);
        y.at(r, o) = sum;
      }
    return y;
  }
  static void add(Matrix& x, const Matrix& y) {
    for (std::size_t i = 0; i < x.v.size(); ++i) x.v[i] += y.v[i];
  }
  static double gelu(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x))); }
  static Matrix silu(Matrix x) {
    for (double& value : x.v) value /= 1 + std::exp(-value);
    return x;
  }
  Matrix layer_norm(const Matrix& x, const std::string& prefix) const {
    const Matrix w = weight(prefix + ".weight"), b = weight(prefix + ".bias");
    Matrix y(x.rows, x.cols);
    for (std::int64_t r = 0; r < x.rows; ++r) {
      double mean = 0, variance = 0;
      for (std::int64_t i = 0; i < x.cols; ++i) mean += x.at(r, i) / static_cast<double>(x.cols);
      for (std::int64_t i = 0; i < x.cols; ++i) variance += (x.at(r, i) - mean) * (x.at(r, i) - mean) / static_cast<double>(x.cols);
      for (std::int64_t i = 0; i < x.cols; ++i)
        y.at(r, i) = (x.at(r, i) - mean) / std::sqrt(variance + static_cast<double>(c_.vision.ln_eps)) * w.at(0, i) + b.at(0, i);
    }
    return y;
  }
  /// Normalised rows and the gate of every element (1 without a condition).
  std::pair<Matrix, Matrix> norm(const Matrix& x, const std::string& prefix, const Matrix& cond) const {
    Matrix y(x.rows, x.cols), gate(x.rows, x.cols);
    const Matrix m = cond.rows > 0 ? linear(cond, prefix + ".dense", true) : Matrix();
    const Matrix w = cond.rows > 0 ? Matrix() : weight(prefix + ".weight");
    for (std::int64_t r = 0; r < x.rows; ++r) {
      double squares = 0;
      for (std::int64_t i = 0; i < x.cols; ++i) squares += x.at(r, i) * x.at(r, i) / static_cast<double>(x.cols);
      const double inverse = 1 / std::sqrt(squares + static_cast<double>(c_.rms_eps));
      for (std::int64_t i = 0; i < x.cols; ++i) {
        const double scale = cond.rows > 0 ? m.at(r, i) : w.at(0, i);
        const double shift = cond.rows > 0 ? m.at(r, x.cols + i) : 0;
        gate.at(r, i) = cond.rows > 0 ? m.at(r, 2 * x.cols + i) : 1;
        y.at(r, i) = x.at(r, i) * inverse * (1 + scale) + shift;
      }
    }
    return {y, gate};
  }
  void rope(Matrix& x, std::int64_t heads, std::int64_t first) const {
    const std::int64_t dim = x.cols / heads, half = dim / 2;
    for (std::int64_t r = 0; r < x.rows; ++r)
      for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t i = 0; i < half; ++i) {
          const double angle =
              static_cast<double>(first + r) * std::pow(static_cast<double>(c_.rope_theta), -2.0 * static_cast<double>(i) / static_cast<double>(dim));
          const double lo = x.at(r, h * dim + i), hi = x.at(r, h * dim + half + i);
          x.at(r, h * dim + i) = lo * std::cos(angle) - hi * std::sin(angle);
          x.at(r, h * dim + half + i) = hi * std::cos(angle) + lo * std::sin(angle);
        }
  }
  /// `lonely`: row of q (the state token) that sees only keys up to its own, the last but q.rows - 1 - lonely; -1: none.
  static Matrix attention(const Matrix& q, const Matrix& k, const Matrix& v, std::int64_t heads, std::int64_t kv_heads, std::int64_t lonely) {
    const std::int64_t dim = q.cols / heads;
    Matrix y(q.rows, q.cols);
    for (std::int64_t r = 0; r < q.rows; ++r)
      for (std::int64_t h = 0; h < heads; ++h) {
        const std::int64_t g = h / (heads / kv_heads);
        const std::int64_t keys = r == lonely ? k.rows - (q.rows - 1 - lonely) : k.rows;
        std::vector<double> weights(static_cast<std::size_t>(keys));
        double most = -INFINITY, sum = 0;
        for (std::int64_t j = 0; j < keys; ++j) {
          double dot = 0;
          for (std::int64_t i = 0; i < dim; ++i) dot += q.at(r, h * dim + i) * k.at(j, g * dim + i);
          weights[static_cast<std::size_t>(j)] = dot / std::sqrt(static_cast<double>(dim));
          most = std::max(most, weights[static_cast<std::size_t>(j)]);
        }
        for (double& weight : weights) sum += weight = std::exp(weight - most);
        for (std::int64_t j = 0; j < keys; ++j)
          for (std::int64_t i = 0; i < dim; ++i) y.at(r, h * dim + i) += weights[static_cast<std::size_t>(j)] / sum * v.at(j, g * dim + i);
      }
    return y;
  }
  /// Extends layer l of the cache by x's own keys and values and attends to all of it.
  void gemma_layer(Matrix& x, const std::string& layer, const models::GemmaConfig& config, const Matrix& cond, std::int64_t first, Cache& cache,
                   std::int64_t l, bool keys_only, bool first_is_state) const {
    const auto [h, gate1] = norm(x, layer + "input_layernorm", cond);
    Matrix k = linear(h, layer + "self_attn.k_proj", false);
    rope(k, config.kv_heads, first);
    if (static_cast<std::int64_t>(cache.k.size()) <= l) {
      cache.k.emplace_back();
      cache.v.emplace_back();
    }
    const auto index = static_cast<std::size_t>(l);
    cache.k[index].append(k);
    cache.v[index].append(linear(h, layer + "self_attn.v_proj", false));
    if (keys_only) return;
    Matrix q = linear(h, layer + "self_attn.q_proj", false);
    rope(q, config.heads, first);
    Matrix mixed = linear(attention(q, cache.k[index], cache.v[index], config.heads, config.kv_heads, first_is_state ? 0 : -1),
                          layer + "self_attn.o_proj", false);
    for (std::size_t i = 0; i < x.v.size(); ++i) x.v[i] += gate1.v[i] * mixed.v[i];
    const auto [h2, gate2] = norm(x, layer + "post_attention_layernorm", cond);
    Matrix inner = linear(h2, layer + "mlp.gate_proj", false);
    const Matrix up = linear(h2, layer + "mlp.up_proj", false);
    for (std::size_t i = 0; i < inner.v.size(); ++i) inner.v[i] = gelu(inner.v[i]) * up.v[i];
    const Matrix down = linear(inner, layer + "mlp.down_proj", false);
    for (std::size_t i = 0; i < x.v.size(); ++i) x.v[i] += gate2.v[i] * down.v[i];
  }
  Matrix embed(const std::vector<double>& times) const {
    const std::int64_t half = c_.expert.width / 2;
    Matrix rows(static_cast<std::int64_t>(times.size()), c_.expert.width);
    for (std::int64_t r = 0; r < rows.rows; ++r)
      for (std::int64_t i = 0; i < half; ++i) {
        const double period = c_.min_period * std::pow(c_.max_period / c_.min_period, static_cast<double>(i) / static_cast<double>(half - 1));
        const double angle = 2 * std::numbers::pi * times[static_cast<std::size_t>(r)] / period;
        rows.at(r, i) = std::sin(angle);
        rows.at(r, half + i) = std::cos(angle);
      }
    return rows;
  }
  /// Bicubic with a = -0.75, borders repeated, pixel centres aligned: only where the table has another size than the picture.
  static Matrix positions(const Matrix& table, std::int64_t side) {
    if (table.rows == side * side) return table;
    const auto from = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(table.rows))));
    const auto cubic = [](double x) {
      const double a = -0.75, d = std::abs(x);
      if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
      return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0.0;
    };
    Matrix y(side * side, table.cols);
    for (std::int64_t n = 0; n < y.rows; ++n) {
      const double scale = static_cast<double>(from) / static_cast<double>(side);
      const double sy = (static_cast<double>(n / side) + 0.5) * scale - 0.5, sx = (static_cast<double>(n % side) + 0.5) * scale - 0.5;
      for (std::int64_t j = -1; j <= 2; ++j)
        for (std::int64_t i = -1; i <= 2; ++i) {
          const std::int64_t py = static_cast<std::int64_t>(std::floor(sy)) + j, px = static_cast<std::int64_t>(std::floor(sx)) + i;
          const double factor = cubic(sy - static_cast<double>(py)) * cubic(sx - static_cast<double>(px));
          const std::int64_t row = std::clamp<std::int64_t>(py, 0, from - 1) * from + std::clamp<std::int64_t>(px, 0, from - 1);
          for (std::int64_t c = 0; c < y.cols; ++c) y.at(n, c) += factor * table.at(row, c);
        }
    }
    return y;
  }

  const models::WeightSource& source_;
  models::Pi0Config c_;
};

}  // namespace tessera::reference
