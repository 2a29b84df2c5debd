#include "tessera/io/file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "tessera/core/error.h"

namespace tessera::io {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const noexcept { return fd_; }
  /// Closes now and answers close()'s result, where late write errors show.
  int close() noexcept {
    const int result = ::close(fd_);
    fd_ = -1;
    return result;
  }

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
  return Descriptor(::dup(descriptor.get()));
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
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(part.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(part.data() + part.size()) / page * page;
  if (end > begin) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

std::string read_text(const std::filesystem::path& path, std::size_t limit) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  if (bytes.size() > limit) fail_expected(path.string(), fmt::format("at most {} bytes", limit), std::to_string(bytes.size()));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  static std::atomic<unsigned> counter{0};
  std::filesystem::path temporary = path;
  temporary += fmt::format(".{}.{}.part", ::getpid(), counter.fetch_add(1));
  Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (file.get() < 0) fail_system(path, "cannot create the file", errno);
  const auto give_up = [&](std::string_view what) {
    const int error = errno;
    ::unlink(temporary.c_str());
    fail_system(path, what, error);
  };
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(file.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) give_up("cannot write the file");
    done += static_cast<std::size_t>(n);
  }
  if (::fsync(file.get()) != 0) give_up("cannot write the file");
  if (file.close() != 0) give_up("cannot write the file");
  if (::rename(temporary.c_str(), path.c_str()) != 0) give_up("cannot replace the file");
}

void write_file(const std::filesystem::path& path, std::string_view text) { write_file(path, std::as_bytes(std::span(text.data(), text.size()))); }

}  // namespace tessera::io
