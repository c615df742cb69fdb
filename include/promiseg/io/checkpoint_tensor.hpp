// Tensors as a checkpoint stores them: checked against their storage and made contiguous.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "promiseg/core/dtype.hpp"
#include "promiseg/core/tensor_view.hpp"
#include "promiseg/io/pickle_value.hpp"
#include "promiseg/io/to_float32.hpp"

namespace promiseg {

/// A named array, row-major and without gaps, in the element type it was stored with.
struct CheckpointTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<Index> shape;  ///< empty for a single number
  std::vector<std::byte> bytes;
};

/// The elements of a floating-point tensor as float32; errors name it.
inline std::vector<float> to_float32(const CheckpointTensor& tensor) {
  try {
    return to_float32(tensor.dtype, tensor.bytes);
  } catch (const Error& error) {
    fail(error.code(), "tensor \"", tensor.name, "\": ", error.what());
  }
}

namespace detail {

/// Arithmetic on sizes from a file: what does not fit stays at the largest value, and so fails
/// every comparison with a real size.
inline constexpr std::uint64_t kTooLarge = std::numeric_limits<std::uint64_t>::max();

constexpr std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
  return a > kTooLarge - b ? kTooLarge : a + b;
}

constexpr std::uint64_t saturating_multiply(std::uint64_t a, std::uint64_t b) {
  return b != 0 && a > kTooLarge / b ? kTooLarge : a * b;
}

/// Bytes of a storage as the pickle claims them.
inline std::uint64_t claimed_bytes(const PickleStorage& storage) {
  return saturating_multiply(storage.count, size_of(storage.dtype));
}

/// Checks that every element of `tensor` lies in its storage, and the storage in the
/// `available` bytes. Returns the bytes of the contiguous result. Throws `bad_format`.
inline std::uint64_t checked_bytes(const PickleTensor& tensor, const PickleStorage& storage,
                                   std::uint64_t available) {
  require(claimed_bytes(storage) <= available, ErrorCode::bad_format, "its storage should hold ",
          storage.count, " elements of ", size_of(storage.dtype), " bytes, but holds ", available,
          " bytes");
  std::uint64_t extent_product = size_of(storage.dtype);  // zero extents left out
  std::uint64_t last = tensor.offset;
  bool empty = false;
  for (std::size_t axis = 0; axis < tensor.sizes.size(); ++axis) {
    const std::uint64_t size = tensor.sizes[axis];
    empty = empty || size == 0;
    if (size == 0) continue;
    extent_product = saturating_multiply(extent_product, size);
    last = saturating_add(last, saturating_multiply(size - 1, tensor.strides[axis]));
  }
  require(extent_product <= static_cast<std::uint64_t>(std::numeric_limits<Index>::max()),
          ErrorCode::bad_format, "its shape is too large to be real");
  if (empty) return 0;
  require(last < storage.view_count, ErrorCode::bad_format, "it reaches element ", last,
          " of a storage of ", storage.view_count);
  return extent_product;
}

/// The elements of a checked tensor, row-major.
inline std::vector<std::byte> gather(const PickleTensor& tensor, const PickleStorage& storage,
                                     std::span<const std::byte> data) {
  const auto width = static_cast<std::uint64_t>(size_of(storage.dtype));
  const auto total = static_cast<std::size_t>(checked_bytes(tensor, storage, data.size()));
  std::vector<std::byte> result(total);
  if (total == 0) return result;

  // The innermost axes without gaps are copied in one piece.
  std::size_t outer_rank = tensor.sizes.size();
  std::uint64_t run = 1;
  while (outer_rank > 0 &&
         (tensor.sizes[outer_rank - 1] == 1 || tensor.strides[outer_rank - 1] == run)) {
    run *= tensor.sizes[--outer_rank];
  }
  const auto run_bytes = static_cast<std::size_t>(run * width);

  std::vector<std::uint64_t> index(outer_rank, 0);
  std::uint64_t element = storage.view_offset + tensor.offset;
  for (std::size_t done = 0; done < total; done += run_bytes) {
    std::memcpy(result.data() + done, data.data() + element * width, run_bytes);
    for (std::size_t axis = outer_rank; axis-- > 0;) {
      element += tensor.strides[axis];
      if (++index[axis] < tensor.sizes[axis]) break;
      element -= tensor.strides[axis] * tensor.sizes[axis];
      index[axis] = 0;
    }
  }
  return result;
}

}  // namespace detail
}  // namespace promiseg
