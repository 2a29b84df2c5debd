// What a tensor is: shape, dtype, layout, memory config and a shared buffer. A cheap value; copying one shares the elements.
// May not compute, convert layouts or open files. Test: tests/core/tensor_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "tessera/core/dtype.h"
#include "tessera/core/layout.h"
#include "tessera/core/memory_config.h"
#include "tessera/core/shape.h"

namespace tessera {

class Tensor {
 public:
  /// No tensor at all: `defined()` is false.
  Tensor() = default;

  /// Uninitialised, 64-byte aligned. Throws Error when memory cannot be had, the config does not fit the shape, or a block float is not in tiles.
  static Tensor empty(const Shape& shape, DType dtype, Layout layout = Layout::row_major, const MemoryConfig& config = {});
  /// All bytes zero.
  static Tensor zeros(const Shape& shape, DType dtype, Layout layout = Layout::row_major, const MemoryConfig& config = {});
  /// Row-major view of memory that somebody else owns; `keep` (may be null) is held as long as any copy lives. Does not allocate.
  static Tensor borrow(void* data, const Shape& shape, DType dtype, std::shared_ptr<void> keep = {});
  /// Row-major copy of `values`. Throws Error when their count is not shape.numel(). from_bytes() also copies tiles: what padded_shape() holds.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape) {
    Tensor t = from_bytes(std::as_bytes(values), shape, dtype_of<T>::value);
    return t;
  }
  static Tensor from_bytes(std::span<const std::byte> bytes, const Shape& shape, DType dtype, Layout layout = Layout::row_major);

  bool defined() const noexcept { return data_ != nullptr; }
  const Shape& shape() const noexcept { return shape_; }
  Shape padded_shape() const { return tessera::padded_shape(shape_, layout_); }
  DType dtype() const noexcept { return dtype_; }
  Layout layout() const noexcept { return layout_; }
  const MemoryConfig& memory_config() const noexcept { return config_; }
  std::int64_t numel() const noexcept { return shape_.numel(); }
  std::int64_t rows() const noexcept { return shape_.rows(); }
  std::int64_t cols() const noexcept { return shape_.cols(); }
  /// Bytes that the elements span in memory, padding included; for a column view those of its own elements only.
  std::size_t bytes() const noexcept;
  /// Elements between the starts of two rows; equals cols() unless this is a column view.
  std::int64_t row_stride() const noexcept { return row_stride_; }
  bool is_contiguous() const noexcept { return layout_ == Layout::row_major && (row_stride_ == cols() || rows() <= 1); }

  void* raw() noexcept { return data_.get(); }
  const void* raw() const noexcept { return data_.get(); }
  /// Typed pointer to the first element. Throws Error when T is not the tensor's dtype.
  template <class T>
  T* data() {
    expect(dtype_of<T>::value);
    return static_cast<T*>(static_cast<void*>(data_.get()));
  }
  template <class T>
  const T* data() const {
    expect(dtype_of<T>::value);
    return static_cast<const T*>(static_cast<const void*>(data_.get()));
  }
  /// All elements of a contiguous row-major tensor.
  template <class T>
  std::span<T> span() {
    expect_contiguous();
    return {data<T>(), static_cast<std::size_t>(numel())};
  }
  template <class T>
  std::span<const T> span() const {
    expect_contiguous();
    return {data<T>(), static_cast<std::size_t>(numel())};
  }

  /// The same elements under another shape; contiguous row-major only. Shares the buffer.
  Tensor reshape(const Shape& shape) const;
  /// `count` entries of the first dimension from `start`; row-major only. Shares the buffer.
  Tensor narrow(std::int64_t start, std::int64_t count) const;
  /// Columns [start, start + count) of every row: a view with a row stride; row-major only. Shares the buffer.
  Tensor columns(std::int64_t start, std::int64_t count) const;
  /// The same buffer under another memory config (checked against the shape). Does not move anything.
  Tensor with_memory_config(const MemoryConfig& config) const;

  /// "float32[2, 3] ROW_MAJOR INTERLEAVED DRAM"
  std::string str() const;

 private:
  void expect(DType dtype) const;
  void expect_contiguous() const;

  Shape shape_;
  DType dtype_ = DType::f32;
  Layout layout_ = Layout::row_major;
  MemoryConfig config_;
  std::int64_t row_stride_ = 0;
  std::shared_ptr<std::byte> data_;
};

/// Whether the memory between the first and the last element of one tensor meets that of the other. Tensors without elements meet nothing.
bool overlap(const Tensor& a, const Tensor& b) noexcept;

}  // namespace tessera
