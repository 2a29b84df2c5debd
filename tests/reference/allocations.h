// Counts what operator new hands out, for tests that a second call allocates nothing. At most one source of a program includes it:
// it replaces the program's operator new and delete.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace tessera::reference {

inline std::atomic<long> allocation_count{0};
inline std::atomic<std::size_t> largest_allocation{0};

inline void* counted_or_null(std::size_t bytes, std::size_t alignment) noexcept {
  ++allocation_count;
  for (std::size_t most = largest_allocation; bytes > most && !largest_allocation.compare_exchange_weak(most, bytes);) continue;
  void* p = nullptr;
  return posix_memalign(&p, alignment < sizeof(void*) ? sizeof(void*) : alignment, bytes == 0 ? 1 : bytes) == 0 ? p : nullptr;
}

inline void* counted(std::size_t bytes, std::size_t alignment) {
  void* p = counted_or_null(bytes, alignment);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

/// How often fn() allocates, on any thread.
template <class Fn>
long allocations_in(Fn fn) {
  const long before = allocation_count;
  fn();
  return allocation_count - before;
}

/// Bytes of the largest piece that fn() asks for, on any thread.
template <class Fn>
std::size_t largest_allocation_in(Fn fn) {
  largest_allocation = 0;
  fn();
  return largest_allocation;
}

}  // namespace tessera::reference

[[gnu::noinline]] void* operator new(std::size_t bytes) { return tessera::reference::counted(bytes, 16); }
[[gnu::noinline]] void* operator new[](std::size_t bytes) { return tessera::reference::counted(bytes, 16); }
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t a) {
  return tessera::reference::counted(bytes, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void* operator new[](std::size_t bytes, std::align_val_t a) {
  return tessera::reference::counted(bytes, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return tessera::reference::counted_or_null(bytes, 16); }
[[gnu::noinline]] void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept { return tessera::reference::counted_or_null(bytes, 16); }
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t a, const std::nothrow_t&) noexcept {
  return tessera::reference::counted_or_null(bytes, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void* operator new[](std::size_t bytes, std::align_val_t a, const std::nothrow_t&) noexcept {
  return tessera::reference::counted_or_null(bytes, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
