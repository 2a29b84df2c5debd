#include "tessera/io/npy.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/io/file.h"

namespace tessera::io {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

/// The header is a Python literal: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }. Reads just that.
class Header {
 public:
  Header(std::string_view text, std::string where) : text_(text), where_(std::move(where)) { parse(); }
  std::string descr;
  bool fortran = false;
  std::vector<std::int64_t> shape;

 private:
  [[noreturn]] void bad(std::string_view what) const { fail_expected(where_, "a .npy header with descr, fortran_order and shape", what); }
  void space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool take(char c) {
    space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::string string() {
    space();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) bad("something that is no string");
    const char quote = text_[at_++];
    const std::size_t end = text_.find(quote, at_);
    if (end == std::string_view::npos || end - at_ > 64) bad("a string without end");
    std::string value(text_.substr(at_, end - at_));
    at_ = end + 1;
    return value;
  }
  std::int64_t integer() {
    space();
    std::int64_t value = 0;
    const std::size_t start = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9' && at_ - start < 18) value = value * 10 + (text_[at_++] - '0');
    if (at_ == start) bad("a shape that is not made of numbers");
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;
    return value;
  }
  void parse() {
    if (!take('{')) bad("no dictionary");
    int seen = 0;
    while (!take('}')) {
      const std::string key = string();
      if (!take(':')) bad("no colon after a key");
      if (key == "descr") {
        space();
        if (at_ < text_.size() && text_[at_] == '[') bad("a structured dtype");
        descr = string();
        seen |= 1;
      } else if (key == "fortran_order") {
        space();
        fortran = text_.substr(at_).starts_with("True");
        if (!fortran && !text_.substr(at_).starts_with("False")) bad("a fortran_order that is neither True nor False");
        at_ += fortran ? 4 : 5;
        seen |= 2;
      } else if (key == "shape") {
        if (!take('(')) bad("a shape that is no tuple");
        while (!take(')')) {
          shape.push_back(integer());
          if (shape.size() > Shape::kMaxRank) bad("more than 8 dimensions");
          if (!take(',')) {
            if (!take(')')) bad("a shape without end");
            break;
          }
        }
        seen |= 4;
      } else {
        bad("the key '" + key + "'");
      }
      if (!take(',')) {
        if (!take('}')) bad("a dictionary without end");
        break;
      }
    }
    if (seen != 7) bad("some of them missing");
  }

  std::string_view text_;
  std::string where_;
  std::size_t at_ = 0;
};

template <class T>
T element(const std::byte* p, bool swap) {
  std::byte raw[sizeof(T)];
  std::memcpy(raw, p, sizeof(T));
  if (swap) std::reverse(raw, raw + sizeof(T));
  T value;
  std::memcpy(&value, raw, sizeof(T));
  return value;
}

template <class T>
void copy_elements(const std::byte* from, bool swap, Tensor& to) {
  T* out = static_cast<T*>(to.raw());
  for (std::int64_t i = 0; i < to.numel(); ++i) out[i] = element<T>(from + static_cast<std::size_t>(i) * sizeof(T), swap);
}

std::vector<std::byte> with_header(std::string_view descr, const Shape& shape, std::span<const std::byte> data) {
  std::string sizes;
  for (const std::int64_t s : shape.sizes()) sizes += fmt::format("{}, ", s);
  if (shape.rank() > 1)
    sizes.resize(sizes.size() - 2);
  else if (shape.rank() == 1)
    sizes.pop_back();
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr, sizes);
  header.append(63 - (10 + header.size()) % 64, ' ').push_back('\n');
  std::string head(kMagic);
  head += std::string("\x01\x00", 2);
  head.push_back(static_cast<char>(header.size() & 255));
  head.push_back(static_cast<char>(header.size() >> 8));
  head += header;
  std::vector<std::byte> bytes(head.size() + data.size());
  std::memcpy(bytes.data(), head.data(), head.size());
  if (!data.empty()) std::memcpy(bytes.data() + head.size(), data.data(), data.size());
  return bytes;
}

}  // namespace

