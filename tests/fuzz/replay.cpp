// Runs a fuzz target over the files and folders given, without libFuzzer, so that every build replays the seeds. Each file is run as it is, cut
// short, and with one byte changed, in places that depend on the file's size alone. Fails when there was no file.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t kPlaces = 48;  // of cuts and of changed bytes in a file

/// From a copy of exactly its size on the heap, so that AddressSanitizer sees a read beyond the end.
void run(const std::vector<std::uint8_t>& bytes, std::size_t size) {
  const std::vector<std::uint8_t> copy(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
  LLVMFuzzerTestOneInput(copy.data(), copy.size());
}

std::size_t replay(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return 0;
  std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
  run(bytes, bytes.size());
  const std::size_t step = std::max<std::size_t>(1, bytes.size() / kPlaces);
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    run(bytes, at);
    for (const int change : {0x01, 0x80, 0xff}) {
      const std::uint8_t before = bytes[at];
      bytes[at] = static_cast<std::uint8_t>(before ^ change);
      run(bytes, bytes.size());
      bytes[at] = before;
    }
  }
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t files = 0;
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) {
      files += replay(argv[i]);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(argv[i]))
      if (entry.is_regular_file()) files += replay(entry.path());
  }
  std::printf("%zu seeds replayed\n", files);
  return files > 0 ? 0 : 1;
}
