#include "tessera/runtime/workspace.h"

#include <algorithm>

#include "tessera/core/error.h"
#include "tessera/core/memory.h"

namespace tessera::runtime {
namespace {
constexpr std::size_t kAlignment = 64;
constexpr std::size_t kFirstBlock = std::size_t{1} << 20;
constexpr std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }
}  // namespace

struct Workspace::Block {
  explicit Block(std::size_t bytes) : size(bytes), memory(allocate_bytes(bytes)), data(memory.get()) {
    if (data == nullptr) fail("workspace", "no memory for " + std::to_string(bytes) + " bytes");
  }

  std::size_t size;
  std::shared_ptr<std::byte> memory;
  std::byte* data;
};

Workspace::Workspace() = default;
Workspace::~Workspace() = default;

std::size_t Workspace::reserved() const noexcept {
  std::size_t total = 0;
  for (const auto& block : blocks_) total += block->size;
  return total;
}

void* Workspace::take(std::size_t bytes) {
  bytes = round_up(std::max<std::size_t>(bytes, 1), kAlignment);
  while (current_ < blocks_.size() && blocks_[current_]->size - used_ < bytes) {
    before_ += used_;
    used_ = 0;
    ++current_;
  }
  if (current_ == blocks_.size()) {
    const std::size_t last = blocks_.empty() ? kFirstBlock : blocks_.back()->size;
    blocks_.push_back(std::make_unique<Block>(std::max(bytes, last)));
  }
  void* p = blocks_[current_]->data + used_;
  used_ += bytes;
  high_water_ = std::max(high_water_, before_ + used_);
  return p;
}

void Workspace::release(std::size_t block, std::size_t used) {
  current_ = block;
  used_ = used;
  before_ = 0;
  // Bytes before the current block: an upper bound that only feeds high_water().
  for (std::size_t i = 0; i < current_ && i < blocks_.size(); ++i) before_ += blocks_[i]->size;
  if (scopes_ == 0 && blocks_.size() > 1) {
    // The first call found out how much is needed: one block of that size serves every later call without growing.
    const std::size_t need = reserved();
    blocks_.clear();
    blocks_.push_back(std::make_unique<Block>(need));
    current_ = 0;
    used_ = 0;
    before_ = 0;
  }
}

Workspace::Scope::Scope(Workspace& workspace) : workspace_(workspace), block_(workspace.current_), used_(workspace.used_) { ++workspace_.scopes_; }

Workspace::Scope::~Scope() {
  --workspace_.scopes_;
  workspace_.release(block_, used_);
}

void* Workspace::Scope::bytes(std::size_t count) { return workspace_.take(count); }

Tensor Workspace::Scope::tensor(const Shape& shape, DType dtype) {
  return Tensor::borrow(bytes(static_cast<std::size_t>(shape.numel()) * size_of(dtype)), shape, dtype);
}

}  // namespace tessera::runtime
