#include "tessera/core/tensor.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tessera/core/error.h"

namespace tessera {
namespace {

std::string message_of(const auto& call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Shape, SizesAndErrors) {
  const Shape s{2, 3, 4};
  EXPECT_EQ(s.rank(), 3u);
  EXPECT_EQ(s[-1], 4);
  EXPECT_EQ(s.rows(), 6);
  EXPECT_EQ(s.numel(), 24);
  EXPECT_EQ(s.str(), "[2, 3, 4]");
  EXPECT_EQ(s.with(-2, 7), (Shape{2, 7, 4}));
  EXPECT_EQ(Shape{}.numel(), 1);
  EXPECT_THROW(s[3], Error);
  EXPECT_THROW((Shape{1, -1}), Error);
  EXPECT_THROW((Shape{std::int64_t{1} << 40, std::int64_t{1} << 40}), Error);
  EXPECT_THROW((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), Error);
}

TEST(Layout, TilesAreFourFacesRowByRow) {
  EXPECT_EQ(padded_shape(Shape{3, 33, 5}, Layout::tile), (Shape{3, 64, 32}));
  EXPECT_EQ(padded_shape(Shape{7}, Layout::tile), (Shape{32, 32}));
  // Walk a 64 x 64 plane in stored order: tile by tile, face by face, row by row.
  std::int64_t at = 0;
  for (std::int64_t tr = 0; tr < 2; ++tr)
    for (std::int64_t tc = 0; tc < 2; ++tc)
      for (std::int64_t face = 0; face < 4; ++face)
        for (std::int64_t r = 0; r < 16; ++r)
          for (std::int64_t c = 0; c < 16; ++c) EXPECT_EQ(tile_offset(tr * 32 + face / 2 * 16 + r, tc * 32 + face % 2 * 16 + c, 64), at++);
}

TEST(Tensor, ViewsShareTheBuffer) {
  std::vector<float> values(24);
  std::iota(values.begin(), values.end(), 0.0f);
  const Tensor t = Tensor::from<float>(values, Shape{2, 3, 4});
  Tensor half = t.narrow(1, 1);
  EXPECT_EQ(half.shape(), (Shape{1, 3, 4}));
  EXPECT_EQ(half.data<float>()[0], 12.0f);
  Tensor columns = t.reshape(Shape{6, 4}).columns(1, 2);
  EXPECT_EQ(columns.row_stride(), 4);
  EXPECT_FALSE(columns.is_contiguous());
  EXPECT_EQ(columns.data<float>()[columns.row_stride()], 5.0f);
  columns.data<float>()[0] = 100.0f;
  EXPECT_EQ(t.data<float>()[1], 100.0f);
  Tensor some = columns.narrow(2, 3);
  EXPECT_EQ(some.data<float>()[0], 9.0f);
  EXPECT_EQ(some.row_stride(), 4);
  EXPECT_EQ(t.reshape(Shape{24}).narrow(5, 2).data<float>()[1], 6.0f);
}

TEST(Tensor, BorrowKeepsTheOwnerAlive) {
  auto owner = std::make_shared<std::vector<float>>(4, 2.0f);
  const std::weak_ptr<std::vector<float>> watch = owner;
  Tensor t = Tensor::borrow(owner->data(), Shape{2, 2}, DType::f32, owner);
  owner.reset();
  EXPECT_FALSE(watch.expired());
  EXPECT_EQ(t.span<float>()[3], 2.0f);
  t = Tensor();
  EXPECT_TRUE(watch.expired());
}

TEST(Tensor, StorageIsAlignedAndPadded) {
  const Tensor t = Tensor::zeros(Shape{5, 33}, DType::bf16, Layout::tile);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(t.raw()) % 64, 0u);
  EXPECT_EQ(t.bytes(), 32u * 64 * 2);
  EXPECT_EQ(Tensor::zeros(Shape{0, 3}, DType::f32).bytes(), 0u);
  EXPECT_TRUE(Tensor::zeros(Shape{0}, DType::f32).defined());
}

TEST(Tensor, ErrorsSayWhatWasExpected) {
  const Tensor t = Tensor::zeros(Shape{2, 3}, DType::f32);
  EXPECT_EQ(message_of([&] { (void)t.data<bf16>(); }), "[tensor] expected bfloat16, got float32[2, 3] ROW_MAJOR INTERLEAVED DRAM");
  EXPECT_NE(message_of([&] { (void)t.reshape(Shape{5}); }).find("6 elements"), std::string::npos);
  EXPECT_NE(message_of([&] { (void)t.narrow(1, 2); }).find("range"), std::string::npos);
  EXPECT_NE(message_of([&] { (void)t.columns(2, 2); }).find("columns"), std::string::npos);
  EXPECT_NE(message_of([&] { (void)Tensor().data<float>(); }).find("none"), std::string::npos);
  EXPECT_NE(message_of([&] { (void)Tensor::from<float>(std::vector<float>(3), Shape{2}); }).find("8 bytes"), std::string::npos);
  EXPECT_NE(message_of([&] { (void)Tensor::empty(Shape{std::int64_t{1} << 61}, DType::f32); }).find("2^62 bytes"), std::string::npos);
  EXPECT_NE(message_of([&] { (void)t.columns(0, 2).reshape(Shape{4}); }).find("contiguous"), std::string::npos);
}

TEST(MemoryConfig, ShardsMustCoverTheTensorOnce) {
  using enum TensorMemoryLayout;
  const auto config = [](TensorMemoryLayout layout, ShardSpec shard) { return MemoryConfig{layout, BufferType::l1, shard}; };
  EXPECT_NO_THROW(check(config(height_sharded, {2, 2, 32, 64}), 128, 64));
  EXPECT_NO_THROW(check(config(width_sharded, {1, 2, 128, 32}), 128, 64));
  EXPECT_NO_THROW(check(config(block_sharded, {4, 2, 32, 32}), 128, 64));
  EXPECT_THROW(check(config(height_sharded, {2, 2, 32, 32}), 128, 64), Error);
  EXPECT_THROW(check(config(height_sharded, {1, 3, 32, 64}), 128, 64), Error);
  EXPECT_THROW(check(config(block_sharded, {4, 1, 32, 32}), 128, 64), Error);
  EXPECT_THROW(check(config(block_sharded, {4, 2, 0, 32}), 128, 64), Error);
  EXPECT_THROW(check(MemoryConfig{height_sharded, BufferType::l1, {}}, 128, 64), Error);
  EXPECT_THROW(check(MemoryConfig{interleaved, BufferType::dram, ShardSpec{}}, 128, 64), Error);
  const Tensor t = Tensor::zeros(Shape{128, 64}, DType::f32).with_memory_config(config(height_sharded, {2, 2, 32, 64}));
  EXPECT_EQ(t.memory_config().str(), "HEIGHT_SHARDED L1 grid 2x2 shard 32x64");
}

TEST(ErrorText, IsOneLineWithWhereExpectedAndGot) {
  EXPECT_EQ(message_of([] { fail_expected("linear", "k = 3", "4", "transpose it"); }), "[linear] expected k = 3, got 4; transpose it");
  EXPECT_EQ(Error("op", "text").where(), "op");
}

}  // namespace
}  // namespace tessera
