// The int8 rows: whole sums are exact, rounding is to nearest, and all rows agree to the bit.
#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "tests/kernels/gemm_product.h"

namespace tessera::kernels {
namespace {

std::vector<float> normal(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = distribution(random);
  return values;
}

/// Rows of whole numbers of -127 to 127, the first of them 127, times a power of two: what int8 holds without rounding.
std::vector<float> whole(std::int64_t rows, std::int64_t k, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<std::size_t>(rows * k));
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < k; ++i) {
      const int q = i == 0 ? 127 : static_cast<int>(random() % 255) - 127;
      values[static_cast<std::size_t>(r * k + i)] = std::ldexp(static_cast<float>(q), static_cast<int>(r % 5) - 2);
    }
  return values;
}

double plain_sum(const std::vector<float>& x, const std::vector<float>& w, std::int64_t k, std::int64_t i, std::int64_t j) {
  double sum = 0;
  for (std::int64_t l = 0; l < k; ++l)
    sum += static_cast<double>(x[static_cast<std::size_t>(i * k + l)]) * static_cast<double>(w[static_cast<std::size_t>(j * k + l)]);
  return sum;
}

TEST(GemmInt8, WholeNumbersAreMultipliedWithoutError) {
  for_every_row({DType::i8}, [](const GemmFunctions& f) {
    struct Sizes {
      std::int64_t n, k;
    };
    for (const Sizes s : {Sizes{1, 1}, Sizes{31, 33}, Sizes{33, 2}, Sizes{65, 63}, Sizes{40, 290}, Sizes{9, 1030}}) {
      const auto w = whole(s.n, s.k, 1);
      for (std::int64_t m = 1; m <= 70; ++m) {
        if (s.k > 100 && m % 9 != 6) continue;  // the long ones with some heights only
        const auto x = whole(m, s.k, static_cast<unsigned>(m));
        const auto c = product(f, x, w, m, s.n, s.k, 1000, 1000);
        for (std::int64_t i = 0; i < m; ++i)
          for (std::int64_t j = 0; j < s.n; ++j) {
            // A sum of less than 2^24 times powers of two is a float.
            ASSERT_EQ(static_cast<double>(c[static_cast<std::size_t>(i * s.n + j)]), plain_sum(x, w, s.k, i, j))
                << m << " " << s.n << " " << s.k << ": " << i << ", " << j;
          }
      }
    }
  });
}

TEST(GemmInt8, RoundsToNearest) {
  for_every_row({DType::i8}, [](const GemmFunctions& f) {
    const std::int64_t m = 19, n = 35, k = 700;
    const auto x = normal(m * k, 1);
    const auto w = normal(n * k, 2);
    const auto c = product(f, x, w, m, n, k, 2, 1);
    const auto largest = [&](const std::vector<float>& v, std::int64_t row) {
      double most = 0;
      for (std::int64_t l = 0; l < k; ++l) most = std::max(most, std::fabs(static_cast<double>(v[static_cast<std::size_t>(row * k + l)])));
      return most;
    };
    double error = 0, bound = 0;
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        const double a = largest(x, i) / 127, b = largest(w, j) / 127;
        double most = 0;
        for (std::int64_t l = 0; l < k; ++l)
          most += a / 2 * std::fabs(static_cast<double>(w[static_cast<std::size_t>(j * k + l)])) +
                  b / 2 * std::fabs(static_cast<double>(x[static_cast<std::size_t>(i * k + l)])) + a * b / 4;
        const double off = std::fabs(static_cast<double>(c[static_cast<std::size_t>(i * n + j)]) - plain_sum(x, w, k, i, j));
        // Every value is off by half a step at most; the last factor covers the float that a whole sum ends in.
        ASSERT_LE(off, most * (1 + 0x1p-20));
        error += off;
        bound += most;
      }
    // Errors of single values are independent: together they stay far below the sum of their bounds (1 / sqrt(k) of it times a constant below 3);
    // truncation instead of rounding to nearest would not.
    EXPECT_LE(error, bound * 3 / std::sqrt(static_cast<double>(k)));
  });
}

TEST(GemmInt8, AllRowsAgreeToTheBit) {
  const std::int64_t m = 51, n = 70, k = 1100;
  const auto x = normal(m * k, 3);
  const auto w = normal(n * k, 4);
  std::vector<float> first;
  for_every_row({DType::i8}, [&](const GemmFunctions& f) {
    const auto c = product(f, x, w, m, n, k, 3, 2);
    if (first.empty()) first = c;
    EXPECT_EQ(c, first);
  });
}

TEST(GemmInt8, TheLongestSumsDoNotOverflow) {
  for_every_row({DType::i8}, [](const GemmFunctions& f) {
    const std::int64_t k = kGemmMostInt8Depth;
    const std::vector<float> x(static_cast<std::size_t>(k), 1.0f);
    std::vector<float> w(static_cast<std::size_t>(2 * k), 1.0f);
    for (std::int64_t i = 0; i < k; ++i) w[static_cast<std::size_t>(k + i)] = -1.0f;
    const auto c = product(f, x, w, 1, 2, k, 1, 1);
    // Exact but for the two scales, 1 / 127 each, and their product.
    EXPECT_NEAR(c[0], static_cast<float>(k), static_cast<float>(k) * 0x1p-21f);
    EXPECT_EQ(c[1], -c[0]);
  });
}

TEST(GemmInt8, ZeroTinyAndNonfiniteRows) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for_every_row({DType::i8}, [&](const GemmFunctions& f) {
    const std::int64_t k = 3;
    const std::vector<float> x{0, 0, 0, 0x1p-120f, -0x1p-130f, 0, 1, kNan, 2, 1, -kInf, 0, 0x1p-99f, 0, 0, 3e38f, -3e38f, 1};
    const std::vector<float> w{1, 1, 1, 0, 0, 0, 1, kInf, 1, 1, -1, 2};
    const auto c = product(f, x, w, 6, 4, k, 100, 100);
    const auto at = [&](int row, int column) { return c[static_cast<std::size_t>(row * 4 + column)]; };
    for (const int row : {0, 1, 4, 5}) {
      EXPECT_EQ(at(row, 1), 0.0f) << row;          // a zero column
      EXPECT_TRUE(std::isnan(at(row, 2))) << row;  // an infinite weight
    }
    for (const int column : {0, 1, 3}) {
      EXPECT_EQ(at(0, column), 0.0f);  // a zero row
      EXPECT_EQ(at(1, column), 0.0f);  // below 2^-100: zero
      EXPECT_TRUE(std::isnan(at(2, column)));
      EXPECT_TRUE(std::isnan(at(3, column)));
    }
    EXPECT_NEAR(at(4, 0), 0x1p-99f, 0x1p-120f);
    EXPECT_EQ(at(5, 0), 0.0f);  // 127 - 127 + 0
    EXPECT_EQ(at(5, 3), kInf);  // 6e38 is beyond float
  });
}

}  // namespace
}  // namespace tessera::kernels
