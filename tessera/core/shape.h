// The sizes of a tensor: up to eight dimensions, no heap. Values only. Test: tests/core/tensor_test.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace tessera {

class Shape {
 public:
  static constexpr std::size_t kMaxRank = 8;

  Shape() = default;
  /// Throws Error on more than kMaxRank dimensions, a negative size, or a product beyond 2^62.
  Shape(std::initializer_list<std::int64_t> sizes);
  explicit Shape(std::span<const std::int64_t> sizes);

  std::size_t rank() const noexcept { return rank_; }
  /// Size of dimension `i`; negative counts from the back. Throws Error out of range.
  std::int64_t operator[](std::int64_t i) const;
  std::int64_t numel() const noexcept;
  /// Product of all dimensions but the last ("rows"); 1 for rank 0 and 1.
  std::int64_t rows() const noexcept;
  /// The last dimension ("columns"); 1 for rank 0.
  std::int64_t cols() const noexcept { return rank_ == 0 ? 1 : sizes_[rank_ - 1]; }
  std::span<const std::int64_t> sizes() const noexcept { return {sizes_.data(), rank_}; }
  /// The same shape with dimension `i` (negative counts from the back) set to `size`.
  Shape with(std::int64_t i, std::int64_t size) const;
  /// "[2, 3, 4]"
  std::string str() const;

  friend bool operator==(const Shape& a, const Shape& b) noexcept;

 private:
  std::array<std::int64_t, kMaxRank> sizes_{};
  std::size_t rank_ = 0;
};

}  // namespace tessera
