// Convolution of every channel by itself (groups = input channels): a sliding window, f32 or bf16 in and out, f32 sums, bias and activation
// fused. nhwc: vectors over channels; nchw: vectors along rows. One thread per call. Test: tests/kernels/depthwise_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tessera/core/dtype.h"
#include "tessera/kernels/table.h"

namespace tessera::kernels {

enum class DepthwiseActivation : std::uint8_t { none, relu, relu6, silu, gelu, hardswish };

struct DepthwiseShape {
  std::int64_t h, w;    // of an input plane
  std::int64_t ho, wo;  // of an output plane
  std::int64_t c;       // input channels
  std::int64_t m;       // outputs of every input channel; output channel o belongs to input channel o / m
  std::int64_t kh, kw;  // kernel
  std::int64_t sh, sw;  // stride
  std::int64_t dh, dw;  // dilation
  std::int64_t top, left;
};

/// Output rows [row_first, row_last) of a stretch of channels. The sum of an output starts with the bias and takes the taps in the order
/// (row, column), whatever the stretch, so that results do not depend on how the work is split.
struct DepthwiseCall {
  DepthwiseShape s;
  const void* x;         // nhwc: one picture; nchw: all of them
  void* y;               // likewise
  const void* residual;  // of y's shape, added after the activation; or null; may be y
  bool x_bf16, y_bf16, residual_bf16;
  // Non-temporal stores: f32 and nhwc only; y, its pixels and both ends of a block of channels on boundaries of 64 bytes. Rows whose vectors
  // are shorter than half of that store as always.
  bool stream;
  DepthwiseActivation activation;
  const float* weights;  // depthwise_pack()
  std::int64_t row_first, row_last;
  std::int64_t part_first, part_last;  // nhwc: input channels, part_first a multiple of 2 * lanes; nchw: input planes, through all pictures
  float* scratch;                      // nchw: nchw_scratch() floats
};

struct DepthwiseFunctions {
  std::int64_t lanes;  // channels of a packed panel
  void (*nhwc)(const DepthwiseCall& call) noexcept;
  void (*nchw)(const DepthwiseCall& call) noexcept;
  /// Output rows that nchw() had best be given at once.
  std::int64_t (*nchw_band)(const DepthwiseShape& shape) noexcept;
  /// Floats that nchw() needs for `rows` output rows at once.
  std::int64_t (*nchw_scratch)(const DepthwiseShape& shape, std::int64_t rows) noexcept;
};

/// Floats that depthwise_pack() writes for a row of `lanes` channels a panel.
std::int64_t depthwise_packed(const DepthwiseShape& shape, std::int64_t lanes, bool nhwc) noexcept;

/// Packs weights [c * m][kh][kw] and biases [c * m] (or null). A panel is [1 + taps][lanes], the bias first, padded with zeros behind the last
/// channel. nhwc: panels [c / lanes][m]; then, for bf16 and m = 1, pairs of panels with the even channels of 2 * lanes in the first one and
/// the odd ones in the second. nchw: [c * m][1 + taps]; then, for m = 1, panels. NaN are replaced by the default one, so that bf16 results can
/// be rounded by adding.
void depthwise_pack(const DepthwiseShape& shape, std::int64_t lanes, bool nhwc, const float* weights, const float* bias, float* packed) noexcept;

std::span<const Row<DepthwiseFunctions>> depthwise_rows();

}  // namespace tessera::kernels
