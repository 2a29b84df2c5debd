#include "tessera/core/layout.h"

namespace tessera {
namespace {
constexpr std::int64_t round_up(std::int64_t n) { return (n + kTileSize - 1) / kTileSize * kTileSize; }
}  // namespace

Shape padded_shape(const Shape& logical, Layout layout) {
  if (layout == Layout::row_major) return logical;
  if (logical.rank() < 2) return Shape{kTileSize, round_up(logical.cols())};
  return logical.with(-2, round_up(logical[-2])).with(-1, round_up(logical[-1]));
}

}  // namespace tessera
