// What a Pi0 and a PrefixCache hold inside. Private to models (not installed). Test: tests/models/pi0_test.cpp.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "tessera/models/blocks/gemma.h"
#include "tessera/models/blocks/siglip.h"
#include "tessera/models/pi0/conditioning.h"
#include "tessera/models/pi0/pi0.h"

namespace tessera::models {

struct PrefixCache::Impl {
  // Written by encode_images.
  Tensor image_buffer;               // f32 [capacity, width]: projected features, picture after picture
  std::vector<std::size_t> present;  // camera slots, in order
  std::vector<Tensor> pictures;      // empty between calls
  std::int64_t image_rows = 0;

  // Written by encode_prefix.
  std::int64_t tokens = 0;
  std::vector<Tensor> kv;   // per layer, f32 [capacity, 2 kv_width]: keys after RoPE, values
  ops::RopeTable rope;      // positions 0 to capacity + suffix
  std::int64_t suffix = 0;  // positions that the table has beyond the capacity

  Tensor image_embs() const { return image_buffer.narrow(0, image_rows); }
  Tensor layer(std::size_t l) const { return kv[l].narrow(0, tokens); }
  ops::RopeTable positions(std::int64_t start, std::int64_t count) const { return {rope.cos.narrow(start, count), rope.sin.narrow(start, count)}; }
};

struct Pi0::Impl {
  Pi0Config config;
  Precision precision = Precision::f32;
  std::shared_ptr<const WeightSource> source;
  std::size_t bytes = 0;
  std::vector<Int8Exception> exceptions;

  Siglip siglip;
  Tensor token_table;  // where the source has it
  float embed_scale = 1;
  std::vector<GemmaBlock> vlm;
  std::vector<GemmaBlock> expert;
  ops::RmsNorm expert_norm;
  ops::PreparedLinear state_in;    // pi0
  ops::PreparedLinear action_in;   // pi0: folded with the action half of action_time_mlp_in
  ops::PreparedLinear action_mlp;  // pi0: action_time_mlp_out
  ops::PreparedLinear action_out;
  TimeMlp time;

  /// The conditioning of a schedule: made on first use, then shared by all callers and threads.
  std::shared_ptr<const Conditioning> conditioning(Context& ctx, int steps, TimeSchedule schedule) const;

  mutable std::mutex mutex;
  mutable std::vector<std::shared_ptr<const Conditioning>> conditionings;
};

}  // namespace tessera::models
