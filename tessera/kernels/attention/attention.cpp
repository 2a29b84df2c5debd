#include "tessera/kernels/attention/attention.h"

#include <cstring>
#include <limits>

#include "tessera/core/dtype.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tessera/kernels/attention/attention.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// Accumulators of a micro-kernel: kGroup rows of two vectors. 12 of 16 registers, or 24 of 32.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr std::int64_t kGroup = 12;
#else
constexpr std::int64_t kGroup = 6;
#endif
constexpr std::int64_t kBlock = kAttentionBlock;
constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();

// The compiled targets have vectors of fixed size, so the maximum is the number.
static constexpr std::int64_t lanes() noexcept { return static_cast<std::int64_t>(hn::MaxLanes(D())); }
static constexpr std::int64_t panel() noexcept { return 2 * lanes(); }
static std::int64_t round_up(std::int64_t n, std::int64_t m) noexcept { return (n + m - 1) / m * m; }
// A row of accumulators: whole vectors, and a multiple of 64 bytes for alignment.
static std::int64_t dim_stride(std::int64_t head_dim) noexcept { return round_up(round_up(head_dim, lanes()), 16); }

// exp(x) for x <= 0, at most 1 ulp from the true value; 0 below -87 (no subnormals); NaN stays NaN.
// x = n ln2 + r, |r| <= ln2 / 2; exp(r) = 1 + r + r^2 P(r), P of degree 4 fitted for least relative error.
static HWY_INLINE V exp_negative(D d, V x) noexcept {
  const hn::RebindToSigned<D> di;
  const V magic = hn::Set(d, 12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer, which then stands in the low bits
  const V shifted = hn::Add(hn::Mul(x, hn::Set(d, 1.44269504f)), magic);
  const V n = hn::Sub(shifted, magic);
  V r = hn::NegMulAdd(n, hn::Set(d, 0x1.62e4p-1f), x);
  r = hn::NegMulAdd(n, hn::Set(d, 0x1.7f7d1cp-20f), r);
  V p = hn::Set(d, 0x1.6a2256p-10f);
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.123b02p-7f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.5558f8p-5f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.555490p-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.fffffcp-2f));
  p = hn::MulAdd(p, hn::Mul(r, r), r);
  const V mantissa = hn::Add(hn::Set(d, 1.0f), p);
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  const V y = hn::BitCast(d, hn::Add(hn::BitCast(di, mantissa), exponent));
  const V kept = hn::IfThenElse(hn::Eq(x, x), y, x);
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.0f)), kept);
}

static HWY_INLINE float widen(float x) noexcept { return x; }
static HWY_INLINE float widen(bf16 x) noexcept { return to_f32(x); }

template <class T>
static void pack_keys(const void* source, std::int64_t stride, std::int64_t first, std::int64_t count, const AttentionPacked& packed) noexcept {
  const std::int64_t width = panel();
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t key = first + i;
    float* HWY_RESTRICT to = packed.k + key / width * width * packed.head_dim + key % width;
    if (source == nullptr) {
      for (std::int64_t c = 0; c < packed.head_dim; ++c) to[c * width] = 0;
    } else {
      const T* HWY_RESTRICT from = static_cast<const T*>(source) + i * stride;
      for (std::int64_t c = 0; c < packed.head_dim; ++c) to[c * width] = widen(from[c]);
    }
  }
}

template <class T>
static void pack_values(const void* source, std::int64_t stride, std::int64_t first, std::int64_t count, const AttentionPacked& packed) noexcept {
  const std::int64_t width = panel();
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t key = first + i;
    const T* from = source == nullptr ? nullptr : static_cast<const T*>(source) + i * stride;
    std::uint32_t special = 0;
    for (std::int64_t c0 = 0; c0 < packed.head_dim; c0 += width) {
      float* HWY_RESTRICT to = packed.v + c0 * packed.padded_keys + key * width;
      const std::int64_t n = c0 + width <= packed.head_dim ? width : packed.head_dim - c0;
      for (std::int64_t c = 0; c < n; ++c) {
        const float x = from == nullptr ? 0.0f : widen(from[c0 + c]);
        std::uint32_t bits;
        std::memcpy(&bits, &x, sizeof(bits));
        special |= static_cast<std::uint32_t>((bits & 0x7f800000u) == 0x7f800000u);
        to[c] = x;
      }
      for (std::int64_t c = n; c < width; ++c) to[c] = 0;
    }
    packed.special[key] = static_cast<std::uint8_t>(special);
  }
}

