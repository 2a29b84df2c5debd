// Tensors across the border: numpy, torch and anything else that speaks DLPack, without a copy where the elements may be shared.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <optional>
#include <vector>

#include "python/src/bind.h"
#include "tessera/core/error.h"
#include "tessera/core/tensor.h"
#include "tessera/ops/reorder.h"
#include "tessera/ops/typecast.h"

namespace nb = nanobind;

namespace tessera::python {
namespace {

using Any = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
enum class Framework : std::uint8_t { numpy, torch, dlpack };

std::optional<DType> dtype_of_array(nb::dlpack::dtype d) {
  using Code = nb::dlpack::dtype_code;
  if (d.lanes != 1) return std::nullopt;
  switch (static_cast<Code>(d.code)) {
    case Code::Float:
      if (d.bits == 32) return DType::f32;
      if (d.bits == 16) return DType::f16;
      break;
    case Code::Bfloat:
      if (d.bits == 16) return DType::bf16;
      break;
    case Code::Int:
      if (d.bits == 32) return DType::i32;
      if (d.bits == 8) return DType::i8;
      break;
    case Code::UInt:
      if (d.bits == 32) return DType::u32;
      if (d.bits == 16) return DType::u16;
      if (d.bits == 8) return DType::u8;
      break;
    case Code::Bool:
      if (d.bits == 8) return DType::u8;
      break;
    default: break;
  }
  return std::nullopt;
}

nb::dlpack::dtype array_dtype(DType dtype) {
  using Code = nb::dlpack::dtype_code;
  const auto make = [&](Code code) { return nb::dlpack::dtype{static_cast<std::uint8_t>(code), static_cast<std::uint8_t>(8 * size_of(dtype)), 1}; };
  switch (dtype) {
    case DType::f32:
    case DType::f16: return make(Code::Float);
    case DType::bf16: return make(Code::Bfloat);
    case DType::i8:
    case DType::i32: return make(Code::Int);
    case DType::u8:
    case DType::u16:
    case DType::u32: return make(Code::UInt);
    case DType::bfloat8_b:
    case DType::bfloat4_b: break;
  }
  fail_expected("to_array", "elements of whole bytes", std::string(name(dtype)), "typecast to bfloat16 or float32 first");
}

Tensor from_array(const Any& array, bool copy) {
  const auto dtype = dtype_of_array(array.dtype());
  if (!dtype)
    fail_expected("from_array", "float32, float16, bfloat16, int8, int32, uint8, uint16, uint32 or bool",
                  "an array of other elements (" + std::to_string(array.dtype().bits) + " bits)");
  if (array.ndim() > Shape::kMaxRank) fail_expected("from_array", "at most 8 dimensions", std::to_string(array.ndim()));
  std::vector<std::int64_t> sizes;
  for (std::size_t i = 0; i < array.ndim(); ++i) sizes.push_back(static_cast<std::int64_t>(array.shape(i)));
  const Shape shape(sizes);
  if (!copy && shape.numel() > 0) {
    const std::shared_ptr<void> keep(new Any(array), [](void* p) {
      const nb::gil_scoped_acquire held;
      delete static_cast<Any*>(p);
    });
    // Tensors that borrow are never written to: ops that work in place refuse what lies on the host.
    return Tensor::borrow(const_cast<void*>(array.data()), shape, *dtype, keep);
  }
  if (shape.numel() == 0) return Tensor::empty(shape, *dtype);
  const Tensor shared = Tensor::borrow(const_cast<void*>(array.data()), shape, *dtype);
  return run([&](Context& ctx) { return ops::contiguous(ctx, shared); });
}

nb::object to_array(const Tensor& t, Framework framework, bool copy) {
  if (!t.defined() || !t.is_contiguous()) fail_expected("to_array", "a contiguous row-major tensor", t.str());
  auto* owned = new Tensor(t);
  const nb::capsule owner(owned, [](void* p) noexcept { delete static_cast<Tensor*>(p); });
  if (copy) {
    *owned = run([&](Context& ctx) { return ops::contiguous(ctx, t); });
  }
  std::vector<std::size_t> sizes;
  for (const std::int64_t s : t.shape().sizes()) sizes.push_back(static_cast<std::size_t>(s));
  const auto dtype = array_dtype(t.dtype());
  switch (framework) {
    case Framework::torch: return nb::cast(nb::ndarray<nb::pytorch>(owned->raw(), sizes.size(), sizes.data(), owner, nullptr, dtype));
    case Framework::dlpack: return nb::cast(nb::ndarray<>(owned->raw(), sizes.size(), sizes.data(), owner, nullptr, dtype));
    case Framework::numpy: break;
  }
  return nb::cast(nb::ndarray<nb::numpy>(owned->raw(), sizes.size(), sizes.data(), owner, nullptr, dtype));
}

/// What a block float keeps of x, as bfloat16, which holds all of it.
Tensor quantise(const Tensor& x, DType block_float) {
  return run([&](Context& ctx) {
    const Tensor blocks = ops::typecast(ctx, x, block_float);
    return ops::to_layout(ctx, blocks, Layout::row_major);
  });
}

/// bfloat16 as its bits, which NumPy can hold, and back; shared.
Tensor bits_of(const Tensor& x) {
  if (x.dtype() != DType::bf16 || !x.is_contiguous()) fail_expected("bits_of", "a row-major bfloat16 tensor", x.str());
  return Tensor::borrow(const_cast<void*>(x.raw()), x.shape(), DType::u16, std::make_shared<Tensor>(x));
}
Tensor from_bits(const Any& array) {
  const Tensor bits = from_array(array, true);
  if (bits.dtype() != DType::u16) fail_expected("from_bits", "uint16", std::string(name(bits.dtype())));
  return Tensor::from_bytes(std::span(static_cast<const std::byte*>(bits.raw()), bits.bytes()), bits.shape(), DType::bf16);
}

}  // namespace

void bind_tensor(nb::module_& m) {
  nb::enum_<DType>(m, "DType")
      .value("float32", DType::f32)
      .value("bfloat16", DType::bf16)
      .value("float16", DType::f16)
      .value("int8", DType::i8)
      .value("uint8", DType::u8)
      .value("int32", DType::i32)
      .value("uint32", DType::u32)
      .value("uint16", DType::u16)
      .value("bfloat8_b", DType::bfloat8_b)
      .value("bfloat4_b", DType::bfloat4_b);
  nb::enum_<Framework>(m, "Framework").value("numpy", Framework::numpy).value("torch", Framework::torch).value("dlpack", Framework::dlpack);
  nb::class_<Tensor>(m, "Tensor", "Elements in memory: row-major, of one dtype. Immutable from here; ops make new ones.")
      .def_prop_ro("shape",
                   [](const Tensor& t) {
                     nb::list sizes;
                     for (const std::int64_t s : t.shape().sizes()) sizes.append(s);
                     return nb::tuple(sizes);
                   })
      .def_prop_ro("dtype", &Tensor::dtype)
      .def_prop_ro("nbytes", &Tensor::bytes)
      .def_prop_ro("address", [](const Tensor& t) { return reinterpret_cast<std::uintptr_t>(t.raw()); })
      .def(
          "reshape", [](const Tensor& t, const std::vector<std::int64_t>& shape) { return t.reshape(Shape(shape)); }, nb::arg("shape"),
          "The same elements under another shape.")
      .def("array", &to_array, nb::arg("framework"), nb::arg("copy"), "As an array of NumPy, torch, or DLPack; shared unless `copy`.")
      .def("__repr__", &Tensor::str);
  m.def("from_array", &from_array, nb::arg("array"), nb::arg("copy"),
        "The elements of a C-contiguous array in CPU memory; shared unless `copy`. Error on dtypes of other sizes.");
  m.def(
      "typecast", [](const Tensor& x, DType dtype) { return run([&](Context& ctx) { return ops::typecast(ctx, x, dtype); }); }, nb::arg("x"),
      nb::arg("dtype"));
  m.def("bits_of", &bits_of, nb::arg("x"), "bfloat16 as uint16 of the same bits.");
  m.def("from_bits", &from_bits, nb::arg("array"), "bfloat16 of the bits in a uint16 array.");
  m.def("quantise", &quantise, nb::arg("x"), nb::arg("block_float"), "What a block float keeps of x, as bfloat16.");
}

}  // namespace tessera::python
