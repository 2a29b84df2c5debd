#include "tessera/ops/strided_copy.h"

#include <algorithm>
#include <cstring>

#include "tessera/kernels/transpose/transpose.h"
#include "tessera/ops/choose.h"

namespace tessera::ops {
namespace {

// What one thread copies in about the time that it takes to wake another.
constexpr std::int64_t kItemBytes = 64 << 10;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Lines of pieces: steps in bytes from piece to piece and from line to line.
struct Lines {
  std::int64_t lines;
  std::int64_t x_line;
  std::int64_t y_line;
  std::int64_t count;
  std::int64_t x_step;
  std::int64_t y_step;
};

// By value: bytes written through y could be those of a reference's sizes, which would be read anew for every piece.
template <std::int64_t kBytes>
void copy_pieces(const std::byte* x, std::byte* y, const Lines l) {
  for (std::int64_t line = 0; line < l.lines; ++line, x += l.x_line, y += l.y_line)
    for (std::int64_t i = 0; i < l.count; ++i) std::memcpy(y + i * l.y_step, x + i * l.x_step, kBytes);
}

template <class T>
void fill(const std::byte* x, std::byte* y, std::int64_t count) {
  T value;
  std::memcpy(&value, x, sizeof value);
  for (std::int64_t i = 0; i < count; ++i) std::memcpy(y + i * static_cast<std::int64_t>(sizeof value), &value, sizeof value);
}

/// What is there once is copied behind itself, twice as much each time.
void fill_pieces(const std::byte* x, std::byte* y, std::int64_t count, std::int64_t bytes) {
  std::memcpy(y, x, static_cast<std::size_t>(bytes));
  for (std::int64_t done = 1; done < count;) {
    const std::int64_t more = std::min(done, count - done);
    std::memcpy(y + done * bytes, y, static_cast<std::size_t>(more * bytes));
    done += more;
  }
}

/// Pieces of `bytes` each. The sizes that elements, pairs, pictures and small heads have are known to the compiler.
void copy_lines(const std::byte* x, std::byte* y, const Lines& l, std::int64_t bytes) {
  constexpr std::int64_t kLong = 16;
  if (l.x_step == 0 && l.y_step == bytes && l.count >= kLong) {
    for (std::int64_t line = 0; line < l.lines; ++line, x += l.x_line, y += l.y_line) switch (bytes) {
        case 1: fill<std::uint8_t>(x, y, l.count); break;
        case 2: fill<std::uint16_t>(x, y, l.count); break;
        case 4: fill<std::uint32_t>(x, y, l.count); break;
        default: fill_pieces(x, y, l.count, bytes);
      }
    return;
  }
  switch (bytes) {
    case 1: return copy_pieces<1>(x, y, l);
    case 2: return copy_pieces<2>(x, y, l);
    case 3: return copy_pieces<3>(x, y, l);
    case 4: return copy_pieces<4>(x, y, l);
    case 6: return copy_pieces<6>(x, y, l);
    case 8: return copy_pieces<8>(x, y, l);
    case 12: return copy_pieces<12>(x, y, l);
    case 16: return copy_pieces<16>(x, y, l);
    case 24: return copy_pieces<24>(x, y, l);
    case 32: return copy_pieces<32>(x, y, l);
    case 48: return copy_pieces<48>(x, y, l);
    case 64: return copy_pieces<64>(x, y, l);
    case 128: return copy_pieces<128>(x, y, l);
    default: break;
  }
  for (std::int64_t line = 0; line < l.lines; ++line, x += l.x_line, y += l.y_line)
    for (std::int64_t i = 0; i < l.count; ++i) std::memcpy(y + i * l.y_step, x + i * l.x_step, static_cast<std::size_t>(bytes));
}

/// The box folded: dimensions of 1 left out, neighbours that are one dimension in both tensors joined. Steps in bytes.
struct Box {
  std::size_t rank = 0;
  std::array<std::int64_t, StridedCopy::kMost> size{};
  std::array<std::int64_t, StridedCopy::kMost> x_step{};
  std::array<std::int64_t, StridedCopy::kMost> y_step{};
  std::int64_t piece = 0;  // bytes that lie together in both, in the middle of it all

