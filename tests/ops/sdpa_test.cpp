#include "tessera/ops/sdpa.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tessera/ops/attention.h"
#include "tessera/ops/kernel_table.h"
#include "tessera/ops/reorder.h"
#include "tests/reference/allocations.h"
#include "tests/reference/errors.h"
#include "tests/reference/sdpa.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

using ops::Sdpa;
using reference::expect_error;
using Numbers = std::vector<std::int64_t>;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Numbers that are exact in bf16: one reference for both dtypes.
Tensor normal(const Shape& shape, DType dtype, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution(0, scale);
  Tensor t = Tensor::empty(shape, dtype);
  for (std::int64_t i = 0; i < t.numel(); ++i) {
    const bf16 v = to_bf16(distribution(random));
    if (dtype == DType::bf16)
      t.data<bf16>()[i] = v;
    else
      t.data<float>()[i] = to_f32(v);
  }
  return t;
}

std::vector<double> values(const Tensor& t) {
  std::vector<double> all;
  for (std::int64_t i = 0; t.defined() && i < t.numel(); ++i)
    all.push_back(static_cast<double>(t.dtype() == DType::bf16 ? to_f32(t.data<bf16>()[i]) : t.data<float>()[i]));
  return all;
}

struct Problem {
  Tensor q, k, v;
  std::int64_t b, hq, hkv, sq, sk, d;

  explicit Problem(const Numbers& s, DType dtype = DType::f32) : b(s[0]), hq(s[1]), hkv(s[2]), sq(s[3]), sk(s[4]), d(s[5]) {
    q = normal({b, hq, sq, d}, dtype, 1);
    k = normal({b, hkv, sk, d}, dtype, 2);
    v = normal({b, hkv, sk, d}, dtype, 3);
  }
  reference::SdpaResult expected(const Sdpa& o) const {
    const double scale = o.scale ? static_cast<double>(*o.scale) : 1 / std::sqrt(static_cast<double>(d));
    const std::vector<double> mask = values(o.mask);
    std::vector<double> sink = values(o.sink);
    for (double& x : sink) x *= o.scale_sink ? scale : 1;
    const auto added = [&](std::int64_t n, std::int64_t h, std::int64_t i, std::int64_t j) {
      if (o.causal && j > i) return -kInf;
      if (o.sliding_window) {
        const std::int64_t w = *o.sliding_window;
        if (o.causal ? i - j >= w : std::abs(i - j) > w / 2) return -kInf;
      }
      if (mask.empty()) return 0.0;
      const Shape& s = o.mask.shape();
      const std::int64_t plane = (s[0] == 1 ? 0 : n) * s[1] + (s[1] == 1 ? 0 : h);
      return mask[static_cast<std::size_t>((plane * sq + i) * sk + j)];
    };
    return reference::sdpa(values(q), values(k), values(v), b, hq, hkv, sq, sk, d, scale, added, sink);
  }
};

Tensor run(Context& ctx, const Problem& p, const Sdpa& options, DType dtype = DType::f32) {
  Tensor y = Tensor::empty(p.q.shape(), dtype);
  ops::sdpa(ctx, p.q, p.k, p.v, options, y);
  return y;
}

/// reference::SdpaResult::rounding is a typical size of the rounding errors; eps is 2^-24. bf16: one more rounding to 8 bits.
void expect_close(const reference::SdpaResult& expected, const Tensor& y) {
  const std::vector<double> got = values(y);
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_LE(std::fabs(got[i] - expected.y[i]),
              0x1p-24 * expected.rounding[i] + (y.dtype() == DType::bf16 ? 0x1p-8 * std::fabs(expected.y[i]) : 0) + 1e-37)
        << i;
}

bool same_bits(const Tensor& a, const Tensor& b) { return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0; }

