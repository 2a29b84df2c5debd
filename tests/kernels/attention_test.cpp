#include "tessera/kernels/attention/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "tessera/core/dtype.h"
#include "tests/reference/attention.h"

namespace tessera::kernels {
namespace {

constexpr float kGuard = 4321;

/// 64-byte aligned floats with guards behind them.
class Floats {
 public:
  explicit Floats(std::int64_t count)
      : count_(static_cast<std::size_t>(count)), data_(static_cast<float*>(::operator new[]((count_ + 16) * sizeof(float), std::align_val_t{64}))) {
    for (std::size_t i = 0; i < count_; ++i) data_.get()[i] = std::numeric_limits<float>::quiet_NaN();
    for (std::size_t i = count_; i < count_ + 16; ++i) data_.get()[i] = kGuard;
  }
  float* get() { return data_.get(); }
  bool guards_stand() const {
    for (std::size_t i = count_; i < count_ + 16; ++i)
      if (data_.get()[i] != kGuard) return false;
    return true;
  }

 private:
  struct Delete {
    void operator()(float* p) const noexcept { ::operator delete[](p, std::align_val_t{64}); }
  };
  std::size_t count_;
  std::unique_ptr<float, Delete> data_;
};

std::vector<float> normal(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = distribution(random);
  return values;
}

template <class Fn>
void for_every_row(Fn fn) {
  int rows = 0;
  for (const auto& row : attention_rows()) {
    if (!device::usable(row.info.isa)) continue;
    SCOPED_TRACE(row.info.name);
    fn(row.functions);
    ++rows;
  }
  EXPECT_GE(rows, 1);
}

struct Packs {
  Packs(const AttentionFunctions& f, std::int64_t keys, std::int64_t head_dim)
      : padded((keys + kAttentionBlock - 1) / kAttentionBlock * kAttentionBlock),
        k(padded * head_dim),
        v(padded * ((head_dim + f.panel - 1) / f.panel * f.panel)),
        special(static_cast<std::size_t>(padded), 9),
        packed{k.get(), v.get(), special.data(), padded, head_dim} {}
  std::int64_t padded;
  Floats k;
  Floats v;
  std::vector<std::uint8_t> special;
  AttentionPacked packed;
};

TEST(AttentionKernels, PanelsHoldKeysAndValues) {
  for_every_row([](const AttentionFunctions& f) {
    ASSERT_EQ(kAttentionBlock % f.panel, 0);
    for (const std::int64_t head_dim : {1, 7, 16, 33, 72}) {
      const std::int64_t keys = 70;
      const auto k = normal(keys * (head_dim + 2), 1);
      auto v = normal(keys * (head_dim + 3), 2);
      v[static_cast<std::size_t>(5 * (head_dim + 3))] = std::numeric_limits<float>::quiet_NaN();
      v[static_cast<std::size_t>(66 * (head_dim + 3) + head_dim - 1)] = -std::numeric_limits<float>::infinity();
      v[static_cast<std::size_t>(6 * (head_dim + 3) + head_dim)] = std::numeric_limits<float>::infinity();  // between the rows: not read
      Packs p(f, keys, head_dim);
      const AttentionSource source{k.data(), v.data(), false, false, head_dim + 2, head_dim + 3};
      const AttentionSource rest{k.data() + 64 * (head_dim + 2), v.data() + 64 * (head_dim + 3), false, false, head_dim + 2, head_dim + 3};
      f.pack(source, 0, 64, p.packed);
      f.pack(rest, 64, 6, p.packed);
      f.pack({}, 70, 58, p.packed);
      for (std::int64_t key = 0; key < 128; ++key) {
        EXPECT_EQ(p.special[static_cast<std::size_t>(key)], key == 5 || key == 66) << key;
        for (std::int64_t c = 0; c < head_dim; ++c) {
          const float k_here = p.k.get()[key / f.panel * f.panel * head_dim + c * f.panel + key % f.panel];
          const float v_here = p.v.get()[c / f.panel * f.panel * 128 + key * f.panel + c % f.panel];
          const float v_there = key < keys ? v[static_cast<std::size_t>(key * (head_dim + 3) + c)] : 0.0f;
          ASSERT_EQ(k_here, key < keys ? k[static_cast<std::size_t>(key * (head_dim + 2) + c)] : 0.0f);
          ASSERT_TRUE(std::memcmp(&v_here, &v_there, 4) == 0 || (std::isnan(v_here) && std::isnan(v_there))) << key << " " << c;
        }
      }
      EXPECT_TRUE(p.k.guards_stand());
      EXPECT_TRUE(p.v.guards_stand());
    }
  });
}

TEST(AttentionKernels, TilesOfAnySizeGiveTheSameRowsAndStayInTheirScratch) {
  constexpr std::int64_t kTokens = 23, kKeys = 90, kGroup = 3, kDim = 20;
  const auto q = normal(kTokens * kGroup * kDim, 3);
  const auto k = normal(kKeys * kDim, 4);
  const auto v = normal(kKeys * kDim, 5);
  const auto expected = reference::attention(q, k, v, 1, kTokens, kKeys, kGroup, 1, kDim, 0.25, {}, {});
  for_every_row([&](const AttentionFunctions& f) {
    Packs p(f, kKeys, kDim);
    f.pack({k.data(), v.data(), false, false, kDim, kDim}, 0, kKeys, p.packed);
    f.pack({}, kKeys, p.padded - kKeys, p.packed);
    std::vector<float> first;
    for (const std::int64_t rows : {1, 2, 5, 6, 7, 12, 13, 30, 69}) {
      std::vector<float> y(q.size(), kGuard);
      for (std::int64_t begin = 0; begin < kTokens * kGroup; begin += rows) {
        Floats scratch(f.scratch_floats(rows, kDim));
        AttentionTile t;
        t.packed = p.packed;
        t.keys = kKeys;
        t.row_begin = begin;
        t.row_end = std::min(begin + rows, kTokens * kGroup);
        t.group = kGroup;
        t.scale = 0.25f;
        t.q = q.data();
        t.q_stride = kGroup * kDim;
        t.q_head = t.y_head = kDim;
        t.y = y.data();
        t.y_stride = kGroup * kDim;
        t.scratch = scratch.get();
        f.attend(t);
        EXPECT_TRUE(scratch.guards_stand()) << rows;
        // Rows behind the tile are not touched.
        for (std::size_t i = static_cast<std::size_t>(t.row_end * kDim); i < y.size(); ++i) ASSERT_EQ(y[i], kGuard);
      }
      if (first.empty()) first = y;
      EXPECT_EQ(y, first) << rows;
    }
    for (std::size_t i = 0; i < first.size(); ++i) EXPECT_LE(std::fabs(first[i] - expected.y[i]), 0x1p-24 * expected.rounding[i]) << i;
  });
}

TEST(AttentionKernels, WeightsAreExponentialsToAnUlp) {
  // Two keys with logits 0 and x <= 0 and values 0 and 1: y = e^x / (1 + e^x).
  for_every_row([](const AttentionFunctions& f) {
    Packs p(f, 2, 1);
    const std::vector<float> v{0, 1};
    for (int i = 0; i <= 4000; ++i) {
      const float x = -static_cast<float>(i) * 0.025f;
      const std::vector<float> k{0, x};
      const float one = 1;
      float y = kGuard;
      f.pack({k.data(), v.data(), false, false, 1, 1}, 0, 2, p.packed);
      f.pack({}, 2, p.padded - 2, p.packed);
      Floats scratch(f.scratch_floats(1, 1));
      AttentionTile t;
      t.packed = p.packed;
      t.keys = 2;
      t.row_end = 1;
      t.q = &one;
      t.y = &y;
      t.q_stride = t.y_stride = 1;
      t.scratch = scratch.get();
      f.attend(t);
      const double e = std::exp(static_cast<double>(x));
      if (x < -87.0f) {
        EXPECT_EQ(y, 0.0f) << x;
      } else {
        // exp 1 ulp (2 where products and sums are rounded apart), the sum, the reciprocal and the product half an ulp each.
        EXPECT_NEAR(y, e / (1 + e), 4 * 0x1p-23 * e / (1 + e)) << x;
      }
    }
  });
}

}  // namespace
}  // namespace tessera::kernels
