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
#include "tessera/io/quote.h"

namespace tessera::io {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::uint64_t kMaxElements = std::uint64_t{1} << 48;

struct Type {
  std::string_view code;
  std::size_t size;  // in the file
  DType dtype;
};
constexpr Type kTypes[] = {{"f4", 4, DType::f32}, {"f2", 2, DType::f16}, {"f8", 8, DType::f32}, {"i1", 1, DType::i8},  {"u1", 1, DType::u8},
                           {"b1", 1, DType::u8},  {"i4", 4, DType::i32}, {"u4", 4, DType::u32}, {"i8", 8, DType::i32}, {"u2", 2, DType::u16}};

/// The header is a Python literal: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }. Reads just that.
class Header {
 public:
  Header(std::string_view text, const std::string& where) : text_(text), where_(where) { parse(); }
  std::string descr;
  bool fortran = false;
  std::vector<std::int64_t> shape;

 private:
  [[noreturn]] void bad(std::string_view what) const { fail_expected(where_, "a .npy header with descr, fortran_order and shape", what); }
  void space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
  }
  bool take(std::string_view token) {
    space();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
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
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (at_ - start == 18) bad("a shape of more than 10^18");
      value = value * 10 + (text_[at_] - '0');
    }
    if (at_ == start) bad("a shape that is not made of numbers, 0 or more");
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // Python 2
    return value;
  }
  void tuple() {
    if (!take("(")) bad("a shape that is no tuple");
    bool comma = true;
    while (!take(")")) {
      if (!comma) bad("a shape without end");
      shape.push_back(integer());
      if (shape.size() > Shape::kMaxRank) bad("more than 8 dimensions");
      comma = take(",");
    }
    if (shape.size() == 1 && !comma) bad("a shape that is a number, not a tuple");
  }
  void parse() {
    if (!take("{")) bad("no dictionary");
    int seen = 0;
    bool comma = true;
    while (!take("}")) {
      if (!comma) bad("a dictionary without end");
      const std::string key = string();
      if (!take(":")) bad("no colon after a key");
      int bit = 0;
      if (key == "descr") {
        bit = 1;
        if (take("[")) bad("a structured dtype");
        descr = string();
      } else if (key == "fortran_order") {
        bit = 2;
        fortran = take("True");
        if (!fortran && !take("False")) bad("a fortran_order that is neither True nor False");
      } else if (key == "shape") {
        bit = 4;
        if ((seen & bit) == 0) tuple();
      }
      if (bit == 0) bad("the key " + in_quotes(key));
      if ((seen & bit) != 0) bad(in_quotes(key) + " twice");
      seen |= bit;
      comma = take(",");
    }
    if (seen != 7) bad("some of them missing");
    space();
    if (at_ != text_.size()) bad("more behind it");
  }

  std::string_view text_;
  const std::string& where_;
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

void write(const std::filesystem::path& path, std::string_view descr, const Shape& shape, std::span<const std::byte> data) {
  std::string sizes;
  for (const std::int64_t s : shape.sizes()) sizes += fmt::format("{}, ", s);
  if (shape.rank() > 1)
    sizes.resize(sizes.size() - 2);
  else if (shape.rank() == 1)
    sizes.pop_back();  // "(3,)"
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr, sizes);
  header.append(63 - (kMagic.size() + 4 + header.size()) % 64, ' ').push_back('\n');  // the data begins at a multiple of 64 bytes
  std::string head(kMagic);
  head += {'\1', '\0', static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  head += header;
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(head)), data};
  write_file(path, std::span<const std::span<const std::byte>>(parts));
}

}  // namespace

