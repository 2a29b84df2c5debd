// The container of packed checkpoints: what was written comes back, and everything else is refused before it is used.
#include "tessera/io/packed_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/io/file.h"

namespace tessera::io {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }
std::string text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

class Packed : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "tessera_packed_XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    path_ = folder_ / "a.tessera";
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// Three sections: two parts in one, a page and a byte, and none at all.
  void write() {
    PackedWriter w(path_, false);
    const std::vector<std::span<const std::byte>> parts = {bytes_of(first_), bytes_of(second_)};
    w.add("one", parts, Json(Json::Object{{"rows", Json(3)}}));
    w.add("zwei ö", bytes_of(long_));
    w.add("empty", std::span<const std::byte>());
    const std::size_t size = w.finish(Json(Json::Object{{"kind", Json("test")}}));
    EXPECT_EQ(size, fs::file_size(path_));
  }
  std::string bytes() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  /// The message about these bytes, or "" when they are accepted and every section is whole.
  static std::string refusal(const std::string& bytes) {
    try {
      const auto file = PackedFile::parse(bytes_of(bytes), "b.tessera");
      for (const PackedSection& s : file->sections()) (void)file->checked(s.name);
      return "";
    } catch (const Error& e) {
      EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
      return e.what();
    }
  }
  static void expect_refused(const std::string& bytes, const std::string& says) {
    const std::string message = refusal(bytes);
    EXPECT_NE(message.find(says), std::string::npos) << "'" << says << "' is not in: " << message;
    EXPECT_NE(message.find("b.tessera"), std::string::npos) << message;
  }
  /// The file with another index, all sums right.
  static std::string with_index(const std::string& bytes, const std::function<void(std::string&)>& change) {
    std::uint64_t offset = 0;
    std::memcpy(&offset, bytes.data() + 24, 8);
    std::string index = bytes.substr(offset);
    change(index);
    std::string out = bytes.substr(0, offset) + index;
    const std::uint64_t values[] = {out.size(), offset, index.size(), checksum(bytes_of(index))};
    std::memcpy(out.data() + 16, values, sizeof(values));
    return sealed(out);
  }
  /// The same bytes with the prologue's own sum made right.
  static std::string sealed(std::string bytes) {
    const std::uint64_t sum = checksum(bytes_of(bytes).first(56));
    std::memcpy(bytes.data() + 56, &sum, 8);
    return bytes;
  }
  static void swap(std::string& text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from << " in " << text;
    text.replace(at, from.size(), to);
  }

  fs::path folder_;
  fs::path path_;
  const std::string first_ = "weights";
  const std::string second_ = ", bias";
  const std::string long_ = std::string(kPackedAlignment + 1, 'x');
};

TEST_F(Packed, ComesBack) {
  write();
  const auto file = PackedFile::open(path_);
  EXPECT_EQ(file->path(), path_);
  EXPECT_EQ(file->bytes(), fs::file_size(path_));
  EXPECT_EQ(file->meta().at("kind").string(), "test");
  ASSERT_EQ(file->sections().size(), 3u);
  const PackedSection* one = file->find("one");
  ASSERT_NE(one, nullptr);
  EXPECT_EQ(text_of(file->checked("one")), "weights, bias");
  EXPECT_EQ(one->info.at("rows").integer(), 3);
  EXPECT_TRUE(file->find("zwei ö")->info.is_null());
  EXPECT_EQ(text_of(file->checked("zwei ö")), long_);
  EXPECT_TRUE(file->checked("empty").empty());
  EXPECT_EQ(file->find("three"), nullptr);
  EXPECT_THROW((void)file->checked("three"), Error);
  for (const PackedSection& s : file->sections()) {
    EXPECT_EQ(s.offset % kPackedAlignment, 0u);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file->bytes(s).data()) % kPackedAlignment, 0u);
    EXPECT_TRUE(file->intact(s));
    EXPECT_TRUE(file->intact(s, true));
    file->release(s);
    EXPECT_TRUE(file->intact(s));
  }
  EXPECT_EQ(refusal(bytes()), "");
}

