// Memory for temporaries: a stack of bytes that grows during the first call and is reused without allocating afterwards.
// May not be shared between threads. Test: tests/runtime/workspace_test.cpp.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "tessera/core/tensor.h"

namespace tessera::runtime {

class Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  /// Everything taken through a Scope is given back when it ends. Scopes nest like blocks of code.
  class Scope {
   public:
    explicit Scope(Workspace& workspace);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

    /// Uninitialised, 64-byte aligned; valid until this scope ends.
    void* bytes(std::size_t count);
    template <class T>
    T* array(std::int64_t count) {
      return static_cast<T*>(bytes(static_cast<std::size_t>(count) * sizeof(T)));
    }
    /// A row-major tensor over workspace memory; must not outlive this scope.
    Tensor tensor(const Shape& shape, DType dtype);

   private:
    Workspace& workspace_;
    std::size_t block_;
    std::size_t used_;
  };

  /// Most bytes ever in use at once.
  std::size_t high_water() const noexcept { return high_water_; }
  /// Bytes held from the system.
  std::size_t reserved() const noexcept;

 private:
  void* take(std::size_t bytes);
  void release(std::size_t block, std::size_t used);

  struct Block;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::size_t current_ = 0;  // block that is being filled
  std::size_t used_ = 0;     // bytes used in it
  std::size_t before_ = 0;   // bytes used in the blocks before it
  std::size_t high_water_ = 0;
  int scopes_ = 0;
};

}  // namespace tessera::runtime
