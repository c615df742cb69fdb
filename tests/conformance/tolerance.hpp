// How far a backend may be from the reference in float32, by operation: the only place.
#pragma once

#include <array>
#include <cstddef>

#include "operation.hpp"

namespace promiseg::conformance {

/// Bounds on the whole output. The cases scale their inputs so that results are of the order one,
/// so an absolute bound means something.
struct Tolerance {
  Operation operation;
  double relative_l2;  ///< norm of the difference over norm of the reference
  double max_abs;      ///< largest difference of one element
};

inline constexpr std::array<Tolerance, 11> kTolerances = {{
    {Operation::pack, 0, 0},
    {Operation::gemm, 1e-6, 1e-5},
    {Operation::batched_gemm, 1e-6, 1e-5},
    {Operation::conv2d, 1e-6, 1e-5},
    {Operation::depthwise_conv2d, 1e-6, 1e-5},
    {Operation::conv_transpose2d, 1e-6, 1e-5},
    {Operation::layer_norm, 1e-6, 1e-5},
    {Operation::softmax, 1e-6, 1e-5},
    {Operation::add, 0, 0},
    {Operation::copy, 0, 0},
    {Operation::grid_attention, 1e-6, 1e-5},
}};

constexpr Tolerance tolerance(Operation operation) {
  return kTolerances[static_cast<std::size_t>(operation)];
}

}  // namespace promiseg::conformance
