// pi0 and pi0.5: from pictures, prompt tokens and state to a chunk of normalised actions by flow matching. Knows ops and weights; knows
// nothing of files, tokenizers or robots. Test: tests/models/pi0_test.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "tessera/core/tensor.h"
#include "tessera/models/pi0/config.h"
#include "tessera/models/weights.h"
#include "tessera/runtime/context.h"

namespace tessera::models {

/// Called with intermediate results, named as in the recordings: "vision.0", "image_embs.0", "prefix_embs", "cache.3.k", "x_t.2", "v_t.2",
/// "suffix_embs.2", "adarms_cond.2", "actions". Tensors live only during the call. Masked cameras and padded tokens do not occur in them: the
/// index of "vision.i" is the camera slot, prefix rows are those of the present cameras and real tokens in order. Rows may be strided.
using Tap = std::function<void(std::string_view stage, const Tensor& value)>;

struct Pi0Inputs {
  /// One per camera slot, in the model's order: f32 [3, image, image] in [-1, 1]; undefined when the camera is absent (masked).
  std::vector<Tensor> images;
  /// Real prompt tokens only, no padding.
  std::vector<std::int32_t> tokens;
  /// f32 [state_dim], normalised and zero-padded; undefined for pi0.5.
  Tensor state;
};

enum class RtcMode : std::uint8_t { guided, trained };
enum class RtcSchedule : std::uint8_t { linear, exp, ones, zeros };

/// Real-time chunking as LeRobot does it: pulls the new chunk towards the unexecuted tail of the previous one.
struct RealTimeChunking {
  RtcMode mode = RtcMode::guided;
  RtcSchedule schedule = RtcSchedule::linear;
  Tensor previous;          // f32 [rows <= chunk, <= action_dim], normalised; undefined: plain steps
  int inference_delay = 0;  // actions that will have been executed when this chunk arrives
  int execution_horizon = 10;
  float max_guidance_weight = 10.0f;
};
/// Weight of every action index, f32 [chunk] (LeRobot's get_prefix_weights).
std::vector<float> rtc_weights(RtcSchedule schedule, int inference_delay, int execution_horizon, std::int64_t chunk);

struct SampleOptions {
  int steps = 0;                         // 0: the config's
  std::optional<TimeSchedule> schedule;  // nothing: the config's
  std::optional<RealTimeChunking> rtc;
};

class PrefixCache;
/// One of several observations whose actions are found together.
struct Denoising {
  const PrefixCache* prefix = nullptr;
  Tensor state;    // as Pi0Inputs::state
  Tensor noise;    // f32 [chunk, action_dim]
  Tensor actions;  // as noise, contiguous; written
};

/// Keys and values of the prefix, kept between calls by the caller; buffers are reused, so a second encode allocates nothing.
class PrefixCache {
 public:
  PrefixCache();
  ~PrefixCache();
  PrefixCache(PrefixCache&&) noexcept;
  PrefixCache& operator=(PrefixCache&&) noexcept;
  /// Prefix tokens held; 0 when empty.
  std::int64_t tokens() const noexcept;

  struct Impl;

 private:
  friend class Pi0;
  std::unique_ptr<Impl> impl_;
};

class Pi0 {
 public:
  /// Reads, converts and packs every weight once; the token table stays where it is (mapped). Throws Error with the complete list of missing
  /// and misshapen tensors. The context's instruction-set cap decides the packing.
  static Pi0 load(Context& ctx, std::shared_ptr<const WeightSource> source, const Pi0Config& config, Precision precision,
                  const Progress& progress = {});
  ~Pi0();
  Pi0(Pi0&&) noexcept;
  Pi0& operator=(Pi0&&) noexcept;

  const Pi0Config& config() const noexcept;
  Precision precision() const noexcept;
  /// In int8: matrices that are kept in bf16 by kMostInt8Error, and those that share a product with one, in order of use.
  const std::vector<Int8Exception>& int8_exceptions() const noexcept;
  /// Bytes of packed weights and tables held in memory (the mapped token table not counted).
  std::size_t weight_bytes() const noexcept;

  /// SigLIP over the present cameras, projection, prompt embedding, Gemma prefix; fills the cache. Throws Error on wrong sizes, an id
  /// outside the vocabulary, no present camera, or too many tokens. After the first call it does not allocate.
  /// Two halves, so that a caller can time or reuse them: encode_images() then encode_prefix().
  void encode_images(Context& ctx, const Pi0Inputs& inputs, PrefixCache& cache, const Tap& tap = {}) const;
  void encode_prefix(Context& ctx, const Pi0Inputs& inputs, PrefixCache& cache, const Tap& tap = {}) const;

  /// Euler steps from `noise` (f32 [chunk, action_dim], t = 1) to actions (same shape, t = 0), reading the prefix cache. After the
  /// first call with the same number of steps it does not allocate.
  void denoise(Context& ctx, const PrefixCache& cache, const Pi0Inputs& inputs, const Tensor& noise, const SampleOptions& options, Tensor& actions,
               const Tap& tap = {}) const;

  /// The same for several observations at once, at most 16: every step reads the weights once for all of them. Each gets the bits that it would get
  /// alone. Real-time chunking works on one observation at a time: options.rtc is an Error here.
  void denoise(Context& ctx, std::span<Denoising> batch, const SampleOptions& options) const;

  struct Impl;

 private:
  Pi0();
  std::unique_ptr<Impl> impl_;
};

/// What Pi0::load(.., Precision::int8) would keep in bf16, found without packing anything. Reads every matrix.
std::vector<Int8Exception> int8_exceptions(Context& ctx, const WeightSource& source, const Pi0Config& config);

/// Standard normal f32 [chunk, action_dim] from a seed: PCG64 + Box-Muller, the same on every machine.
Tensor make_noise(const Pi0Config& config, std::uint64_t seed);

/// Random weights of any size for measuring: canonical names, matrices near N(0, 1/fan_in), norms near identity, generated when loaded and
/// never kept, so that memory shows what a real model would take. Of the token table only the first 4096 rows are filled; the rest are zero
/// and take no memory. `stored`: f32 or bf16.
std::shared_ptr<const WeightSource> random_weights(const Pi0Config& config, std::uint64_t seed, DType stored = DType::bf16);

}  // namespace tessera::models
