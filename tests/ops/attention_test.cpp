#include "tessera/ops/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/kernels/attention/attention.h"
#include "tests/reference/attention.h"
#include "tests/reference/goldens.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

using ops::Attention;
using ops::KeyValue;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kEps = 0x1p-24;
// reference::AttentionResult::rounding is a typical size, not a bound; the worst element of these tests comes to 0.41 of it.
constexpr double kSpread = 1;

struct Sizes {
  std::int64_t batch, q_tokens, keys, heads, kv_heads, head_dim;
  std::string str() const {
    std::string s;
    for (const std::int64_t n : {batch, q_tokens, keys, heads, kv_heads, head_dim}) s += std::to_string(n) + " ";
    return s;
  }
};

std::vector<float> normal(std::int64_t count, std::mt19937& random) {
  std::normal_distribution<float> distribution;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = to_f32(to_bf16(distribution(random)));  // exact in bf16: one reference for both dtypes
  return values;
}

struct Problem {
  Sizes size;
  float scale = 1;
  std::vector<float> q, k, v;
  std::vector<std::uint8_t> visible;
  std::vector<float> added;

  static Problem make(const Sizes& s, unsigned seed) {
    std::mt19937 random(seed);
    Problem p;
    p.size = s;
    p.scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim));
    p.q = normal(s.batch * s.q_tokens * s.heads * s.head_dim, random);
    p.k = normal(s.batch * s.keys * s.kv_heads * s.head_dim, random);
    p.v = normal(s.batch * s.keys * s.kv_heads * s.head_dim, random);
    return p;
  }
  reference::AttentionResult expected() const {
    return reference::attention(q, k, v, size.batch, size.q_tokens, size.keys, size.heads, size.kv_heads, size.head_dim, scale, visible, added);
  }
  Attention options() const {
    Attention o{.heads = size.heads, .kv_heads = size.kv_heads, .scale = scale, .mask = {}};
    if (!visible.empty()) o.mask = Tensor::from<std::uint8_t>(visible, {size.q_tokens, size.keys});
    if (!added.empty()) o.mask = Tensor::from<float>(added, {size.q_tokens, size.keys});
    return o;
  }
};

/// A tensor [batch, tokens, columns] of `dtype`; with `gap` its rows are that many elements further apart, and the gaps hold NaN.
Tensor place(const std::vector<float>& values, std::int64_t batch, std::int64_t tokens, std::int64_t columns, DType dtype, std::int64_t gap = 0) {
  Tensor wide = Tensor::empty({batch, tokens, columns + gap}, dtype);
  for (std::int64_t r = 0; r < batch * tokens; ++r)
    for (std::int64_t c = 0; c < columns + gap; ++c) {
      const float x = c < columns ? values[static_cast<std::size_t>(r * columns + c)] : kNan;
      const std::int64_t at = r * (columns + gap) + c;
      if (dtype == DType::bf16)
        wide.data<bf16>()[at] = to_bf16(x);
      else
        wide.data<float>()[at] = x;
    }
  return gap == 0 ? wide : wide.columns(0, columns);
}

std::vector<float> values_of(const Tensor& t) {
  std::vector<float> out;
  for (std::int64_t r = 0; r < t.rows(); ++r)
    for (std::int64_t c = 0; c < t.cols(); ++c) {
      const std::int64_t at = r * t.row_stride() + c;
      out.push_back(t.dtype() == DType::bf16 ? to_f32(t.data<bf16>()[at]) : t.data<float>()[at]);
    }
  return out;
}

struct Form {
  DType q = DType::f32;
  DType kv = DType::f32;
  DType y = DType::f32;
  std::int64_t gap = 0;
  std::vector<std::int64_t> split = {};  // lengths of the segments; empty: one
};

std::vector<float> run(Context& ctx, const Problem& p, const Form& form = {}) {
  const Sizes& s = p.size;
  const Tensor q = place(p.q, s.batch, s.q_tokens, s.heads * s.head_dim, form.q, form.gap);
  std::vector<KeyValue> segments;
  std::int64_t begin = 0;
  const std::int64_t columns = s.kv_heads * s.head_dim;
  for (const std::int64_t tokens : form.split.empty() ? std::vector<std::int64_t>{s.keys} : form.split) {
    const auto part = [&](const std::vector<float>& all) {
      std::vector<float> values;
      for (std::int64_t b = 0; b < s.batch; ++b) {
        const auto from = all.begin() + (b * s.keys + begin) * columns;
        values.insert(values.end(), from, from + tokens * columns);
      }
      return place(values, s.batch, tokens, columns, form.kv, form.gap);
    };
    segments.push_back({part(p.k), part(p.v)});
    begin += tokens;
  }
  Tensor y = place(std::vector<float>(p.q.size(), 77.0f), s.batch, s.q_tokens, s.heads * s.head_dim, form.y, form.gap);
  ops::attention(ctx, q, segments, p.options(), y);
  return values_of(y);
}

