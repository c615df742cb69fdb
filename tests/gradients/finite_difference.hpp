// Gradients of the tape against finite differences: a computation of primitives and layers, and a
// loss that is a weighted sum of what comes out of it.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "conformance/array.hpp"
#include "promiseg/backend/reference_training.hpp"
#include "promiseg/train/tape.hpp"

namespace promiseg::conformance {

using TestTape = train::Tape<ReferenceTrainingBackend>;

/// Weights of any name and shape, in [-1, 1); variances in [1, 2).
class TestWeights : public nn::WeightSource {
 private:
  const float* find(const std::string& name, std::span<const Index> shape) override {
    std::vector<float>& values = tensors_[name];
    if (values.empty()) {
      const bool variance = name.ends_with("running_var");
      const Values rule{100 + tensors_.size(), variance ? 0.5 : 1.0, variance ? 1.5 : 0.0};
      Index count = 1;
      for (const Index extent : shape) count *= extent;
      for (Index i = 0; i < count; ++i) values.push_back(rule(i));
    }
    return values.data();
  }

  std::map<std::string, std::vector<float>> tensors_;
};

inline std::vector<float> pseudo_random(Index count, std::uint64_t seed) {
  const Values rule{seed};
  std::vector<float> values;
  for (Index i = 0; i < count; ++i) values.push_back(rule(i));
  return values;
}

/// The numbers from -1 to 1 in equal steps, out of order: no two are near each other. `count` is
/// not a multiple of 37.
inline std::vector<float> spaced_out(Index count) {
  std::vector<float> values;
  for (Index i = 0; i < count; ++i) {
    const auto rank = static_cast<double>(i * 37 % count);
    values.push_back(static_cast<float>(2 * rank / static_cast<double>(count) - 1));
  }
  return values;
}

/// The elements of a host view in order.
template <class T, std::size_t Rank>
std::vector<float> elements(const TensorView<T, Rank>& view) {
  const TensorView<const float, Rank> constant = view;
  const Tensor<float, Rank> ordered(constant);
  return {ordered.elements().begin(), ordered.elements().end()};
}

/// One pass of a computation, which takes its inputs from here and says what it puts out.
class Pass {
 public:
  /// `inputs` are values of earlier passes; the first pass appends them.
  Pass(TestTape& tape, nn::Workspace<TestTape>& workspace, std::vector<std::vector<float>>& inputs)
      : tape_(&tape), workspace_(&workspace), inputs_(&inputs) {}
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;

  TestTape& tape() const { return *tape_; }
  nn::Workspace<TestTape>& workspace() const { return *workspace_; }

  /// Of what has been put out so far.
  double loss() const { return loss_; }

  /// Of the inputs in their order, after the pass has run backwards.
  const std::vector<std::vector<float>>& gradients() const { return gradients_; }

  template <std::size_t Rank>
  TensorView<float, Rank> tensor(const Extents<Rank>& extents) const {
    return workspace_->tensor(extents);
  }

  /// The next input: values whose gradient is wanted, pseudo-random or as given.
  template <std::size_t Rank>
  TensorView<float, Rank> input(const Extents<Rank>& extents) {
    return input(extents, pseudo_random(element_count(extents), 1000 + gradients_.size()));
  }
  template <std::size_t Rank>
  TensorView<float, Rank> input(const Extents<Rank>& extents, const std::vector<float>& first) {
    const std::size_t index = gradients_.size();
    gradients_.emplace_back();
    if (index == inputs_->size()) inputs_->push_back(first);
    const auto view = constant(extents, (*inputs_)[index]);
    tape_->watch(view);
    tape_->record([this, index, view] { gradients_[index] = elements(tape_->gradient(view)); });
    return view;
  }

  /// Values whose gradient nobody wants.
  template <std::size_t Rank>
  TensorView<float, Rank> constant(const Extents<Rank>& extents, const std::vector<float>& values) {
    const auto view = tensor(extents);
    const Extents<1> flat{view.size()};
    tape_->upload(TensorView<const float, 1>(values.data(), flat), view.reshaped(flat));
    return view;
  }

  /// What lies in a view now counts in the loss, each element by a fixed weight in [-1, 1).
  template <class T, std::size_t Rank>
  void output(const TensorView<T, Rank>& view) {
    const Values weight{2000 + outputs_++};
    const std::vector<float> values = elements(view);
    for (std::size_t i = 0; i < values.size(); ++i) {
      loss_ += double{weight(static_cast<Index>(i))} * double{values[i]};
    }
    tape_->record([this, weight, view] {
      const TensorView<float, 4> to = nn::detail::as_rank4(tape_->gradient(view));
      Index i = 0;
      for (Index a = 0; a < to.extent(0); ++a) {
        for (Index b = 0; b < to.extent(1); ++b) {
          for (Index c = 0; c < to.extent(2); ++c) {
            for (Index d = 0; d < to.extent(3); ++d) to(a, b, c, d) += weight(i++);
          }
        }
      }
    });
  }

