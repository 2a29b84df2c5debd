// Reads tensors of smaller shapes as if they had the output's shape, stretch by stretch, with as few dimensions as there are changes between
// repeated and not. Private to ops. Test: tests/ops/binary_test.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tessera/core/shape.h"

namespace tessera::ops {

/// Elements that are widened or gathered at a time.
constexpr std::int64_t kBroadcastBlock = 512;

/// The output's dimensions, innermost first, neighbours folded into one where no operand tells them apart.
template <std::size_t kOperands>
struct Broadcast {
  std::size_t rank = 0;
  std::array<std::int64_t, Shape::kMaxRank> size{};
  /// Elements between neighbours of an operand along each dimension: 0 where it is repeated.
  std::array<std::array<std::int64_t, Shape::kMaxRank>, kOperands> stride{};

  /// Is operand k as large as the output: one element for each, in the same order?
  std::array<bool, kOperands> whole{};
  /// Is operand k one number?
  std::array<bool, kOperands> one{};

  /// Every shape must broadcast to `output`.
  Broadcast(const Shape& output, const std::array<const Shape*, kOperands>& shapes) {
    std::array<std::int64_t, kOperands> step{};
    step.fill(1);
    for (std::size_t back = 1; back <= output.rank(); ++back) {
      const std::int64_t n = output.sizes()[output.rank() - back];
      if (n == 1) continue;
      std::array<std::int64_t, kOperands> here{};
      bool folds = rank > 0;
      for (std::size_t k = 0; k < kOperands; ++k) {
        const Shape& s = *shapes[k];
        if (back <= s.rank() && s.sizes()[s.rank() - back] != 1) {
          here[k] = step[k];
          step[k] *= n;
        }
        folds = folds && (here[k] == 0) == (stride[k][rank - 1] == 0);
      }
      if (folds) {
        size[rank - 1] *= n;
        continue;
      }
      size[rank] = n;
      for (std::size_t k = 0; k < kOperands; ++k) stride[k][rank] = here[k];
      ++rank;
    }
    if (rank == 0) size[rank++] = 1;
    for (std::size_t k = 0; k < kOperands; ++k) {
      const auto strides = std::span(stride[k]).first(rank);
      one[k] = std::ranges::all_of(strides, [](std::int64_t s) { return s == 0; });
      whole[k] = size[0] == 1 || std::ranges::all_of(strides, [](std::int64_t s) { return s != 0; });
    }
  }

  /// Where operand k keeps what the output's element `at` reads.
  std::int64_t place(std::size_t k, std::int64_t at) const {
    std::int64_t p = 0;
    for (std::size_t i = 0; i + 1 < rank; ++i) {
      p += at % size[i] * stride[k][i];
      at /= size[i];
    }
    return p + at * stride[k][rank - 1];
  }

  /// How many elements from `at` to `end` are best done together: what is left of a long innermost dimension, or a block of short ones.
  std::int64_t stretch(std::int64_t at, std::int64_t end) const {
    if (size[0] < kBroadcastBlock / 4) return std::min(end - at, kBroadcastBlock);
    return rank == 1 ? end - at : std::min(end - at, size[0] - at % size[0]);
  }
  /// Does a stretch of that length stay inside the innermost dimension?
  bool inside(std::int64_t at, std::int64_t n) const { return rank == 1 || at % size[0] + n <= size[0]; }

  /// out[i] = convert(x[place(k, at + i)]) for i < n.
  template <class From, class To, class Convert>
  void gather(std::size_t k, const From* x, std::int64_t at, std::int64_t n, To* out, Convert convert) const {
    std::array<std::int64_t, Shape::kMaxRank> index{};
    std::int64_t rest = at, row = 0;
    for (std::size_t i = 0; i < rank; ++i) {
      index[i] = i + 1 < rank ? rest % size[i] : rest;
      rest /= size[i];
      if (i > 0) row += index[i] * stride[k][i];
    }
    while (n > 0) {
      const std::int64_t count = std::min(n, size[0] - index[0]);
      const From* const from = x + row + index[0] * stride[k][0];
      if (stride[k][0] == 0)
        std::fill_n(out, count, convert(*from));
      else
        std::transform(from, from + count, out, convert);
      out += count;
      n -= count;
      index[0] = 0;
      for (std::size_t i = 1; i < rank; ++i) {
        row += stride[k][i];
        if (++index[i] < size[i]) break;
        row -= index[i] * stride[k][i];
        index[i] = 0;
      }
    }
  }
};

}  // namespace tessera::ops
