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
#include <optional>
#include <utility>

#include "tessera/core/error.h"

namespace tessera::io {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
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

/// A name in the folder of `target` that this process has not used.
std::filesystem::path name_beside(const std::filesystem::path& target) {
  static std::atomic<unsigned> counter{0};
  return target.parent_path() / fmt::format(".tessera.{}.{}.part", ::getpid(), counter.fetch_add(1));
}

std::string link_of(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

/// A new file in the folder of `target`, and its name: empty when it has none yet. fd -1 and errno when the system refuses.
Descriptor create_beside(const std::filesystem::path& target, std::filesystem::path& name) {
#ifdef O_TMPFILE
  // Without a name: nothing is left over even when this program is killed. Naming it later takes /proc.
  const std::filesystem::path folder = target.has_parent_path() ? target.parent_path() : std::filesystem::path(".");
  Descriptor nameless(::open(folder.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666));
  if (nameless.get() >= 0 && ::access(link_of(nameless.get()).c_str(), F_OK) == 0) return nameless;
#endif
  for (int attempt = 0;; ++attempt) {  // a name may be left over from a program that was killed
    name = name_beside(target);
    const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST || attempt == 100) return Descriptor(fd);
  }
}

}  // namespace

struct FileWriter::Impl {
  std::filesystem::path path;    // as the caller names it
  std::filesystem::path target;  // behind symbolic links
  std::filesystem::path temporary;
  Descriptor file{-1};
  bool replace = false;

  /// The permissions of a file that may be replaced; nothing when there is none.
  std::optional<mode_t> old_mode() const {
    struct stat old {};
    if (::stat(target.c_str(), &old) != 0) return std::nullopt;
    if (S_ISDIR(old.st_mode)) fail_expected(path.string(), "a file to write", "a directory");
    if (!S_ISREG(old.st_mode)) fail_expected(path.string(), "a regular file to write", "a device, pipe or socket");
    if (!replace) fail_expected(path.string(), "a file that is not there yet", "one that is");
    return old.st_mode & 07777;
  }
};

FileWriter::FileWriter(const std::filesystem::path& path, bool replace) : impl_(std::make_unique<Impl>()) {
  Impl& w = *impl_;
  w.path = path;
  w.target = target_of(path);
  w.replace = replace;
  const std::optional<mode_t> mode = w.old_mode();
  w.file = create_beside(w.target, w.temporary);
  if (w.file.get() < 0) fail_system(path, "cannot create the file", errno);
  if (mode && ::fchmod(w.file.get(), *mode) != 0) {
    const int error = errno;
    if (!w.temporary.empty()) ::unlink(w.temporary.c_str());
    fail_system(path, "cannot keep the file's permissions", error);
  }
}

FileWriter::~FileWriter() {
  if (!impl_->temporary.empty()) ::unlink(impl_->temporary.c_str());
}

void FileWriter::append(std::span<const std::byte> bytes) {
  if (!write_all(impl_->file.get(), std::span(&bytes, 1))) fail_system(impl_->path, "cannot write the file", errno);
}

void FileWriter::overwrite(std::size_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(impl_->file.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_system(impl_->path, "cannot write the file", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::size_t>(n);
  }
}

void FileWriter::commit() {
  Impl& w = *impl_;
  const auto check = [&](int result, std::string_view what) {
    if (result != 0) fail_system(w.path, what, errno);
  };
  check(::fsync(w.file.get()), "cannot write the file");
  w.old_mode();  // somebody may have made one meanwhile
  if (w.temporary.empty()) {
    const std::string nameless = link_of(w.file.get());
    int result = -1;
    for (int attempt = 0; attempt < 100; ++attempt) {
      const std::filesystem::path name = name_beside(w.target);
      result = ::linkat(AT_FDCWD, nameless.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW);
      if (result == 0) w.temporary = name;
      if (result == 0 || errno != EEXIST) break;
    }
    check(result, "cannot name the file");
  }
  check(w.file.close(), "cannot write the file");
  check(::rename(w.temporary.c_str(), w.target.c_str()), "cannot replace the file");
  w.temporary.clear();
}

void write_file(const std::filesystem::path& path, std::span<const std::span<const std::byte>> parts) {
  const std::filesystem::path target = target_of(path);
  struct stat old {};
  if (::stat(target.c_str(), &old) == 0 && !S_ISDIR(old.st_mode) && !S_ISREG(old.st_mode)) {  // a device or a pipe must not be replaced
    Descriptor device(::open(target.c_str(), O_WRONLY | O_CLOEXEC));
    if (device.get() < 0) fail_system(path, "cannot open the file for writing", errno);
    if (!write_all(device.get(), parts) || device.close() != 0) fail_system(path, "cannot write the file", errno);
    return;
  }
  FileWriter file(path, true);
  for (const std::span<const std::byte> part : parts) file.append(part);
  file.commit();
}

void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes) { write_file(path, std::span(&bytes, 1)); }

void write_file(const std::filesystem::path& path, std::string_view text) { write_file(path, std::as_bytes(std::span(text.data(), text.size()))); }

}  // namespace tessera::io
