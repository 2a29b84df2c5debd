#include "tessera/runtime/profiler.h"

#include <chrono>

namespace tessera::runtime {
namespace {
std::int64_t now_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
}  // namespace

void Profiler::start(std::size_t zones) {
  records_.reserve(zones);
  on_ = true;
}

void Zone::begin(const char* op, const char* path, double flops, double bytes, bool bf16) noexcept {
  index_ = profiler_->records_.size();
  profiler_->records_.push_back({op, path, bf16, now_ns(), 0, flops, bytes, profiler_->depth_++});
}

void Zone::end() noexcept {
  profiler_->records_[index_].end_ns = now_ns();
  --profiler_->depth_;
}

}  // namespace tessera::runtime