/// Options of every kind that fit these sizes, each with a name.
std::vector<std::pair<std::string, Sdpa>> kinds(const Problem& p) {
  std::vector<std::pair<std::string, Sdpa>> all;
  const auto add = [&](const std::string& name, Sdpa o) {
    all.emplace_back(name, o);
    if (p.sq != p.sk) return;
    o.causal = true;
    all.emplace_back("causal " + name, o);
  };
  add("plain", {.causal = false});
  add("scaled", {.causal = false, .scale = 0.3f});
  for (const std::int64_t w : {1, 2, 5, 64, 100000}) add("window " + std::to_string(w), {.causal = false, .sliding_window = w});
  for (const std::int64_t mb : {std::int64_t{1}, p.b})
    for (const std::int64_t mh : {std::int64_t{1}, p.hq})
      for (const DType dtype : {DType::f32, DType::bf16})
        add("mask " + std::to_string(mb) + " " + std::to_string(mh), {.causal = false, .mask = normal({mb, mh, p.sq, p.sk}, dtype, 4, 2)});
  add("sink", {.causal = false, .sink = normal({p.hq}, DType::f32, 5, 2)});
  add("scaled sink", {.causal = false, .sink = normal({1, p.hq, 1, 1}, DType::bf16, 5, 4), .scale_sink = true});
  add("all", {.causal = false,
              .scale = 0.2f,
              .mask = normal({1, p.hq, p.sq, p.sk}, DType::f32, 4),
              .sliding_window = 9,
              .sink = normal({p.hq}, DType::f32, 5)});
  return all;
}

TEST(Sdpa, EveryRowMatchesTheReference) {
  Context ctx({.threads = 2, .isa = {}});
  for (const Numbers& s : reference::read_shapes("sdpa", 6)) {
    const Problem p(s);
    const Problem half(s, DType::bf16);
    for (const auto& [name, options] : kinds(p)) {
      const reference::SdpaResult expected = p.expected(options);
      for (const std::string& row : ops::runnable_rows(ctx, "attention")) {
        ctx.force("attention", row);
        SCOPED_TRACE(row + " " + p.q.shape().str() + " " + p.k.shape().str() + " " + name);
        const Tensor y = run(ctx, p, options);
        expect_close(expected, y);
        // bf16 in: the same numbers; bf16 out: the same, rounded once.
        EXPECT_TRUE(same_bits(run(ctx, half, options), y));
        const Tensor rounded = run(ctx, half, options, DType::bf16);
        for (std::int64_t i = 0; i < y.numel(); ++i) ASSERT_EQ(rounded.data<bf16>()[i], to_bf16(y.data<float>()[i]));
      }
    }
  }
}

TEST(Sdpa, ThreadsChangeNoBit) {
  for (const Numbers& s : reference::read_shapes("sdpa", 6)) {
    const Problem p(s);
    for (const auto& [name, options] : kinds(p)) {
      std::vector<std::pair<std::string, Tensor>> first;
      for (const int threads : {1, 2, 3, 8}) {
        Context ctx({.threads = threads, .isa = {}});
        std::size_t which = 0;
        for (const std::string& row : ops::runnable_rows(ctx, "attention")) {
          ctx.force("attention", row);
          const Tensor y = run(ctx, p, options);
          if (which == first.size()) first.emplace_back(row, y);
          ASSERT_TRUE(same_bits(y, first[which++].second)) << row << " " << name << " " << threads;
        }
      }
    }
  }
}

TEST(Sdpa, IsAttentionOverOtherStrides) {
  Context ctx({.threads = 2, .isa = {}});
  const Problem p({2, 6, 2, 70, 90, 16});
  const Numbers order{0, 2, 1, 3};
  const auto joined = [&](const Tensor& t) { return ops::permute(ctx, t, order).reshape({t.shape()[0], t.shape()[2], t.shape()[1] * t.shape()[3]}); };
  const ops::KeyValue kv{joined(p.k), joined(p.v)};
  Tensor mask = Tensor::empty({70, 90}, DType::u8);
  for (std::int64_t i = 0; i < mask.numel(); ++i) mask.data<std::uint8_t>()[i] = std::abs(i / 90 - i % 90) <= 8;
  Tensor y = Tensor::empty({2, 70, 96}, DType::f32);
  ops::attention(ctx, joined(p.q), std::span(&kv, 1), {.heads = 6, .kv_heads = 2, .scale = 0.25f, .mask = mask}, y);
  EXPECT_TRUE(same_bits(joined(run(ctx, p, {.causal = false, .scale = 0.25f, .sliding_window = 16})), y));
}

