// Mapping, reading and replacing files, and what each refusal of the system says.
#include "tessera/io/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <thread>
#include <vector>

#include "tests/reference/io.h"

namespace tessera::io {
namespace {

using reference::error_of;
using reference::Folder;
using reference::get;
using reference::put;

std::string text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

TEST(MappedFile, HoldsTheBytesOfTheFile) {
  const Folder folder;
  std::string text = "first";
  text.push_back('\0');
  text += "\xff last";
  const auto file = MappedFile::open(put(folder / "a", text));
  EXPECT_EQ(text_of(file->bytes()), text);
  EXPECT_EQ(file->path(), folder / "a");
}

TEST(MappedFile, StaysReadableWhenTheFileIsReplacedOrRemoved) {
  const Folder folder;
  const auto file = MappedFile::open(put(folder / "a", "old"));
  write_file(folder / "a", "new text");
  EXPECT_EQ(text_of(file->bytes()), "old");
  std::filesystem::remove(folder / "a");
  EXPECT_EQ(text_of(file->bytes()), "old");
}

TEST(MappedFile, AnEmptyFileHasNoBytes) {
  const Folder folder;
  const auto file = MappedFile::open(put(folder / "a", ""));
  EXPECT_TRUE(file->bytes().empty());
  file->release(file->bytes());
}

TEST(MappedFile, NamesWhatCannotBeMapped) {
  const Folder folder;
  EXPECT_EQ(error_of([&] { (void)MappedFile::open(folder / "none"); }),
            "[" + (folder / "none").string() + "] cannot open the file: No such file or directory");
  EXPECT_EQ(error_of([&] { (void)MappedFile::open(folder.path()); }), "[" + folder.path().string() + "] expected a file, got a directory");
  EXPECT_EQ(error_of([] { (void)MappedFile::open("/dev/null"); }), "[/dev/null] expected a regular file, got a device, pipe or socket");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);  // must not wait for a writer
  EXPECT_EQ(error_of([&] { (void)MappedFile::open(folder / "pipe"); }),
            "[" + (folder / "pipe").string() + "] expected a regular file, got a device, pipe or socket");
  EXPECT_EQ(error_of([&] { (void)MappedFile::open(put(folder / "a", "x") / "b"); }),
            "[" + (folder / "a" / "b").string() + "] cannot open the file: Not a directory");
}

TEST(MappedFile, NamesAFileThatMayNotBeRead) {
  if (::geteuid() == 0) GTEST_SKIP() << "the superuser may read every file";
  const Folder folder;
  ASSERT_EQ(::chmod(put(folder / "a", "x").c_str(), 0), 0);
  EXPECT_EQ(error_of([&] { (void)MappedFile::open(folder / "a"); }), "[" + (folder / "a").string() + "] cannot open the file: Permission denied");
}

/// Which pages of the mapping are in the page tables of this process: /proc/self/pagemap, bit 63 of each page's entry.
std::vector<bool> present(std::span<const std::byte> bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<bool> pages;
  const int map = ::open("/proc/self/pagemap", O_RDONLY);
  for (std::size_t at = 0; at < bytes.size(); at += page) {
    std::uint64_t entry = 0;
    const auto place = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(bytes.data() + at) / page * 8);
    if (::pread(map, &entry, 8, place) != 8) {
      pages.clear();
      break;
    }
    pages.push_back((entry >> 63) != 0);
  }
  if (map >= 0) ::close(map);
  return pages;
}

TEST(MappedFile, ReleasesWholePagesInsideThePartAndNoOther) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const Folder folder;
  std::string text(8 * page, 'x');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i / page);
  const auto file = MappedFile::open(put(folder / "a", text));
  const auto all = file->bytes();
  EXPECT_EQ(text_of(all), text);  // touches every page
  const auto before = present(all);
  if (before.empty()) GTEST_SKIP() << "/proc/self/pagemap cannot be read here";
  ASSERT_EQ(std::ranges::count(before, true), 8);
  file->release(all.subspan(page + 1, 3 * page));  // whole pages: 2 and 3
  const auto after = present(all);
  // The system may map neighbours of a page that is touched, but it does not do so here: nothing is touched between.
  EXPECT_EQ(after, (std::vector<bool>{true, true, false, false, true, true, true, true}));
  EXPECT_EQ(text_of(all), text);  // still readable
}

TEST(MappedFile, ReleaseLeavesOtherMemoryAlone) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const Folder folder;
  const auto file = MappedFile::open(put(folder / "a", std::string(page, 'x')));
  std::vector<std::byte> mine(4 * page, std::byte{7});
  file->release(mine);
  file->release({});
  EXPECT_EQ(std::ranges::count(mine, std::byte{7}), static_cast<std::ptrdiff_t>(mine.size()));
}

