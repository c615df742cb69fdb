// Every available instruction set of the CPU's training backend against the reference's, over the
// table of gradient_case.hpp; and proof that the table finds mistakes.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "candidate.hpp"
#include "gradient_case.hpp"
#include "promiseg/backend/reference_training.hpp"
#include "promiseg/eigen/training_backend.hpp"

using namespace promiseg;
using namespace promiseg::conformance;

namespace {

void check_operation(GradientOperation operation, bool heavy) {
  ReferenceTrainingBackend oracle;
  auto tested = candidates<EigenTrainingBackend>(Precision::fp32);
  for (const GradientCase& item : gradient_cases()) {
    if (item.operation != operation || item.heavy != heavy) continue;
    const std::vector<std::vector<float>> reference = reference_of(prepare(oracle, item));
    for (auto& candidate : tested) {
      check_candidate(
          candidate, item.name,
          [&](EigenTrainingBackend& backend, Position position) {
            return prepare(backend, item, position);
          },
          [&](const PreparedGradient& ran, const std::vector<Tensor<float, 1>>& results) {
            return compare(results, ran.outputs, reference, item.allowed);
          });
    }
  }
  report_worst(to_string(operation), tested);
}

void check_operation(GradientOperation operation) { check_operation(operation, false); }

std::size_t count_cases(GradientOperation operation) {
  const auto counts = [&](const GradientCase& item) {
    return item.operation == operation && !item.heavy;
  };
  return static_cast<std::size_t>(
      std::count_if(gradient_cases().begin(), gradient_cases().end(), counts));
}

enum class GradientFault {
  overwrites,       ///< replaces what it should add to
  forgets_scale,    ///< of a weight gradient
  forgets_moments,  ///< takes moments for constants that depend on the input themselves
  takes_the_last    ///< gives the gradient to the last of the largest values
};

/// The reference with one thing wrong.
class FaultyTrainingBackend : public ReferenceTrainingBackend {
 public:
  explicit FaultyTrainingBackend(GradientFault fault) : fault_(fault) {}

  void accumulate(TensorView<const float, 4> from, float scale, TensorView<float, 4> to) {
    if (fault_ == GradientFault::overwrites) fill(0.0F, to);
    ReferenceTrainingBackend::accumulate(from, scale, to);
  }

  void conv2d_weight_gradient(TensorView<const float, 4> in, ConvGeometry geometry,
                              TensorView<const float, 4> gradient, float scale,
                              TensorView<float, 2> weights) {
    if (fault_ == GradientFault::forgets_scale) scale = 1.0F;
    ReferenceTrainingBackend::conv2d_weight_gradient(in, geometry, gradient, scale, weights);
  }

  void batch_norm_gradient(TensorView<const float, 2> in, TensorView<const float, 1> gamma,
                           const BatchMoments& moments, float epsilon, bool own_moments,
                           TensorView<const float, 2> gradient, TensorView<float, 2> in_gradient,
                           TensorView<float, 1> gamma_gradient,
                           TensorView<float, 1> beta_gradient) {
    if (fault_ == GradientFault::forgets_moments) own_moments = false;
    ReferenceTrainingBackend::batch_norm_gradient(in, gamma, moments, epsilon, own_moments,
                                                  gradient, in_gradient, gamma_gradient,
                                                  beta_gradient);
  }

  void max_pool2d_gradient(TensorView<const float, 4> in, ConvGeometry geometry,
                           TensorView<const float, 4> gradient, TensorView<float, 4> in_gradient) {
    if (fault_ != GradientFault::takes_the_last) {
      return ReferenceTrainingBackend::max_pool2d_gradient(in, geometry, gradient, in_gradient);
    }
    for (Index n = 0; n < gradient.extent(0); ++n) {
      for (Index y = 0; y < gradient.extent(1); ++y) {
        for (Index x = 0; x < gradient.extent(2); ++x) {
          for (Index c = 0; c < gradient.extent(3); ++c) {
            float* to = nullptr;
            float largest = 0;
            for_each_tap(in, geometry, y, x, [&](Index /*ky*/, Index /*kx*/, Index iy, Index ix) {
              if (to != nullptr && in(n, iy, ix, c) < largest) return;
              largest = in(n, iy, ix, c);
              to = &in_gradient(n, iy, ix, c);
            });
            if (to != nullptr) *to += gradient(n, y, x, c);
          }
        }
      }
    }
  }

 private:
  GradientFault fault_;
};

/// Names of the cases of one operation that a fault spoils.
std::set<std::string> failures(GradientFault fault, GradientOperation operation) {
  std::set<std::string> failed;
  ReferenceTrainingBackend oracle;
  FaultyTrainingBackend backend(fault);
  for (const GradientCase& item : gradient_cases()) {
    if (item.operation != operation || item.heavy) continue;
    const auto reference = reference_of(prepare(oracle, item));
    const PreparedGradient prepared = prepare(backend, item);
    const auto verdict = compare(run_once(prepared), prepared.outputs, reference, item.allowed);
    if (!verdict.passed()) failed.insert(item.name);
  }
  return failed;
}

}  // namespace