  explicit Box(const StridedCopy& c) : piece(c.element) {
    for (std::size_t i = 0; i < c.rank; ++i) {
      if (c.size[i] == 1) continue;
      const std::int64_t xs = c.x_step[i] * c.element;
      const std::int64_t ys = c.y_step[i] * c.element;
      if (rank > 0 && x_step[rank - 1] == xs * c.size[i] && y_step[rank - 1] == ys * c.size[i]) {
        size[rank - 1] *= c.size[i];
        x_step[rank - 1] = xs;
        y_step[rank - 1] = ys;
        continue;
      }
      size[rank] = c.size[i];
      x_step[rank] = xs;
      y_step[rank] = ys;
      ++rank;
    }
    if (rank > 0 && x_step[rank - 1] == piece && y_step[rank - 1] == piece) {
      --rank;
      piece *= size[rank];
    }
  }
  std::int64_t pieces() const {
    std::int64_t n = 1;
    for (std::size_t i = 0; i < rank; ++i) n *= size[i];
    return n;
  }
  void drop(std::size_t dim) {
    --rank;
    for (std::size_t i = dim; i < rank; ++i) {
      size[i] = size[i + 1];
      x_step[i] = x_step[i + 1];
      y_step[i] = y_step[i + 1];
    }
  }
};

/// Where piece `flat` of the first `rank` dimensions lies, stepping from piece to piece.
struct Walk {
  std::array<std::int64_t, StridedCopy::kMost> index{};
  std::int64_t x = 0;
  std::int64_t y = 0;

