// .npy files: what NumPy itself wrote (tests/fuzz/seeds/npy), files made byte by byte, files that are wrong, and writing.
#include "tessera/io/npy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/reference/io.h"

namespace tessera::io {
namespace {

using reference::error_of;
using reference::Folder;
using reference::get;
using reference::put;
using reference::raw;

std::filesystem::path numpy_file(const std::string& name) {
  return std::filesystem::path(TESSERA_SOURCE_DIR) / "tests" / "fuzz" / "seeds" / "npy" / (name + ".npy");
}

std::string npy(std::string header, std::string_view data, int version = 1) {
  std::string out = "\x93NUMPY";
  out += static_cast<char>(version);
  out += '\0';
  header += '\n';
  out += version == 1 ? raw(static_cast<std::uint16_t>(header.size())) : raw(static_cast<std::uint32_t>(header.size()));
  return out.append(header).append(data);
}

std::string header_of(const std::string& descr, const std::string& shape) {
  return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }";
}

Tensor parse(const std::string& bytes) { return parse_npy(reference::bytes_of(bytes), "a.npy"); }
std::string parse_error(const std::string& bytes) {
  return error_of([&] { (void)parse(bytes); });
}

std::vector<double> values(const Tensor& t) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < t.numel(); ++i) switch (t.dtype()) {
      case DType::f32: out.push_back(static_cast<double>(t.data<float>()[i])); break;
      case DType::f16: out.push_back(static_cast<double>(to_f32(t.data<f16>()[i]))); break;
      case DType::bf16: out.push_back(static_cast<double>(to_f32(t.data<bf16>()[i]))); break;
      case DType::i8: out.push_back(t.data<std::int8_t>()[i]); break;
      case DType::u8: out.push_back(t.data<std::uint8_t>()[i]); break;
      case DType::i32: out.push_back(t.data<std::int32_t>()[i]); break;
      case DType::u32: out.push_back(t.data<std::uint32_t>()[i]); break;
      case DType::u16: out.push_back(t.data<std::uint16_t>()[i]); break;
      case DType::bfloat8_b:
      case DType::bfloat4_b: throw std::runtime_error("no npy file holds block floats");
    }
  return out;
}

TEST(Npy, ReadsWhatNumpyWrote) {
  const std::vector<std::pair<std::string, DType>> files = {
      {"little_f4", DType::f32}, {"big_f4", DType::f32},    {"little_f2", DType::f16}, {"big_f2", DType::f16},    {"little_f8", DType::f32},
      {"big_f8", DType::f32},    {"byte_i1", DType::i8},    {"byte_u1", DType::u8},    {"little_i4", DType::i32}, {"big_i4", DType::i32},
      {"little_u4", DType::u32}, {"little_i8", DType::i32}, {"big_i8", DType::i32},    {"version_2", DType::f32}, {"version_3", DType::f32}};
  for (const auto& [name, dtype] : files) {
    const Tensor t = read_npy(numpy_file(name));
    EXPECT_EQ(t.dtype(), dtype) << name;
    EXPECT_EQ(t.shape(), (Shape{2, 3})) << name;
    EXPECT_EQ(values(t), (std::vector<double>{0, 1, 2, 3, 4, 5})) << name;
  }
  const Tensor truth = read_npy(numpy_file("byte_b1"));
  EXPECT_EQ(truth.dtype(), DType::u8);
  EXPECT_EQ(values(truth), (std::vector<double>{0, 1, 1, 1, 1, 1}));
  EXPECT_EQ(read_npy(numpy_file("scalar")).shape(), Shape{});
  EXPECT_EQ(values(read_npy(numpy_file("scalar"))), std::vector<double>{1.5});
  EXPECT_EQ(read_npy(numpy_file("empty")).shape(), (Shape{0, 4}));
  EXPECT_EQ(read_npy(numpy_file("vector")).shape(), Shape{3});
}

TEST(Npy, RefusesWhatItHasNoTensorFor) {
  const auto error = [](const std::string& name) {
    const std::string path = numpy_file(name).string();
    const std::string text = error_of([&] { (void)read_npy(path); });
    EXPECT_TRUE(text.starts_with("[" + path + "] ")) << text;
    return text.substr(std::min(text.size(), path.size() + 3));
  };
  EXPECT_EQ(error("fortran"), "expected C order, got Fortran order; numpy.ascontiguousarray() converts");
  EXPECT_EQ(error("complex"), "expected numbers of type f2, f4, f8, i1, i4, i8, u1, u2, u4 or b1, got '<c8'");
  EXPECT_EQ(error("structured"), "expected a .npy header with descr, fortran_order and shape, got a structured dtype");
}

