#include "tessera/io/safetensors.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>

#include "tessera/core/error.h"
#include "tessera/io/json.h"

namespace tessera::io {
namespace {

constexpr std::uint64_t kMaxHeader = std::uint64_t{100} << 20;  // the format's own limit

struct TypeName {
  StoredType type;
  std::string_view name;
  std::size_t size;
};
constexpr std::array kTypes = {
    TypeName{StoredType::f64, "F64", 8},      TypeName{StoredType::f32, "F32", 4},         TypeName{StoredType::f16, "F16", 2},
    TypeName{StoredType::bf16, "BF16", 2},    TypeName{StoredType::i64, "I64", 8},         TypeName{StoredType::i32, "I32", 4},
    TypeName{StoredType::i16, "I16", 2},      TypeName{StoredType::i8, "I8", 1},           TypeName{StoredType::u64, "U64", 8},
    TypeName{StoredType::u32, "U32", 4},      TypeName{StoredType::u16, "U16", 2},         TypeName{StoredType::u8, "U8", 1},
    TypeName{StoredType::boolean, "BOOL", 1}, TypeName{StoredType::f8_e4m3, "F8_E4M3", 1}, TypeName{StoredType::f8_e5m2, "F8_E5M2", 1},
};

const TypeName& type_row(StoredType type) { return *std::ranges::find(kTypes, type, &TypeName::type); }

/// Names come from the file: control characters must not reach a terminal.
std::string shown(std::string_view name) {
  std::string out = "'";
  for (const char c : name.substr(0, 200)) {
    if (static_cast<unsigned char>(c) < 32 || c == 127)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      out.push_back(c);
  }
  return out + (name.size() > 200 ? "...'" : "'");
}

std::optional<DType> dtype_of_stored(StoredType type) {
  switch (type) {
    case StoredType::f32: return DType::f32;
    case StoredType::bf16: return DType::bf16;
    case StoredType::f16: return DType::f16;
    case StoredType::i32: return DType::i32;
    case StoredType::u32: return DType::u32;
    case StoredType::i8: return DType::i8;
    case StoredType::u8:
    case StoredType::boolean: return DType::u8;
    default: return std::nullopt;
  }
}

StoredTensor parse_entry(const std::string& where, const std::string& name, const Json& entry, std::uint64_t data_size) {
  const std::string tensor = where + ": tensor " + shown(name);
  StoredTensor t;
  t.name = name;
  const std::string& type = entry.at("dtype").string();
  const auto row = std::ranges::find(kTypes, std::string_view(type), &TypeName::name);
  if (row == kTypes.end()) fail_expected(tensor, "a dtype of the safetensors format", shown(type));
  t.type = row->type;
  std::vector<std::int64_t> sizes;
  std::uint64_t count = 1;
  constexpr std::uint64_t kMost = std::uint64_t{1} << 48;
  bool zero = false;
  for (const Json& size : entry.at("shape").array()) {
    const std::int64_t n = size.integer(0);
    sizes.push_back(n);
    if (sizes.size() > Shape::kMaxRank) fail_expected(tensor, "at most 8 dimensions", "more");
    zero = zero || n == 0;
    if (n > 0 && count > kMost / static_cast<std::uint64_t>(n)) fail(tensor, "the shape has more than 2^48 elements");
    if (n > 0) count *= static_cast<std::uint64_t>(n);
  }
  t.shape = Shape(std::span<const std::int64_t>(sizes));
  const std::uint64_t need = zero ? 0 : count * row->size;
  const Json::Array& offsets = entry.at("data_offsets").array();
  if (offsets.size() != 2) fail_expected(tensor, "two data_offsets", std::to_string(offsets.size()));
  const auto begin = static_cast<std::uint64_t>(offsets[0].integer(0));
  const auto end = static_cast<std::uint64_t>(offsets[1].integer(0));
  if (begin > end || end > data_size)
    fail_expected(tensor, fmt::format("data_offsets inside the {} bytes of data", data_size), fmt::format("{} to {}", begin, end));
  if (end - begin != need) fail_expected(tensor, fmt::format("{} bytes for {}{}", need, type, t.shape.str()), std::to_string(end - begin));
  t.begin = static_cast<std::size_t>(begin);
  t.end = static_cast<std::size_t>(end);
  return t;
}

template <class T>
T load(const std::byte* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

double to_double(StoredType type, const std::byte* p) {
  switch (type) {
    case StoredType::f64: return load<double>(p);
    case StoredType::f32: return static_cast<double>(load<float>(p));
    case StoredType::f16: return static_cast<double>(to_f32(f16{load<std::uint16_t>(p)}));
    case StoredType::bf16: return static_cast<double>(to_f32(bf16{load<std::uint16_t>(p)}));
    case StoredType::i64: return static_cast<double>(load<std::int64_t>(p));
    case StoredType::i32: return load<std::int32_t>(p);
    case StoredType::i16: return load<std::int16_t>(p);
    case StoredType::i8: return load<std::int8_t>(p);
    case StoredType::u64: return static_cast<double>(load<std::uint64_t>(p));
    case StoredType::u32: return load<std::uint32_t>(p);
    case StoredType::u16: return load<std::uint16_t>(p);
    default: return load<std::uint8_t>(p);
  }
}

}  // namespace

std::string_view name(StoredType type) { return type_row(type).name; }
std::size_t size_of(StoredType type) { return type_row(type).size; }

struct SafetensorsFile::Impl {
  std::filesystem::path path;
  std::shared_ptr<const MappedFile> file;  // null when parsed from memory
  std::span<const std::byte> data;
  std::vector<StoredTensor> tensors;
  std::map<std::string, std::size_t, std::less<>> by_name;
  std::map<std::string, std::string> metadata;
};

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  auto file = MappedFile::open(path);
  auto parsed = std::const_pointer_cast<SafetensorsFile>(parse(file->bytes(), path));
  auto impl = std::make_shared<Impl>(*parsed->impl_);
  impl->file = std::move(file);
  parsed->impl_ = std::move(impl);
  return parsed;
}

std::shared_ptr<const SafetensorsFile> SafetensorsFile::parse(std::span<const std::byte> bytes, const std::filesystem::path& path) {
  const std::string where = path.filename().string();
  if (bytes.size() < 8) fail_expected(where, "a safetensors file (8 bytes of header length)", fmt::format("{} bytes", bytes.size()));
  const auto length = load<std::uint64_t>(bytes.data());
  if (length > kMaxHeader || length > bytes.size() - 8)
    fail_expected(where, fmt::format("a header of at most {} bytes", std::min<std::uint64_t>(kMaxHeader, bytes.size() - 8)), std::to_string(length),
                  "the file is truncated or not a safetensors file");
  const std::string_view header(reinterpret_cast<const char*>(bytes.data() + 8), static_cast<std::size_t>(length));
  if (header.empty() || header.front() != '{')
    fail_expected(where, "a header that begins with '{'", header.empty() ? "no header" : shown(header.substr(0, 1)));
  const Json json = Json::parse(header, where);
  if (!json.is_object()) fail_expected(where, "a JSON object as header", "something else");

  auto impl = std::make_shared<Impl>();
  impl->path = path;
  impl->data = bytes.subspan(8 + static_cast<std::size_t>(length));
  for (const auto& [name, entry] : json.object()) {
    if (name == "__metadata__") {
      for (const auto& [key, value] : entry.object()) impl->metadata.emplace(key, value.string());
    } else {
      impl->tensors.push_back(parse_entry(where, name, entry, impl->data.size()));
    }
  }
  std::ranges::stable_sort(impl->tensors,
                           [](const StoredTensor& a, const StoredTensor& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::size_t at = 0;
  for (std::size_t i = 0; i < impl->tensors.size(); ++i) {
    const StoredTensor& t = impl->tensors[i];
    if (t.begin != at)
      fail_expected(where, fmt::format("tensor {} to begin at byte {}, where the one before it ends", shown(t.name), at), std::to_string(t.begin),
                    t.begin < at ? "tensors overlap" : "there is a hole between tensors");
    at = t.end;
    impl->by_name.emplace(t.name, i);
  }
  if (at != impl->data.size()) fail_expected(where, fmt::format("{} bytes of data, as the header says", at), std::to_string(impl->data.size()));
  std::shared_ptr<SafetensorsFile> file(new SafetensorsFile);
  file->impl_ = std::move(impl);
  return file;
}

const std::filesystem::path& SafetensorsFile::path() const noexcept { return impl_->path; }
const std::vector<StoredTensor>& SafetensorsFile::tensors() const noexcept { return impl_->tensors; }
const std::map<std::string, std::string>& SafetensorsFile::metadata() const noexcept { return impl_->metadata; }

const StoredTensor* SafetensorsFile::find(std::string_view name) const noexcept {
  const auto found = impl_->by_name.find(name);
  return found == impl_->by_name.end() ? nullptr : &impl_->tensors[found->second];
}

std::span<const std::byte> SafetensorsFile::bytes(const StoredTensor& tensor) const noexcept {
  return impl_->data.subspan(tensor.begin, tensor.end - tensor.begin);
}

namespace {
const StoredTensor& need(const SafetensorsFile& file, std::string_view name) {
  const StoredTensor* t = file.find(name);
  if (t == nullptr) fail_expected(file.path().filename().string(), "a tensor " + shown(name), "none of that name");
  return *t;
}
}  // namespace

Tensor SafetensorsFile::tensor(std::string_view name) const {
  const StoredTensor& t = need(*this, name);
  const auto dtype = dtype_of_stored(t.type);
  if (!dtype)
    fail_expected(impl_->path.filename().string(), "tensor " + shown(name) + " of F32, BF16, F16, I32, U32, I8, U8 or BOOL", io::name(t.type));
  const auto data = bytes(t);
  const bool aligned = reinterpret_cast<std::uintptr_t>(data.data()) % tessera::size_of(*dtype) == 0;
  if (!aligned || impl_->file == nullptr || data.empty()) return Tensor::from_bytes(data, t.shape, *dtype);
  return Tensor::borrow(const_cast<std::byte*>(data.data()), t.shape, *dtype, std::const_pointer_cast<Impl>(impl_));
}

std::vector<double> SafetensorsFile::doubles(std::string_view name) const {
  const StoredTensor& t = need(*this, name);
  if (t.type == StoredType::f8_e4m3 || t.type == StoredType::f8_e5m2)
    fail_expected(impl_->path.filename().string(), "tensor " + shown(name) + " of a numeric type", io::name(t.type));
  const auto data = bytes(t);
  std::vector<double> values(static_cast<std::size_t>(t.shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = to_double(t.type, data.data() + i * size_of(t.type));
  return values;
}

std::vector<float> SafetensorsFile::floats(std::string_view name) const {
  const std::vector<double> values = doubles(name);
  return {values.begin(), values.end()};
}

std::vector<std::int64_t> SafetensorsFile::integers(std::string_view name) const {
  const StoredTensor& t = need(*this, name);
  const auto data = bytes(t);
  std::vector<std::int64_t> values(static_cast<std::size_t>(t.shape.numel()));
  const std::vector<double> numbers = t.type == StoredType::i64 || t.type == StoredType::u64 ? std::vector<double>() : doubles(name);
  for (std::size_t i = 0; i < values.size(); ++i) {
    bool fits = true;
    if (t.type == StoredType::i64) {
      values[i] = load<std::int64_t>(data.data() + 8 * i);
    } else if (t.type == StoredType::u64) {
      const auto v = load<std::uint64_t>(data.data() + 8 * i);
      fits = v <= static_cast<std::uint64_t>(INT64_MAX);
      values[i] = static_cast<std::int64_t>(v);
    } else {
      fits = std::nearbyint(numbers[i]) == numbers[i] && std::fabs(numbers[i]) < 0x1p63;
      values[i] = fits ? static_cast<std::int64_t>(numbers[i]) : 0;
    }
    if (!fits) fail_expected(impl_->path.filename().string(), "integers in tensor " + shown(name), fmt::format("another value at {}", i));
  }
  return values;
}

void SafetensorsFile::release(std::string_view name) const noexcept {
  const StoredTensor* t = find(name);
  if (t != nullptr && impl_->file != nullptr) impl_->file->release(bytes(*t));
}

void write_safetensors(const std::filesystem::path& path, std::span<const std::pair<std::string, Tensor>> tensors,
                       const std::map<std::string, std::string>& metadata) {
  Json header(Json::Object{});
  if (!metadata.empty()) {
    Json object;
    for (const auto& [key, value] : metadata) object.set(key, value);
    header.set("__metadata__", std::move(object));
  }
  std::size_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined() || !tensor.is_contiguous()) fail_expected("write_safetensors", "contiguous row-major tensors", name + ": " + tensor.str());
    if (header.has(name)) fail_expected("write_safetensors", "different names", shown(name) + " twice");
    const auto stored = std::ranges::find_if(kTypes, [&, dtype = tensor.dtype()](const TypeName& row) { return dtype_of_stored(row.type) == dtype; });
    Json::Array shape;
    for (const std::int64_t size : tensor.shape().sizes()) shape.emplace_back(size);
    Json entry;
    entry.set("dtype", stored->name).set("shape", std::move(shape));
    entry.set("data_offsets", Json::Array{static_cast<std::int64_t>(offset), static_cast<std::int64_t>(offset + tensor.bytes())});
    header.set(name, std::move(entry));
    offset += tensor.bytes();
  }
  std::string text = header.dump(-1);
  text.append((8 - text.size() % 8) % 8, ' ');
  std::vector<std::byte> bytes(8 + text.size() + offset);
  const std::uint64_t length = text.size();
  std::memcpy(bytes.data(), &length, 8);
  std::memcpy(bytes.data() + 8, text.data(), text.size());
  std::byte* p = bytes.data() + 8 + text.size();
  for (const auto& [name, tensor] : tensors) {
    if (tensor.bytes() > 0) std::memcpy(p, tensor.raw(), tensor.bytes());
    p += tensor.bytes();
  }
  write_file(path, bytes);
}

}  // namespace tessera::io
