#include <array>
#include <string>

#include "tessera/core/error.h"
#include "tessera/models/pi0/model.h"
#include "tessera/ops/elementwise.h"
#include "tessera/ops/embedding.h"

namespace tessera::models {
namespace {

using Scope = runtime::Workspace::Scope;

/// At least `rows` rows of `cols`; contents are lost when it grows.
void reserve(Tensor& buffer, std::int64_t rows, std::int64_t cols) {
  if (buffer.defined() && buffer.cols() == cols && buffer.rows() >= rows) return;
  buffer = Tensor();
  buffer = Tensor::empty({rows, cols}, DType::f32);
}

void check_picture(const Tensor& picture, std::size_t slot, std::int64_t side) {
  const Shape& s = picture.shape();
  if (picture.dtype() != DType::f32 || s.rank() != 3 || s[0] != 3 || s[1] != side || s[2] != side || !picture.is_contiguous())
    fail_expected("pi0", "picture " + std::to_string(slot) + " as contiguous float32" + Shape{3, side, side}.str(), picture.str());
}

void reserve_positions(Context& ctx, PrefixCache::Impl& cache, std::int64_t tokens, const Pi0Config& config) {
  const std::int64_t suffix = config.chunk + 1;
  const std::int64_t half = config.vlm.head_dim / 2;
  const std::int64_t positions = tokens + suffix;
  if (cache.rope.cos.defined() && cache.rope.cos.rows() >= positions && cache.rope.cos.cols() == half) return;
  std::vector<std::int32_t> all(static_cast<std::size_t>(positions));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int32_t>(i);
  cache.rope = ops::rope_table(ctx, all, config.vlm.head_dim, config.rope_theta);
}

}  // namespace

void Pi0::encode_images(Context& ctx, const Pi0Inputs& inputs, PrefixCache& cache, const Tap& tap) const {
  runtime::Zone zone(ctx.profiler(), "stage: images");
  const Impl& m = *impl_;
  if (cache.impl_ == nullptr) cache.impl_ = std::make_unique<PrefixCache::Impl>();
  PrefixCache::Impl& c = *cache.impl_;
  c.tokens = 0;
  c.image_rows = 0;
  c.present.clear();
  c.pictures.clear();
  for (std::size_t slot = 0; slot < inputs.images.size(); ++slot) {
    const Tensor& picture = inputs.images[slot];
    if (!picture.defined()) continue;
    check_picture(picture, slot, m.config.vision.image);
    c.present.push_back(slot);
    c.pictures.push_back(picture);
  }
  if (c.present.empty()) fail_expected("pi0", "a picture from at least one camera", "none");

  const auto pictures = static_cast<std::int64_t>(c.present.size());
  const std::int64_t patches = m.config.vision.patches();
  reserve(c.image_buffer, pictures * patches, m.config.vlm.width);
  Scope scope(ctx.workspace());
  Tensor features = scope.tensor({pictures, patches, m.config.vision.hidden}, DType::f32);
  m.siglip(ctx, c.pictures, features);
  c.pictures.clear();
  c.image_rows = pictures * patches;
  Tensor rows = c.image_embs().reshape({pictures, patches, m.config.vlm.width});
  ops::linear(ctx, features, m.siglip.projector, {}, rows);
  if (!tap) return;
  for (std::size_t i = 0; i < c.present.size(); ++i) {
    const std::string slot = std::to_string(c.present[i]);
    tap("vision." + slot, features.narrow(static_cast<std::int64_t>(i), 1));
    tap("image_embs." + slot, rows.narrow(static_cast<std::int64_t>(i), 1));
  }
}

void Pi0::encode_prefix(Context& ctx, const Pi0Inputs& inputs, PrefixCache& cache, const Tap& tap) const {
  runtime::Zone zone(ctx.profiler(), "stage: prefix");
  const Impl& m = *impl_;
  if (cache.impl_ == nullptr || cache.impl_->image_rows == 0 || cache.impl_->image_buffer.cols() != m.config.vlm.width)
    fail_expected("pi0", "encode_images() of this model on the cache before encode_prefix()", "a cache without its pictures");
  PrefixCache::Impl& c = *cache.impl_;
  c.tokens = 0;
  const auto prompt = static_cast<std::int64_t>(inputs.tokens.size());
  if (prompt > m.config.max_prompt_tokens)
    fail_expected("pi0", "at most " + std::to_string(m.config.max_prompt_tokens) + " prompt tokens", std::to_string(prompt));
  const std::int64_t width = m.config.vlm.width;
  const std::int64_t tokens = c.image_rows + prompt;
  const std::int64_t kv_width = m.vlm.front().kv_width();
  c.kv.resize(m.vlm.size());
  for (Tensor& layer : c.kv) reserve(layer, tokens, 2 * kv_width);
  reserve_positions(ctx, c, tokens, m.config);

  Scope scope(ctx.workspace());
  Tensor x = scope.tensor({tokens, width}, DType::f32);
  Tensor image_rows = x.narrow(0, c.image_rows);
  ops::typecast(ctx, c.image_embs(), image_rows);
  if (prompt > 0) {
    Tensor prompt_rows = x.narrow(c.image_rows, prompt);
    ops::embedding(ctx, m.token_table, inputs.tokens, m.embed_scale, prompt_rows);
  }
  if (tap) tap("prefix_embs", x);

  // Masked cameras and padding are not here at all, so positions are 0, 1, 2, ... and every token sees every other.
  const ops::RopeTable rope = c.positions(0, tokens);
  for (std::size_t l = 0; l < m.vlm.size(); ++l) {
    Tensor kept = c.kv[l].narrow(0, tokens);
    if (l + 1 < m.vlm.size())
      m.vlm[l](ctx, x, {}, {}, std::array{Sequence{tokens, rope, {}, kept}});
    else
      m.vlm[l].keys_and_values(ctx, x, {}, rope, kept);
    if (!tap) continue;
    const ops::KeyValue kv = m.vlm[l].split(kept);
    tap("cache." + std::to_string(l) + ".k", kv.k);
    tap("cache." + std::to_string(l) + ".v", kv.v);
  }
  c.tokens = tokens;
}

}  // namespace tessera::models