TEST(Npy, HoldsIntegersOfTwoBytes) {
  const Tensor t = parse(npy(header_of("<u2", "(3,)"), raw(std::uint16_t{0}, std::uint16_t{1}, std::uint16_t{65535})));
  EXPECT_EQ(t.dtype(), DType::u16);
  EXPECT_EQ(values(t), (std::vector<double>{0, 1, 65535}));
  EXPECT_EQ(values(parse(npy(header_of(">u2", "(1,)"), raw(std::uint16_t{0x0102})))), std::vector<double>{0x0201});
}

TEST(Npy, ReadsPlainVariantsOfTheHeader) {
  const std::string data = raw(1.5f, -2.0f);
  for (const char* header :
       {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "{\"shape\":(2,),\"fortran_order\":False,\"descr\":\"<f4\"}",
        "  {  'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 2 , ) , }   ", "{'descr': '<f4', 'fortran_order': False, 'shape': (2L,), }"})
    for (const int version : {1, 2, 3}) {
      const Tensor t = parse(npy(header, data, version));
      EXPECT_EQ(t.shape(), Shape{2}) << header;
      EXPECT_EQ(values(t), (std::vector<double>{1.5, -2})) << header;
    }
}

TEST(Npy, NarrowsDoublesToNearestAndIntegersExactly) {
  const double up = 1.0 + 0x1p-24 + 0x1p-40;  // just beyond half way to the next float
  EXPECT_EQ(values(parse(npy(header_of("<f8", "(3,)"), raw(up, 1.0 + 0x1p-24, -0.1)))),
            (std::vector<double>{1.0 + 0x1p-23, 1.0, static_cast<double>(-0.1f)}));
  const Tensor special = parse(npy(header_of("<f8", "(3,)"), raw(std::numeric_limits<double>::infinity(), std::nan(""), 0x1.fffffefp+127)));
  EXPECT_TRUE(std::isinf(special.data<float>()[0]));
  EXPECT_TRUE(std::isnan(special.data<float>()[1]));
  EXPECT_EQ(special.data<float>()[2], std::numeric_limits<float>::max());
  EXPECT_NE(parse_error(npy(header_of("<f8", "(2,)"), raw(0.0, -1e300))).find("expected values of float32, got -1e+300 at 1"), std::string::npos);
  EXPECT_EQ(values(parse(npy(header_of("<i8", "(2,)"), raw(std::int64_t{INT32_MAX}, std::int64_t{INT32_MIN})))),
            (std::vector<double>{INT32_MAX, INT32_MIN}));
  EXPECT_EQ(parse_error(npy(header_of("<i8", "(1,)"), raw(std::int64_t{INT32_MAX} + 1))),
            "[a.npy] expected integers of 32 bits, got 2147483648 at 0");
}

TEST(Npy, RefusesWhatIsNoNpyFile) {
  EXPECT_EQ(parse_error(""), "[a.npy] expected a .npy file, got 0 bytes that begin otherwise");
  EXPECT_EQ(parse_error("PK\3\4 this is a zip"), "[a.npy] expected a .npy file, got 18 bytes that begin otherwise");
  EXPECT_EQ(parse_error(npy(header_of("<f4", "()"), raw(1.0f), 4)), "[a.npy] expected version 1.0, 2.0 or 3.0 of the .npy format, got 4.0");
  std::string longer = npy(header_of("<f4", "()"), raw(1.0f), 2);
  longer.replace(8, 4, raw(std::uint32_t{0xfffffff0u}));
  EXPECT_NE(parse_error(longer).find("expected a header of at most "), std::string::npos);
}