Tensor parse_npy(std::span<const std::byte> bytes, std::string_view name) {
  const std::string where(name);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic) || bytes.size() < 12) fail_expected(where, "a .npy file", fmt::format("{} bytes that begin otherwise", bytes.size()));
  const auto major = static_cast<unsigned char>(text[6]);
  const auto minor = static_cast<unsigned char>(text[7]);
  if (major < 1 || major > 3 || minor != 0) fail_expected(where, "version 1.0, 2.0 or 3.0 of the .npy format", fmt::format("{}.{}", major, minor));
  constexpr bool kBig = std::endian::native == std::endian::big;
  const std::size_t head = major == 1 ? 10 : 12;
  const std::size_t length = major == 1 ? element<std::uint16_t>(bytes.data() + 8, kBig) : element<std::uint32_t>(bytes.data() + 8, kBig);
  if (length > bytes.size() - head) fail_expected(where, fmt::format("a header of at most {} bytes", bytes.size() - head), std::to_string(length));
  const Header header(text.substr(head, length), where);
  if (header.fortran) fail_expected(where, "C order", "Fortran order", "numpy.ascontiguousarray() converts");

  const std::string& d = header.descr;
  const bool known = d.size() == 3 && std::string_view("<>|=").find(d[0]) != std::string_view::npos;
  const auto type = known ? std::ranges::find(kTypes, std::string_view(d).substr(1), &Type::code) : std::end(kTypes);
  if (type == std::end(kTypes)) fail_expected(where, "numbers of type f2, f4, f8, i1, i4, i8, u1, u2, u4 or b1", in_quotes(d));
  const bool swap = d[0] == '>' ? !kBig : d[0] == '<' ? kBig : false;
  std::uint64_t count = 1;
  bool empty = false;
  for (const std::int64_t s : header.shape) {
    empty = empty || s == 0;
    if (s > 0 && count > kMaxElements / static_cast<std::uint64_t>(s)) fail(where, "the shape has more than 2^48 elements");
    if (s > 0) count *= static_cast<std::uint64_t>(s);
  }
  if (empty) count = 0;
  const Shape shape{std::span<const std::int64_t>(header.shape)};
  const auto data = bytes.subspan(head + length);
  if (data.size() != count * type->size)
    fail_expected(where, fmt::format("{} bytes for {}{}", count * type->size, d, shape.str()), fmt::format("{} bytes", data.size()));

  Tensor t = Tensor::empty(shape, type->dtype);
  const std::byte* p = data.data();
  if (type->code == "f8") {
    for (std::size_t i = 0; i < count; ++i) {
      const auto v = element<double>(p + 8 * i, swap);
      // Half an ulp beyond the largest float rounds to infinity.
      if (std::isfinite(v) && std::fabs(v) >= 0x1.ffffffp+127) fail_expected(where, "values of float32", fmt::format("{} at {}", v, i));
      t.data<float>()[i] = static_cast<float>(v);
    }
  } else if (type->code == "i8") {
    for (std::size_t i = 0; i < count; ++i) {
      const auto v = element<std::int64_t>(p + 8 * i, swap);
      if (v < INT32_MIN || v > INT32_MAX) fail_expected(where, "integers of 32 bits", fmt::format("{} at {}", v, i));
      t.data<std::int32_t>()[i] = static_cast<std::int32_t>(v);
    }
  } else if (type->size == 4) {
    copy_elements<std::uint32_t>(p, swap, t);
  } else if (type->size == 2) {
    copy_elements<std::uint16_t>(p, swap, t);
  } else {
    copy_elements<std::uint8_t>(p, false, t);
  }
  return t;
}

Tensor read_npy(const std::filesystem::path& path) { return parse_npy(MappedFile::open(path)->bytes(), path.string()); }

void write_npy(const std::filesystem::path& path, const Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_contiguous())
    fail_expected("write_npy", "a contiguous row-major tensor", tensor.defined() ? tensor.str() : "none");
  if (tensor.dtype() == DType::bf16) {
    Tensor wide = Tensor::empty(tensor.shape(), DType::f32);
    std::ranges::transform(tensor.span<bf16>(), wide.data<float>(), [](bf16 v) { return to_f32(v); });
    return write_npy(path, wide);
  }
  static constexpr std::string_view kDescr[] = {"<f4", "", "<f2", "|i1", "|u1", "<i4", "<u4", "", "", "<u2"};
  write(path, kDescr[static_cast<std::size_t>(tensor.dtype())], tensor.shape(), {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()});
}

void write_npy_f64(const std::filesystem::path& path, std::span<const double> values, const Shape& shape) {
  if (static_cast<std::int64_t>(values.size()) != shape.numel())
    fail_expected("write_npy", fmt::format("{} values", shape.numel()), std::to_string(values.size()));
  write(path, "<f8", shape, std::as_bytes(values));
}

}  // namespace tessera::io