/// Largest distance in units of what is allowed; above 1 is wrong.
double worst(const reference::AttentionResult& expected, const std::vector<float>& y, DType dtype = DType::f32) {
  double largest = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    double allowed = kSpread * kEps * expected.rounding[i];
    if (dtype == DType::bf16) allowed += 0x1p-8 * std::fabs(expected.y[i]);  // one rounding to 8 bits
    const double distance = std::fabs(static_cast<double>(y[i]) - expected.y[i]);
    if (std::isnan(distance)) return kInf;
    if (distance > 0) largest = std::max(largest, distance / allowed);
  }
  return largest;
}

double worst(const Problem& p, const std::vector<float>& y, DType dtype = DType::f32) { return worst(p.expected(), y, dtype); }

std::vector<Sizes> shapes() {
  std::vector<Sizes> all;
  for (const auto& n : reference::read_shapes("attention", 6)) all.push_back({n[0], n[1], n[2], n[3], n[4], n[5]});
  return all;
}

/// Calls fn(ctx, name of the row) once for every row that runs here, forced.
template <class Fn>
void for_every_row(Fn fn, int threads = 2) {
  Context ctx({.threads = threads, .isa = {}});
  int rows = 0;
  for (const auto& row : kernels::attention_rows()) {
    if (!ctx.allows(row.info.isa)) continue;
    SCOPED_TRACE(row.info.name);
    ctx.force("attention", row.info.name);
    fn(ctx);
    ++rows;
  }
  EXPECT_GE(rows, 1);
}

bool heavy(const Sizes& s) { return s.batch * s.q_tokens * s.keys * s.heads * s.head_dim > 100'000'000; }

// Every golden but one: value_dim_differs (values wider than keys), which the op does not have.
TEST(Attention, MatchesPyTorch) {
  const auto goldens = reference::read_goldens("vision/scaled_dot_product_attention.safetensors");
  // [length][heads][dim] of one batch from [batch][heads][length][dim].
  const auto turn = [](const reference::Golden& g, std::int64_t batch) {
    const auto all = g.as<float>();
    std::vector<float> out;
    for (std::int64_t t = 0; t < g.shape[2]; ++t)
      for (std::int64_t h = 0; h < g.shape[1]; ++h)
        for (std::int64_t c = 0; c < g.shape[3]; ++c)
          out.push_back(all[static_cast<std::size_t>(((batch * g.shape[1] + h) * g.shape[2] + t) * g.shape[3] + c)]);
    return out;
  };
  for_every_row([&](Context& ctx) {
    int cases = 0;
    for (const auto& [name, query] : goldens) {
      const std::size_t dot = name.find(".query");
      const std::string stem = name.substr(0, dot);
      if (dot == std::string::npos || stem == "value_dim_differs") continue;
      ++cases;
      const auto& key = goldens.at(stem + ".key");
      const auto mask = goldens.find(stem + ".mask");
      for (std::int64_t b = 0; b < query.shape[0]; ++b) {
        Problem p;
        p.size = {1, query.shape[2], key.shape[2], query.shape[1], key.shape[1], query.shape[3]};
        p.q = turn(query, b);
        p.k = turn(key, b);
        p.v = turn(goldens.at(stem + ".value"), b);
        const std::vector<float> y = turn(goldens.at(stem + ".y"), b);
        p.scale = stem == "scale_given" ? 0.3f : stem == "sharp_logits" ? 8.0f : 1.0f / std::sqrt(static_cast<float>(p.size.head_dim));
        const std::int64_t count = p.size.q_tokens * p.size.keys;
        // One mask a head: each head is asked for under its own mask and the others' results are not looked at.
        const std::int64_t masks = mask == goldens.end() ? 1 : mask->second.shape[1];
        for (std::int64_t m = 0; m < masks; ++m) {
          p.visible.clear();
          p.added.clear();
          const std::int64_t from = (b * masks + m) * count;
          if (stem.find("causal") != std::string::npos) {
            for (std::int64_t i = 0; i < count; ++i) p.visible.push_back(i % p.size.keys <= i / p.size.keys);
          } else if (mask != goldens.end() && mask->second.dtype == "BOOL") {
            const auto all = mask->second.as<std::uint8_t>();
            p.visible.assign(all.begin() + from, all.begin() + from + count);
          } else if (mask != goldens.end()) {
            const auto all = mask->second.as<float>();
            p.added.assign(all.begin() + from, all.begin() + from + count);
          }
          const std::vector<float> got = run(ctx, p);
          const auto expected = p.expected();
          for (std::size_t i = 0; i < y.size(); ++i) {
            if (masks > 1 && static_cast<std::int64_t>(i) / p.size.head_dim % p.size.heads != m) continue;
            // Twice what this op may be off: PyTorch rounds too.
            ASSERT_LE(std::fabs(got[i] - y[i]), 2 * kSpread * kEps * expected.rounding[i]) << stem << " at " << i;
          }
        }
      }
    }
    EXPECT_EQ(cases, 17);
  });
}