TEST_CASE("gradient table: names are unique, every operation is there") {
  std::set<std::string> names;
  std::set<GradientOperation> operations;
  for (const GradientCase& item : gradient_cases()) {
    CHECK_MESSAGE(names.insert(item.name).second, "twice: ", item.name);
    if (!item.heavy) operations.insert(item.operation);
  }
  CHECK(operations.size() == kGradientOperationNames.size());
}

TEST_CASE("gradient table: tolerances stand in the order of the operations") {
  for (std::size_t i = 0; i < kGradientTolerances.size(); ++i) {
    CHECK(kGradientTolerances[i].operation == static_cast<GradientOperation>(i));
  }
}

TEST_CASE("gradient table: wide 3x3 convolutions take Winograd's way") {
  int wide = 0;
  for (const GradientCase& item : gradient_cases()) {
    const auto* conv = std::get_if<ConvWeightGradientCase>(&item.shape);
    if (conv == nullptr || item.heavy) continue;
    wide += eigen::winograd_gradient_pays(conv->geometry, conv->out(), conv->in[3]) ? 1 : 0;
  }
  CHECK(wide == 4);
}

TEST_CASE("gradient table: a backend that gets one thing wrong is found out") {
  SUBCASE("adding to what is there") {
    const auto failed = failures(GradientFault::overwrites, GradientOperation::accumulate);
    CHECK(failed.size() == count_cases(GradientOperation::accumulate));
  }
  SUBCASE("scale") {
    const auto failed =
        failures(GradientFault::forgets_scale, GradientOperation::conv2d_weight_gradient);
    CHECK(failed.size() == 3);
    for (const auto& name : failed) CHECK(name.find("_scaled") != std::string::npos);
  }
  SUBCASE("moments that have a gradient") {
    const auto failed =
        failures(GradientFault::forgets_moments, GradientOperation::batch_norm_gradient);
    CHECK(failed.count("batch_norm_gradient/resnet_stem/4096x64_own") == 1);
    CHECK(failed.count("batch_norm_gradient/300x20_own_for_gamma") == 0);
    for (const auto& name : failed) CHECK(name.find("_given") == std::string::npos);
  }
  SUBCASE("the first of the largest values") {
    const auto failed =
        failures(GradientFault::takes_the_last, GradientOperation::max_pool2d_gradient);
    CHECK(failed.count("max_pool2d_gradient/2x6x7x9_k2_s2_p0_constant") == 1);
    CHECK(failed.count("max_pool2d_gradient/2x6x7x9_k3_s2_p1_constant") == 1);
    CHECK(failed.count("max_pool2d_gradient/3x9x7x5_k3_s2_p1") == 0);
  }
}

TEST_CASE("gradients conform: fill") { check_operation(GradientOperation::fill); }
TEST_CASE("gradients conform: accumulate") { check_operation(GradientOperation::accumulate); }
TEST_CASE("gradients conform: activate") { check_operation(GradientOperation::activate); }
TEST_CASE("gradients conform: activation_gradient") {
  check_operation(GradientOperation::activation_gradient);
}
TEST_CASE("gradients conform: accumulate_batched_gemm") {
  check_operation(GradientOperation::accumulate_batched_gemm);
}
TEST_CASE("gradients conform: conv2d_weight_gradient") {
  check_operation(GradientOperation::conv2d_weight_gradient);
}
TEST_CASE("gradients conform: depthwise_conv2d_gradient") {
  check_operation(GradientOperation::depthwise_conv2d_gradient);
}
TEST_CASE("gradients conform: layer_norm_gradient") {
  check_operation(GradientOperation::layer_norm_gradient);
}
TEST_CASE("gradients conform: softmax_gradient") {
  check_operation(GradientOperation::softmax_gradient);
}
TEST_CASE("gradients conform: max_pool2d_gradient") {
  check_operation(GradientOperation::max_pool2d_gradient);
}
TEST_CASE("gradients conform: batch_moments") { check_operation(GradientOperation::batch_moments); }
TEST_CASE("gradients conform: batch_norm") { check_operation(GradientOperation::batch_norm); }
TEST_CASE("gradients conform: batch_norm_gradient") {
  check_operation(GradientOperation::batch_norm_gradient);
}

// `conformance_tests --no-skip --test-case="gradients conform: heavy cases"`
TEST_CASE("gradients conform: heavy cases" * doctest::skip()) {
  for (std::size_t i = 0; i < kGradientOperationNames.size(); ++i) {
    check_operation(static_cast<GradientOperation>(i), true);
  }
}