TEST(ReadText, ReadsAllOfAFile) {
  const Folder folder;
  EXPECT_EQ(read_text(put(folder / "empty", "")), "");
  std::string text(100'000, 'x');
  text[5] = '\0';
  EXPECT_EQ(read_text(put(folder / "a", text)), text);
}

TEST(ReadText, ReadsFilesThatTheSystemGivesNoSizeFor) {
  if (!std::filesystem::exists("/proc/self/status")) GTEST_SKIP() << "no /proc here";
  EXPECT_NE(read_text("/proc/self/status").find("Pid:"), std::string::npos);
  EXPECT_NE(error_of([] { (void)read_text("/proc/self/status", 20); }).find("expected at most 20 bytes, got "), std::string::npos);
}

TEST(ReadText, RefusesMoreThanTheLimit) {
  const Folder folder;
  put(folder / "a", "12345");
  EXPECT_EQ(read_text(folder / "a", 5), "12345");
  EXPECT_EQ(error_of([&] { (void)read_text(folder / "a", 4); }), "[" + (folder / "a").string() + "] expected at most 4 bytes, got 5");
  EXPECT_EQ(error_of([&] { (void)read_text(folder.path()); }), "[" + folder.path().string() + "] expected a file, got a directory");
}

TEST(WriteFile, MakesAndReplacesAFile) {
  const Folder folder;
  write_file(folder / "a", "one");
  EXPECT_EQ(get(folder / "a"), "one");
  write_file(folder / "a", "a longer text");
  EXPECT_EQ(get(folder / "a"), "a longer text");
  write_file(folder / "a", std::string_view());
  EXPECT_EQ(get(folder / "a"), "");
  EXPECT_EQ(folder.files(), 1u);
}

TEST(WriteFile, JoinsParts) {
  const Folder folder;
  const std::array parts = {reference::bytes_of("ab"), std::span<const std::byte>(), reference::bytes_of("cde")};
  write_file(folder / "a", std::span<const std::span<const std::byte>>(parts));
  EXPECT_EQ(get(folder / "a"), "abcde");
}

TEST(WriteFile, KeepsPermissionsAndFollowsALink) {
  const Folder folder;
  put(folder / "a", "old");
  ASSERT_EQ(::chmod((folder / "a").c_str(), 0640), 0);
  std::filesystem::create_directory(folder / "links");
  std::filesystem::create_symlink("../a", folder / "links" / "b");
  write_file(folder / "links" / "b", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "links" / "b"));
  EXPECT_EQ(get(folder / "a"), "new");
  EXPECT_EQ(std::filesystem::status(folder / "a").permissions(), std::filesystem::perms{0640});
}

TEST(WriteFile, WritesIntoTheCurrentFolderAndUnderLongNames) {
  const Folder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  write_file("plain", "x");
  std::filesystem::current_path(before);
  EXPECT_EQ(get(folder / "plain"), "x");
  const std::string longest(255, 'n');  // a suffix to the name would be too long for the file system
  write_file(folder / longest, "y");
  EXPECT_EQ(get(folder / longest), "y");
}

TEST(WriteFile, IsNotStoppedByWhatAKilledProgramLeft) {
  const Folder folder;
  for (int i = 0; i < 40; ++i) put(folder / (".tessera." + std::to_string(::getpid()) + "." + std::to_string(i) + ".part"), "left");
  write_file(folder / "a", "x");
  EXPECT_EQ(get(folder / "a"), "x");
  EXPECT_EQ(folder.files(), 41u);
}

TEST(WriteFile, WritesADeviceAndDoesNotReplaceIt) {
  write_file("/dev/null", "text");
  struct stat info {};
  ASSERT_EQ(::stat("/dev/null", &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));
  EXPECT_EQ(error_of([] { write_file("/dev/full", "text"); }), "[/dev/full] cannot write the file: No space left on device");
}

TEST(WriteFile, NamesWhatCannotBeWritten) {
  const Folder folder;
  EXPECT_EQ(error_of([&] { write_file(folder / "none" / "a", "x"); }),
            "[" + (folder / "none" / "a").string() + "] cannot create the file: No such file or directory");
  std::filesystem::create_directory(folder / "b");
  EXPECT_EQ(error_of([&] { write_file(folder / "b", "x"); }), "[" + (folder / "b").string() + "] expected a file to write, got a directory");
  EXPECT_EQ(folder.files(), 1u);
  put(folder / "a", "x");
  EXPECT_EQ(error_of([&] { write_file(folder / "a" / "c", "x"); }),
            "[" + (folder / "a" / "c").string() + "] cannot create the file: Not a directory");
}

TEST(WriteFile, NamesAFolderThatMayNotBeWritten) {
  if (::geteuid() == 0) GTEST_SKIP() << "the superuser may write in every folder";
  const Folder folder;
  ASSERT_EQ(::chmod(folder.path().c_str(), 0500), 0);
  EXPECT_EQ(error_of([&] { write_file(folder / "a", "x"); }), "[" + (folder / "a").string() + "] cannot create the file: Permission denied");
  ASSERT_EQ(::chmod(folder.path().c_str(), 0700), 0);
}

// A full disk is played by the limit on the size of files, in a process of its own: write() fails half way, as there.
TEST(WriteFile, AfterAFailureTheOldFileStandsWholeAndNoOtherIsLeft) {
  const Folder folder;
  put(folder / "a", "the old text");
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100'000, 100'000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(2);
    const std::string large(1'000'000, 'x');
    const std::string error = error_of([&] { write_file(folder / "a", large); });
    ::_exit(error == "[" + (folder / "a").string() + "] cannot write the file: File too large" ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(get(folder / "a"), "the old text");
  EXPECT_EQ(folder.files(), 1u);
}

TEST(WriteFile, AReaderSeesOneTextOrTheOtherWhileManyWrite) {
  const Folder folder;
  const auto text = [](int i) { return std::string(50'000, static_cast<char>('a' + i)); };
  write_file(folder / "a", text(0));
  {
    std::vector<std::jthread> writers;
    for (int i = 0; i < 3; ++i)
      writers.emplace_back([&, i] {
        for (int n = 0; n < 10; ++n) write_file(folder / "a", text(i));
      });
    for (int n = 0; n < 50; ++n) {
      const std::string seen = read_text(folder / "a");
      ASSERT_EQ(seen.size(), 50'000u);
      ASSERT_EQ(seen, std::string(50'000, seen[0]));
    }
  }
  EXPECT_EQ(folder.files(), 1u);
}

}  // namespace
}  // namespace tessera::io