Tensor parse_npy(std::span<const std::byte> bytes, std::string_view name) {
  const std::string where(name);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic) || bytes.size() < 12) fail_expected(where, "a .npy file", fmt::format("{} bytes that begin otherwise", bytes.size()));
  const auto major = static_cast<unsigned char>(text[6]);
  if (major < 1 || major > 3) fail_expected(where, "version 1, 2 or 3 of the .npy format", std::to_string(major));
  const std::size_t head = major == 1 ? 10 : 12;
  const std::size_t length = major == 1 ? element<std::uint16_t>(bytes.data() + 8, std::endian::native == std::endian::big)
                                        : element<std::uint32_t>(bytes.data() + 8, std::endian::native == std::endian::big);
  if (length > bytes.size() - head) fail_expected(where, fmt::format("a header of at most {} bytes", bytes.size() - head), std::to_string(length));
  const Header header(text.substr(head, length), where);
  if (header.fortran) fail_expected(where, "C order", "Fortran order", "numpy.ascontiguousarray() converts");

  std::int64_t count = 1;
  for (const std::int64_t s : header.shape) {
    if (s > 0 && count > (std::int64_t{1} << 40) / s) fail(where, "the shape has more than 2^40 elements");
    count *= s;
  }
  const std::string& d = header.descr;
  if (d.size() != 3 || (d[0] != '<' && d[0] != '>' && d[0] != '|' && d[0] != '=')) fail_expected(where, "numbers", "'" + d + "'");
  const std::string kind = d.substr(1);
  const auto size = static_cast<std::size_t>(d[2] - '0');
  const bool swap = (d[0] == '>' && std::endian::native == std::endian::little) || (d[0] == '<' && std::endian::native == std::endian::big);
  const auto data = bytes.subspan(head + length);
  if (size == 0 || size > 8 || data.size() != static_cast<std::size_t>(count) * size)
    fail_expected(where, fmt::format("{} elements of {} bytes", count, size), fmt::format("{} bytes", data.size()));

  const Shape shape{std::span<const std::int64_t>(header.shape)};
  const auto make = [&](DType dtype) { return Tensor::empty(shape, dtype); };
  Tensor t;
  if (kind == "f4")
    copy_elements<float>(data.data(), swap, t = make(DType::f32));
  else if (kind == "f2")
    copy_elements<std::uint16_t>(data.data(), swap, t = make(DType::f16));
  else if (kind == "i4")
    copy_elements<std::int32_t>(data.data(), swap, t = make(DType::i32));
  else if (kind == "u4")
    copy_elements<std::uint32_t>(data.data(), swap, t = make(DType::u32));
  else if (kind == "i1")
    copy_elements<std::int8_t>(data.data(), swap, t = make(DType::i8));
  else if (kind == "u1" || kind == "b1")
    copy_elements<std::uint8_t>(data.data(), swap, t = make(DType::u8));
  else if (kind == "f8") {
    t = make(DType::f32);
    for (std::int64_t i = 0; i < count; ++i) t.data<float>()[i] = static_cast<float>(element<double>(data.data() + 8 * i, swap));
  } else if (kind == "i8") {
    t = make(DType::i32);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto v = element<std::int64_t>(data.data() + 8 * i, swap);
      if (v < INT32_MIN || v > INT32_MAX) fail_expected(where, "integers that fit 32 bits", std::to_string(v));
      t.data<std::int32_t>()[i] = static_cast<std::int32_t>(v);
    }
  } else {
    fail_expected(where, "f2, f4, f8, i1, i4, i8, u1 or u4", "'" + d + "'");
  }
  return t;
}

Tensor read_npy(const std::filesystem::path& path) { return parse_npy(MappedFile::open(path)->bytes(), path.string()); }

void write_npy(const std::filesystem::path& path, const Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_contiguous()) fail_expected("write_npy", "a contiguous row-major tensor", tensor.str());
  if (tensor.dtype() == DType::bf16) {
    Tensor wide = Tensor::empty(tensor.shape(), DType::f32);
    std::ranges::transform(tensor.span<bf16>(), wide.data<float>(), [](bf16 v) { return to_f32(v); });
    return write_npy(path, wide);
  }
  static constexpr std::string_view kDescr[] = {"<f4", "", "<f2", "|i1", "|u1", "<i4", "<u4"};
  write_file(path, with_header(kDescr[static_cast<std::size_t>(tensor.dtype())], tensor.shape(),
                               {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()}));
}

void write_npy_f64(const std::filesystem::path& path, std::span<const double> values, const Shape& shape) {
  if (static_cast<std::int64_t>(values.size()) != shape.numel())
    fail_expected("write_npy", fmt::format("{} values", shape.numel()), std::to_string(values.size()));
  write_file(path, with_header("<f8", shape, std::as_bytes(values)));
}

}  // namespace tessera::io