TEST(Attention, MatchesTheReferenceOnAllShapes) {
  for (const Sizes& s : shapes()) {
    const Problem p = Problem::make(s, 1);
    // Of the full model sizes the reference computes some queries only, of the last batch.
    Problem some = p;
    std::vector<std::int64_t> tokens;
    const std::int64_t row = s.heads * s.head_dim;
    if (heavy(s)) {
      for (const std::int64_t t : {std::int64_t{0}, std::int64_t{1}, s.q_tokens / 3, s.q_tokens / 2, s.q_tokens - 1}) tokens.push_back(t);
      const auto last = [&](std::vector<float>& all) { all.erase(all.begin(), all.end() - static_cast<std::ptrdiff_t>(all.size()) / s.batch); };
      last(some.k);
      last(some.v);
      some.q.clear();
      for (const std::int64_t t : tokens) {
        const auto from = p.q.begin() + ((s.batch - 1) * s.q_tokens + t) * row;
        some.q.insert(some.q.end(), from, from + row);
      }
      some.size.batch = 1;
      some.size.q_tokens = static_cast<std::int64_t>(tokens.size());
    }
    const auto expected = some.expected();
    for_every_row([&](Context& ctx) {
      // They take long in the scalar row and add no case to it.
      if (heavy(s) && ctx.forced("attention") == "scalar") return;
      std::vector<float> y = run(ctx, p);
      if (!tokens.empty()) {
        const std::vector<float> all = std::move(y);
        y.clear();
        for (const std::int64_t t : tokens) {
          const auto from = all.begin() + ((s.batch - 1) * s.q_tokens + t) * row;
          y.insert(y.end(), from, from + row);
        }
      }
      EXPECT_LE(worst(expected, y), 1.0) << s.str();
    });
  }
}

TEST(Attention, TakesBf16AndRoundsOnce) {
  for_every_row([](Context& ctx) {
    for (const Sizes& s : shapes()) {
      if (heavy(s)) continue;
      const Problem p = Problem::make(s, 2);
      const std::vector<float> f32 = run(ctx, p);
      EXPECT_EQ(run(ctx, p, {.q = DType::bf16}), f32) << s.str();
      EXPECT_EQ(run(ctx, p, {.kv = DType::bf16}), f32) << s.str();
      std::vector<float> rounded;
      for (const float x : f32) rounded.push_back(to_f32(to_bf16(x)));
      EXPECT_EQ(run(ctx, p, {.q = DType::bf16, .kv = DType::bf16, .y = DType::bf16}), rounded) << s.str();
      EXPECT_LE(worst(p, rounded, DType::bf16), 1.0);
    }
  });
}

TEST(Attention, RowsMayBeStridedAndKeysMayComeInSegments) {
  for_every_row([](Context& ctx) {
    for (const Sizes& s : shapes()) {
      if (heavy(s)) continue;
      const Problem p = Problem::make(s, 3);
      const std::vector<float> plain = run(ctx, p);
      EXPECT_EQ(run(ctx, p, {.gap = 3}), plain) << s.str();
      for (const std::int64_t first : {std::int64_t{0}, std::int64_t{1}, s.keys / 2, s.keys}) {
        EXPECT_EQ(run(ctx, p, {.gap = 1, .split = {first, s.keys - first}}), plain) << s.str() << "split at " << first;
      }
      if (s.keys > 4) {
        EXPECT_EQ(run(ctx, p, {.kv = DType::bf16, .split = {1, 0, 2, s.keys - 4, 1}}), plain) << s.str();
      }
    }
  });
}

