// The primitives of a backend, by name.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace promiseg::conformance {

enum class Operation {
  pack,
  gemm,
  batched_gemm,
  conv2d,
  depthwise_conv2d,
  conv_transpose2d,
  max_pool2d,
  mean_pixels,
  layer_norm,
  softmax,
  add,
  copy,
  grid_attention,
  attention,
};

inline constexpr std::array<std::string_view, 14> kOperationNames = {"pack",
                                                                     "gemm",
                                                                     "batched_gemm",
                                                                     "conv2d",
                                                                     "depthwise_conv2d",
                                                                     "conv_transpose2d",
                                                                     "max_pool2d",
                                                                     "mean_pixels",
                                                                     "layer_norm",
                                                                     "softmax",
                                                                     "add",
                                                                     "copy",
                                                                     "grid_attention",
                                                                     "attention"};

inline std::string_view to_string(Operation operation) {
  return kOperationNames[static_cast<std::size_t>(operation)];
}

/// True if the operation multiplies matrices, so that its result depends on the precision.
constexpr bool is_product(Operation operation) {
  return operation == Operation::gemm || operation == Operation::batched_gemm ||
         operation == Operation::conv2d || operation == Operation::conv_transpose2d ||
         operation == Operation::grid_attention || operation == Operation::attention;
}

/// What one run of a case costs at least: every operand is moved once.
struct Work {
  double flops = 0;  ///< 0 where a primitive only moves data
  double bytes = 0;
};

}  // namespace promiseg::conformance
