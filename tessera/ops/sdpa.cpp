#include "tessera/ops/sdpa.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "tessera/core/error.h"
#include "tessera/kernels/attention/attention.h"
#include "tessera/ops/attention_impl.h"
#include "tessera/ops/choose.h"

namespace tessera::ops {
namespace {

constexpr const char* kOp = "sdpa";
constexpr std::string_view kHint = "ops::contiguous, ops::to_layout and ops::typecast convert";

bool is_float(const Tensor& t) { return t.defined() && t.is_contiguous() && (t.dtype() == DType::f32 || t.dtype() == DType::bf16); }

void check_heads(const char* what, const Tensor& t) {
  if (!is_float(t) || t.shape().rank() != 4)
    fail_expected(kOp, std::string(what) + " as contiguous row-major float32 or bfloat16 [batch, heads, tokens, head_dim]", t.str(), kHint);
}

/// [batch, heads, tokens, head_dim], dense.
AttentionOperand operand(const Tensor& t) {
  const std::int64_t head = t.shape()[2] * t.shape()[3];
  return {t.raw(), t.dtype(), t.shape()[1] * head, head, t.shape()[3]};
}

/// Elements of t in f32, times `scale`; t itself where it holds them already.
const float* widened(Context& ctx, runtime::Workspace::Scope& scope, const Tensor& t, float scale) {
  constexpr std::int64_t kElementsPerItem = 16 << 10;
  if (t.dtype() == DType::f32 && scale == 1) return t.data<float>();
  const std::int64_t count = t.numel();
  auto* const to = scope.array<float>(count);
  const auto convert = [&](const auto* from, auto widen) {
    ctx.pool().parallel_for((count + kElementsPerItem - 1) / kElementsPerItem, [&](std::int64_t item, int) {
      const std::int64_t end = std::min(count, (item + 1) * kElementsPerItem);
      for (std::int64_t i = item * kElementsPerItem; i < end; ++i) to[i] = widen(from[i]) * scale;
    });
  };
  if (t.dtype() == DType::f32)
    convert(t.data<float>(), [](float x) { return x; });
  else
    convert(t.data<bf16>(), [](bf16 x) { return to_f32(x); });
  return to;
}

/// 1 where query i may see key j, of causality and window.
const std::uint8_t* visible(Context& ctx, runtime::Workspace::Scope& scope, const Sdpa& options, std::int64_t queries, std::int64_t keys) {
  constexpr std::int64_t kRowsPerItem = 16;
  auto* const may_see = scope.array<std::uint8_t>(queries * keys);
  ctx.pool().parallel_for((queries + kRowsPerItem - 1) / kRowsPerItem, [&](std::int64_t item, int) {
    for (std::int64_t i = item * kRowsPerItem; i < std::min(queries, (item + 1) * kRowsPerItem); ++i) {
      std::int64_t first = 0;
      std::int64_t last = options.causal ? i + 1 : keys;
      if (options.sliding_window) {
        const std::int64_t w = std::min(*options.sliding_window, 2 * (queries + keys));  // any wider one shows as much
        first = options.causal ? i + 1 - w : i - w / 2;
        if (!options.causal) last = i + w / 2 + 1;
      }
      first = std::clamp<std::int64_t>(first, 0, keys);
      last = std::clamp<std::int64_t>(last, first, keys);
      std::uint8_t* const row = may_see + i * keys;
      std::fill(row, row + first, std::uint8_t{0});
      std::fill(row + first, row + last, std::uint8_t{1});
      std::fill(row + last, row + keys, std::uint8_t{0});
    }
  });
  return may_see;
}

}  // namespace

void sdpa(Context& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const Sdpa& options, Tensor& y) {
  check_heads("q", q);
  check_heads("k", k);
  check_heads("v", v);
  const std::int64_t b = q.shape()[0];
  const std::int64_t hq = q.shape()[1];
  const std::int64_t sq = q.shape()[2];
  const std::int64_t d = q.shape()[3];
  const std::int64_t hkv = k.shape()[1];
  const std::int64_t sk = k.shape()[2];
  if (k.shape()[0] != b || k.shape()[3] != d)
    fail_expected(kOp, "k with batch " + std::to_string(b) + " and head_dim " + std::to_string(d), k.shape().str());
  if (v.shape() != k.shape()) fail_expected(kOp, "v of k's shape " + k.shape().str(), v.shape().str());
  if (hq < 1 || hkv < 1 || hq % hkv != 0)
    fail_expected(kOp, "heads of q as a positive multiple of those of k", std::to_string(hq) + " and " + std::to_string(hkv));
  if (d < 1) fail_expected(kOp, "a head_dim of 1 or more", q.shape().str());
  if (!is_float(y) || y.shape() != q.shape()) fail_expected(kOp, "y as contiguous row-major float32 or bfloat16 " + q.shape().str(), y.str(), kHint);
  if (options.causal && sq != sk)
    fail_expected(kOp, "as many queries as keys for causal attention", std::to_string(sq) + " and " + std::to_string(sk));
  const float scale = options.scale.value_or(1.0f / std::sqrt(static_cast<float>(d)));
  if (!std::isfinite(scale)) fail_expected(kOp, "a finite scale", std::to_string(scale));
  if (options.sliding_window && *options.sliding_window < 1) fail_expected(kOp, "a window of 1 or more", std::to_string(*options.sliding_window));
  const Tensor& mask = options.mask;
  if (mask.defined()) {
    const Shape& s = mask.shape();
    if (!is_float(mask) || s.rank() != 4 || (s[0] != 1 && s[0] != b) || (s[1] != 1 && s[1] != hq) || s[2] != sq || s[3] != sk)
      fail_expected(kOp,
                    "a mask as contiguous row-major float32 or bfloat16 [1 or " + std::to_string(b) + ", 1 or " + std::to_string(hq) + ", " +
                        std::to_string(sq) + ", " + std::to_string(sk) + "]",
                    mask.str(), kHint);
  }
  const Tensor& sink = options.sink;
  if (sink.defined() && (!is_float(sink) || (sink.shape() != Shape{hq} && sink.shape() != Shape{1, hq, 1, 1})))
    fail_expected(kOp, "a sink as contiguous row-major float32 or bfloat16 [" + std::to_string(hq) + "]", sink.str(), kHint);
  for (const Tensor* t : {&q, &k, &v, &mask, &sink})
    if (t->defined() && overlap(*t, y)) fail_expected(kOp, "a y in memory of its own", "one that overlaps an operand");

  const auto& row = choose(ctx, "attention", kernels::attention_rows());
  const auto bytes = [](const Tensor& t) { return t.defined() ? static_cast<double>(t.bytes()) : 0.0; };
  runtime::Zone zone(ctx.profiler(), kOp, row.info.name, 4 * static_cast<double>(q.numel()) * static_cast<double>(sk),
                     bytes(q) + bytes(k) + bytes(v) + bytes(y) + bytes(mask));
  if (q.numel() == 0) return;
  runtime::Workspace::Scope scope(ctx.workspace());
  const AttentionSegment segment{operand(k), operand(v), sk};
  AttentionCall call;
  call.functions = &row.functions;
  call.batch = b;
  call.tokens = sq;
  call.heads = hq;
  call.kv_heads = hkv;
  call.head_dim = d;
  call.scale = scale;
  call.q = operand(q);
  call.y = operand(y);
  call.segments = {&segment, 1};
  if (options.causal || options.sliding_window) {
    call.may_see = visible(ctx, scope, options, sq, sk);
    call.may_see_stride = sk;
  }
  if (mask.defined()) {
    call.added = widened(ctx, scope, mask, 1);
    call.added_stride = sk;
    call.added_head = mask.shape()[1] == 1 ? 0 : sq * sk;
    call.added_batch = mask.shape()[0] == 1 ? 0 : mask.shape()[1] * sq * sk;
  }
  if (sink.defined()) call.sinks = widened(ctx, scope, sink, options.scale_sink ? scale : 1.0f);
  run_attention(ctx, call);
}

}  // namespace tessera::ops
