// Every available instruction set of the CPU's training backend against the reference's, over the
// table of gradient_case.hpp; and proof that the table finds mistakes.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "gradient_case.hpp"
#include "promiseg/backend/reference_training.hpp"
#include "promiseg/eigen/training_backend.hpp"

using namespace promiseg;
using namespace promiseg::conformance;

namespace {

/// One instruction set, on one thread and on several.
struct Candidate {
  explicit Candidate(eigen::Isa wanted)
      : isa(wanted),
        single({.threads = 1, .instruction_set = wanted}),
        several({.threads = 3, .instruction_set = wanted}) {}

  eigen::Isa isa;
  EigenTrainingBackend single;
  EigenTrainingBackend several;
  Comparison worst = {};  ///< the largest of each number over the cases so far
};

void check_case(const GradientCase& item, const std::vector<std::vector<float>>& reference,
                Candidate& candidate) {
  const std::string what =
      item.name + " on eigen/" + std::string(eigen::to_string(candidate.isa)) + ": ";
  const PreparedGradient single = prepare(candidate.single, item);
  const std::vector<Tensor<float, 1>> result = run_once(single);
  const Comparison verdict = compare(result, single.outputs, reference, item.allowed);
  CHECK_MESSAGE(verdict.passed(), what, verdict.problem);
  candidate.worst.relative_l2 = std::max(candidate.worst.relative_l2, verdict.relative_l2);
  candidate.worst.max_abs = std::max(candidate.worst.max_abs, verdict.max_abs);

  CHECK_MESSAGE(same_bits(result, run_once(single)), what, "a second run differs");
  CHECK_MESSAGE(same_bits(result, run_once(prepare(candidate.several, item))), what,
                "three threads differ from one");

  const PreparedGradient tight = prepare(candidate.several, item, Position::tight);
  const Comparison unaligned = compare(run_once(tight), tight.outputs, reference, item.allowed);
  CHECK_MESSAGE(unaligned.passed(), what, "unaligned: ", unaligned.problem);
}

void check_operation(GradientOperation operation, bool heavy) {
  ReferenceTrainingBackend oracle;
  std::vector<Candidate> candidates;
  for (const eigen::Isa isa : eigen::available_isas()) candidates.emplace_back(isa);
  for (const GradientCase& item : gradient_cases()) {
    if (item.operation != operation || item.heavy != heavy) continue;
    const std::vector<std::vector<float>> reference = reference_of(prepare(oracle, item));
    for (Candidate& candidate : candidates) check_case(item, reference, candidate);
  }
  // The measurement behind docs/numerics.md.
  std::ostringstream worst;
  for (const Candidate& candidate : candidates) {
    worst << "\n  " << to_string(operation) << " on eigen/" << eigen::to_string(candidate.isa)
          << ": worst relative L2 " << candidate.worst.relative_l2 << ", worst max abs "
          << candidate.worst.max_abs;
  }
  MESSAGE(worst.str());
}

void check_operation(GradientOperation operation) { check_operation(operation, false); }

/// Names of the cases of one operation that a backend fails.
template <TrainingBackend B>
std::set<std::string> failures(GradientOperation operation) {
  std::set<std::string> failed;
  ReferenceTrainingBackend oracle;
  B backend;
  for (const GradientCase& item : gradient_cases()) {
    if (item.operation != operation || item.heavy) continue;
    const auto reference = reference_of(prepare(oracle, item));
    const PreparedGradient prepared = prepare(backend, item);
    const auto verdict = compare(run_once(prepared), prepared.outputs, reference, item.allowed);
    if (!verdict.passed()) failed.insert(item.name);
  }
  return failed;
}

std::size_t count_cases(GradientOperation operation) {
  const auto counts = [&](const GradientCase& item) {
    return item.operation == operation && !item.heavy;
  };
  return static_cast<std::size_t>(
      std::count_if(gradient_cases().begin(), gradient_cases().end(), counts));
}

/// Replaces what it should add to.
struct Overwrites : ReferenceTrainingBackend {
  void accumulate(TensorView<const float, 4> from, float scale, TensorView<float, 4> to) {
    fill(0.0F, to);
    ReferenceTrainingBackend::accumulate(from, scale, to);
  }
};

struct ForgetsScale : ReferenceTrainingBackend {
  void conv2d_weight_gradient(TensorView<const float, 4> in, ConvGeometry geometry,
                              TensorView<const float, 4> gradient, float /*scale*/,
                              TensorView<float, 2> weights) {
    ReferenceTrainingBackend::conv2d_weight_gradient(in, geometry, gradient, 1.0F, weights);
  }
};

/// Takes moments for constants that depend on the input themselves.
struct ForgetsMoments : ReferenceTrainingBackend {
  void batch_norm_gradient(TensorView<const float, 2> in, TensorView<const float, 1> gamma,
                           const BatchMoments& moments, float epsilon, bool /*own_moments*/,
                           TensorView<const float, 2> gradient, TensorView<float, 2> in_gradient,
                           TensorView<float, 1> gamma_gradient,
                           TensorView<float, 1> beta_gradient) {
    ReferenceTrainingBackend::batch_norm_gradient(in, gamma, moments, epsilon, false, gradient,
                                                  in_gradient, gamma_gradient, beta_gradient);
  }
};

/// Gives the gradient to the last of the largest values.
struct TakesTheLast : ReferenceTrainingBackend {
  void max_pool2d_gradient(TensorView<const float, 4> in, ConvGeometry geometry,
                           TensorView<const float, 4> gradient, TensorView<float, 4> in_gradient) {
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
};

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

TEST_CASE("gradient table: a backend that gets one thing wrong is found out") {
  SUBCASE("adding to what is there") {
    const auto failed = failures<Overwrites>(GradientOperation::accumulate);
    CHECK(failed.size() == count_cases(GradientOperation::accumulate));
  }
  SUBCASE("scale") {
    const auto failed = failures<ForgetsScale>(GradientOperation::conv2d_weight_gradient);
    CHECK(failed.size() == 2);
    for (const auto& name : failed) CHECK(name.find("_scaled") != std::string::npos);
  }
  SUBCASE("moments that have a gradient") {
    const auto failed = failures<ForgetsMoments>(GradientOperation::batch_norm_gradient);
    CHECK(failed.count("batch_norm_gradient/resnet_stem/4096x64_own") == 1);
    CHECK(failed.count("batch_norm_gradient/300x20_own_for_gamma") == 0);
    for (const auto& name : failed) CHECK(name.find("_given") == std::string::npos);
  }
  SUBCASE("the first of the largest values") {
    const auto failed = failures<TakesTheLast>(GradientOperation::max_pool2d_gradient);
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
