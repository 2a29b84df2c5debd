#include "tessera/io/packed_file.h"

#include <fmt/core.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <fstream>
#include <map>
#include <utility>

#include "tessera/core/error.h"
#include "tessera/io/file.h"
#include "tessera/io/quote.h"

namespace tessera::io {
namespace {

/// A byte beyond ASCII and both line ends, so that a copy in text mode is found at once.
constexpr std::array<unsigned char, 8> kMagic = {0x89, 'T', 'S', 'P', '\r', '\n', 0x1a, '\n'};
constexpr std::size_t kMaxIndex = std::size_t{64} << 20;

/// The first bytes of the file, integers little-endian.
struct Prologue {
  std::array<unsigned char, 8> magic = kMagic;
  std::uint32_t version = PackedFile::kVersion;
  std::uint32_t reserved = 0;
  std::uint64_t file_size = 0;
  std::uint64_t index_offset = 0;
  std::uint64_t index_size = 0;
  std::uint64_t index_sum = 0;
  std::uint64_t reserved2 = 0;
  std::uint64_t sum = 0;  // of the bytes before
};
static_assert(sizeof(Prologue) == 64);

std::span<const std::byte> bytes_of(const Prologue& prologue) { return std::as_bytes(std::span(&prologue, 1)); }
std::uint64_t sum_of(const Prologue& prologue) { return checksum(bytes_of(prologue).first(offsetof(Prologue, sum))); }

constexpr std::size_t align(std::size_t offset) { return (offset + kPackedAlignment - 1) / kPackedAlignment * kPackedAlignment; }

std::string pack_again(const std::string& where) { return "pack the checkpoint again: " + pack_command(where); }

std::uint64_t read_sum(const Json& json) {
  const std::string& text = json.string();
  std::uint64_t sum = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), sum, 16);
  if (text.size() != 16 || error != std::errc() || end != text.data() + text.size())
    fail_expected(json.where(), "a sum of 16 hexadecimal digits", in_quotes(text));
  return sum;
}

bool plain(std::string_view name) {
  return !name.empty() && is_utf8(name) && std::ranges::none_of(name, [](unsigned char c) { return c < 32 || c == 127; });
}

}  // namespace

std::string pack_command(const std::string& file) { return "tessera pack CHECKPOINT " + printable(file) + " --force"; }

bool is_packed_file(const std::filesystem::path& path) noexcept {
  std::array<char, kMagic.size()> first{};
  std::ifstream file(path, std::ios::binary);
  return file.read(first.data(), first.size()) && std::memcmp(first.data(), kMagic.data(), kMagic.size()) == 0;
}

std::uint64_t checksum(std::span<const std::byte> bytes) noexcept { return XXH3_64bits(bytes.data(), bytes.size()); }

struct PackedFile::Impl {
  std::filesystem::path path;
  std::shared_ptr<const MappedFile> file;  // null when parsed from memory
  std::span<const std::byte> bytes;
  Json meta;
  std::vector<PackedSection> sections;
  std::map<std::string_view, std::size_t, std::less<>> by_name;

  Impl(const std::filesystem::path& p, std::shared_ptr<const MappedFile> mapped, std::span<const std::byte> all);
  Prologue read_prologue(const std::string& where) const;
  void read_sections(const Json& list, const Prologue& prologue, const std::string& where);
};

PackedFile::Impl::Impl(const std::filesystem::path& p, std::shared_ptr<const MappedFile> mapped, std::span<const std::byte> all)
    : path(p), file(std::move(mapped)), bytes(all) {
  const std::string where = path.string();
  const Prologue prologue = read_prologue(where);
  const auto text = bytes.subspan(prologue.index_offset, prologue.index_size);
  if (checksum(text) != prologue.index_sum) fail(where, "the index is damaged (its sum is another); copy the file again, or " + pack_again(where));
  const Json index = Json::parse({reinterpret_cast<const char*>(text.data()), text.size()}, where);
  meta = index.at("meta");
  meta.object();
  read_sections(index.at("sections"), prologue, where);
}

