#include "tessera/io/safetensors_header.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "tessera/core/error.h"
#include "tessera/io/quote.h"

namespace tessera::io {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian, and so are the readers");

struct TypeRow {
  StoredType type;
  std::string_view name;
  std::size_t size;
};
constexpr std::array kTypes = {
    TypeRow{StoredType::f64, "F64", 8},      TypeRow{StoredType::f32, "F32", 4},         TypeRow{StoredType::f16, "F16", 2},
    TypeRow{StoredType::bf16, "BF16", 2},    TypeRow{StoredType::i64, "I64", 8},         TypeRow{StoredType::i32, "I32", 4},
    TypeRow{StoredType::i16, "I16", 2},      TypeRow{StoredType::i8, "I8", 1},           TypeRow{StoredType::u64, "U64", 8},
    TypeRow{StoredType::u32, "U32", 4},      TypeRow{StoredType::u16, "U16", 2},         TypeRow{StoredType::u8, "U8", 1},
    TypeRow{StoredType::boolean, "BOOL", 1}, TypeRow{StoredType::f8_e4m3, "F8_E4M3", 1}, TypeRow{StoredType::f8_e5m2, "F8_E5M2", 1},
};

const TypeRow& row_of(StoredType type) { return *std::ranges::find(kTypes, type, &TypeRow::type); }

constexpr std::uint64_t kMaxElements = std::uint64_t{1} << 48;
constexpr std::size_t kMaxDepth = 64;

/// Receives nlohmann's events. The JSON has one form: { name: { dtype, shape, data_offsets }, "__metadata__": { key: text } }; other members of
/// a tensor's object are skipped. Throws Error at the first thing that is wrong.
class HeaderReader {
 public:
  HeaderReader(const std::string& where, std::uint64_t data_size, SafetensorsHeader& out) : where_(where), data_size_(data_size), out_(out) {}

  bool null() {
    if (at_ == At::metadata) return done();  // "__metadata__": null
    return other("null");
  }
  bool boolean(bool v) { return other(v ? "true" : "false"); }
  bool number_integer(std::int64_t v) { return other(std::to_string(v)); }
  bool number_unsigned(std::uint64_t v) {
    if (at_ == At::sizes) {
      if (rank_ == Shape::kMaxRank) fail_expected(tensor(), "at most 8 dimensions", "more");
      sizes_[rank_++] = v;
    } else if (at_ == At::offsets_list) {
      if (offsets_ < 2) range_[offsets_] = v;
      ++offsets_;
    } else {
      return other(std::to_string(v));
    }
    return true;
  }
  bool number_float(double, const std::string& text) { return other(printable(text, 60)); }
  bool string(std::string& v) {
    if (at_ == At::metadata_value) {
      out_.metadata.emplace(metadata_key_, std::move(v));
      at_ = At::metadata_key;
    } else if (at_ == At::dtype) {
      const auto row = std::ranges::find(kTypes, std::string_view(v), &TypeRow::name);
      if (row == kTypes.end())
        fail_expected(tensor(), "a dtype from F64, F32, F16, BF16, I8 to I64, U8 to U64, BOOL, F8_E4M3, F8_E5M2", in_quotes(v));
      type_ = row;
      at_ = At::tensor_key;
    } else {
      return other(in_quotes(v, 60));
    }
    return true;
  }
  bool binary(nlohmann::json::binary_t&) { return other("binary"); }

  bool start_object(std::size_t) {
    switch (at_) {
      case At::begin: at_ = At::name; return true;
      case At::metadata: at_ = At::metadata_key; return true;
      case At::tensor: at_ = At::tensor_key; return true;
      case At::skip: return deeper();
      default: return other("an object");
    }
  }
  bool end_object() {
    if (at_ == At::skip) return shallower();
    if (at_ == At::tensor_key) add_tensor();
    return done();
  }
  bool start_array(std::size_t) {
    switch (at_) {
      case At::shape: at_ = At::sizes; return true;
      case At::offsets: at_ = At::offsets_list; return true;
      case At::skip: return deeper();
      default: return other("an array");
    }
  }
  bool end_array() {
    if (at_ == At::skip) return shallower();
    if (at_ == At::offsets_list && offsets_ != 2) fail_expected(tensor(), "two data_offsets", std::to_string(offsets_));
    at_ = At::tensor_key;
    return true;
  }