TEST(Attention, SegmentsOfDifferentTypes) {
  Context ctx({.threads = 1, .isa = {}});
  const Problem p = Problem::make({1, 3, 20, 2, 1, 8}, 4);
  const auto part = [&](const std::vector<float>& all, std::int64_t from, std::int64_t to, DType dtype) {
    return place({all.begin() + from * 8, all.begin() + to * 8}, 1, to - from, 8, dtype).reshape({to - from, 8});
  };
  const std::vector<KeyValue> segments{{part(p.k, 0, 12, DType::bf16), part(p.v, 0, 12, DType::f32)},
                                       {part(p.k, 12, 20, DType::f32), part(p.v, 12, 20, DType::bf16)}};
  const Tensor q = place(p.q, 1, 3, 16, DType::f32).reshape({3, 16});
  Tensor y = Tensor::empty({3, 16}, DType::f32);
  ops::attention(ctx, q, segments, p.options(), y);
  EXPECT_EQ(values_of(y), run(ctx, p));
}

TEST(Attention, ThreadsChangeNoBit) {
  for (const auto& row : kernels::attention_rows()) {
    for (const Sizes& s : shapes()) {
      if (heavy(s) && std::string(row.info.name) == "scalar") continue;
      const Problem p = Problem::make(s, 5);
      std::vector<float> first;
      for (const int threads : {1, 2, 3, 8}) {
        Context ctx({.threads = threads, .isa = {}});
        if (!ctx.allows(row.info.isa)) break;
        ctx.force("attention", row.info.name);
        const std::vector<float> y = run(ctx, p);
        if (first.empty()) first = y;
        ASSERT_EQ(std::memcmp(y.data(), first.data(), y.size() * sizeof(float)), 0) << row.info.name << " " << s.str() << threads;
      }
    }
  }
}

TEST(Attention, AQueryDoesNotDependOnItsCompany) {
  // A query alone gets the bits that it gets among others: results do not depend on how rows are cut into tiles.
  for_every_row([](Context& ctx) {
    const Problem all = Problem::make({1, 70, 90, 3, 1, 20}, 6);
    const std::vector<float> together = run(ctx, all);
    for (const std::int64_t t : {0, 1, 37, 69}) {
      Problem one = all;
      one.size.q_tokens = 1;
      one.q.assign(all.q.begin() + t * 60, all.q.begin() + (t + 1) * 60);
      EXPECT_EQ(run(ctx, one), std::vector<float>(together.begin() + t * 60, together.begin() + (t + 1) * 60)) << t;
    }
  });
}

TEST(Attention, MasksOfBothKinds) {
  for_every_row([](Context& ctx) {
    for (const Sizes& s : shapes()) {
      if (heavy(s)) continue;
      std::mt19937 random(7);
      Problem p = Problem::make(s, 8);
      p.visible.resize(static_cast<std::size_t>(s.q_tokens * s.keys));
      // Any non-zero byte lets a key be seen; the density changes from query to query, some see nothing.
      for (std::size_t i = 0; i < p.visible.size(); ++i)
        p.visible[i] = random() % 4 < (i / static_cast<std::size_t>(s.keys)) % 5 ? 1 + random() % 255 : 0;
      const std::vector<float> seen = run(ctx, p);
      EXPECT_LE(worst(p, seen), 1.0) << s.str();
      // -inf and -2.38e38 added hide as well as 0 does, to the bit (where anything is visible).
      for (const float hide : {-kInf, -2.3819763e38f}) {
        Problem a = p;
        a.visible.clear();
        for (const std::uint8_t m : p.visible) a.added.push_back(m != 0 ? 0.0f : hide);
        const std::vector<float> y = run(ctx, a);
        for (std::int64_t r = 0; r < s.batch * s.q_tokens; ++r) {
          const auto mask = p.visible.begin() + r % s.q_tokens * s.keys;
          if (hide != -kInf && std::all_of(mask, mask + s.keys, [](std::uint8_t m) { return m == 0; })) continue;
          const auto n = static_cast<std::size_t>(s.heads * s.head_dim);
          const std::size_t at = static_cast<std::size_t>(r) * n;
          EXPECT_EQ(std::memcmp(&y[at], &seen[at], n * sizeof(float)), 0) << s.str() << "row " << r << " hidden by " << hide;
        }
      }
      Problem biased = Problem::make(s, 9);
      biased.added = normal(s.q_tokens * s.keys, random);
      EXPECT_LE(worst(biased, run(ctx, biased)), 1.0) << s.str();
    }
  });
}