TEST(Sdpa, ASinkIsAKeyOfValueZero) {
  Context ctx({.threads = 1, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "attention")) {
    ctx.force("attention", row);
    const Problem p({1, 2, 1, 5, 5, 8});
    const Tensor plain = run(ctx, p, {});
    Tensor sink = Tensor::zeros({2}, DType::f32);
    sink.data<float>()[0] = -static_cast<float>(kInf);  // weighs nothing
    sink.data<float>()[1] = 200;                        // weighs everything
    const Tensor y = run(ctx, p, {.sink = sink});
    for (std::int64_t i = 0; i < 40; ++i) {
      EXPECT_EQ(y.data<float>()[i], plain.data<float>()[i]) << row << " " << i;
      EXPECT_EQ(y.data<float>()[40 + i], 0.0f) << row << " " << i;
    }
    sink.data<float>()[1] = kNan;
    const Tensor bad = run(ctx, p, {.sink = sink});
    for (std::int64_t i = 0; i < 40; ++i) {
      EXPECT_EQ(bad.data<float>()[i], plain.data<float>()[i]);
      EXPECT_TRUE(std::isnan(bad.data<float>()[40 + i])) << row;
    }
  }
}

TEST(Sdpa, WhatIsHiddenStaysOut) {
  Context ctx({.threads = 1, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "attention")) {
    ctx.force("attention", row);
    Problem p({1, 2, 2, 80, 80, 8});
    const Tensor mask = normal({1, 1, 80, 80}, DType::f32, 6);
    for (const bool added : {false, true}) {
      const Sdpa options{.mask = added ? mask : Tensor()};
      Problem clean({1, 2, 2, 80, 80, 8});
      const Tensor expected = run(ctx, clean, options);
      for (std::int64_t c = 0; c < 8; ++c) p.k.data<float>()[70 * 8 + c] = p.v.data<float>()[70 * 8 + c] = kNan;  // key 70 of head 0
      const Tensor y = run(ctx, p, options);
      for (std::int64_t i = 0; i < y.numel(); ++i) {
        const bool sees = i < 80 * 8 && i / 8 >= 70;
        if (sees) EXPECT_TRUE(std::isnan(y.data<float>()[i])) << row << " " << i;
        if (!sees) EXPECT_EQ(y.data<float>()[i], expected.data<float>()[i]) << row << " " << i;
      }
    }
  }
}

TEST(Sdpa, QueriesThatSeeNothingAndNoKeysGiveZeros) {
  Context ctx({.threads = 1, .isa = {}});
  const Problem p({1, 1, 1, 40, 3, 4});
  const Tensor y = run(ctx, p, {.causal = false, .sliding_window = 2});
  for (std::int64_t i = 0; i < y.numel(); ++i)
    if (i / 4 > 3) EXPECT_EQ(y.data<float>()[i], 0.0f) << i;
  Problem none({2, 2, 1, 3, 0, 4});
  for (const Tensor& sink : {Tensor(), normal({2}, DType::f32, 1)}) {
    const Tensor zeros = run(ctx, none, {.causal = false, .sink = sink});
    for (const float v : zeros.span<float>()) EXPECT_EQ(v, 0.0f);
  }
  EXPECT_EQ(run(ctx, Problem({0, 2, 1, 3, 3, 4}), {}).numel(), 0);
  EXPECT_EQ(run(ctx, Problem({1, 2, 1, 0, 0, 4}), {}).numel(), 0);
}

