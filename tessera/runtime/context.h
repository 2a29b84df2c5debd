// Where and when work runs: the thread pool, the workspace, the profiler and the instruction sets that ops may use. Passed first to
// every op; there is no global one. One context serves one caller at a time. Test: tests/runtime/context_test.cpp.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/device/cpu.h"
#include "tessera/runtime/profiler.h"
#include "tessera/runtime/thread_pool.h"
#include "tessera/runtime/workspace.h"

namespace tessera::runtime {

struct ContextOptions {
  /// 0: TESSERA_THREADS if set, else one thread per core that this process may use.
  int threads = 0;
  /// Highest instruction set to use; empty: TESSERA_ISA if set, else the best that the machine has. May only lower: asking for more than
  /// the machine can run is an Error.
  std::string isa;
};

class Context {
 public:
  explicit Context(const ContextOptions& options = {});

  ThreadPool& pool() noexcept { return pool_; }
  /// Temporaries of the calling thread.
  Workspace& workspace() noexcept { return *workspaces_[0]; }
  /// Scratch of pool thread `thread`, for use inside parallel_for (thread 0's is distinct from workspace()).
  Workspace& scratch(int thread) noexcept { return *workspaces_[static_cast<std::size_t>(thread) + 1]; }
  Profiler& profiler() noexcept { return profiler_; }
  int threads() const noexcept { return pool_.threads(); }

  /// Calls fn(alone, item) once for every item in [0, items): whole items go to threads, and `alone` is a context of one thread for all of
  /// an item's ops, with this one's instruction sets and forced rows. For independent items of many ops each, such as the pictures of a
  /// batch: no op waits for the other threads. `fn` uses `alone` only, not this context. Each keeps workspaces of its own, so temporaries
  /// take the memory of as many items as there are threads. An exception that fn throws (of several the first in time) is thrown here once
  /// all threads have stopped. The profiler of this context sees nothing of the items when there are several threads.
  template <class Fn>
  void each_alone(std::int64_t items, Fn&& fn) {
    if (alone_.empty()) {
      for (std::int64_t i = 0; i < items; ++i) fn(*this, i);
      return;
    }
    // Every context begins with an item of its own, whichever thread that is, so that a second call finds all workspaces grown.
    const auto contexts = std::min(items, static_cast<std::int64_t>(alone_.size()));
    std::atomic<std::int64_t> next{contexts};
    std::atomic<bool> failed{false};
    std::exception_ptr error;
    pool_.parallel_for(contexts, [&](std::int64_t context, int) {
      try {
        for (std::int64_t i = context; i < items && !failed.load(std::memory_order_relaxed); i = next.fetch_add(1, std::memory_order_relaxed))
          fn(*alone_[static_cast<std::size_t>(context)], i);
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
      }
    });
    if (error) std::rethrow_exception(error);
  }

  /// May a kernel row that needs `isa` be used here? True when the machine can run it and the cap allows it.
  bool allows(device::Isa isa) const noexcept;
  /// The cap ("avx2"), or the best level of the machine.
  device::Isa isa() const noexcept { return cap_; }

  /// Forces the kernel family ("linear") to use the row of that name; an empty row lifts it. Ops throw Error when the row does not exist,
  /// is not runnable here or cannot serve the call: a forced row is never replaced silently.
  void force(std::string_view family, std::string_view row);
  /// The forced row of a family; empty when none. Does not allocate.
  std::string_view forced(std::string_view family) const noexcept;

 private:
  device::Isa cap_;
  ThreadPool pool_;
  std::vector<std::unique_ptr<Workspace>> workspaces_;
  std::vector<std::unique_ptr<Context>> alone_;  // one of one thread for each thread; none where there is but one
  Profiler profiler_;
  std::vector<std::pair<std::string, std::string>> forced_;
};

}  // namespace tessera::runtime

namespace tessera {
using runtime::Context;
using runtime::ContextOptions;
}  // namespace tessera