TEST(Attention, CausalAndPrefixMasksSkipBlocks) {
  for_every_row([](Context& ctx) {
    Problem p = Problem::make({2, 150, 150, 2, 2, 12}, 10);
    for (std::int64_t t = 0; t < 150; ++t)
      for (std::int64_t j = 0; j < 150; ++j) p.visible.push_back(j <= t ? 1 : 0);
    EXPECT_LE(worst(p, run(ctx, p)), 1.0);
    p.visible.clear();
    for (std::int64_t t = 0; t < 150; ++t)
      for (std::int64_t j = 0; j < 150; ++j) p.visible.push_back(j >= 140 ? 1 : 0);
    EXPECT_LE(worst(p, run(ctx, p)), 1.0);
  });
}

TEST(Attention, MaskRowsMayBeStrided) {
  Context ctx({.threads = 2, .isa = {}});
  Problem p = Problem::make({1, 5, 40, 2, 1, 8}, 11);
  std::mt19937 random(11);
  for (int i = 0; i < 200; ++i) p.visible.push_back(random() % 2);
  const std::vector<float> expected = run(ctx, p);
  Attention o = p.options();
  Tensor wide = Tensor::zeros({5, 47}, DType::u8);
  for (std::int64_t t = 0; t < 5; ++t) std::memcpy(wide.data<std::uint8_t>() + t * 47 + 3, p.visible.data() + t * 40, 40);
  o.mask = wide.columns(3, 40);
  const KeyValue kv{place(p.k, 1, 40, 8, DType::f32), place(p.v, 1, 40, 8, DType::f32)};
  Tensor y = Tensor::empty({1, 5, 16}, DType::f32);
  ops::attention(ctx, place(p.q, 1, 5, 16, DType::f32), std::span(&kv, 1), o, y);
  EXPECT_EQ(values_of(y), expected);
}

TEST(Attention, AQueryThatSeesNothingGetsZeros) {
  for_every_row([](Context& ctx) {
    Problem p = Problem::make({1, 3, 70, 2, 1, 9}, 12);
    p.visible.assign(210, 1);
    std::fill(p.visible.begin() + 70, p.visible.begin() + 140, std::uint8_t{0});
    Problem a = p;
    a.visible.clear();
    for (const std::uint8_t m : p.visible) a.added.push_back(m != 0 ? 0.0f : -kInf);
    for (const std::vector<float>& y : {run(ctx, p), run(ctx, a)}) {
      for (std::size_t i = 18; i < 36; ++i) EXPECT_EQ(y[i], 0.0f);
      EXPECT_NE(y[0], 0.0f);
      EXPECT_NE(y[36], 0.0f);
    }
    Problem none = Problem::make({1, 3, 0, 2, 1, 9}, 13);
    EXPECT_EQ(run(ctx, none), std::vector<float>(54, 0.0f));
  });
}

TEST(Attention, NanAndInfInHiddenKeysAndValuesStayOut) {
  for_every_row([](Context& ctx) {
    Problem clean = Problem::make({1, 4, 150, 2, 1, 24}, 14);
    clean.visible.assign(600, 1);
    // Key 5 is hidden from all, key 80 from queries 0 and 2 only, key 149 from query 0.
    for (std::size_t t = 0; t < 4; ++t) clean.visible[t * 150 + 5] = 0;
    clean.visible[80] = clean.visible[300 + 80] = clean.visible[149] = 0;
    const std::vector<float> expected = run(ctx, clean);
    for (const float poison : {kNan, kInf, -kInf}) {
      Problem p = clean;
      for (std::size_t c = 0; c < 24; ++c) {
        for (const std::size_t key : {5, 80, 149}) p.v[key * 24 + c] = p.k[key * 24 + c] = poison;
      }
      const std::vector<float> y = run(ctx, p);
      // Query 0 sees none of them: not a bit changes. The others see NaN or infinities and show it.
      EXPECT_EQ(std::memcmp(y.data(), expected.data(), 48 * sizeof(float)), 0) << poison;
      for (std::size_t i = 48; i < 192; ++i) EXPECT_FALSE(std::isfinite(y[i]) && std::isnan(poison)) << i;
    }
    // One element of one visible value: only that element of the result.
    Problem p = clean;
    p.v[7 * 24 + 3] = kNan;
    const std::vector<float> y = run(ctx, p);
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (i % 24 == 3) {
        EXPECT_TRUE(std::isnan(y[i])) << i;
      } else {
        EXPECT_EQ(y[i], expected[i]) << i;
      }
    }
  });
}

