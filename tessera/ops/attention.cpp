#include "tessera/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "tessera/core/error.h"
#include "tessera/kernels/attention/attention.h"
#include "tessera/ops/attention_impl.h"
#include "tessera/ops/choose.h"

namespace tessera::ops {
namespace {

using kernels::AttentionPacked;
using kernels::AttentionTile;
using kernels::kAttentionBlock;

constexpr std::int64_t kMostRows = 96;  // of a tile: its queries, weights and sums stay in a 512 KiB cache at head_dim 256

constexpr std::int64_t up(std::int64_t n, std::int64_t m) { return (n + m - 1) / m * m; }

bool is_float(const Tensor& t) { return t.defined() && t.layout() == Layout::row_major && (t.dtype() == DType::f32 || t.dtype() == DType::bf16); }

const std::byte* at(const AttentionOperand& o, std::int64_t batch, std::int64_t head, std::int64_t token) {
  return static_cast<const std::byte*>(o.data) + (batch * o.batch + head * o.head + token * o.token) * static_cast<std::int64_t>(size_of(o.dtype));
}

/// Heads side by side in the columns.
AttentionOperand operand(const Tensor& t, std::int64_t tokens, std::int64_t head_dim) {
  return {t.raw(), t.dtype(), tokens * t.row_stride(), head_dim, t.row_stride()};
}

/// [tokens, columns] or [batch, tokens, columns], f32 or bf16.
struct Sizes {
  std::int64_t batch = 1;
  std::int64_t tokens = 0;
};
Sizes sizes_of(const Tensor& t, const char* what) {
  if (!is_float(t) || (t.shape().rank() != 2 && t.shape().rank() != 3))
    fail_expected("attention", std::string(what) + " as row-major float32 or bfloat16 [tokens, columns] or [batch, tokens, columns]", t.str(),
                  "ops::to_layout converts");
  const bool batched = t.shape().rank() == 3;
  return {batched ? t.shape()[0] : 1, t.shape()[-2]};
}

}  // namespace

void attention(Context& ctx, const Tensor& q, std::span<const KeyValue> segments, const Attention& options, Tensor& y) {
  const std::int64_t heads = options.heads;
  const std::int64_t kv_heads = options.kv_heads;
  if (heads < 1 || kv_heads < 1 || heads % kv_heads != 0)
    fail_expected("attention", "heads as a positive multiple of kv_heads", std::to_string(heads) + " and " + std::to_string(kv_heads));
  if (!std::isfinite(options.scale)) fail_expected("attention", "a finite scale", std::to_string(options.scale));
  const Sizes size = sizes_of(q, "q");
  if (q.cols() < heads || q.cols() % heads != 0)
    fail_expected("attention", "q with heads * head_dim columns, heads = " + std::to_string(heads), q.str());
  const std::int64_t head_dim = q.cols() / heads;
  if (!is_float(y) || y.shape() != q.shape())
    fail_expected("attention", "y as row-major float32 or bfloat16 " + q.shape().str(), y.str(), "ops::to_layout converts");
  std::int64_t keys = 0;
  for (const KeyValue& segment : segments) {
    const Sizes k = sizes_of(segment.k, "k");
    const Sizes v = sizes_of(segment.v, "v");
    if (segment.k.cols() != kv_heads * head_dim || k.batch != size.batch)
      fail_expected("attention", "k with batch " + std::to_string(size.batch) + " and " + std::to_string(kv_heads * head_dim) + " columns",
                    segment.k.str());
    if (segment.v.cols() != kv_heads * head_dim || v.batch != size.batch || v.tokens != k.tokens)
      fail_expected("attention", "v of the same sizes as k " + segment.k.shape().str(), segment.v.str());
    keys += k.tokens;
  }
  const bool masked = options.mask.defined();
  const Tensor& mask = options.mask;
  if (masked &&
      (mask.shape() != Shape{size.tokens, keys} || mask.layout() != Layout::row_major || (mask.dtype() != DType::u8 && mask.dtype() != DType::f32)))
    fail_expected("attention", "a mask as row-major uint8 or float32 " + Shape{size.tokens, keys}.str(), mask.str(), "ops::to_layout converts");

  const auto& row = choose(ctx, "attention", kernels::attention_rows());
  const auto n = [](std::int64_t value) { return static_cast<double>(value); };
  const double pairs = n(size.batch) * n(size.tokens) * n(keys) * n(heads);
  double bytes = n(q.numel()) * n(static_cast<std::int64_t>(size_of(q.dtype()) + size_of(y.dtype())));
  for (const KeyValue& s : segments)
    bytes +=
        n(s.k.numel()) * n(static_cast<std::int64_t>(size_of(s.k.dtype()))) + n(s.v.numel()) * n(static_cast<std::int64_t>(size_of(s.v.dtype())));
  if (masked) bytes += n(mask.numel()) * n(static_cast<std::int64_t>(size_of(mask.dtype())));
  runtime::Zone zone(ctx.profiler(), "attention", row.info.name, 4 * pairs * n(head_dim), bytes);
  if (q.numel() == 0) return;

  runtime::Workspace::Scope scope(ctx.workspace());
  auto* const parts = scope.array<AttentionSegment>(static_cast<std::int64_t>(segments.size()));
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const std::int64_t tokens = segments[i].k.shape()[-2];
    parts[i] = {operand(segments[i].k, tokens, head_dim), operand(segments[i].v, tokens, head_dim), tokens};
  }
  AttentionCall call;
  call.functions = &row.functions;
  call.batch = size.batch;
  call.tokens = size.tokens;
  call.heads = heads;
  call.kv_heads = kv_heads;
  call.head_dim = head_dim;
  call.scale = options.scale;
  call.q = operand(q, size.tokens, head_dim);
  call.y = operand(y, size.tokens, head_dim);
  call.segments = {parts, segments.size()};
  if (masked && mask.dtype() == DType::u8) call.may_see = static_cast<const std::uint8_t*>(mask.raw());
  if (masked && mask.dtype() == DType::f32) call.added = static_cast<const float*>(mask.raw());
  call.may_see_stride = call.added_stride = mask.row_stride();
  run_attention(ctx, call);
}

