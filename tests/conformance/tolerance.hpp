// How far a backend may be from the reference in float32, by operation: the only place.
#pragma once

#include <array>
#include <cstddef>

#include "operation.hpp"
#include "promiseg/core/precision.hpp"

namespace promiseg::conformance {

/// Bounds on the whole output. The cases scale their inputs so that results are of the order one,
/// which gives an absolute bound a meaning.
struct Tolerance {
  Operation operation;
  double relative_l2;  ///< norm of the difference over norm of the reference
  double max_abs;      ///< largest difference of one element
};

/// About three times the worst that was measured (beside each line) with any instruction set, on
/// the whole table, heavy cases included: sums come out differently with every order and with
/// fused multiply-adds. The reference accumulates in double, so all of it is the backend's.
/// Raising a number needs a reason here. Moving data must be exact, and so is one sum.
inline constexpr std::array<Tolerance, 14> kTolerances = {{
    {Operation::pack, 0, 0},
    {Operation::gemm, 1.5e-6, 1.5e-5},              // 4.2e-7, 4.3e-6: sums of up to 3072
    {Operation::batched_gemm, 1.5e-6, 1.5e-5},      // 4.1e-7, 4.1e-6: up to 4096
    {Operation::conv2d, 1.5e-6, 1.2e-5},            // 5.7e-7, 3.6e-6: up to 8100
    {Operation::depthwise_conv2d, 1e-6, 4e-6},      // 3.6e-7, 9.6e-7
    {Operation::conv_transpose2d, 1.2e-6, 1.2e-5},  // 3.2e-7, 3.4e-6
    {Operation::max_pool2d, 0, 0},
    {Operation::mean_pixels, 5e-7, 6e-7},  // 1.2e-7, 1.8e-7
    {Operation::layer_norm, 4e-6, 1e-5},   // 1.1e-6, 3.0e-6: a mean of 17 deviations
    {Operation::softmax, 8e-7, 6e-7},      // 2.5e-7, 1.8e-7
    {Operation::add, 0, 0},
    {Operation::copy, 0, 0},
    {Operation::grid_attention, 5e-6, 5e-5},  // 1.5e-6, 1.5e-5: 4096 keys with position
    {Operation::attention, 5e-6, 5e-5},
}};

/// At another precision the reference rounds the factors of products as the contract says, so that
/// only the sums differ, as in float32. Attention rounds its weights too: the reference after they
/// were divided by their sum, others before. A wide 3x3 convolution of stride 1 may round sums of
/// its factors instead, as Winograd's way does: noise gives 4.6e-3; 4.6e-3, 1.9e-2 were measured.
inline constexpr Tolerance kBfloat16Attention{Operation::attention, 4e-3, 4e-2};
inline constexpr Tolerance kBfloat16Transformed{Operation::conv2d, 8e-3, 4e-2};

constexpr Tolerance tolerance(Operation operation, Precision precision, bool transformed = false) {
  const bool attends = operation == Operation::grid_attention || operation == Operation::attention;
  if (precision == Precision::bf16 && attends) return kBfloat16Attention;
  if (precision == Precision::bf16 && transformed) return kBfloat16Transformed;
  return kTolerances[static_cast<std::size_t>(operation)];
}

}  // namespace promiseg::conformance
