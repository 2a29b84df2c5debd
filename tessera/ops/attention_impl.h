// Attention over operands with any strides, shared by attention and sdpa. Private to ops (not installed). Test: tests/ops/attention_test.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/core/tensor.h"
#include "tessera/kernels/attention/attention.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

/// Elements [batch][head][token][head_dim], the last ones side by side; strides in elements. Of y it is written to.
struct AttentionOperand {
  const void* data = nullptr;
  DType dtype = DType::f32;
  std::int64_t batch = 0;
  std::int64_t head = 0;
  std::int64_t token = 0;
};

struct AttentionSegment {
  AttentionOperand k;
  AttentionOperand v;
  std::int64_t tokens = 0;
};

struct AttentionCall {
  const kernels::AttentionFunctions* functions = nullptr;
  std::int64_t batch = 1;
  std::int64_t tokens = 0;
  std::int64_t heads = 1;
  std::int64_t kv_heads = 1;
  std::int64_t head_dim = 0;
  float scale = 1;
  AttentionOperand q;
  AttentionOperand y;
  std::span<const AttentionSegment> segments;
  const std::uint8_t* may_see = nullptr;  // [tokens, keys], or null
  std::int64_t may_see_stride = 0;
  const float* added = nullptr;  // [batch][heads][tokens, keys], or null; strides of 0: the same for all
  std::int64_t added_batch = 0;
  std::int64_t added_head = 0;
  std::int64_t added_stride = 0;
  const float* sinks = nullptr;  // [heads], or null
};

/// Everything has been checked, and there is something to write. Opens no zone.
void run_attention(Context& ctx, const AttentionCall& call);

}  // namespace tessera::ops
