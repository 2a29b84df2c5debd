// Hostile config.json and processor pipelines: a checkpoint folder whose JSON files are the fuzzer's, its weights a real small model's.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "tessera/core/error.h"
#include "tessera/models/policy/policy.h"

namespace {

namespace fs = std::filesystem;

/// A folder with links to a small model's files, gone when the program ends; the JSON under test is written into it.
struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "tessera_checkpoint_fuzz_XXXXXX").string();
    path = ::mkdtemp(name.data());
    for (const auto& entry : fs::directory_iterator(fs::path(TESSERA_SOURCE_DIR) / "tests" / "goldens" / "pi0" / "lerobot_pi0_a"))
      if (entry.path().extension() != ".json" || entry.path().filename() == "tokenizer.json")
        fs::create_symlink(entry.path(), path / entry.path().filename());
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

const fs::path& folder() {
  static const Folder kFolder;
  return kFolder.path;
}

void put(const char* name, std::string_view text) {
  std::ofstream file(folder() / name, std::ios::binary | std::ios::trunc);
  file << text;
}

}  // namespace

/// Three files in one input, parted by a form feed: config.json, policy_preprocessor.json, policy_postprocessor.json.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  for (const char* name : {"config.json", "policy_preprocessor.json", "policy_postprocessor.json"}) {
    const std::size_t end = rest.find('\f');
    put(name, rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  try {
    tessera::models::PolicyOptions options;
    options.tokenizer = folder() / "tokenizer.model";
    (void)tessera::models::inspect_checkpoint(folder(), options);
  } catch (const tessera::Error&) {
    // every refusal is one
  }
  return 0;
}