  bool key(std::string& key) {
    if (at_ == At::name) {
      if (key == kMetadataName) {
        if (std::exchange(saw_metadata_, true)) fail(where_, "__metadata__ stands twice");
        at_ = At::metadata;
        return true;
      }
      name_ = std::move(key);
      type_ = nullptr;
      saw_shape_ = saw_offsets_ = false;
      rank_ = offsets_ = 0;
      at_ = At::tensor;
    } else if (at_ == At::metadata_key) {
      if (out_.metadata.contains(key)) fail(where_, fmt::format("the metadata key {} stands twice", in_quotes(key)));
      metadata_key_ = std::move(key);
      at_ = At::metadata_value;
    } else if (at_ == At::tensor_key) {
      tensor_key(key);
    }  // else a key of something that is skipped
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) {
    const std::string_view what = e.what();
    const std::size_t at = what.find("] ");
    fail(where_, "the header is not JSON: " + printable(at == std::string_view::npos ? what : what.substr(at + 2), 300));
  }

 private:
  /// What comes next.
  enum class At : std::uint8_t {
    begin,
    name,
    tensor,
    tensor_key,
    dtype,
    shape,
    sizes,
    offsets,
    offsets_list,
    skip,
    metadata,
    metadata_key,
    metadata_value
  };

  std::string tensor() const { return fmt::format("{}: tensor {}", where_, in_quotes(name_)); }

  bool done() {
    at_ = At::name;
    return true;
  }
  bool deeper() {
    if (++depth_ > kMaxDepth) fail(tensor(), fmt::format("nested deeper than {} levels", kMaxDepth));
    return true;
  }
  bool shallower() {
    if (--depth_ == 0) at_ = At::tensor_key;
    return true;
  }

  void tensor_key(std::string_view key) {
    bool twice = false;
    if (key == "dtype") {
      twice = type_ != nullptr;
      at_ = At::dtype;
    } else if (key == "shape") {
      twice = std::exchange(saw_shape_, true);
      at_ = At::shape;
    } else if (key == "data_offsets") {
      twice = std::exchange(saw_offsets_, true);
      at_ = At::offsets;
    } else {
      depth_ = 0;
      at_ = At::skip;
    }
    if (twice) fail(tensor(), fmt::format("{} stands twice", key));
  }

  /// A value that no member wants: skipped, or an error that says what was wanted.
  bool other(const std::string& got) {
    switch (at_) {
      case At::skip:
        if (depth_ == 0) at_ = At::tensor_key;
        return true;
      case At::begin: fail_expected(where_, "a JSON object as header", got);
      case At::tensor: fail_expected(tensor(), "an object with dtype, shape and data_offsets", got);
      case At::dtype: fail_expected(tensor(), "a string as dtype", got);
      case At::shape: fail_expected(tensor(), "a list as shape", got);
      case At::sizes: fail_expected(tensor(), "a shape of integers, 0 or more", got);
      case At::offsets: fail_expected(tensor(), "a list as data_offsets", got);
      case At::offsets_list: fail_expected(tensor(), "data_offsets that are integers, 0 or more", got);
      case At::metadata: fail_expected(where_, "an object as __metadata__", got);
      case At::metadata_value: fail_expected(where_, fmt::format("a string as metadata {}", in_quotes(metadata_key_)), got);
      default: fail_expected(where_, "a safetensors header", got);
    }
  }