 private:
  TestTape* tape_;
  nn::Workspace<TestTape>* workspace_;
  std::vector<std::vector<float>>* inputs_;
  std::vector<std::vector<float>> gradients_;
  std::uint64_t outputs_ = 0;
  double loss_ = 0;
};

/// Makes the layers of a computation; what it returns owns them and runs a pass.
using Forward = std::function<void(Pass&)>;
using Setup = std::function<Forward(TestTape&, train::Parameters&)>;

/// By the names of weights, and "input 0", "input 1", ...
using Gradients = std::map<std::string, std::vector<float>>;

inline train::Role all_train(const std::string& /*name*/) { return train::Role::trained; }

/// A computation with its weights and inputs, to be run again and again.
class Experiment {
 public:
  explicit Experiment(Setup setup, train::Parameters::RoleOf role_of = all_train)
      : parameters_(source_, std::move(role_of)),
        tape_(backend_, parameters_),
        workspace_(tape_),
        setup_(std::move(setup)) {}

  train::Parameters& parameters() { return parameters_; }

  /// The loss of the inputs and weights as they are.
  double loss() {
    const auto frame = workspace_.frame();
    Pass pass(tape_, workspace_, inputs_);
    run(pass);
    return pass.loss();
  }

  /// The gradients of one pass, by the tape.
  Gradients differentiate() {
    parameters_.clear_gradients();
    return differentiate_further();
  }

  /// The same, the weights' added to those that are there.
  Gradients differentiate_further() {
    const auto frame = workspace_.frame();
    Pass pass(tape_, workspace_, inputs_);
    run(pass);
    tape_.run_backwards();
    Gradients gradients;
    for (std::size_t i = 0; i < pass.gradients().size(); ++i) {
      gradients["input " + std::to_string(i)] = pass.gradients()[i];
    }
    for (const auto& [name, parameter] : parameters_.all()) {
      if (parameter.role != train::Role::trained) continue;
      gradients[name].assign(parameter.gradient.begin(), parameter.gradient.end());
    }
    return gradients;
  }

  /// What a gradient is the gradient of.
  std::span<float> values(const std::string& name) {
    const std::string prefix = "input ";
    if (name.starts_with(prefix)) return inputs_.at(std::stoul(name.substr(prefix.size())));
    return parameters_.at(name).value;
  }

 private:
  /// The layers are made first: recording begins when they are there.
  void run(Pass& pass) {
    tape_.forget_weights();
    forward_ = setup_(tape_, parameters_);
    tape_.reset();
    forward_(pass);
  }

  ReferenceTrainingBackend backend_;
  TestWeights source_;
  train::Parameters parameters_;
  TestTape tape_;
  nn::Workspace<TestTape> workspace_;
  Setup setup_;
  Forward forward_;
  std::vector<std::vector<float>> inputs_;
};

/// The part of the norm of a gradient that its error may be. Values are stored as float32: a loss
/// of some dozens of them is known to 1e-7, its difference over 2 * kStep to 1e-5, and a chain of
/// layers to a few times that, beside gradients of 0.1 to 1. A term that is missing or has the
/// wrong factor is off by percents.
inline constexpr double kGradientBound = 2e-3;
/// Gradients smaller than this, by root mean square, may err by as much as one of this size.
inline constexpr double kGradientFloor = 0.05;
/// Half the distance of the two values of a central difference. The error of the difference itself
/// is this squared over 6, times the third derivative: 3e-6.
inline constexpr double kStep = 4e-3;

struct DifferenceSettings {
  double step = kStep;
  std::set<std::string> zero = {};  ///< gradients that vanish, whatever the values are
};

/// The central difference quotient of the loss by one value.
inline double difference_quotient(Experiment& experiment, float& value, double step) {
  const float before = value;
  const auto high = static_cast<float>(double{before} + step);
  const auto low = static_cast<float>(double{before} - step);
  value = high;
  double change = experiment.loss();
  value = low;
  change -= experiment.loss();
  value = before;
  return change / (double{high} - double{low});
}

/// Compares all gradients of the experiment with difference quotients. Where quotients of two steps
/// disagree there is a kink (of ReLU or a maximum) in between, and no derivative: such elements do
/// not count, and most must.
inline void check_gradients(Experiment& experiment, const DifferenceSettings& settings = {}) {
  const Gradients gradients = experiment.differentiate();
  std::size_t kinks = 0;
  std::size_t all = 0;
  for (const auto& entry : gradients) {
    const std::string& name = entry.first;
    const std::vector<float>& gradient = entry.second;
    CAPTURE(name);
    const std::span<float> values = experiment.values(name);
    REQUIRE(values.size() == gradient.size());
    double error = 0;
    double norm = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double wide = difference_quotient(experiment, values[i], settings.step);
      const double narrow = difference_quotient(experiment, values[i], settings.step / 2);
      ++all;
      if (std::abs(wide - narrow) > 2e-3 + 5e-3 * std::abs(wide)) {
        ++kinks;
        continue;
      }
      const double apart = double{gradient[i]} - wide;
      error += apart * apart;
      norm += wide * wide;
    }
    error = std::sqrt(error);
    norm = std::sqrt(norm);
    const double size = std::sqrt(static_cast<double>(values.size()));
    // A gradient of zero would agree with much, so it has to be asked for.
    CHECK((norm > 1e-3 * size) == !settings.zero.contains(name));
    CHECK(error <= kGradientBound * std::max(norm, kGradientFloor * size));
  }
  REQUIRE(all > 0);
  CHECK(3 * kinks <= all);
}

/// The same of a computation by itself.
inline void check_gradients(Setup setup, const DifferenceSettings& settings = {}) {
  Experiment experiment(std::move(setup));
  check_gradients(experiment, settings);
}

/// A computation without layers.
inline Setup without_layers(const Forward& forward) {
  return [forward](TestTape&, train::Parameters&) { return forward; };
}

}  // namespace promiseg::conformance
