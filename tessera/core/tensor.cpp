#include "tessera/core/tensor.h"

#include <cstring>
#include <functional>

#include "tessera/core/error.h"
#include "tessera/core/memory.h"

namespace tessera {
namespace {

constexpr std::string_view kWhere = "tensor";
std::shared_ptr<std::byte> allocate(std::size_t bytes) {
  std::shared_ptr<std::byte> p = allocate_bytes(bytes);
  if (p == nullptr) fail(kWhere, "no memory for " + std::to_string(bytes) + " bytes");
  return p;
}

constexpr std::int64_t kTileElements = kTileSize * kTileSize;

void check_layout(DType dtype, Layout layout) {
  if (is_block_float(dtype) && layout != Layout::tile)
    fail_expected(kWhere, "tile layout for " + std::string(tessera::name(dtype)) + ", whose exponents belong to tiles", tessera::name(layout),
                  "ops::typecast converts to and from float32 and bfloat16 of either layout");
}

/// Of a stored shape: padding included.
std::size_t bytes_of(const Shape& stored, DType dtype) {
  const bool blocks = is_block_float(dtype);
  const auto n = static_cast<std::size_t>(blocks ? stored.numel() / kTileElements : stored.numel());
  const std::size_t size = blocks ? tile_size_of(dtype) : size_of(dtype);
  if (n > (std::size_t{1} << 62) / size) fail(kWhere, "more than 2^62 bytes in " + stored.str());
  return n * size;
}

}  // namespace

Tensor Tensor::empty(const Shape& shape, DType dtype, Layout layout, const MemoryConfig& config) {
  check_layout(dtype, layout);
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.layout_ = layout;
  const Shape stored = tessera::padded_shape(shape, layout);
  check(config, stored.rows(), stored.cols());
  t.config_ = config;
  t.row_stride_ = stored.cols();
  t.data_ = allocate(bytes_of(stored, dtype));
  return t;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Layout layout, const MemoryConfig& config) {
  Tensor t = empty(shape, dtype, layout, config);
  std::memset(t.raw(), 0, t.bytes());
  return t;
}

Tensor Tensor::borrow(void* data, const Shape& shape, DType dtype, std::shared_ptr<void> keep) {
  if (data == nullptr) fail_expected(kWhere, "memory to borrow", "a null pointer");
  check_layout(dtype, Layout::row_major);
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.row_stride_ = shape.cols();
  t.data_ = std::shared_ptr<std::byte>(std::move(keep), static_cast<std::byte*>(data));
  return t;
}

Tensor Tensor::from_bytes(std::span<const std::byte> bytes, const Shape& shape, DType dtype, Layout layout) {
  check_layout(dtype, layout);
  const std::size_t wanted = bytes_of(tessera::padded_shape(shape, layout), dtype);
  if (bytes.size() != wanted)
    fail_expected(kWhere, std::to_string(wanted) + " bytes for " + std::string(tessera::name(dtype)) + shape.str(), std::to_string(bytes.size()));
  Tensor t = empty(shape, dtype, layout);
  if (!bytes.empty()) std::memcpy(t.raw(), bytes.data(), bytes.size());
  return t;
}

std::size_t Tensor::bytes() const noexcept {
  std::int64_t n = shape_.numel();
  if (layout_ == Layout::tile) {
    // As padded_shape(), without its checks: sizes were checked when the tensor was made.
    const auto up = [](std::int64_t v) { return (v + kTileSize - 1) / kTileSize * kTileSize; };
    const auto sizes = shape_.sizes();
    const std::int64_t r = sizes.size() < 2 ? 1 : sizes[sizes.size() - 2];
    n = up(r) * up(shape_.cols());
    for (std::size_t i = 0; i + 2 < sizes.size(); ++i) n *= sizes[i];
  }
  if (is_block_float(dtype_)) return static_cast<std::size_t>(n / kTileElements) * tile_size_of(dtype_);
  return static_cast<std::size_t>(n) * size_of(dtype_);
}

Tensor Tensor::reshape(const Shape& shape) const {
  expect_contiguous();
  if (shape.numel() != numel()) fail_expected(kWhere, std::to_string(numel()) + " elements to reshape " + shape_.str(), shape.str());
  Tensor t = *this;
  t.shape_ = shape;
  t.row_stride_ = shape.cols();
  t.config_ = MemoryConfig{TensorMemoryLayout::interleaved, config_.buffer, std::nullopt};
  return t;
}

Tensor Tensor::narrow(std::int64_t start, std::int64_t count) const {
  if (layout_ != Layout::row_major) fail_expected(kWhere, "row-major layout to narrow", str());
  if (shape_.rank() == 0 || start < 0 || count < 0 || start > shape_[0] - count)
    fail_expected(kWhere, "a range inside the first dimension of " + shape_.str(), std::to_string(start) + "+" + std::to_string(count));
  Tensor t = *this;
  t.shape_ = shape_.with(0, count);
  std::int64_t stride = shape_.rank() == 1 ? 1 : row_stride_;
  for (std::size_t i = 1; i + 1 < shape_.rank(); ++i) stride *= shape_.sizes()[i];
  t.data_ = std::shared_ptr<std::byte>(data_, data_.get() + static_cast<std::size_t>(start * stride) * size_of(dtype_));
  if (shape_.rank() == 1) t.row_stride_ = count;
  t.config_ = MemoryConfig{TensorMemoryLayout::interleaved, config_.buffer, std::nullopt};
  return t;
}

Tensor Tensor::columns(std::int64_t start, std::int64_t count) const {
  if (layout_ != Layout::row_major) fail_expected(kWhere, "row-major layout to take columns of", str());
  if (shape_.rank() == 0 || start < 0 || count < 0 || start > cols() - count)
    fail_expected(kWhere, "columns inside " + shape_.str(), std::to_string(start) + "+" + std::to_string(count));
  Tensor t = *this;
  t.shape_ = shape_.with(-1, count);
  t.data_ = std::shared_ptr<std::byte>(data_, data_.get() + static_cast<std::size_t>(start) * size_of(dtype_));
  t.config_ = MemoryConfig{TensorMemoryLayout::interleaved, config_.buffer, std::nullopt};
  return t;
}

Tensor Tensor::with_memory_config(const MemoryConfig& config) const {
  const Shape stored = padded_shape();
  check(config, stored.rows(), stored.cols());
  Tensor t = *this;
  t.config_ = config;
  return t;
}

bool overlap(const Tensor& a, const Tensor& b) noexcept {
  if (!a.defined() || !b.defined() || a.numel() == 0 || b.numel() == 0) return false;
  const auto end = [](const Tensor& t) {
    const auto* const first = static_cast<const std::byte*>(t.raw());
    if (t.layout() == Layout::tile) return first + t.bytes();
    return first + static_cast<std::size_t>((t.rows() - 1) * t.row_stride() + t.cols()) * size_of(t.dtype());
  };
  const std::less<const std::byte*> before;
  return before(static_cast<const std::byte*>(a.raw()), end(b)) && before(static_cast<const std::byte*>(b.raw()), end(a));
}

std::string Tensor::str() const {
  if (!defined()) return "no tensor";
  std::string text(tessera::name(dtype_));
  return text.append(shape_.str()).append(" ").append(tessera::name(layout_)).append(" ").append(config_.str());
}

void Tensor::expect(DType dtype) const {
  if (!defined()) fail_expected(kWhere, "a tensor", "none");
  if (dtype != dtype_) fail_expected(kWhere, tessera::name(dtype), str());
}

void Tensor::expect_contiguous() const {
  if (!is_contiguous()) fail_expected(kWhere, "a contiguous row-major tensor", str() + " with row stride " + std::to_string(row_stride_));
}

}  // namespace tessera
