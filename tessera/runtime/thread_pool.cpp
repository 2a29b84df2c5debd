#include "tessera/runtime/thread_pool.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tessera/core/error.h"

namespace tessera::runtime {
namespace {

/// Rounds of yielding before a waiter goes to sleep. A sleep and a wake cost about 10 us; an op of the small models takes as long, so a
/// short wait is worth it, and yield() gives the core to whoever else wants it meanwhile.
constexpr int kYields = 64;

constexpr std::uint64_t kClosed = std::uint64_t{1} << 31;
constexpr std::uint64_t kActive = kClosed - 1;

}  // namespace

// One word, the gate, says which loop is on (upper half), whether it is closed to newcomers, and how many workers are inside. The caller
// closes it when no item is left and waits only for the workers that came in: one that is still asleep, or that the system runs
// elsewhere, costs nothing.
struct ThreadPool::State {
  alignas(64) std::atomic<std::int64_t> next{0};    // next item to hand out
  alignas(64) std::atomic<std::uint32_t> epoch{0};  // rises by one per loop: sleeping workers wait for it
  alignas(64) std::atomic<std::uint64_t> gate{kClosed};
  std::atomic<bool> quit{false};
  std::int64_t items = 0;
  Call call = nullptr;
  void* fn = nullptr;
  std::vector<std::thread> workers;

  void work(int thread) {
    for (;;) {
      const std::int64_t item = next.fetch_add(1, std::memory_order_relaxed);
      if (item >= items) return;
      call(fn, item, thread);
    }
  }

  bool enter(std::uint32_t loop) {
    std::uint64_t g = gate.load(std::memory_order_acquire);
    while ((g >> 32) == loop && (g & kClosed) == 0)
      if (gate.compare_exchange_weak(g, g + 1, std::memory_order_acq_rel, std::memory_order_acquire)) return true;
    return false;
  }

  void leave() {
    const std::uint64_t g = gate.fetch_sub(1, std::memory_order_acq_rel) - 1;
    if ((g & kClosed) != 0 && (g & kActive) == 0) gate.notify_one();
  }

  void worker(int thread) {
    std::uint32_t seen = 0;
    for (;;) {
      std::uint32_t loop = epoch.load(std::memory_order_acquire);
      for (int i = 0; loop == seen && i < kYields; ++i) {
        std::this_thread::yield();
        loop = epoch.load(std::memory_order_acquire);
      }
      while (loop == seen) {
        epoch.wait(seen, std::memory_order_acquire);
        loop = epoch.load(std::memory_order_acquire);
      }
      seen = loop;
      if (quit.load(std::memory_order_relaxed)) return;
      if (enter(loop)) {
        work(thread);
        leave();
      }
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads < 1 || threads > 1024) fail_expected("thread_pool", "1 to 1024 threads", std::to_string(threads));
  state_->workers.reserve(static_cast<std::size_t>(threads - 1));
  for (int t = 1; t < threads; ++t) state_->workers.emplace_back([this, t] { state_->worker(t); });
}

ThreadPool::~ThreadPool() {
  state_->quit.store(true, std::memory_order_relaxed);
  state_->epoch.fetch_add(1, std::memory_order_release);
  state_->epoch.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const noexcept { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::run(std::int64_t items, Call call, void* fn) {
  State& s = *state_;
  if (items <= 0) return;
  if (items == 1 || s.workers.empty()) {
    for (std::int64_t i = 0; i < items; ++i) call(fn, i, 0);
    return;
  }
  s.items = items;
  s.call = call;
  s.fn = fn;
  s.next.store(0, std::memory_order_relaxed);
  const std::uint32_t loop = s.epoch.load(std::memory_order_relaxed) + 1;
  s.gate.store(std::uint64_t{loop} << 32, std::memory_order_release);
  s.epoch.store(loop, std::memory_order_release);
  s.epoch.notify_all();
  s.work(0);
  std::uint64_t g = s.gate.fetch_or(kClosed, std::memory_order_acq_rel) | kClosed;
  for (int i = 0; (g & kActive) != 0 && i < kYields; ++i) {
    std::this_thread::yield();
    g = s.gate.load(std::memory_order_acquire);
  }
  while ((g & kActive) != 0) {
    s.gate.wait(g, std::memory_order_acquire);
    g = s.gate.load(std::memory_order_acquire);
  }
}

}  // namespace tessera::runtime