static void pack(const AttentionSource& source, std::int64_t first, std::int64_t count, const AttentionPacked& packed) noexcept {
  if (source.k_bf16)
    pack_keys<bf16>(source.k, source.k_stride, first, count, packed);
  else
    pack_keys<float>(source.k, source.k_stride, first, count, packed);
  if (source.v_bf16)
    pack_values<bf16>(source.v, source.v_stride, first, count, packed);
  else
    pack_values<float>(source.v, source.v_stride, first, count, packed);
}

// Where the pieces of a tile's scratch lie. rows is rounded up to kGroup.
struct Scratch {
  float* q;           // [rows / kGroup][head_dim][kGroup], times scale
  float* s;           // [rows][kBlock]: logits, then weights
  float* o;           // [rows][dim_stride]: running weighted sum of values
  float* sum;         // [rows]
  float* max;         // [rows]
  float* correction;  // [rows]: what sum and o are multiplied by
  float* mask;        // [kBlock]
};

static std::int64_t scratch_floats(std::int64_t rows, std::int64_t head_dim) noexcept {
  const std::int64_t padded = round_up(rows, kGroup);
  const std::int64_t vector_rows = round_up(padded, 16);
  return round_up(padded * head_dim, 16) + padded * kBlock + padded * dim_stride(head_dim) + 3 * vector_rows + kBlock;  // a multiple of 16
}

static Scratch divide(float* memory, std::int64_t rows, std::int64_t head_dim) noexcept {
  const std::int64_t padded = round_up(rows, kGroup);
  const std::int64_t vector_rows = round_up(padded, 16);
  Scratch s{};
  s.q = memory;
  s.s = s.q + round_up(padded * head_dim, 16);
  s.o = s.s + padded * kBlock;
  s.sum = s.o + padded * dim_stride(head_dim);
  s.max = s.sum + vector_rows;
  s.correction = s.max + vector_rows;
  s.mask = s.correction + vector_rows;
  return s;
}

template <class T>
static void load_queries(const AttentionTile& t, float* HWY_RESTRICT to) noexcept {
  const std::int64_t dim = t.packed.head_dim;
  const std::int64_t rows = t.row_end - t.row_begin;
  for (std::int64_t i = 0; i < round_up(rows, kGroup); ++i) {
    float* HWY_RESTRICT out = to + i / kGroup * kGroup * dim + i % kGroup;
    if (i >= rows) {
      for (std::int64_t c = 0; c < dim; ++c) out[c * kGroup] = 0;
      continue;
    }
    const std::int64_t r = t.row_begin + i;
    const T* HWY_RESTRICT from = static_cast<const T*>(t.q) + r / t.group * t.q_stride + r % t.group * t.q_head;
    for (std::int64_t c = 0; c < dim; ++c) out[c * kGroup] = widen(from[c]) * t.scale;
  }
}

// s[kGroup][kBlock] (two vectors of keys) = q k^T, summed over head_dim in order.
static HWY_INLINE void score(const float* HWY_RESTRICT q, const float* HWY_RESTRICT k, std::int64_t dim, float* HWY_RESTRICT s) noexcept {
  const D d;
  const std::int64_t n = lanes();
  V acc[kGroup][2];
  HWY_UNROLL(12) for (std::int64_t i = 0; i < kGroup; ++i) acc[i][0] = acc[i][1] = hn::Zero(d);
  for (std::int64_t c = 0; c < dim; ++c) {
    const V b0 = hn::Load(d, k);
    const V b1 = hn::Load(d, k + n);
    HWY_UNROLL(12) for (std::int64_t i = 0; i < kGroup; ++i) {
      const V a = hn::Set(d, q[i]);
      acc[i][0] = hn::MulAdd(a, b0, acc[i][0]);
      acc[i][1] = hn::MulAdd(a, b1, acc[i][1]);
    }
    k += 2 * n;
    q += kGroup;
  }
  HWY_UNROLL(12) for (std::int64_t i = 0; i < kGroup; ++i) {
    hn::Store(acc[i][0], d, s + i * kBlock);
    hn::Store(acc[i][1], d, s + i * kBlock + n);
  }
}

