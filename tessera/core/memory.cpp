#include "tessera/core/memory.h"

#include <algorithm>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace tessera {
namespace {

constexpr std::size_t kPage = std::size_t{2} << 20;
constexpr std::size_t kMuch = 2 * kPage;
constexpr auto kAlignment = std::align_val_t{64};
constexpr auto kPageAlignment = std::align_val_t{kPage};

struct Delete {
  void operator()(std::byte* p) const noexcept { ::operator delete[](p, alignment); }
  std::align_val_t alignment;
};

}  // namespace

std::shared_ptr<std::byte> allocate_bytes(std::size_t bytes) noexcept {
  const bool much = bytes >= kMuch && bytes < (std::size_t{1} << 62);
  const Delete release{much ? kPageAlignment : kAlignment};
  const std::size_t size = much ? (bytes + kPage - 1) / kPage * kPage : std::max<std::size_t>(bytes, 64);
  auto* p = static_cast<std::byte*>(::operator new[](size, release.alignment, std::nothrow));
  if (p == nullptr) return {};
#ifdef __linux__
  // A wish: where it is not granted the pages are small ones.
  if (much) static_cast<void>(::madvise(p, size, MADV_HUGEPAGE));
#endif
  try {
    return {p, release};
  } catch (const std::bad_alloc&) {
    return {};  // the constructor has released p
  }
}

}  // namespace tessera