Prologue PackedFile::Impl::read_prologue(const std::string& where) const {
  Prologue p;
  const std::size_t known = std::min(bytes.size(), kMagic.size());
  if (known == 0 || std::memcmp(bytes.data(), kMagic.data(), known) != 0)
    fail_expected(where, "a file that tessera pack made", bytes.empty() ? "an empty file" : "another kind of file");
  if (bytes.size() < sizeof(p)) fail_expected(where, "a whole packed file", fmt::format("its first {} bytes", bytes.size()), "copy it again");
  std::memcpy(&p, bytes.data(), sizeof(p));
  if (p.version != kVersion)
    fail(where, fmt::format("the file was packed in format {}, and this version of Tessera reads format {}; {}{}", p.version, kVersion,
                            p.version > kVersion ? "update Tessera, or " : "", pack_again(where)));
  if (p.sum != sum_of(p)) fail(where, "the first bytes are damaged (their sum is another); copy the file again, or " + pack_again(where));
  if (p.file_size != bytes.size())
    fail_expected(where, fmt::format("{} bytes, as the file says of itself", p.file_size), std::to_string(bytes.size()),
                  "copy it again, or " + pack_again(where));
  if (p.index_offset < sizeof(p) || p.index_size > kMaxIndex || p.index_offset > bytes.size() || p.index_size != bytes.size() - p.index_offset)
    fail_expected(where, "an index at the end of the file", fmt::format("{} bytes at {}", p.index_size, p.index_offset));
  return p;
}

void PackedFile::Impl::read_sections(const Json& list, const Prologue& prologue, const std::string& where) {
  std::size_t end = sizeof(Prologue);
  sections.reserve(list.array().size());
  for (const Json& entry : list.array()) {
    PackedSection s;
    s.name = entry.at("name").string();
    if (!plain(s.name)) fail_expected(entry.at("name").where(), "a name of printable characters", in_quotes(s.name));
    // Sections stand in order, each at the first place that it may have: so none can meet another or leave the file.
    const std::size_t wanted = align(end);
    s.offset = static_cast<std::size_t>(entry.at("offset").integer(0));
    s.size = static_cast<std::size_t>(entry.at("size").integer(0));
    if (s.offset != wanted) fail_expected(entry.at("offset").where(), fmt::format("{}", wanted), std::to_string(s.offset));
    if (s.offset > prologue.index_offset || s.size > prologue.index_offset - s.offset)
      fail_expected(entry.at("size").where(), fmt::format("a section that ends before the index at {}", prologue.index_offset),
                    fmt::format("{} bytes at {}", s.size, s.offset));
    s.sum = read_sum(entry.at("sum"));
    if (const Json* info = entry.find("info")) {
      info->object();
      s.info = *info;
    }
    end = s.offset + s.size;
    sections.push_back(std::move(s));
  }
  if (align(end) != prologue.index_offset)
    fail_expected(where, fmt::format("the index at {}, behind the sections", align(end)), std::to_string(prologue.index_offset));
  for (std::size_t i = 0; i < sections.size(); ++i)
    if (!by_name.emplace(sections[i].name, i).second) fail(where, "two sections are called " + in_quotes(sections[i].name));
}

std::shared_ptr<const PackedFile> PackedFile::open(const std::filesystem::path& path) {
  auto mapped = MappedFile::open(path);
  const auto bytes = mapped->bytes();
  std::shared_ptr<PackedFile> file(new PackedFile);
  file->impl_ = std::make_shared<Impl>(path, std::move(mapped), bytes);
  return file;
}

std::shared_ptr<const PackedFile> PackedFile::parse(std::span<const std::byte> bytes, const std::filesystem::path& name) {
  std::shared_ptr<PackedFile> file(new PackedFile);
  file->impl_ = std::make_shared<Impl>(name, nullptr, bytes);
  return file;
}

const std::filesystem::path& PackedFile::path() const noexcept { return impl_->path; }
std::size_t PackedFile::bytes() const noexcept { return impl_->bytes.size(); }
const Json& PackedFile::meta() const noexcept { return impl_->meta; }
const std::vector<PackedSection>& PackedFile::sections() const noexcept { return impl_->sections; }

const PackedSection* PackedFile::find(std::string_view name) const noexcept {
  const auto found = impl_->by_name.find(name);
  return found == impl_->by_name.end() ? nullptr : &impl_->sections[found->second];
}

std::span<const std::byte> PackedFile::bytes(const PackedSection& section) const noexcept {
  return impl_->bytes.subspan(section.offset, section.size);
}

