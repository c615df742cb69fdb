// The conformance table: every primitive of the `Backend` concept, at the sizes and strides where
// kernels go wrong, and at those of the real models. The tests check a backend against the
// reference with it; the benchmark measures the same cases.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "attention_case.hpp"
#include "batched_gemm_case.hpp"
#include "conv_case.hpp"
#include "elementwise_case.hpp"
#include "gemm_case.hpp"
#include "operation.hpp"
#include "pool_case.hpp"
#include "row_case.hpp"
#include "set_attention_case.hpp"
#include "tolerance.hpp"

namespace promiseg::conformance {

using Shape = std::variant<PackCase, GemmCase, BatchedGemmCase, Conv2dCase, DepthwiseCase,
                           ConvTransposeCase, MaxPoolCase, MeanPixelsCase, LayerNormCase,
                           SoftmaxCase, AddCase, CopyCase, GridAttentionCase, SetAttentionCase>;

struct Case {
  std::string name;  ///< "gemm/m13_n33_k384_bias": the operation first
  Operation operation;
  Work work;
  bool heavy;  ///< of a real model, and slow in the reference: for the benchmark only
  Shape shape;
};

/// The case on a backend. The backend must outlive the result.
template <Backend B>
PreparedCase prepare(B& backend, const Case& item, Position position = Position::aligned) {
  return std::visit([&](const auto& shape) { return prepare(backend, shape, position); },
                    item.shape);
}

/// The bounds of a case.
inline Tolerance tolerance(const Case& item, Precision precision) {
  const auto* conv = std::get_if<Conv2dCase>(&item.shape);
  const bool transformed = conv != nullptr && conv->geometry.kernel == 3 &&
                           conv->geometry.stride == 1 && conv->in[3] >= 32 && conv->outputs >= 32 &&
                           conv->outputs <= 256;
  return tolerance(item.operation, precision, transformed);
}

/// The whole table.
inline const std::vector<Case>& cases() {
  static const std::vector<Case> table = [] {
    std::vector<Case> all;
    const auto append = [&all](const auto& shapes) {
      for (const auto& shape : shapes) {
        all.push_back({std::string(to_string(shape.kOperation)) + "/" + shape.name(),
                       shape.kOperation, shape.work(), shape.heavy, shape});
      }
    };
    append(pack_cases());
    append(gemm_cases());
    append(batched_gemm_cases());
    append(conv2d_cases());
    append(depthwise_cases());
    append(conv_transpose_cases());
    append(max_pool_cases());
    append(mean_pixels_cases());
    append(layer_norm_cases());
    append(softmax_cases());
    append(add_cases());
    append(copy_cases());
    append(grid_attention_cases());
    append(set_attention_cases());
    return all;
  }();
  return table;
}

}  // namespace promiseg::conformance
