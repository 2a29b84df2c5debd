#include "tessera/io/safetensors.h"

#include <fmt/core.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <type_traits>

#include "tessera/core/error.h"
#include "tessera/io/json.h"
#include "tessera/io/quote.h"
#include "tessera/io/safetensors_header.h"

namespace tessera::io {
namespace {

std::optional<DType> dtype_of_stored(StoredType type) {
  switch (type) {
    case StoredType::f32: return DType::f32;
    case StoredType::bf16: return DType::bf16;
    case StoredType::f16: return DType::f16;
    case StoredType::i32: return DType::i32;
    case StoredType::u32: return DType::u32;
    case StoredType::u16: return DType::u16;
    case StoredType::i8: return DType::i8;
    case StoredType::u8:
    case StoredType::boolean: return DType::u8;
    default: return std::nullopt;
  }
}

StoredType stored_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return StoredType::f32;
    case DType::bf16: return StoredType::bf16;
    case DType::f16: return StoredType::f16;
    case DType::i8: return StoredType::i8;
    case DType::u8: return StoredType::u8;
    case DType::i32: return StoredType::i32;
    case DType::u32: return StoredType::u32;
    case DType::u16: return StoredType::u16;
    case DType::bfloat8_b:
    case DType::bfloat4_b: break;  // never row-major, and refused before
  }
  return StoredType::u8;
}

/// OCP 8-bit float with 4 exponent bits ("E4M3FN"): bias 7, no infinities, NaN where all other bits are set.
float from_e4m3(std::uint8_t bits) {
  const int exponent = (bits >> 3) & 15;
  const int mantissa = bits & 7;
  float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9) : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  if ((bits & 0x7f) == 0x7f) magnitude = std::numeric_limits<float>::quiet_NaN();
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

/// Calls to(i, value) for each of the elements, as the C++ type that holds them exactly (float for the narrow floats).
template <class To>
void for_each(StoredType type, std::span<const std::byte> data, To to) {
  const auto walk = [&]<class T>(T, auto decode) {
    for (std::size_t i = 0; i < data.size() / sizeof(T); ++i) {
      T v;
      std::memcpy(&v, data.data() + i * sizeof(T), sizeof(T));  // need not be aligned
      to(i, decode(v));
    }
  };
  const auto same = [](auto v) { return v; };
  switch (type) {
    case StoredType::f64: return walk(double{}, same);
    case StoredType::f32: return walk(float{}, same);
    case StoredType::f16: return walk(std::uint16_t{}, [](std::uint16_t v) { return to_f32(f16{v}); });
    case StoredType::bf16: return walk(std::uint16_t{}, [](std::uint16_t v) { return to_f32(bf16{v}); });
    case StoredType::i64: return walk(std::int64_t{}, same);
    case StoredType::i32: return walk(std::int32_t{}, same);
    case StoredType::i16: return walk(std::int16_t{}, same);
    case StoredType::i8: return walk(std::int8_t{}, same);
    case StoredType::u64: return walk(std::uint64_t{}, same);
    case StoredType::u32: return walk(std::uint32_t{}, same);
    case StoredType::u16: return walk(std::uint16_t{}, same);
    case StoredType::u8:
    case StoredType::boolean: return walk(std::uint8_t{}, same);
    case StoredType::f8_e4m3: return walk(std::uint8_t{}, [](std::uint8_t v) { return from_e4m3(v); });
    case StoredType::f8_e5m2: return walk(std::uint8_t{}, [](std::uint8_t v) { return to_f32(f16{static_cast<std::uint16_t>(v << 8)}); });
  }
}

/// The nearest float or double. Throws Error when a finite value is too large for it.
template <class T>
std::vector<T> real_numbers(const StoredTensor& t, std::span<const std::byte> data, const std::string& where) {
  std::vector<T> values(static_cast<std::size_t>(t.shape.numel()));
  for_each(t.type, data, [&](std::size_t i, auto v) {
    if constexpr (std::is_same_v<decltype(v), double> && std::is_same_v<T, float>) {
      // Half an ulp beyond the largest float rounds to infinity.
      if (std::isfinite(v) && std::fabs(v) >= 0x1.ffffffp+127)
        fail_expected(where, fmt::format("values of float32 in tensor {}", in_quotes(t.name)), fmt::format("{} at {}", v, i));
    }
    values[i] = static_cast<T>(v);
  });
  return values;
}

}  // namespace

struct SafetensorsFile::Impl {
  std::filesystem::path path;
  std::shared_ptr<const MappedFile> file;  // null when parsed from memory
  std::span<const std::byte> data;
  SafetensorsHeader header;

  Impl(const std::filesystem::path& p, std::shared_ptr<const MappedFile> mapped, std::span<const std::byte> bytes)
      : path(p), file(std::move(mapped)), header(read_header(bytes, p.filename().string())) {
    data = bytes.subspan(header.data_begin);
  }
  std::string where() const { return path.filename().string(); }
  const StoredTensor& need(std::string_view name) const {
    const auto found = header.by_name.find(name);
    if (found == header.by_name.end()) fail_expected(where(), "a tensor " + in_quotes(name), "none of that name");
    return header.tensors[found->second];
  }
  std::span<const std::byte> bytes(const StoredTensor& t) const { return data.subspan(t.begin, t.end - t.begin); }
};

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  auto mapped = MappedFile::open(path);
  const auto bytes = mapped->bytes();
  std::shared_ptr<SafetensorsFile> file(new SafetensorsFile);
  file->impl_ = std::make_shared<Impl>(path, std::move(mapped), bytes);
  return file;
}