// o[kGroup] (kVectors vectors of dimensions) = o * correction + weights v, summed over keys in order.
template <int kVectors>
static HWY_INLINE void accumulate(const float* HWY_RESTRICT p, const float* HWY_RESTRICT v, std::int64_t keys, const float* HWY_RESTRICT correction,
                                  float* HWY_RESTRICT o, std::int64_t o_stride) noexcept {
  const D d;
  const std::int64_t n = lanes();
  V acc[kGroup][kVectors];
  HWY_UNROLL(12) for (std::int64_t i = 0; i < kGroup; ++i) {
    const V factor = hn::Set(d, correction[i]);
    for (int j = 0; j < kVectors; ++j) acc[i][j] = hn::Mul(hn::Load(d, o + i * o_stride + j * n), factor);
  }
  for (std::int64_t key = 0; key < keys; ++key) {
    V b[kVectors];
    for (int j = 0; j < kVectors; ++j) b[j] = hn::Load(d, v + j * n);
    HWY_UNROLL(12) for (std::int64_t i = 0; i < kGroup; ++i) {
      const V a = hn::Set(d, p[i * kBlock]);
      for (int j = 0; j < kVectors; ++j) acc[i][j] = hn::MulAdd(a, b[j], acc[i][j]);
    }
    v += 2 * n;
    ++p;
  }
  HWY_UNROLL(12) for (std::int64_t i = 0; i < kGroup; ++i) {
    for (int j = 0; j < kVectors; ++j) hn::Store(acc[i][j], d, o + i * o_stride + j * n);
  }
}

// The same for blocks in which some value is NaN or infinite: a key of weight 0 is left out, since 0 * NaN would not be 0.
static void accumulate_special(const AttentionPacked& packed, const Scratch& s, std::int64_t rows, std::int64_t key0, std::int64_t keys) noexcept {
  const D d;
  const std::int64_t n = lanes();
  const std::int64_t stride = dim_stride(packed.head_dim);
  for (std::int64_t i = 0; i < rows; ++i) {
    const V factor = hn::Set(d, s.correction[i]);
    for (std::int64_t c = 0; c < packed.head_dim; c += n) {
      const float* v = packed.v + c / panel() * panel() * packed.padded_keys + key0 * panel() + c % panel();
      V acc = hn::Mul(hn::Load(d, s.o + i * stride + c), factor);
      for (std::int64_t key = 0; key < keys; ++key) {
        const float p = s.s[i * kBlock + key];
        if (p != 0) acc = hn::MulAdd(hn::Set(d, p), hn::Load(d, v + key * panel()), acc);
      }
      hn::Store(acc, d, s.o + i * stride + c);
    }
  }
}

// What the masks of query row r say about the block: 0 or -inf, or the numbers to add.
static void expand_mask(const AttentionTile& t, std::int64_t r, std::int64_t key0, std::int64_t keys, float* HWY_RESTRICT mask) noexcept {
  if (t.added != nullptr) {
    const float* HWY_RESTRICT from = t.added + r / t.group * t.added_stride + r % t.group * t.added_head + key0;
    for (std::int64_t i = 0; i < keys; ++i) mask[i] = from[i];
  } else {
    for (std::int64_t i = 0; i < keys; ++i) mask[i] = 0;
  }
  if (t.may_see != nullptr) {
    const std::uint8_t* HWY_RESTRICT from = t.may_see + r / t.group * t.may_see_stride + key0;
    for (std::int64_t i = 0; i < keys; ++i) mask[i] = from[i] != 0 ? mask[i] : kNegativeInfinity;
  }
  for (std::int64_t i = keys; i < kBlock; ++i) mask[i] = 0;
}

