// Splits loops over threads. Which thread runs which item is left open; what an item computes must not depend on it, so results are
// the same for any number of threads. Idle threads sleep: nobody spins a core away. Test: tests/runtime/thread_pool_test.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace tessera::runtime {

class ThreadPool {
 public:
  /// `threads` >= 1 counts the calling thread: ThreadPool(1) starts none. Throws Error on < 1 or > 1024.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const noexcept;

  /// Calls fn(item, thread) once for every item in [0, items), thread in [0, threads()). Returns when all are done. Items are handed
  /// out one by one in rising order, so make them few and of equal size (4 to 8 a thread). Does not allocate. `fn` must not throw and
  /// must not call parallel_for of the same pool. One caller at a time.
  template <class Fn>
  void parallel_for(std::int64_t items, Fn&& fn) {
    using F = std::remove_reference_t<Fn>;
    run(
        items, [](void* f, std::int64_t item, int thread) { (*static_cast<F*>(f))(item, thread); }, const_cast<void*>(static_cast<const void*>(&fn)));
  }

 private:
  using Call = void (*)(void*, std::int64_t, int);
  void run(std::int64_t items, Call call, void* fn);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tessera::runtime