std::shared_ptr<const SafetensorsFile> SafetensorsFile::parse(std::span<const std::byte> bytes, const std::filesystem::path& name) {
  std::shared_ptr<SafetensorsFile> file(new SafetensorsFile);
  file->impl_ = std::make_shared<Impl>(name, nullptr, bytes);
  return file;
}

const std::filesystem::path& SafetensorsFile::path() const noexcept { return impl_->path; }
const std::vector<StoredTensor>& SafetensorsFile::tensors() const noexcept { return impl_->header.tensors; }
const std::map<std::string, std::string>& SafetensorsFile::metadata() const noexcept { return impl_->header.metadata; }

const StoredTensor* SafetensorsFile::find(std::string_view name) const noexcept {
  const auto found = impl_->header.by_name.find(name);
  return found == impl_->header.by_name.end() ? nullptr : &impl_->header.tensors[found->second];
}

std::span<const std::byte> SafetensorsFile::bytes(const StoredTensor& tensor) const noexcept { return impl_->bytes(tensor); }

Tensor SafetensorsFile::tensor(std::string_view name) const {
  const StoredTensor& t = impl_->need(name);
  const auto dtype = dtype_of_stored(t.type);
  if (!dtype) fail_expected(impl_->where(), "tensor " + in_quotes(name) + " of F32, BF16, F16, I32, U32, U16, I8, U8 or BOOL", io::name(t.type));
  const auto data = impl_->bytes(t);
  const bool aligned = reinterpret_cast<std::uintptr_t>(data.data()) % tessera::size_of(*dtype) == 0;
  if (!aligned || impl_->file == nullptr || data.empty()) return Tensor::from_bytes(data, t.shape, *dtype);
  return Tensor::borrow(const_cast<std::byte*>(data.data()), t.shape, *dtype, std::const_pointer_cast<Impl>(impl_));
}

std::vector<double> SafetensorsFile::doubles(std::string_view name) const {
  const StoredTensor& t = impl_->need(name);
  return real_numbers<double>(t, impl_->bytes(t), impl_->where());
}

std::vector<float> SafetensorsFile::floats(std::string_view name) const {
  const StoredTensor& t = impl_->need(name);
  return real_numbers<float>(t, impl_->bytes(t), impl_->where());
}

std::vector<std::int64_t> SafetensorsFile::integers(std::string_view name) const {
  const StoredTensor& t = impl_->need(name);
  std::vector<std::int64_t> values(static_cast<std::size_t>(t.shape.numel()));
  for_each(t.type, impl_->bytes(t), [&](std::size_t i, auto v) {
    bool fits = true;
    if constexpr (std::is_floating_point_v<decltype(v)>)
      fits = std::trunc(v) == v && std::fabs(v) < decltype(v){0x1p63f};  // false for NaN
    else if constexpr (std::is_same_v<decltype(v), std::uint64_t>)
      fits = v <= static_cast<std::uint64_t>(INT64_MAX);
    if (!fits) fail_expected(impl_->where(), "integers of 64 bits in tensor " + in_quotes(t.name), fmt::format("{} at {}", v, i));
    values[i] = static_cast<std::int64_t>(+v);
  });
  return values;
}

void SafetensorsFile::release(std::string_view name) const noexcept {
  const StoredTensor* t = find(name);
  if (t != nullptr && impl_->file != nullptr) impl_->file->release(impl_->bytes(*t));
}

void write_safetensors(const std::filesystem::path& path, std::span<const std::pair<std::string, Tensor>> tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string where = "write_safetensors";
  const auto check_text = [&](std::string_view text) {
    if (!is_utf8(text)) fail_expected(where, "names and metadata in UTF-8", in_quotes(text));
  };
  Json::Object header;
  if (!metadata.empty()) {
    Json::Object object;
    for (const auto& [key, value] : metadata) {
      check_text(key);
      check_text(value);
      object.emplace_back(key, value);
    }
    header.emplace_back(kMetadataName, std::move(object));
  }
  std::set<std::string_view> names{kMetadataName};
  std::size_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    check_text(name);
    if (!tensor.defined() || !tensor.is_contiguous())
      fail_expected(where, "contiguous row-major tensors", in_quotes(name) + ": " + (tensor.defined() ? tensor.str() : "none"));
    if (!names.insert(name).second) fail_expected(where, "different names, none of them __metadata__", in_quotes(name));
    Json::Array shape;
    for (const std::int64_t size : tensor.shape().sizes()) shape.emplace_back(size);
    Json::Object entry;
    entry.emplace_back("dtype", io::name(stored_of(tensor.dtype())));
    entry.emplace_back("shape", std::move(shape));
    entry.emplace_back("data_offsets", Json::Array{static_cast<std::int64_t>(offset), static_cast<std::int64_t>(offset + tensor.bytes())});
    header.emplace_back(name, std::move(entry));
    offset += tensor.bytes();
  }
  std::string text = Json(std::move(header)).dump(-1);
  text.append((8 - text.size() % 8) % 8, ' ');
  if (text.size() > kMaxHeaderBytes) fail_expected(where, fmt::format("a header of at most {} bytes", kMaxHeaderBytes), std::to_string(text.size()));
  const std::uint64_t length = text.size();
  std::vector<std::span<const std::byte>> parts{std::as_bytes(std::span(&length, 1)), std::as_bytes(std::span(text))};
  for (const auto& [name, tensor] : tensors) parts.emplace_back(static_cast<const std::byte*>(tensor.raw()), tensor.bytes());
  write_file(path, std::span<const std::span<const std::byte>>(parts));
}

}  // namespace tessera::io
