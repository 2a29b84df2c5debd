// Any bytes are a packed file or an Error, and any content of a packed file is a policy or an Error. Sums would stop a fuzzer at the door, so the
// input is what stands behind them: the index, over the sections of a small model's packed file, or (beginning with the magic) a whole container
// whose sums are made right.
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <span>
#include <string>
#include <string_view>

#include "tessera/core/error.h"
#include "tessera/io/packed_file.h"
#include "tessera/models/policy/pack.h"
#include "tessera/models/policy/packed_checkpoint.h"

namespace {

namespace fs = std::filesystem;
using tessera::io::PackedFile;

constexpr std::size_t kPrologue = 64;

void put(std::string& bytes, std::size_t at, std::uint64_t value) { std::memcpy(bytes.data() + at, &value, sizeof(value)); }
std::uint64_t sum(std::string_view bytes) { return tessera::io::checksum(std::as_bytes(std::span(bytes))); }

/// Makes the sums of the index and of the first bytes right, and the version and the length.
void seal(std::string& bytes) {
  if (bytes.size() < kPrologue) return;
  std::uint64_t offset = 0, size = 0;
  std::memcpy(&offset, bytes.data() + 24, 8);
  std::memcpy(&size, bytes.data() + 32, 8);
  put(bytes, 8, PackedFile::kVersion);
  put(bytes, 16, bytes.size());
  if (offset <= bytes.size() && size <= bytes.size() - offset) put(bytes, 40, sum(std::string_view(bytes).substr(offset, size)));
  put(bytes, 56, sum(std::string_view(bytes).substr(0, 56)));
}

/// A small policy's packed file up to its index.
const std::string& sections() {
  static const std::string kBytes = [] {
    std::string name = (fs::temp_directory_path() / "tessera_packed_fuzz_XXXXXX").string();
    const fs::path folder = ::mkdtemp(name.data());
    tessera::Context ctx({.threads = 1, .isa = "scalar"});
    tessera::models::pack_checkpoint(ctx, fs::path(TESSERA_SOURCE_DIR) / "tests" / "goldens" / "pi0" / "lerobot_pi0_a", folder / "a");
    std::ifstream file(folder / "a", std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(file), {}};
    std::error_code ignored;
    fs::remove_all(folder, ignored);
    std::uint64_t offset = 0;
    std::memcpy(&offset, bytes.data() + 24, 8);
    bytes.resize(offset);
    return bytes;
  }();
  return kBytes;
}

/// In memory that is aligned as a mapped file is, and of exactly its size, so that a sanitizer sees a step beyond it.
class Memory {
 public:
  explicit Memory(std::string_view bytes)
      : data_(static_cast<char*>(::operator new[](std::max<std::size_t>(bytes.size(), 1), std::align_val_t{4096}))), size_(bytes.size()) {
    std::copy(bytes.begin(), bytes.end(), data_);
  }
  ~Memory() { ::operator delete[](data_, std::align_val_t{4096}); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(data_, size_)); }

 private:
  char* data_;
  std::size_t size_;
};

void use(std::string_view text) {
  const Memory memory(text);
  try {
    const auto file = PackedFile::parse(memory.bytes(), "fuzz.tessera");
    std::size_t end = kPrologue;
    for (const auto& s : file->sections()) {
      if (s.offset < end || s.offset % tessera::io::kPackedAlignment != 0 || s.size > text.size() - s.offset || file->find(s.name) != &s)
        std::abort();
      end = s.offset + s.size;
      (void)file->intact(s);
      (void)file->intact(s, true);
      file->release(s);
    }
    const auto packed = tessera::models::PackedCheckpoint::open(file);
    (void)packed->contents();
    tessera::models::PolicyOptions options;
    packed->complete(options);
    packed->check_options(options);
    static tessera::Context ctx({.threads = 1, .isa = {}});
    try {
      packed->check_rows(ctx);
    } catch (const tessera::Error&) {
      // a seed is of one version; what its sections hold is looked at all the same
    }
    for (const auto& s : file->sections()) {
      try {
        if (s.name.starts_with("linear/")) (void)packed->source()->packed(ctx, s.name.substr(7));
        if (s.name.starts_with("tensor/")) (void)packed->source()->load(s.name.substr(7));
        if (s.name.starts_with("buffer/")) (void)packed->source()->buffer(s.name.substr(7));
      } catch (const tessera::Error&) {
        // of this one
      }
    }
  } catch (const tessera::Error& e) {
    for (const char c : std::string_view(e.what()))
      if (static_cast<unsigned char>(c) < 32) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  use(input);
  if (!input.empty() && data[0] == 0x89) {
    std::string whole(input);
    seal(whole);
    use(whole);
    return 0;
  }
  std::string file = sections();
  put(file, 24, file.size());
  put(file, 32, size);
  file.append(input);
  seal(file);
  use(file);
  return 0;
}