TEST(Npy, RefusesHeadersThatAreWrong) {
  const std::string data = raw(1.0f, 2.0f);
  EXPECT_EQ(parse_error(npy(header_of("<f4", "(2,)"), data)), "no error");
  for (const char* header :
       {"", "{}", "[1]", "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 2}", "{'descr': '<f4', 'fortran_order': False, 'shape': (2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", "{'descr': '<f4', 'fortran_order': False, 'shape': (2 1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)", "{'descr': '<f4' 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} 5", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", "{'descr': '<f4, 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "{'descr': '<f4', 'fortran_order': False, 'shape': (1.0, 2)}"})
    EXPECT_NE(parse_error(npy(header, data)).find("expected a .npy header with descr, fortran_order and shape, got "), std::string::npos) << header;
  for (const char* descr : {"<f3", "f4", "<i2", "<u8", "|O", "<U4", "<c8", "f", "", "<M8[ns]", "?f4", "<f44"})
    EXPECT_NE(parse_error(npy(header_of(descr, "(2,)"), data)).find("expected numbers of type"), std::string::npos) << descr;
  EXPECT_EQ(parse_error(npy(header_of("\x1b[2", "(2,)"), data)).find('\x1b'), std::string::npos);
}

TEST(Npy, RefusesLengthsThatDoNotMatch) {
  EXPECT_EQ(parse_error(npy(header_of("<f4", "(2, 3)"), std::string(23, 'x'))), "[a.npy] expected 24 bytes for <f4[2, 3], got 23 bytes");
  EXPECT_EQ(parse_error(npy(header_of("<f4", "(2, 3)"), std::string(25, 'x'))), "[a.npy] expected 24 bytes for <f4[2, 3], got 25 bytes");
  EXPECT_NE(parse_error(npy(header_of("<f4", "(4294967296, 4294967296, 4294967296)"), "")).find("more than 2^48 elements"), std::string::npos);
  EXPECT_NE(parse_error(npy(header_of("<f4", "(1000000000000,)"), "")).find("expected 4000000000000 bytes"), std::string::npos);
  EXPECT_EQ(parse_error(npy(header_of("<f4", "(0, 1000000000000)"), "")), "no error");
  EXPECT_NE(parse_error(npy(header_of("<f4", "(0, 1000000000000, 1000000000000)"), "")).find("more than 2^48 elements"), std::string::npos);
}

TEST(Npy, EveryTruncationIsAnError) {
  const std::string whole = get(numpy_file("little_f4"));
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_NE(parse_error(whole.substr(0, n)), "no error") << n;
}

TEST(Npy, WritesWhatNumpyWrites) {
  const Folder folder;
  for (const char* name : {"little_f4", "little_f2", "byte_i1", "byte_u1", "little_i4", "little_u4", "scalar", "empty", "vector"}) {
    write_npy(folder / "a.npy", read_npy(numpy_file(name)));
    // NumPy pads the header with room to grow; all else is the same byte for byte.
    const auto squeezed = [](std::string bytes) {
      const std::size_t end = bytes.find('\n');
      const std::size_t text_end = bytes.find('}') + 1;
      EXPECT_EQ((end + 1) % 64, 0u);  // the data begins aligned
      EXPECT_EQ(static_cast<std::size_t>(static_cast<unsigned char>(bytes[8])) + 256 * static_cast<unsigned char>(bytes[9]), end + 1 - 10);
      return bytes.substr(0, 8) + bytes.substr(10, text_end - 10) + "\n" + bytes.substr(end + 1);
    };
    EXPECT_EQ(squeezed(get(folder / "a.npy")), squeezed(get(numpy_file(name)))) << name;
  }
}

TEST(Npy, WritesBf16AsFloat32AndDoublesAsTheyAre) {
  const Folder folder;
  const std::vector<bf16> halves = {to_bf16(1.5f), to_bf16(-0.25f), to_bf16(3e38f)};
  write_npy(folder / "a.npy", Tensor::from(std::span<const bf16>(halves), Shape{3}));
  const Tensor t = read_npy(folder / "a.npy");
  EXPECT_EQ(t.dtype(), DType::f32);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(t.data<float>()[i], to_f32(halves[i]));
  const std::vector<double> wide = {0.1, 1e300, -0.0, 5};
  write_npy_f64(folder / "b.npy", wide, Shape{2, 2});
  const std::string bytes = get(folder / "b.npy");
  EXPECT_NE(bytes.find("'<f8'"), std::string::npos);
  EXPECT_NE(bytes.find("(2, 2)"), std::string::npos);
  EXPECT_EQ(bytes.substr(bytes.size() - 32), raw(0.1, 1e300, -0.0, 5.0));
}

TEST(Npy, RefusesToWriteWhatHasNoPlainForm) {
  const Folder folder;
  EXPECT_EQ(error_of([&] { write_npy(folder / "a.npy", Tensor()); }), "[write_npy] expected a contiguous row-major tensor, got none");
  const Tensor t = Tensor::zeros(Shape{4, 4}, DType::f32);
  EXPECT_NE(error_of([&] { write_npy(folder / "a.npy", t.columns(1, 2)); }).find("expected a contiguous row-major tensor"), std::string::npos);
  EXPECT_NE(error_of([&] {
              write_npy(folder / "a.npy", Tensor::zeros(Shape{4, 4}, DType::f32, Layout::tile));
            }).find("contiguous"),
            std::string::npos);
  EXPECT_EQ(error_of([&] { write_npy_f64(folder / "a.npy", std::vector<double>(3), Shape{2, 2}); }), "[write_npy] expected 4 values, got 3");
  EXPECT_EQ(folder.files(), 0u);
}

}  // namespace
}  // namespace tessera::io