TEST(Attention, NanInAVisibleKeyOrInAQueryGivesNan) {
  for_every_row([](Context& ctx) {
    const Problem clean = Problem::make({1, 4, 70, 2, 2, 8}, 15);
    const std::vector<float> expected = run(ctx, clean);
    Problem p = clean;
    p.k[(66 * 2 + 1) * 8] = kNan;  // kv head 1
    std::vector<float> y = run(ctx, p);
    for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i / 8 % 2 == 1) << i;
    p = clean;
    p.q[2 * 16 + 3] = kNan;  // query 2, head 0
    y = run(ctx, p);
    for (std::size_t i = 0; i < y.size(); ++i) {
      EXPECT_EQ(std::isnan(y[i]), i / 8 == 4) << i;
      if (i / 8 != 4) {
        EXPECT_EQ(y[i], expected[i]) << i;
      }
    }
  });
}

TEST(Attention, SharpLogitsAndLargeNumbers) {
  for_every_row([](Context& ctx) {
    Problem p = Problem::make({1, 9, 140, 4, 2, 16}, 16);
    p.scale = 8;
    EXPECT_LE(worst(p, run(ctx, p)), 1.0);
    p.scale = -3;
    EXPECT_LE(worst(p, run(ctx, p)), 1.0);
    p.scale = 0;
    EXPECT_LE(worst(p, run(ctx, p)), 1.0);
    p.scale = 1;
    for (float& x : p.q) x *= 1e15f;
    for (float& x : p.k) x *= 1e15f;  // logits around 1e31: one key takes all
    EXPECT_LE(worst(p, run(ctx, p)), 1.0);
  });
}

TEST(Attention, WeightsSumToOne) {
  // All values 1: the result is a sum of weights.
  for_every_row([](Context& ctx) {
    Problem p = Problem::make({1, 40, 333, 2, 1, 6}, 17);
    std::fill(p.v.begin(), p.v.end(), 1.0f);
    for (const float x : run(ctx, p)) EXPECT_NEAR(x, 1.0, 20 * kEps);  // sqrt(333) roundings of 2^-24
  });
}

TEST(Attention, RandomShapes) {
  std::mt19937 random(18);
  const auto below = [&](unsigned n) { return static_cast<std::int64_t>(random() % n); };
  for_every_row([&](Context& ctx) {
    for (int round = 0; round < 60; ++round) {
      const std::int64_t kv_heads = 1 + below(3);
      const Sizes s{1 + below(2), 1 + below(40), 1 + below(200), kv_heads * (1 + below(5)), kv_heads, 1 + below(90)};
      Problem p = Problem::make(s, 100 + static_cast<unsigned>(round));
      const std::int64_t kind = below(3);
      const std::int64_t count = s.q_tokens * s.keys;
      for (std::int64_t i = 0; kind == 1 && i < count; ++i) p.visible.push_back(random() % 3 == 0);
      for (std::int64_t i = 0; kind == 2 && i < count; ++i) p.added.push_back(random() % 5 == 0 ? -kInf : static_cast<float>(below(64)) / 16);
      const std::int64_t cut = below(static_cast<unsigned>(s.keys + 1));
      EXPECT_LE(worst(p, run(ctx, p, {.kv = random() % 2 == 0 ? DType::f32 : DType::bf16, .gap = below(5), .split = {cut, s.keys - cut}})), 1.0)
          << s.str();
    }
  });
}

TEST(Attention, SecondCallNeedsNoMemory) {
  Context ctx({.threads = 2, .isa = {}});
  const Problem p = Problem::make({1, 51, 200, 8, 1, 64}, 19);
  run(ctx, p);
  const std::size_t reserved = ctx.workspace().reserved();
  EXPECT_GT(reserved, 0u);
  run(ctx, p);
  EXPECT_EQ(ctx.workspace().reserved(), reserved);
}

