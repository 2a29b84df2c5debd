#include "tessera/core/shape.h"

#include <algorithm>

#include "tessera/core/error.h"

namespace tessera {
namespace {
constexpr std::int64_t kMaxElements = std::int64_t{1} << 62;
}

Shape::Shape(std::initializer_list<std::int64_t> sizes) : Shape(std::span<const std::int64_t>(sizes.begin(), sizes.size())) {}

Shape::Shape(std::span<const std::int64_t> sizes) {
  if (sizes.size() > kMaxRank) fail_expected("shape", "at most 8 dimensions", std::to_string(sizes.size()));
  std::int64_t product = 1;
  for (const std::int64_t size : sizes) {
    if (size < 0) fail_expected("shape", "sizes of 0 or more", std::to_string(size));
    if (size > 0 && product > kMaxElements / size) fail("shape", "more than 2^62 elements");
    if (size > 0) product *= size;
  }
  std::copy(sizes.begin(), sizes.end(), sizes_.begin());
  rank_ = sizes.size();
}

std::int64_t Shape::operator[](std::int64_t i) const {
  const auto rank = static_cast<std::int64_t>(rank_);
  const std::int64_t j = i < 0 ? i + rank : i;
  if (j < 0 || j >= rank) fail_expected("shape", "a dimension of " + str(), std::to_string(i));
  return sizes_[static_cast<std::size_t>(j)];
}

std::int64_t Shape::numel() const noexcept {
  std::int64_t n = 1;
  for (std::size_t i = 0; i < rank_; ++i) n *= sizes_[i];
  return n;
}

std::int64_t Shape::rows() const noexcept {
  std::int64_t n = 1;
  for (std::size_t i = 0; i + 1 < rank_; ++i) n *= sizes_[i];
  return n;
}

Shape Shape::with(std::int64_t i, std::int64_t size) const {
  std::array<std::int64_t, kMaxRank> sizes = sizes_;
  const auto rank = static_cast<std::int64_t>(rank_);
  const std::int64_t j = i < 0 ? i + rank : i;
  if (j < 0 || j >= rank) fail_expected("shape", "a dimension of " + str(), std::to_string(i));
  sizes[static_cast<std::size_t>(j)] = size;
  return Shape(std::span<const std::int64_t>(sizes.data(), rank_));
}

std::string Shape::str() const {
  std::string text(1, '[');
  for (std::size_t i = 0; i < rank_; ++i) {
    if (i > 0) text.append(", ");
    text.append(std::to_string(sizes_[i]));
  }
  return text.append("]");
}

bool operator==(const Shape& a, const Shape& b) noexcept { return std::ranges::equal(a.sizes(), b.sizes()); }

}  // namespace tessera
