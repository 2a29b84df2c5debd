// NumPy's .npy files (versions 1 to 3, C order). Test: tests/io/npy_test.cpp; fuzzer: tests/fuzz/npy_fuzz.cpp.
#pragma once

#include <filesystem>
#include <span>
#include <string_view>

#include "tessera/core/tensor.h"

namespace tessera::io {

/// f4, f2, i1, u1, i4, u4 as they are and b1 as uint8; f8 and i8 are narrowed to float32 (to nearest) and int32. Little or big endian.
/// Throws Error naming the path on other types, Fortran order, a header or length that does not match, and a finite value too large for
/// its type. Source: numpy.lib.format ("Format Version 1.0" to 3.0).
Tensor read_npy(const std::filesystem::path& path);
/// The same from memory; `name` stands for the path in messages.
Tensor parse_npy(std::span<const std::byte> bytes, std::string_view name);
/// f32, f16, i8, u8, i32, u32 (bf16 is written as f32). Row-major contiguous.
void write_npy(const std::filesystem::path& path, const Tensor& tensor);
/// float64 array of the given shape.
void write_npy_f64(const std::filesystem::path& path, std::span<const double> values, const Shape& shape);

}  // namespace tessera::io