TEST(Attention, CountsFlopsAndNamesTheRow) {
  Context ctx({.threads = 1, .isa = {}});
  ctx.force("attention", "scalar");
  ctx.profiler().start();
  run(ctx, Problem::make({2, 3, 5, 4, 2, 8}, 20));
  ASSERT_EQ(ctx.profiler().records().size(), 1u);
  const auto& zone = ctx.profiler().records()[0];
  EXPECT_STREQ(zone.op, "attention");
  EXPECT_STREQ(zone.path, "scalar");
  EXPECT_EQ(zone.flops, 4.0 * 2 * 3 * 5 * 4 * 8);
  EXPECT_EQ(zone.bytes, 4.0 * (2 * 2 * 3 * 32 + 2 * 2 * 5 * 16));
}

void expect_error(const std::string& part, const Tensor& q, const std::vector<KeyValue>& segments, const Attention& options, Tensor y) {
  Context ctx({.threads = 1, .isa = {}});
  try {
    ops::attention(ctx, q, segments, options, y);
    ADD_FAILURE() << "no error about " << part;
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    EXPECT_EQ(std::string(e.what()).find("[attention]"), 0u) << e.what();
  }
}

TEST(Attention, RefusesWhatDoesNotFit) {
  const Tensor q = Tensor::zeros({4, 16}, DType::f32);
  const Tensor k = Tensor::zeros({6, 8}, DType::f32);
  const Tensor y = Tensor::zeros({4, 16}, DType::f32);
  const Attention o{.heads = 2, .kv_heads = 1, .scale = 1, .mask = {}};
  const auto with = [&](auto change) {
    Attention changed = o;
    change(changed);
    return changed;
  };
  expect_error("multiple of kv_heads", q, {{k, k}}, with([](Attention& a) { a.heads = 3, a.kv_heads = 2; }), y);
  expect_error("multiple of kv_heads", q, {{k, k}}, with([](Attention& a) { a.heads = 0; }), y);
  expect_error("multiple of kv_heads", q, {{k, k}}, with([](Attention& a) { a.kv_heads = -1; }), y);
  expect_error("finite scale", q, {{k, k}}, with([](Attention& a) { a.scale = kNan; }), y);
  expect_error("heads * head_dim", q, {{k, k}}, with([](Attention& a) { a.heads = 5, a.kv_heads = 5; }), y);
  expect_error("expected q", {}, {{k, k}}, o, y);
  expect_error("expected q", Tensor::zeros({4, 16}, DType::i32), {{k, k}}, o, y);
  expect_error("expected q", Tensor::zeros({16}, DType::f32), {{k, k}}, o, y);
  expect_error("expected q", Tensor::zeros({4, 16}, DType::f32, Layout::tile), {{k, k}}, o, y);
  expect_error("expected y", q, {{k, k}}, o, Tensor::zeros({4, 15}, DType::f32));
  expect_error("expected y", q, {{k, k}}, o, Tensor::zeros({4, 16}, DType::f16));
  expect_error("expected y", q, {{k, k}}, o, {});
  expect_error("expected k", q, {{Tensor{}, k}}, o, y);
  expect_error("expected k", q, {{Tensor::zeros({6, 16}, DType::f32), k}}, o, y);
  expect_error("expected k", q, {{Tensor::zeros({2, 3, 8}, DType::f32), k}}, o, y);
  expect_error("expected v", q, {{k, Tensor::zeros({5, 8}, DType::f32)}}, o, y);
  expect_error("expected v", q, {{k, Tensor::zeros({6, 8}, DType::u8)}}, o, y);
  expect_error("mask", q, {{k, k}}, with([](Attention& a) { a.mask = Tensor::zeros({4, 5}, DType::u8); }), y);
  expect_error("mask", q, {{k, k}}, with([](Attention& a) { a.mask = Tensor::zeros({4, 6}, DType::i8); }), y);
  expect_error("mask", q, {{k, k}, {k, k}}, with([](Attention& a) { a.mask = Tensor::zeros({4, 6}, DType::f32); }), y);
  Context ctx({.threads = 1, .isa = {}});
  ctx.force("attention", "no such row");
  Tensor out = y;
  const KeyValue kv{k, k};
  EXPECT_THROW(ops::attention(ctx, q, std::span(&kv, 1), o, out), Error);
}

}  // namespace
}  // namespace tessera
