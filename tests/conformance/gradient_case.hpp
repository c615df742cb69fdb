// The conformance table of the `TrainingBackend` concept, in the manner of cases.hpp: every
// primitive that training needs, at the sizes where kernels go wrong and at those of the decoder
// and of APM.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "compare.hpp"
#include "gradient_elementwise_case.hpp"
#include "gradient_norm_case.hpp"
#include "gradient_operands.hpp"
#include "gradient_product_case.hpp"

namespace promiseg::conformance {

using GradientShape =
    std::variant<FillCase, AccumulateCase, ActivateCase, ActivationGradientCase, AccumulateGemmCase,
                 ConvWeightGradientCase, DepthwiseGradientCase, LayerNormGradientCase,
                 SoftmaxGradientCase, MaxPoolGradientCase, BatchMomentsCase, BatchNormCase,
                 BatchNormGradientCase>;

struct GradientCase {
  std::string name;  ///< "layer_norm_gradient/5x17": the operation first
  GradientOperation operation;
  Tolerance allowed;
  bool heavy;  ///< slow in the reference: run when asked for
  GradientShape shape;
};

/// A case on one backend, ready to run: as `PreparedCase`, with several destinations.
struct PreparedGradient {
  std::function<void()> reset;                          ///< restores the destinations
  std::function<void()> run;                            ///< the primitive, and nothing else
  std::function<std::vector<Tensor<float, 1>>()> read;  ///< their whole allocations
  std::vector<Placement> outputs;                       ///< where the results are in them
};

/// The backend must outlive the result.
template <TrainingBackend B>
PreparedGradient prepare(B& backend, const GradientCase& item,
                         Position position = Position::aligned) {
  const auto operands = std::make_shared<GradientOperands<B>>(backend, position);
  const std::function<void()> run =
      std::visit([&](const auto& shape) { return shape.bind(*operands); }, item.shape);
  PreparedGradient prepared;
  prepared.reset = [operands] { operands->reset(); };
  prepared.run = [operands, run] { run(); };
  prepared.read = [operands] { return operands->read(); };
  prepared.outputs = operands->placements();
  return prepared;
}

/// One run from the initial state.
inline std::vector<Tensor<float, 1>> run_once(const PreparedGradient& prepared) {
  prepared.reset();
  prepared.run();
  return prepared.read();
}

/// What the reference computes, by destination.
inline std::vector<std::vector<float>> reference_of(const PreparedGradient& prepared) {
  std::vector<std::vector<float>> reference;
  const std::vector<Tensor<float, 1>> results = run_once(prepared);
  for (std::size_t i = 0; i < results.size(); ++i) {
    reference.push_back(elements_of(results[i], prepared.outputs[i]));
  }
  return reference;
}

/// The verdict on all destinations: the largest differences, and all problems.
inline Comparison compare(const std::vector<Tensor<float, 1>>& results,
                          const std::vector<Placement>& outputs,
                          const std::vector<std::vector<float>>& reference, Tolerance allowed) {
  Comparison all;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Comparison one = compare(results[i], outputs[i], reference[i], allowed);
    all.relative_l2 = std::max(all.relative_l2, one.relative_l2);
    all.max_abs = std::max(all.max_abs, one.max_abs);
    if (!one.passed()) {
      all.problem += "destination " + std::to_string(i + 1) + ": " + one.problem + "; ";
    }
  }
  return all;
}

/// The whole table.
inline const std::vector<GradientCase>& gradient_cases() {
  static const std::vector<GradientCase> table = [] {
    std::vector<GradientCase> all;
    const auto append = [&all](const auto& shapes) {
      for (const auto& shape : shapes) {
        const GradientOperation operation = shape.kOperation;
        all.push_back({std::string(to_string(operation)) + "/" + shape.name(), operation,
                       shape.exact() ? Tolerance{} : tolerance(operation), shape.heavy, shape});
      }
    };
    append(fill_cases());
    append(accumulate_cases());
    append(activate_cases());
    append(activation_gradient_cases());
    append(accumulate_gemm_cases());
    append(conv_weight_gradient_cases());
    append(depthwise_gradient_cases());
    append(layer_norm_gradient_cases());
    append(softmax_gradient_cases());
    append(max_pool_gradient_cases());
    append(batch_moments_cases());
    append(batch_norm_cases());
    append(batch_norm_gradient_cases());
    return all;
  }();
  return table;
}

}  // namespace promiseg::conformance