// Does any token of the tile see a key of the block? A block that all of it may not see would change no bit of the result.
static bool any_visible(const AttentionTile& t, std::int64_t key0, std::int64_t keys) noexcept {
  if (t.may_see == nullptr) return true;
  for (std::int64_t token = t.row_begin / t.group; token <= (t.row_end - 1) / t.group; ++token) {
    const std::uint8_t* row = t.may_see + token * t.may_see_stride + key0;
    for (std::int64_t i = 0; i < keys; ++i)
      if (row[i] != 0) return true;
  }
  return false;
}

// Masks the logits of a block, moves the running maximum and turns logits into weights.
static void soften(const AttentionTile& t, const Scratch& s, std::int64_t rows, std::int64_t key0, std::int64_t keys) noexcept {
  const D d;
  const std::int64_t n = lanes();
  const std::int64_t whole = keys / n * n;
  const auto in_tail = hn::FirstN(d, static_cast<std::size_t>(keys - whole));
  const V hidden = hn::Set(d, kNegativeInfinity);
  // One mask serves all heads of a token, unless there is one for each.
  const std::int64_t share = t.added != nullptr && t.added_head != 0 ? 1 : t.group;
  std::int64_t masked = -1;
  for (std::int64_t i = 0; i < rows; ++i) {
    float* HWY_RESTRICT row = s.s + i * kBlock;
    V max = hidden;
    if (t.may_see != nullptr || t.added != nullptr) {
      const std::int64_t now = (t.row_begin + i) / share;
      if (now != masked) expand_mask(t, t.row_begin + i, key0, keys, s.mask);
      masked = now;
      for (std::int64_t c = 0; c < keys; c += n) {
        const V x = hn::Load(d, row + c);
        const V m = hn::Load(d, s.mask + c);
        V y = t.added != nullptr ? hn::Add(x, m) : x;
        if (t.may_see != nullptr) y = hn::IfThenElse(hn::Eq(m, hidden), m, y);  // also where x is NaN
        if (c == whole) y = hn::IfThenElse(in_tail, y, hidden);
        hn::Store(y, d, row + c);
        max = hn::Max(max, y);
      }
    } else {
      for (std::int64_t c = 0; c < whole; c += n) max = hn::Max(max, hn::Load(d, row + c));
      if (whole < keys) {
        const V y = hn::IfThenElse(in_tail, hn::Load(d, row + whole), hidden);
        hn::Store(y, d, row + whole);
        max = hn::Max(max, y);
      }
    }
    s.correction[i] = hn::GetLane(hn::MaxOfLanes(d, max));
  }
  // correction = exp(old maximum - new maximum); a row that has seen no key yet has -inf and must not form inf - inf.
  for (std::int64_t i = 0; i < rows; i += n) {
    const V old = hn::Load(d, s.max + i);
    const V now = hn::Max(old, hn::Load(d, s.correction + i));
    const V base = hn::IfThenElse(hn::Eq(now, hidden), hn::Zero(d), now);
    hn::Store(now, d, s.max + i);
    hn::Store(exp_negative(d, hn::Sub(old, base)), d, s.correction + i);
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    float* HWY_RESTRICT row = s.s + i * kBlock;
    const float max = s.max[i];
    const V base = hn::Set(d, max == kNegativeInfinity ? 0.0f : max);
    V sum = hn::Zero(d);
    for (std::int64_t c = 0; c < keys; c += n) {
      const V p = exp_negative(d, hn::Sub(hn::Load(d, row + c), base));
      hn::Store(p, d, row + c);
      sum = hn::Add(sum, p);
    }
    s.sum[i] = s.sum[i] * s.correction[i] + hn::GetLane(hn::SumOfLanes(d, sum));
  }
}

