#include "tessera/io/file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "tessera/core/error.h"

namespace tessera::io {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const noexcept { return fd_; }
  /// Closes now and answers close()'s result, where late write errors show.
  int close() noexcept { return ::close(std::exchange(fd_, -1)); }

 private:
  int fd_;
};

std::string reason(int error) { return std::strerror(error); }

[[noreturn]] void fail_system(const std::filesystem::path& path, std::string_view what, int error) {
  fail(path.string(), fmt::format("{}: {}", what, reason(error)));
}

Descriptor open_for_reading(const std::filesystem::path& path, struct stat& info) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail_system(path, "cannot open the file", errno);
  Descriptor descriptor(fd);
  if (::fstat(fd, &info) != 0) fail_system(path, "cannot read the file's size", errno);
  if (S_ISDIR(info.st_mode)) fail_expected(path.string(), "a file", "a directory");
  if (!S_ISREG(info.st_mode)) fail_expected(path.string(), "a regular file", "a device, pipe or socket");
  return descriptor;
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  struct stat info {};
  const Descriptor file = open_for_reading(path, info);
  std::shared_ptr<MappedFile> mapped(new MappedFile);
  mapped->path_ = path;
  mapped->size_ = static_cast<std::size_t>(info.st_size);
  if (mapped->size_ > 0) {
    void* data = ::mmap(nullptr, mapped->size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (data == MAP_FAILED) fail_system(path, "cannot map the file", errno);
    mapped->data_ = static_cast<const std::byte*>(data);
  }
  return mapped;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(std::span<const std::byte> part) const noexcept {
  if (data_ == nullptr) return;
  // Whole pages inside both the part and the mapping: other memory would lose what is written in it.
  const auto address = [](const std::byte* p) { return reinterpret_cast<std::uintptr_t>(p); };
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const std::uintptr_t begin = (std::max(address(part.data()), address(data_)) + page - 1) / page * page;
  const std::uintptr_t end = std::min(address(part.data() + part.size()), address(data_ + size_)) / page * page;
  if (end > begin) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

// Read, not mapped: a text that another program shortens meanwhile would end this one by SIGBUS.
std::string read_text(const std::filesystem::path& path, std::size_t limit) {
  struct stat info {};
  const Descriptor file = open_for_reading(path, info);
  const auto check = [&](std::size_t size) {
    if (size > limit) fail_expected(path.string(), fmt::format("at most {} bytes", limit), std::to_string(size));
  };
  check(static_cast<std::size_t>(info.st_size));
  std::string text;
  std::size_t done = 0;
  for (;;) {
    if (done == text.size()) text.resize(std::max(static_cast<std::size_t>(info.st_size) + 1, 2 * done));  // one more, to see the end
    const ssize_t n = ::read(file.get(), text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_system(path, "cannot read the file", errno);
    done += static_cast<std::size_t>(n);
    check(done);
    if (n == 0) break;
  }
  text.resize(done);
  return text;
}

namespace {

/// All parts, in order; false and errno when the system refuses.
bool write_all(int fd, std::span<const std::span<const std::byte>> parts) noexcept {
  for (std::span<const std::byte> rest : parts) {
    while (!rest.empty()) {
      const ssize_t n = ::write(fd, rest.data(), rest.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return false;
      rest = rest.subspan(static_cast<std::size_t>(n));
    }
  }
  return true;
}

/// Where a symbolic link leads, so that the file is replaced and not the link.
std::filesystem::path target_of(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_symlink(path, error)) return path;
  const std::filesystem::path target = std::filesystem::weakly_canonical(path, error);
  return error ? path : target;
}

/// A new file of a name that nobody has, in the folder of `target`; fd -1 and errno when the system refuses.
Descriptor create_beside(const std::filesystem::path& target, std::filesystem::path& name) {
  static std::atomic<unsigned> counter{0};
  for (int attempt = 0;; ++attempt) {  // a name may be left over from a program that was killed
    name = target.parent_path() / fmt::format(".tessera.{}.{}.part", ::getpid(), counter.fetch_add(1));
    const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST || attempt == 100) return Descriptor(fd);
  }
}

}  // namespace

void write_file(const std::filesystem::path& path, std::span<const std::span<const std::byte>> parts) {
  const std::filesystem::path target = target_of(path);
  struct stat old {};
  const bool exists = ::stat(target.c_str(), &old) == 0;
  if (exists && S_ISDIR(old.st_mode)) fail_expected(path.string(), "a file to write", "a directory");
  if (exists && !S_ISREG(old.st_mode)) {  // a device or a pipe cannot be replaced and must not be
    Descriptor device(::open(target.c_str(), O_WRONLY | O_CLOEXEC));
    if (device.get() < 0) fail_system(path, "cannot open the file for writing", errno);
    if (!write_all(device.get(), parts) || device.close() != 0) fail_system(path, "cannot write the file", errno);
    return;
  }
  std::filesystem::path temporary;
  Descriptor file = create_beside(target, temporary);
  if (file.get() < 0) fail_system(path, "cannot create the file", errno);
  const auto give_up = [&](std::string_view what) {
    const int error = errno;
    ::unlink(temporary.c_str());
    fail_system(path, what, error);
  };
  if (exists && ::fchmod(file.get(), old.st_mode & 07777) != 0) give_up("cannot keep the file's permissions");
  if (!write_all(file.get(), parts)) give_up("cannot write the file");
  if (::fsync(file.get()) != 0) give_up("cannot write the file");
  if (file.close() != 0) give_up("cannot write the file");
  if (::rename(temporary.c_str(), target.c_str()) != 0) give_up("cannot replace the file");
}

void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes) { write_file(path, std::span(&bytes, 1)); }

void write_file(const std::filesystem::path& path, std::string_view text) { write_file(path, std::as_bytes(std::span(text.data(), text.size()))); }

}  // namespace tessera::io
