#include "tessera/ops/embedding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/ops/kernel_table.h"
#include "tests/reference/embedding.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

TEST(Embedding, EveryRowMatchesTheReference) {
  Context ctx({.threads = 3, .isa = {}});
  std::mt19937 engine(1);
  std::normal_distribution<float> normal;
  for (const std::string& row : ops::runnable_rows(ctx, "elementwise")) {
    ctx.force("elementwise", row);
    for (const auto& shape : reference::read_shapes("embedding", 3)) {
      for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
        const std::int64_t vocab = shape[0], width = shape[1], count = shape[2];
        Tensor table = Tensor::zeros(Shape{vocab, width}, dtype);
        std::vector<double> values;
        for (std::int64_t i = 0; i < table.numel(); ++i) {
          const float v = normal(engine);
          if (dtype == DType::f32) table.data<float>()[i] = v, values.push_back(static_cast<double>(v));
          if (dtype == DType::bf16) table.data<bf16>()[i] = to_bf16(v), values.push_back(static_cast<double>(to_f32(to_bf16(v))));
          if (dtype == DType::f16) table.data<f16>()[i] = to_f16(v), values.push_back(static_cast<double>(to_f32(to_f16(v))));
        }
        std::vector<std::int32_t> ids;
        for (std::int64_t i = 0; i < count; ++i) ids.push_back(static_cast<std::int32_t>(engine() % static_cast<std::uint32_t>(vocab)));
        const float scale = 45.2548f;
        const auto expected = reference::embedding(values, static_cast<std::size_t>(width), ids, static_cast<double>(scale));
        Tensor y = Tensor::zeros(Shape{count, width + 2}, DType::f32).columns(1, width);
        ops::embedding(ctx, table, ids, scale, y);
        for (std::int64_t r = 0; r < count; ++r) {
          for (std::int64_t c = 0; c < width; ++c) {
            const double e = expected[static_cast<std::size_t>(r * width + c)];
            ASSERT_NEAR(static_cast<double>(y.data<float>()[r * y.row_stride() + c]), e, 0x1p-24 * std::fabs(e));  // one rounded product
          }
        }
      }
    }
  }
}

TEST(Embedding, BadCallsAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor table = Tensor::zeros(Shape{4, 8}, DType::f32);
  Tensor y = Tensor::zeros(Shape{1, 8}, DType::f32);
  const auto call = [&](const Tensor& t, std::int32_t id, Tensor& out) { ops::embedding(ctx, t, std::vector<std::int32_t>{id}, 1.0f, out); };
  EXPECT_NO_THROW(call(table, 3, y));
  EXPECT_THROW(call(table, 4, y), Error);
  EXPECT_THROW(call(table, -1, y), Error);
  Tensor narrow = Tensor::zeros(Shape{1, 7}, DType::f32);
  EXPECT_THROW(call(table, 0, narrow), Error);
  EXPECT_THROW(call(Tensor::zeros(Shape{4, 8}, DType::i8), 0, y), Error);
  EXPECT_THROW(call(Tensor::zeros(Shape{32}, DType::f32), 0, y), Error);
  EXPECT_THROW(call(Tensor::zeros(Shape{4, 8}, DType::f32, Layout::tile), 0, y), Error);
}

}  // namespace
}  // namespace tessera
