// Runs the built program as a person would and keeps what it said. For the tests of the command line only.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace tessera::test {

namespace fs = std::filesystem;

struct Outcome {
  int status = -1;  // exit status; 128 + signal when it was killed
  std::string out;
  std::string err;
  std::size_t peak_rss = 0;  // bytes
  double seconds = 0;
};

inline std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void spill(const fs::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
}

/// A folder that is gone after the test.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (fs::temp_directory_path() / "tessera_test_XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

inline Outcome run(const std::vector<std::string>& arguments, const std::vector<std::string>& environment = {}) {
  const TempFolder folder;
  const std::string out = (folder / "out").string();
  const std::string err = (folder / "err").string();
  const std::string program = std::string(TESSERA_BINARY_DIR) + "/tessera";
  const auto start = std::chrono::steady_clock::now();
  const pid_t child = ::fork();
  if (child == 0) {
    const int in = ::open("/dev/null", O_RDONLY);
    const int o = ::open(out.c_str(), O_CREAT | O_WRONLY, 0600);
    const int e = ::open(err.c_str(), O_CREAT | O_WRONLY, 0600);
    ::dup2(in, 0);
    ::dup2(o, 1);
    ::dup2(e, 2);
    for (const std::string& word : environment) ::putenv(const_cast<char*>(word.c_str()));
    std::vector<char*> argv = {const_cast<char*>(program.c_str())};
    for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    ::alarm(120);  // a hang is a failure
    ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }
  Outcome outcome;
  int status = 0;
  rusage usage{};
  ::wait4(child, &status, 0, &usage);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.peak_rss = static_cast<std::size_t>(usage.ru_maxrss) * 1024;
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  outcome.out = slurp(out);
  outcome.err = slurp(err);
  return outcome;
}

inline fs::path golden(const std::string& name) { return fs::path(TESSERA_SOURCE_DIR) / "tests" / "goldens" / name; }

/// The small trained policy, every file a link, so that a test can replace one of them.
inline void link_policy(const TempFolder& folder, const std::string& which = "policies/metaworld_pi0") {
  for (const auto& entry : fs::directory_iterator(golden(which)))
    if (entry.is_regular_file()) fs::create_symlink(entry.path(), folder / entry.path().filename().string());
}

inline void replace(const fs::path& path, const std::string& bytes) {
  fs::remove(path);
  spill(path, bytes);
}

}  // namespace tessera::test