bool PackedFile::intact(const PackedSection& section, bool passing) const noexcept {
  constexpr std::size_t kStretch = std::size_t{16} << 20;
  auto rest = bytes(section);
  XXH3_state_t* state = passing && rest.size() > kStretch ? XXH3_createState() : nullptr;
  if (state == nullptr || XXH3_64bits_reset(state) != XXH_OK) {
    XXH3_freeState(state);
    const bool same = checksum(rest) == section.sum;
    if (passing) release(section);
    return same;
  }
  while (!rest.empty()) {
    const auto part = rest.first(std::min(kStretch, rest.size()));
    XXH3_64bits_update(state, part.data(), part.size());
    if (impl_->file != nullptr) impl_->file->release(part);
    rest = rest.subspan(part.size());
  }
  const bool same = XXH3_64bits_digest(state) == section.sum;
  XXH3_freeState(state);
  return same;
}

std::span<const std::byte> PackedFile::checked(std::string_view name) const {
  const PackedSection* section = find(name);
  if (section == nullptr) fail_expected(path().string(), "a section " + in_quotes(name), "none of that name");
  if (!intact(*section)) fail_damaged(*section);
  return bytes(*section);
}

void PackedFile::fail_damaged(const PackedSection& section) const {
  const std::string where = path().string();
  fail(where, fmt::format("section {} is damaged (its sum is another); copy the file again, or {}", in_quotes(section.name), pack_again(where)));
}

void PackedFile::release(const PackedSection& section) const noexcept {
  if (impl_->file != nullptr) impl_->file->release(bytes(section));
}

struct PackedWriter::Impl {
  std::string where;
  FileWriter file;
  std::size_t end = 0;
  std::vector<PackedSection> sections;
  std::map<std::string, std::size_t, std::less<>> names;

  Impl(const std::filesystem::path& path, bool replace) : where(path.string()), file(path, replace) {}
  void append(std::span<const std::byte> bytes) {
    file.append(bytes);
    end += bytes.size();
  }
  /// Zeros up to the next place where a section may begin.
  void pad() {
    static constexpr std::array<std::byte, kPackedAlignment> kZeros{};
    append(std::span(kZeros).first(align(end) - end));
  }
};

PackedWriter::PackedWriter(const std::filesystem::path& path, bool replace) : impl_(std::make_unique<Impl>(path, replace)) {
  impl_->append(bytes_of(Prologue{}));  // the real one comes last
}

PackedWriter::~PackedWriter() = default;

void PackedWriter::add(std::string name, std::span<const std::span<const std::byte>> parts, Json info) {
  Impl& w = *impl_;
  if (!plain(name)) fail_expected(w.where, "names of printable characters", in_quotes(name));
  if (!w.names.emplace(name, w.sections.size()).second) fail_expected(w.where, "sections of different names", in_quotes(name) + " twice");
  w.pad();
  PackedSection s;
  s.name = std::move(name);
  s.offset = w.end;
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(), XXH3_freeState);
  if (state == nullptr || XXH3_64bits_reset(state.get()) != XXH_OK) fail(w.where, "no memory for a sum");
  for (const std::span<const std::byte> part : parts) {
    XXH3_64bits_update(state.get(), part.data(), part.size());
    w.append(part);
  }
  s.size = w.end - s.offset;
  s.sum = XXH3_64bits_digest(state.get());
  s.info = std::move(info);
  w.sections.push_back(std::move(s));
}

std::size_t PackedWriter::finish(const Json& meta) {
  Impl& w = *impl_;
  w.pad();
  Json::Array list;
  for (const PackedSection& s : w.sections) {
    Json::Object entry;
    entry.emplace_back("name", s.name);
    entry.emplace_back("offset", static_cast<std::int64_t>(s.offset));
    entry.emplace_back("size", static_cast<std::int64_t>(s.size));
    entry.emplace_back("sum", fmt::format("{:016x}", s.sum));
    if (!s.info.is_null()) entry.emplace_back("info", s.info);
    list.emplace_back(std::move(entry));
  }
  Json index;
  index.set("meta", meta).set("sections", std::move(list));
  const std::string text = index.dump(-1);
  if (text.size() > kMaxIndex) fail_expected(w.where, fmt::format("an index of at most {} bytes", kMaxIndex), std::to_string(text.size()));
  Prologue p;
  p.index_offset = w.end;
  p.index_size = text.size();
  p.index_sum = checksum(std::as_bytes(std::span(text)));
  w.append(std::as_bytes(std::span(text)));
  p.file_size = w.end;
  p.sum = sum_of(p);
  w.file.overwrite(0, bytes_of(p));
  w.file.commit();
  return w.end;
}

}  // namespace tessera::io