  void add_tensor() {
    for (const auto& [there, key] : {std::pair(type_ != nullptr, "dtype"), std::pair(saw_shape_, "shape"), std::pair(saw_offsets_, "data_offsets")})
      if (!there) fail_expected(tensor(), key, "none");
    std::uint64_t count = 1;
    bool empty = false;
    std::array<std::int64_t, Shape::kMaxRank> sizes{};
    for (std::size_t i = 0; i < rank_; ++i) {
      const std::uint64_t size = sizes_[i];
      empty = empty || size == 0;
      if (size > 0 && count > kMaxElements / size) fail(tensor(), "the shape has more than 2^48 elements");
      if (size > 0) count *= size;
      sizes[i] = static_cast<std::int64_t>(size);
    }
    const Shape shape(std::span<const std::int64_t>(sizes.data(), rank_));
    const auto [begin, end] = range_;
    if (begin > end || end > data_size_)
      fail_expected(tensor(), fmt::format("data_offsets inside the {} bytes of data", data_size_), fmt::format("{} to {}", begin, end),
                    end > data_size_ && begin <= end ? "the file is truncated or its header is wrong" : "");
    const std::uint64_t need = empty ? 0 : count * type_->size;
    if (end - begin != need) fail_expected(tensor(), fmt::format("{} bytes for {}{}", need, type_->name, shape.str()), std::to_string(end - begin));
    out_.tensors.push_back({std::move(name_), type_->type, shape, static_cast<std::size_t>(begin), static_cast<std::size_t>(end)});
  }

  const std::string& where_;
  const std::uint64_t data_size_;
  SafetensorsHeader& out_;
  At at_ = At::begin;
  bool saw_metadata_ = false;
  std::string metadata_key_;
  // The tensor that is being read.
  std::string name_;
  const TypeRow* type_ = nullptr;
  bool saw_shape_ = false;
  bool saw_offsets_ = false;
  std::array<std::uint64_t, Shape::kMaxRank> sizes_{};
  std::size_t rank_ = 0;
  std::array<std::uint64_t, 2> range_{};
  std::size_t offsets_ = 0;
  std::size_t depth_ = 0;  // of what is skipped
};

}  // namespace

std::string_view name(StoredType type) { return row_of(type).name; }
std::size_t size_of(StoredType type) { return row_of(type).size; }

SafetensorsHeader read_header(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() < 8) fail_expected(where, "a safetensors file (8 bytes of header length)", fmt::format("{} bytes", bytes.size()));
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const std::uint64_t most = std::min<std::uint64_t>(kMaxHeaderBytes, bytes.size() - 8);
  if (length > most)
    fail_expected(where, fmt::format("a header of at most {} bytes", most), std::to_string(length),
                  "the file is truncated or not a safetensors file");
  const std::string_view text(reinterpret_cast<const char*>(bytes.data() + 8), static_cast<std::size_t>(length));
  if (!text.starts_with('{')) fail_expected(where, "a header that begins with '{'", text.empty() ? "no header" : in_quotes(text.substr(0, 1)));

  // nlohmann takes a null byte for the end of the text, and what follows it would go unseen.
  if (const std::size_t at = text.find('\0'); at != std::string_view::npos) fail(where, fmt::format("the header is not JSON: a null byte at {}", at));

  SafetensorsHeader header;
  header.data_begin = 8 + text.size();
  const std::size_t data_size = bytes.size() - header.data_begin;
  HeaderReader reader(where, data_size, header);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &reader)) fail(where, "the header is not JSON");

  std::ranges::stable_sort(header.tensors, {}, [](const StoredTensor& t) { return std::pair(t.begin, t.end); });
  for (std::size_t i = 0; i < header.tensors.size(); ++i)
    if (!header.by_name.emplace(header.tensors[i].name, i).second)
      fail(where, fmt::format("tensor {} stands twice in the header", in_quotes(header.tensors[i].name)));
  std::size_t at = 0;
  for (const StoredTensor& t : header.tensors) {
    if (t.begin != at)
      fail_expected(fmt::format("{}: tensor {}", where, in_quotes(t.name)), fmt::format("data from byte {}, where the tensor before it ends", at),
                    std::to_string(t.begin), t.begin < at ? "tensors overlap" : "there is a hole between tensors");
    at = t.end;
  }
  if (at != data_size) fail_expected(where, fmt::format("{} bytes of data, as the header says", at), std::to_string(data_size));
  return header;
}

}  // namespace tessera::io