void run_attention(Context& ctx, const AttentionCall& call) {
  const kernels::AttentionFunctions& f = *call.functions;
  const std::int64_t kv_heads = call.kv_heads;
  const std::int64_t group = call.heads / kv_heads;
  const std::int64_t head_dim = call.head_dim;
  std::int64_t keys = 0;
  for (const AttentionSegment& s : call.segments) keys += s.tokens;
  const std::int64_t padded_keys = up(keys, kAttentionBlock);
  const std::int64_t k_floats = padded_keys * head_dim;
  const std::int64_t v_floats = padded_keys * up(head_dim, f.panel);
  const std::int64_t lots = call.batch * kv_heads;
  runtime::Workspace::Scope scope(ctx.workspace());
  float* const k_packed = scope.array<float>(lots * k_floats);
  float* const v_packed = scope.array<float>(lots * v_floats);
  std::uint8_t* const special = scope.array<std::uint8_t>(lots * padded_keys);
  const auto packed = [&](std::int64_t lot) {
    return AttentionPacked{k_packed + lot * k_floats, v_packed + lot * v_floats, special + lot * padded_keys, padded_keys, head_dim};
  };

  const std::int64_t blocks = padded_keys / kAttentionBlock;
  ctx.pool().parallel_for(lots * blocks, [&](std::int64_t item, int) {
    const std::int64_t lot = item / blocks;
    const std::int64_t batch = lot / kv_heads;
    const std::int64_t head = lot % kv_heads;
    const std::int64_t begin = item % blocks * kAttentionBlock;
    const std::int64_t end = std::min(begin + kAttentionBlock, keys);
    std::int64_t segment_begin = 0;
    for (const AttentionSegment& s : call.segments) {
      const std::int64_t from = std::max(begin, segment_begin);
      const std::int64_t to = std::min(end, segment_begin + s.tokens);
      if (from < to)
        f.pack({at(s.k, batch, head, from - segment_begin), at(s.v, batch, head, from - segment_begin), s.k.dtype == DType::bf16,
                s.v.dtype == DType::bf16, s.k.token, s.v.token},
               from, to - from, packed(lot));
      segment_begin += s.tokens;
    }
    if (end < begin + kAttentionBlock) f.pack({}, end, begin + kAttentionBlock - end, packed(lot));
  });

  // Tiles: few enough to reuse what is packed, at least four a thread where there are rows for it. No result depends on their size.
  const std::int64_t rows = call.tokens * group;
  const std::int64_t wanted = (4 * static_cast<std::int64_t>(ctx.threads()) + lots - 1) / lots;
  const std::int64_t most = up(kMostRows, f.rows_group);
  const std::int64_t tile = std::min(most, up((rows + wanted - 1) / wanted, 2 * f.rows_group));
  const std::int64_t tiles = (rows + tile - 1) / tile;
  const std::int64_t scratch_floats = f.scratch_floats(tile, head_dim);
  float* const scratch = scope.array<float>(scratch_floats * ctx.threads());
  ctx.pool().parallel_for(lots * tiles, [&](std::int64_t item, int thread) {
    const std::int64_t lot = item / tiles;
    const std::int64_t batch = lot / kv_heads;
    const std::int64_t head = lot % kv_heads * group;
    AttentionTile t;
    t.packed = packed(lot);
    t.keys = keys;
    t.row_begin = item % tiles * tile;
    t.row_end = std::min(rows, t.row_begin + tile);
    t.group = group;
    t.scale = call.scale;
    t.q = at(call.q, batch, head, 0);
    t.q_bf16 = call.q.dtype == DType::bf16;
    t.q_stride = call.q.token;
    t.q_head = call.q.head;
    t.y = const_cast<std::byte*>(at(call.y, batch, head, 0));
    t.y_bf16 = call.y.dtype == DType::bf16;
    t.y_stride = call.y.token;
    t.y_head = call.y.head;
    t.may_see = call.may_see;
    t.may_see_stride = call.may_see_stride;
    if (call.added != nullptr) t.added = call.added + batch * call.added_batch + head * call.added_head;
    t.added_stride = call.added_stride;
    t.added_head = call.added_head;
    if (call.sinks != nullptr) t.sinks = call.sinks + head;
    t.scratch = scratch + thread * scratch_floats;
    f.attend(t);
  });
}

}  // namespace tessera::ops