TEST_F(Packed, ALargeSectionIsLookedAtInStretches) {
  const std::string large(std::size_t{40} << 20, 'y');
  {
    PackedWriter w(path_, false);
    w.add("large", bytes_of(large));
    w.finish(Json(Json::Object{}));
  }
  const auto file = PackedFile::open(path_);
  EXPECT_TRUE(file->intact(*file->find("large"), true));
  std::string broken = bytes();
  broken[broken.size() / 2] ^= 1;
  const auto other = PackedFile::parse(bytes_of(broken), "b.tessera");
  EXPECT_FALSE(other->intact(*other->find("large"), true));
  EXPECT_FALSE(other->intact(*other->find("large")));
}

TEST_F(Packed, AFileWithoutSections) {
  PackedWriter(path_, false).finish(Json(Json::Object{}));
  EXPECT_TRUE(PackedFile::open(path_)->sections().empty());
}

TEST_F(Packed, NothingIsLeftOfAFileThatWasNotFinished) {
  {
    PackedWriter w(path_, false);
    w.add("one", bytes_of(first_));
    EXPECT_FALSE(fs::exists(path_));
  }
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(Packed, ReplacesOnlyWhenTold) {
  write();
  EXPECT_THROW(PackedWriter(path_, false), Error);
  { PackedWriter unfinished(path_, true); }
  EXPECT_EQ(PackedFile::open(path_)->sections().size(), 3u);
  const auto mapped = PackedFile::open(path_);
  PackedWriter(path_, true).finish(Json(Json::Object{}));
  EXPECT_TRUE(PackedFile::open(path_)->sections().empty());
  EXPECT_EQ(text_of(mapped->checked("one")), "weights, bias");  // who has mapped the old one keeps it
  // Made by somebody else while this one was written.
  const fs::path late = folder_ / "late.tessera";
  PackedWriter w(late, false);
  std::ofstream(late) << "theirs";
  EXPECT_THROW(w.finish(Json(Json::Object{})), Error);
  EXPECT_EQ(fs::file_size(late), 6u);
}

TEST_F(Packed, RefusesBadNames) {
  PackedWriter w(path_, false);
  w.add("one", bytes_of(first_));
  for (const char* name : {"one", "", "a\nb", "\xff"}) EXPECT_THROW(w.add(name, bytes_of(first_)), Error) << name;
  EXPECT_THROW(PackedWriter(folder_, true), Error);
  EXPECT_THROW(PackedWriter(folder_ / "no" / "a.tessera", true), Error);
  EXPECT_THROW(PackedWriter("/dev/null", true), Error);
}

TEST_F(Packed, CutAnywhere) {
  write();
  const std::string all = bytes();
  for (std::size_t size = 0; size < all.size(); size += size < 128 || size + 64 > all.size() ? 1 : 97)
    EXPECT_NE(refusal(all.substr(0, size)), "") << size;
  expect_refused("", "an empty file");
  expect_refused(all.substr(0, 30), "a whole packed file");
  expect_refused(all.substr(0, all.size() - 1), "as the file says of itself");
  expect_refused(all + "x", "as the file says of itself");
}

TEST_F(Packed, AnyChangedByteThatCountsIsFound) {
  write();
  const std::string all = bytes();
  const auto file = PackedFile::parse(bytes_of(all), "b.tessera");
  std::vector<bool> counts(all.size(), false);
  std::fill(counts.begin(), counts.begin() + 64, true);
  for (const PackedSection& s : file->sections()) std::fill_n(counts.begin() + static_cast<std::ptrdiff_t>(s.offset), s.size, true);
  std::uint64_t index = 0;
  std::memcpy(&index, all.data() + 24, 8);
  std::fill(counts.begin() + static_cast<std::ptrdiff_t>(index), counts.end(), true);
  for (std::size_t at = 0; at < all.size(); at += at < 64 || at >= index ? 1 : 61)
    for (const int change : {0x01, 0x80}) {
      std::string bad = all;
      bad[at] = static_cast<char>(bad[at] ^ change);
      EXPECT_EQ(refusal(bad).empty(), !counts[at]) << at;  // what lies between sections is nobody's
    }
}

TEST_F(Packed, ForeignFiles) {
  write();
  expect_refused("{\"a\": 1}                                                                        ", "a file that tessera pack made");
  expect_refused(std::string(4096, '\0'), "another kind of file");
  std::string newer = bytes();
  newer[8] = 2;
  expect_refused(newer, "reads format 1; update Tessera, or pack the checkpoint again");
  expect_refused(sealed(newer), "packed in format 2");
  newer[8] = 0;
  expect_refused(newer, "reads format 1; pack the checkpoint again");
  std::string text = bytes();
  text.erase(text.find('\r'), 1);  // copied as text
  expect_refused(text, "another kind of file");
  EXPECT_THROW(PackedFile::open(folder_), Error);
  EXPECT_THROW(PackedFile::open(folder_ / "none"), Error);
}

TEST_F(Packed, APrologueThatLies) {
  write();
  const auto with = [&](std::size_t at, std::uint64_t value) {
    std::string bad = bytes();
    std::memcpy(bad.data() + at, &value, 8);
    return sealed(bad);
  };
  const std::uint64_t huge[] = {0, 63, bytes().size(), bytes().size() + 1, 1ull << 40, 1ull << 63, ~0ull, ~0ull - 63};
  for (const std::uint64_t value : huge) {
    if (value != bytes().size()) expect_refused(with(16, value), "as the file says of itself");
    EXPECT_NE(refusal(with(24, value)), "") << value;
    EXPECT_NE(refusal(with(32, value)), "") << value;
  }
  expect_refused(with(40, 7), "the index is damaged");
}

TEST_F(Packed, AnIndexThatLies) {
  write();
  const std::string all = bytes();
  const auto swapped = [&](const std::string& from, const std::string& to) {
    return with_index(all, [&](std::string& index) { swap(index, from, to); });
  };
  EXPECT_EQ(refusal(with_index(all, [](std::string&) {})), "");
  expect_refused(swapped("\"offset\":8192", "\"offset\":4096"), "expected 8192, got 4096");    // onto the first
  expect_refused(swapped("\"offset\":8192", "\"offset\":12288"), "expected 8192, got 12288");  // a hole
  expect_refused(swapped("\"offset\":8192", "\"offset\":8193"), "expected 8192");              // askew
  expect_refused(swapped("\"offset\":4096", "\"offset\":0"), "expected 4096, got 0");          // onto the prologue
  expect_refused(swapped("\"size\":4097", "\"size\":409700"), "ends before the index");
  expect_refused(swapped("\"size\":4097", "\"size\":9223372036854775807"), "ends before the index");
  expect_refused(swapped("\"size\":4097", "\"size\":18446744073709551615"), "size");
  expect_refused(swapped("\"size\":4097", "\"size\":-1"), "size");
  expect_refused(swapped("\"size\":4097", "\"size\":1"), "offset");
  expect_refused(swapped("\"size\":4097", "\"size\":\"a\""), "an integer");
  expect_refused(swapped("\"size\":0", "\"size\":1"), "ends before the index");
  expect_refused(swapped("\"one\"", "\"empty\""), "two sections are called 'empty'");
  expect_refused(swapped("\"one\"", "\"\""), "a name of printable characters");
  expect_refused(swapped("\"one\"", "\"a\\u0007\""), "a name of printable characters");
  expect_refused(swapped("\"one\"", "1"), "a string");
  expect_refused(swapped("\"sum\":\"", "\"sum\":\"z"), "a sum of 16 hexadecimal digits");
  expect_refused(swapped("{\"rows\":3}", "[]"), "an object");
  expect_refused(swapped("\"meta\"", "\"beta\""), "meta");
  expect_refused(swapped("{\"kind\":\"test\"}", "7"), "an object");
  expect_refused(swapped("\"sections\":[", "\"sections\":7,\"others\":["), "sections");
  expect_refused(with_index(all, [](std::string& index) { index = "no JSON"; }), "b.tessera");
  expect_refused(with_index(all, [](std::string& index) { index.clear(); }), "b.tessera");
  // Far more sections than the file could hold.
  std::string many = "{\"meta\":{},\"sections\":[";
  for (int i = 0; i < 100000; ++i)
    many += "{\"name\":\"" + std::to_string(i) + "\",\"offset\":" + std::to_string(4096 * (i + 1)) + R"(,"size":1,"sum":"0000000000000000"},)";
  many.back() = ']';
  expect_refused(with_index(all, [&](std::string& index) { index = many + "}"; }), "ends before the index");
}

}  // namespace
}  // namespace tessera::io