static void write_row(const AttentionTile& t, std::int64_t r, const float* HWY_RESTRICT o, float sum) noexcept {
  const std::int64_t dim = t.packed.head_dim;
  const std::int64_t at = r / t.group * t.y_stride + r % t.group * t.y_head;
  // No visible key: the sum is 0 and the row is zeros.
  const float factor = sum == 0 ? 0.0f : 1.0f / sum;
  if (t.y_bf16) {
    bf16* HWY_RESTRICT y = static_cast<bf16*>(t.y) + at;
    for (std::int64_t c = 0; c < dim; ++c) y[c] = to_bf16(o[c] * factor);
  } else {
    float* HWY_RESTRICT y = static_cast<float*>(t.y) + at;
    for (std::int64_t c = 0; c < dim; ++c) y[c] = o[c] * factor;
  }
}

static void attend(const AttentionTile& t) noexcept {
  const AttentionPacked& packed = t.packed;
  const std::int64_t dim = packed.head_dim;
  const std::int64_t rows = t.row_end - t.row_begin;
  const std::int64_t padded = round_up(rows, kGroup);
  const std::int64_t stride = dim_stride(dim);
  const std::int64_t n = lanes();
  const std::int64_t width = panel();
  const Scratch s = divide(t.scratch, rows, dim);
  if (t.q_bf16)
    load_queries<bf16>(t, s.q);
  else
    load_queries<float>(t, s.q);
  std::memset(s.s, 0, static_cast<std::size_t>(padded * kBlock) * sizeof(float));
  std::memset(s.o, 0, static_cast<std::size_t>(padded * stride) * sizeof(float));
  for (std::int64_t i = 0; i < round_up(padded, 16); ++i) {
    s.sum[i] = 0;
    s.max[i] = kNegativeInfinity;
    s.correction[i] = 0;
  }
  // A sink is where the running maximum and sum begin.
  for (std::int64_t i = 0; t.sinks != nullptr && i < rows; ++i) {
    const float sink = t.sinks[(t.row_begin + i) % t.group];
    if (sink == kNegativeInfinity) continue;
    s.sum[i] = sink == sink ? 1.0f : sink;
    if (sink == sink) s.max[i] = sink;
  }
  for (std::int64_t key0 = 0; key0 < t.keys; key0 += kBlock) {
    const std::int64_t keys = key0 + kBlock <= t.keys ? kBlock : t.keys - key0;
    if (!any_visible(t, key0, keys)) continue;
    for (std::int64_t c = 0; c < keys; c += width) {
      const float* k = packed.k + (key0 + c) * dim;
      for (std::int64_t i = 0; i < rows; i += kGroup) score(s.q + i * dim, k, dim, s.s + i * kBlock + c);
    }
    soften(t, s, rows, key0, keys);
    std::uint8_t special = 0;
    for (std::int64_t i = 0; i < keys; ++i) special |= packed.special[key0 + i];
    if (special != 0) {
      accumulate_special(packed, s, rows, key0, keys);
      continue;
    }
    for (std::int64_t c = 0; c < dim; c += width) {
      const float* v = packed.v + c * packed.padded_keys + key0 * width;
      for (std::int64_t i = 0; i < rows; i += kGroup) {
        float* o = s.o + i * stride + c;
        if (c + n < dim)
          accumulate<2>(s.s + i * kBlock, v, keys, s.correction + i, o, stride);
        else
          accumulate<1>(s.s + i * kBlock, v, keys, s.correction + i, o, stride);
      }
    }
  }
  for (std::int64_t i = 0; i < rows; ++i) write_row(t, t.row_begin + i, s.o + i * stride, s.sum[i]);
}

static constexpr AttentionFunctions make_functions() { return {panel(), kGroup, &pack, &scratch_floats, &attend}; }

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tessera/kernels/hwy_rows.h"
namespace tessera::kernels {
TESSERA_HWY_ROWS(AttentionFunctions, attention_rows, "f32 and bf16, any head size")
}
#endif