  Walk(const Box& b, std::size_t rank, std::int64_t flat) {
    for (std::size_t i = rank; i-- > 0;) {
      index[i] = flat % b.size[i];
      flat /= b.size[i];
      x += index[i] * b.x_step[i];
      y += index[i] * b.y_step[i];
    }
  }
  void next(const Box& b, std::size_t rank) {
    for (std::size_t i = rank; i-- > 0;) {
      x += b.x_step[i];
      y += b.y_step[i];
      if (++index[i] < b.size[i]) return;
      x -= b.size[i] * b.x_step[i];
      y -= b.size[i] * b.y_step[i];
      index[i] = 0;
    }
  }
};

/// Long pieces, cut where one alone is too much for a thread.
void copy_long(Context& ctx, const Box& b, const std::byte* x, std::byte* y) {
  const std::int64_t parts = ceil_div(b.piece, kItemBytes);
  ctx.pool().parallel_for(b.pieces() * parts, [&](std::int64_t item, int) {
    const Walk at(b, b.rank, item / parts);
    const std::int64_t from = item % parts * kItemBytes;
    std::memcpy(y + at.y + from, x + at.x + from, static_cast<std::size_t>(std::min(kItemBytes, b.piece - from)));
  });
}

/// Short ones: the last dimension makes lines, the one before it stacks of lines. Items are lines, or parts of long ones.
void copy_short(Context& ctx, const Box& b, const std::byte* x, std::byte* y) {
  const std::size_t last = b.rank - 1;
  const std::int64_t length = b.size[last];
  const std::int64_t part = std::min(length, std::max<std::int64_t>(1, kItemBytes / b.piece));
  const std::int64_t parts = ceil_div(length, part);
  if (parts > 1 || b.rank == 1) {
    ctx.pool().parallel_for(b.pieces() / length * parts, [&](std::int64_t item, int) {
      const Walk at(b, last, item / parts);
      const std::int64_t first = item % parts * part;
      copy_lines(x + at.x + first * b.x_step[last], y + at.y + first * b.y_step[last],
                 {1, 0, 0, std::min(part, length - first), b.x_step[last], b.y_step[last]}, b.piece);
    });
    return;
  }
  const std::size_t outer = last - 1;
  const std::int64_t lines = b.pieces() / length;
  const std::int64_t grain = std::max<std::int64_t>(1, kItemBytes / (length * b.piece));
  ctx.pool().parallel_for(ceil_div(lines, grain), [&](std::int64_t item, int) {
    const std::int64_t end = std::min(lines, (item + 1) * grain);
    std::int64_t line = item * grain;
    Walk at(b, outer, line / b.size[outer]);
    std::int64_t first = line % b.size[outer];
    while (line < end) {
      const std::int64_t count = std::min(b.size[outer] - first, end - line);
      copy_lines(x + at.x + first * b.x_step[outer], y + at.y + first * b.y_step[outer],
                 {count, b.x_step[outer], b.y_step[outer], length, b.x_step[last], b.y_step[last]}, b.piece);
      line += count;
      first = 0;
      at.next(b, outer);
    }
  });
}

/// A transposition: pieces are neighbours in y along the last dimension and in x along `dim`.
void copy_across(Context& ctx, Box b, std::size_t dim, const std::byte* x, std::byte* y) {
  const auto& row = choose(ctx, "transpose", kernels::transpose_rows());
  const auto transpose = b.piece == 1 ? row.functions.bytes1 : b.piece == 2 ? row.functions.bytes2 : row.functions.bytes4;
  const std::int64_t rows = b.size[b.rank - 1];
  const std::int64_t x_stride = b.x_step[b.rank - 1];
  const std::int64_t cols = b.size[dim];
  const std::int64_t y_stride = b.y_step[dim];
  b.drop(b.rank - 1);
  b.drop(dim);
  // Parts of whole cache lines each way; of small matrices several at once.
  constexpr std::int64_t kMostRows = 1024;
  const std::int64_t high = std::min(rows, kMostRows);
  const std::int64_t wide = std::min(cols, std::max<std::int64_t>(64, kItemBytes / (high * b.piece) / 64 * 64));
  const std::int64_t down = ceil_div(rows, high);
  const std::int64_t across = ceil_div(cols, wide);
  const std::int64_t parts = b.pieces() * down * across;
  const std::int64_t grain = std::max<std::int64_t>(1, kItemBytes / (high * wide * b.piece));
  ctx.pool().parallel_for(ceil_div(parts, grain), [&](std::int64_t item, int) {
    for (std::int64_t part = item * grain; part < std::min(parts, (item + 1) * grain); ++part) {
      const Walk at(b, b.rank, part / (down * across));
      const std::int64_t r = part / across % down * high;
      const std::int64_t c = part % across * wide;
      transpose(x + at.x + r * x_stride + c * b.piece, x_stride, std::min(high, rows - r), std::min(wide, cols - c),
                y + at.y + c * y_stride + r * b.piece, y_stride);
    }
  });
}

}  // namespace

std::array<std::int64_t, Shape::kMaxRank> steps_of(const Tensor& t) noexcept {
  std::array<std::int64_t, Shape::kMaxRank> steps{};
  const auto sizes = t.shape().sizes();
  std::int64_t step = 1;
  for (std::size_t i = sizes.size(); i-- > 0;) {
    steps[i] = step;
    step = i + 1 == sizes.size() ? t.row_stride() : step * sizes[i];
  }
  return steps;
}

void strided_copy(Context& ctx, StridedCopy copy) {
  for (std::size_t i = 0; i < copy.rank; ++i)
    if (copy.size[i] == 0) return;
  const auto* x = static_cast<const std::byte*>(copy.x);
  auto* y = static_cast<std::byte*>(copy.y);
  const Box box(copy);
  if (box.rank == 0 || box.piece >= kItemBytes) return copy_long(ctx, box, x, y);
  const std::size_t last = box.rank - 1;
  constexpr std::int64_t kFewest = 16;  // elements of a matrix that is worth a call of its own
  if (box.y_step[last] == box.piece && box.x_step[last] != 0 && (box.piece == 1 || box.piece == 2 || box.piece == 4))
    for (std::size_t dim = 0; dim < last; ++dim)
      if (box.x_step[dim] == box.piece && box.size[dim] * box.size[last] >= kFewest) return copy_across(ctx, box, dim, x, y);
  copy_short(ctx, box, x, y);
}

}  // namespace tessera::ops