TEST(Sdpa, SecondCallDoesNotAllocate) {
  Context ctx({.threads = 3, .isa = {}});
  const Problem p({2, 4, 2, 60, 60, 16}, DType::bf16);
  for (const auto& kind : kinds(p)) {
    Tensor y = Tensor::empty(p.q.shape(), DType::bf16);
    ops::sdpa(ctx, p.q, p.k, p.v, kind.second, y);
    EXPECT_EQ(reference::allocations_in([&] { ops::sdpa(ctx, p.q, p.k, p.v, kind.second, y); }), 0) << kind.first;
  }
}

TEST(Sdpa, ZoneCarriesFlops) {
  Context ctx({.threads = 1, .isa = {}});
  const Problem p({2, 4, 2, 6, 6, 8});
  ctx.profiler().start();
  run(ctx, p, {});
  ctx.profiler().stop();
  ASSERT_EQ(ctx.profiler().records().size(), 1u);
  EXPECT_STREQ(ctx.profiler().records()[0].op, "sdpa");
  EXPECT_EQ(ctx.profiler().records()[0].flops, 4 * 2 * 4 * 6 * 6 * 8);
}

TEST(Sdpa, BadCallsAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const auto zeros = [](const Shape& shape, DType dtype = DType::f32) { return Tensor::zeros(shape, dtype); };
  const auto call = [&](const std::string& part, const Tensor& q, const Tensor& k, const Tensor& v, const Sdpa& options, Tensor y) {
    expect_error("sdpa", part, [&] { ops::sdpa(ctx, q, k, v, options, y); });
  };
  const Tensor q = zeros({2, 4, 5, 8});
  const Tensor k = zeros({2, 2, 5, 8});
  const Tensor y = zeros({2, 4, 5, 8});
  call("q as contiguous", {}, k, k, {}, y);
  call("q as contiguous", zeros({4, 5, 8}), k, k, {}, y);
  call("q as contiguous", zeros({2, 4, 5, 8}, DType::i32), k, k, {}, y);
  call("k as contiguous", q, Tensor::zeros({2, 2, 5, 8}, DType::f32, Layout::tile), k, {}, y);
  call("v as contiguous", q, k, zeros({2, 2, 5, 9}).columns(0, 8), {}, y);
  call("k with batch 2", q, zeros({1, 2, 5, 8}), k, {}, y);
  call("head_dim 8", q, zeros({2, 2, 5, 9}), k, {}, y);
  call("v of k's shape", q, k, zeros({2, 2, 6, 8}), {}, y);
  call("multiple", q, zeros({2, 3, 5, 8}), zeros({2, 3, 5, 8}), {}, y);
  call("multiple", q, zeros({2, 0, 5, 8}), zeros({2, 0, 5, 8}), {}, y);
  call("head_dim of 1", zeros({2, 4, 5, 0}), zeros({2, 2, 5, 0}), zeros({2, 2, 5, 0}), {}, zeros({2, 4, 5, 0}));
  call("y as contiguous", q, k, k, {}, zeros({2, 4, 5, 9}));
  call("y as contiguous", q, k, k, {}, {});
  call("causal", q, zeros({2, 2, 6, 8}), zeros({2, 2, 6, 8}), {}, y);
  call("finite scale", q, k, k, {.scale = kNan}, y);
  call("a window", q, k, k, {.sliding_window = 0}, y);
  call("a mask", q, k, k, {.mask = zeros({5, 5})}, y);
  call("a mask", q, k, k, {.mask = zeros({2, 2, 5, 5})}, y);
  call("a mask", q, k, k, {.mask = zeros({1, 1, 5, 6})}, y);
  call("a mask", q, k, k, {.mask = zeros({1, 1, 5, 5}, DType::u8)}, y);
  call("a sink", q, k, k, {.sink = zeros({2})}, y);
  call("a sink", q, k, k, {.sink = zeros({4}, DType::i32)}, y);
  call("memory of its own", q, k, k, {}, q);
  ctx.force("attention", "no such row");
  expect_error("attention", "no row 'no such row'", [&] {
    Tensor out = y;
    ops::sdpa(ctx, q, k, k, {}, out);
  });
}

}  // namespace
}  // namespace tessera
