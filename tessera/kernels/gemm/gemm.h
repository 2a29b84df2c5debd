// Matrix product with packed operands: C = A W^T into f32 scratch, then an epilogue over the cache-hot scratch. One thread per call.
// Every element of C is one sequential chain over k, whatever the blocking, so that results do not depend on how the work is split. int8: sums are
// whole numbers, scaled once at the end, so that all rows agree to the bit.
// Test: tests/kernels/gemm_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tessera/core/dtype.h"
#include "tessera/kernels/table.h"

namespace tessera::kernels {

/// First row of tile `tile` when `m` rows are dealt to `tiles` tiles as evenly as can be (51 rows in 5 tiles: 10, 10, 10, 10, 11).
constexpr std::int64_t gemm_tile_row(std::int64_t tile, std::int64_t m, std::int64_t tiles) { return tile * m / tiles; }

/// Tiles [first_tile, last_tile) of packed A times `panels` panels of packed W.
struct GemmBlock {
  const std::byte* a;  // tile first_tile
  const std::byte* w;  // first panel
  std::int64_t m;      // rows of the whole product and the tiles that they are dealt to
  std::int64_t tiles;
  std::int64_t first_tile;
  std::int64_t last_tile;
  std::int64_t panels;
  std::int64_t k;
  float* c;            // [panels][last_tile - first_tile][tile_rows][panel_columns]; rows beyond a tile's height hold nothing
  std::byte* scratch;  // GemmFunctions::scratch_bytes
};

enum class GemmActivation : std::uint8_t { none, gelu_tanh, silu, relu, relu6, hardswish, gelu };

/// y = residual + gate * act(c + bias) for `rows` rows of one tile; gated pairs: act(c_even + bias_even) * (c_odd + bias_odd), where panel
/// 2j holds the gate half and panel 2j + 1 the up half of the same columns. Pointers are those of the first row and column of the stretch.
struct GemmEpilogue {
  const float* c;               // [panels] at c_panel_stride, each [rows][panel_columns]
  std::int64_t c_panel_stride;  // floats
  std::int64_t panel_columns;   // a multiple of 2
  std::int64_t rows;
  std::int64_t columns;      // of y; the last panel (pair) may be wider
  const float* bias;         // in the order of the panels' columns, or null
  const float* gate;         // or null
  std::int64_t gate_stride;  // floats between rows; 0: one row for all
  const void* residual;      // float or bf16, or null; may be y
  std::int64_t residual_stride;
  bool residual_bf16;
  void* y;  // float or bf16
  std::int64_t y_stride;
  bool y_bf16;
  bool gated;
  GemmActivation activation;
};

/// Rows [row_first, row_last) of x times panels [panel_first, panel_last), and the epilogue, in one pass over x as it lies.
struct GemmDirect {
  const void* x;  // row 0
  DType x_dtype;
  std::int64_t x_stride;  // elements
  std::int64_t row_first, row_last;
  const std::byte* w;  // panel 0
  std::int64_t panel_first, panel_last;
  std::int64_t k;
  GemmEpilogue epilogue;                                  // row 0 and column 0 of everything; columns: all of y; c and rows are not looked at
  void (*finish)(const GemmEpilogue& epilogue) noexcept;  // GemmFunctions::epilogue
  std::byte* scratch;                                     // direct_scratch(k), aligned to 64
};

struct GemmFunctions {
  DType weights;               // f32, bf16 or i8: what is multiplied; A is rounded to the same (i8: each row and each column has a scale)
  std::int64_t tile_rows;      // most rows of a tile of A
  std::int64_t panel_columns;  // columns (rows of the weight) of a panel of W
  std::int64_t block_rows;     // rows of A that suit the caches in one call of block()
  std::int64_t block_columns;  // columns of one call of block(), likewise: its sums and A block share L2
  std::int64_t item_columns;   // columns that one thread takes before it turns to other rows; a multiple of block_columns

  /// Bytes of one packed tile, of one packed panel (multiples of 64), and of the scratch of block().
  std::size_t (*tile_bytes)(std::int64_t k) noexcept;
  std::size_t (*panel_bytes)(std::int64_t k) noexcept;
  std::size_t scratch_bytes;

  /// `rows` rows of x (f32 or bf16), `stride` elements apart, into one tile.
  void (*pack_a)(const void* x, DType dtype, std::int64_t stride, std::int64_t rows, std::int64_t k, std::byte* tile) noexcept;
  /// `columns` rows of a weight (f32, bf16 or f16) of k elements each, one after the other, into columns [first, first + columns) of a
  /// panel. Columns that are never written must be zeroed by the caller.
  void (*pack_w)(const void* w, DType dtype, std::int64_t first, std::int64_t columns, std::int64_t k, std::byte* panel) noexcept;
  /// A panel of a weight that lies the other way: k rows of `columns` elements (f32, bf16 or f16), `stride` elements apart. Writes the whole panel,
  /// zeros where nothing is. Rows from k0 on, a multiple of 32, may have a call of their own: they stand at panel + panel_bytes(k0). Null for int8.
  void (*pack_rows)(const void* w, DType dtype, std::int64_t stride, std::int64_t columns, std::int64_t k, std::byte* panel) noexcept;
  void (*block)(const GemmBlock& block) noexcept;
  void (*epilogue)(const GemmEpilogue& epilogue) noexcept;
  /// Or null. Ungated panels only; the same bits as block() and epilogue().
  void (*direct)(const GemmDirect& direct) noexcept;
  std::size_t (*direct_scratch)(std::int64_t k) noexcept;
};

/// Most k of an int8 row: 255 x 127 x k is still an int32.
constexpr std::int64_t kGemmMostInt8Depth = 65536;

/// Rows for bf16, f32 and int8 weights in one table, best first; the scalar rows stand last.
std::span<const Row<GemmFunctions>> gemm_rows();

/// The matrix-unit rows with their instructions emulated in plain C++, so that their packing, blocking and edges are tested on every
/// machine. Never chosen; `linear` uses one only when it is forced by name.
std::span<const Row<GemmFunctions>> gemm_emulated_rows();

}  // namespace tessera::kernels
