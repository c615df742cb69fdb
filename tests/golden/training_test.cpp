// Losses, gradients and optimiser steps against those of the original under autograd.
#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>

#include "promise_fixture.hpp"
#include "promiseg/backend/reference_training.hpp"
#include "promiseg/eigen/training_backend.hpp"
#include "promiseg/train/optimiser.hpp"
#include "promiseg/train/training_model.hpp"

using namespace promiseg_test;

namespace {

constexpr double kLossAbsolute = 2e-6;
constexpr double kGradientRelative = 1e-4;
constexpr Tolerance kStatistics{1e-5, 1e-4};

/// Recorded tensors of more elements are samples: element floor(i * size / 256) for i = 0 .. 255.
constexpr std::size_t kSamples = 256;

std::vector<float> sampled(std::span<const float> values) {
  if (values.size() <= kSamples) return {values.begin(), values.end()};
  std::vector<float> samples;
  for (std::size_t i = 0; i < kSamples; ++i)
    samples.push_back(values[i * values.size() / kSamples]);
  return samples;
}

TensorView<const float, 1> flat(std::span<const float> values) {
  return {values.data(), {static_cast<Index>(values.size())}};
}

TensorView<const float, 1> recorded(const SafetensorsFile& fixture, const std::string& name) {
  const TensorEntry& entry = fixture.at(name);
  return {reinterpret_cast<const float*>(entry.bytes.data()),
          {static_cast<Index>(entry.bytes.size() / sizeof(float))}};
}

/// A training step of a fixture: the model, the batch, and which weights train.
struct Step {
  Step(const std::string& name, ApmKind kind)
      : fixture(open_fixture(name)),
        inputs(open_fixture(fixture_settings(fixture).at("inputs_from").as_string())),
        targets(open_fixture(kind == ApmKind::resnet ? "train_step_resnet" : name)
                    .view<float, 4>("target")),
        model(decoder_config(inputs)),
        pack(pack_config(inputs, model, kind)),
        source(fixture_weights_seed(inputs)) {
    const Index items = inputs.at("f12_u8").shape[0];
    for (Index tap : pack.tap_blocks) taps.push_back(batched(kind, tap, items));
    embeddings = Tensor<float, 4>({items, model.grid(), model.grid(), model.prompt_embed_dim});
    for (Index item = 0; item < items; ++item) {
      put(channels_last(features<3>(inputs, "image_embeddings_u8", item)), item, embeddings);
    }
  }

  train::TrainingBatch batch() const {
    train::TrainingBatch batch;
    batch.embeddings = embeddings.view();
    for (const auto& tap : taps) batch.taps.push_back(tap.view());
    batch.targets = targets.view().select(1, 0);
    return batch;
  }

  static void put(const Tensor<float, 3>& image, Index item, Tensor<float, 4>& batch) {
    std::copy_n(image.data(), image.size(), batch.data() + item * image.size());
  }

  /// The convolutional variant's features are recorded channels first.
  Tensor<float, 4> batched(ApmKind kind, Index tap, Index items) const {
    Tensor<float, 4> result;
    for (Index item = 0; item < items; ++item) {
      const auto tensor = features<3>(inputs, "f" + std::to_string(tap) + "_u8", item);
      const Tensor<float, 3> image = kind == ApmKind::resnet ? channels_last(tensor) : tensor;
      if (result.empty()) {
        result = Tensor<float, 4>({items, image.extent(0), image.extent(1), image.extent(2)});
      }
      put(image, item, result);
    }
    return result;
  }

  /// FZ0 trains the paper's modules, FZ3 the decoder and the prompt encoder as well.
  train::Parameters parameters(bool with_decoder) {
    return {source, [with_decoder](const std::string& name) {
              if (name.ends_with("gaussian_matrix")) return train::Role::frozen;
              if (name.find(".running_") != std::string::npos) return train::Role::statistics;
              const bool sam = name.starts_with("mask_decoder.") || name.starts_with("prompt_enc");
              return sam && !with_decoder ? train::Role::frozen : train::Role::trained;
            }};
  }

  std::set<std::string> zero_gradients() const {
    std::set<std::string> names;
    const Json settings = fixture_settings(fixture);
    for (const Json& name : settings.at("zero_grad_tensors").as_array()) {
      names.insert(name.as_string());
    }
    return names;
  }

  double rate() const { return fixture_settings(fixture).at("lr").as_number(); }

  SafetensorsFile fixture;
  SafetensorsFile inputs;
  Tensor<float, 4> targets;  ///< the fixture at the original's rate has those of the other one
  ModelConfig model;
  PackConfig pack;
  tools::SynthWeights source;
  std::vector<Tensor<float, 4>> taps;
  Tensor<float, 4> embeddings;
};

const train::LossConfig kPaperLoss{train::LossKind::paper, 0};

/// Every gradient that is recorded, but those that are zero in theory and noise in practice.
void check_gradients(const Step& step, const train::Parameters& parameters) {
  const std::set<std::string> zero = step.zero_gradients();
  double worst = 0;
  std::string worst_name;
  std::size_t checked = 0;
  for (const auto& [name, entry] : step.fixture.tensors()) {
    const std::string prefix = "grad_f64.";
    if (!name.starts_with(prefix)) continue;
    const std::string parameter = name.substr(prefix.size());
    if (zero.contains(parameter)) continue;
    CAPTURE(parameter);
    REQUIRE(parameters.all().contains(parameter));
    const std::vector<float> got = sampled(parameters.all().at(parameter).gradient);
    const Difference apart = difference(flat(got), recorded(step.fixture, name));
    CHECK(apart.relative <= kGradientRelative);
    ++checked;
    if (!(apart.relative <= worst)) {
      worst = apart.relative;
      worst_name = parameter;
    }
  }
  std::printf("%zu gradients, worst %.1e (%s)\n", checked, worst, worst_name.c_str());
  CHECK(checked > 100);
}

/// The part of the recorded values after a step that are farther from ours than `bound`, and the
/// farthest.
struct StepDifference {
  double outside = 0;
  double largest = 0;
};

StepDifference step_difference(const Step& step, const train::Parameters& parameters,
                               const std::string& prefix, double bound) {
  const std::set<std::string> zero = step.zero_gradients();
  StepDifference result;
  std::size_t count = 0;
  std::size_t outside = 0;
  for (const auto& tensor : step.fixture.tensors()) {
    const std::string& name = tensor.first;
    if (!name.starts_with(prefix) || zero.contains(name.substr(prefix.size()))) continue;
    const auto found = parameters.all().find(name.substr(prefix.size()));
    REQUIRE_MESSAGE(found != parameters.all().end(), name);
    const std::vector<float> got = sampled(found->second.value);
    for_each_pair(flat(got), recorded(step.fixture, name), [&](float value, float expected) {
      const double apart = std::abs(double{value} - double{expected});
      result.largest = std::max(result.largest, apart);
      outside += apart > bound ? 1 : 0;
      ++count;
    });
  }
  REQUIRE(count > 1000);
  result.outside = static_cast<double>(outside) / static_cast<double>(count);
  std::printf("%s  outside %.0e: %.5f, largest %.1e\n", prefix.c_str(), bound, result.outside,
              result.largest);
  return result;
}

void check_statistics(const Step& step, const train::Parameters& parameters,
                      const std::string& prefix) {
  std::size_t checked = 0;
  for (const auto& [name, entry] : step.fixture.tensors()) {
    if (!name.starts_with(prefix)) continue;
    const auto& value = parameters.all().at(name.substr(prefix.size())).value;
    check_close(name, flat(value), recorded(step.fixture, name), kStatistics);
    ++checked;
  }
  CHECK(checked > 0);
}

/// Steps of Adam; calls `after(step)` behind each, counted from 1.
template <class After>
void take_steps(Step& step, train::Parameters& parameters, const std::string& loss_name,
                std::span<const double> loss_bounds, const After& after) {
  EigenTrainingBackend backend;
  train::TrainingModel<EigenTrainingBackend> model(backend, step.model, step.pack, parameters);
  train::OptimiserConfig config;
  config.rate = step.rate();
  train::Adam adam(config);
  const auto losses = recorded(step.fixture, loss_name);
  for (std::size_t i = 0; i < loss_bounds.size(); ++i) {
    parameters.clear_gradients();
    const train::PassResult pass = model.pass(step.batch(), kPaperLoss);
    std::printf("%s %zu: %.8f, recorded %.8f\n", loss_name.c_str(), i + 1, pass.loss,
                double{losses(static_cast<Index>(i))});
    CHECK(std::abs(pass.loss - double{losses(static_cast<Index>(i))}) <= loss_bounds[i]);
    adam.step(parameters, config.rate);
    model.refresh();
    after(static_cast<int>(i) + 1);
  }
}

template <TrainingBackend B>
void check_first_pass(const std::string& name, ApmKind kind, B backend) {
  CAPTURE(name);
  Step step(name, kind);
  train::Parameters parameters = step.parameters(true);
  train::TrainingModel<B> model(backend, step.model, step.pack, parameters);
  const train::PassResult pass = model.pass(step.batch(), kPaperLoss);
  CHECK(std::abs(pass.mask.cross_entropy - double{recorded(step.fixture, "bce")(0)}) <=
        kLossAbsolute);
  CHECK(std::abs(pass.mask.dice - double{recorded(step.fixture, "dice_term")(0)}) <= kLossAbsolute);
  check_within(name + " points", pass.points.view(), step.fixture.view<float, 3>("points"),
               kPointsAbsolute);
  check_close(name + " tokens", pass.increment.view(), step.fixture.view<float, 3>("tokens"),
              kTokenShift);
  check_gradients(step, parameters);
}

}  // namespace

TEST_CASE("losses: values and gradients") {
  const SafetensorsFile fixture = open_fixture("loss");
  const Json settings = fixture_settings(fixture);
  for (const Json& item : settings.at("cases").as_array()) {
    const std::string name = item.as_string();
    CAPTURE(name);
    const auto logits = fixture.view<float, 4>(name + ".logits").select(1, 0);
    const auto targets = fixture.view<float, 4>(name + ".target").select(1, 0);
    const train::MaskLoss loss = train::mask_loss(train::LossKind::paper, logits, targets);
    CHECK(std::abs(loss.value - double{recorded(fixture, name + ".loss_f64")(0)}) <= kLossAbsolute);
    CHECK(std::abs(loss.cross_entropy - double{recorded(fixture, name + ".bce")(0)}) <=
          kLossAbsolute);
    CHECK(std::abs(loss.dice - double{recorded(fixture, name + ".dice_term")(0)}) <= kLossAbsolute);
    check_close(name + " gradient", loss.gradient.view(),
                fixture.view<float, 4>(name + ".grad_logits_f64").select(1, 0), {1e-5, 1e-5});
  }
}

TEST_CASE("train_step_resnet: a pass and its gradients, on every backend") {
  for (eigen::Isa isa : eigen::distinct_isas(Precision::fp32)) {
    CAPTURE(to_string(isa));
    check_first_pass("train_step_resnet", ApmKind::resnet,
                     EigenTrainingBackend({.instruction_set = isa}));
  }
}

TEST_CASE("train_step_cross: a pass and its gradients") {
  check_first_pass("train_step_cross", ApmKind::cross, EigenTrainingBackend());
}

TEST_CASE("train_step_resnet: Adam steps at the rate of 1e-3") {
  for (const bool with_decoder : {false, true}) {
    CAPTURE(with_decoder);
    Step step("train_step_resnet", ApmKind::resnet);
    train::Parameters parameters = step.parameters(with_decoder);
    const std::array<double, 3> bounds{5e-5, 5e-5, 2e-3};
    take_steps(step, parameters, with_decoder ? "loss_fz3" : "loss", bounds, [&](int done) {
      if (done != 1) return;
      const StepDifference apart =
          step_difference(step, parameters, with_decoder ? "step1.fz3." : "step1.fz0.", 2e-5);
      CHECK(apart.outside <= 1e-3);
      CHECK(apart.largest <= 2 * step.rate());
      if (!with_decoder) check_statistics(step, parameters, "step1.stat.");
    });
  }
}

TEST_CASE("train_step_resnet: Adam steps at the original's rate") {
  Step step("train_step_resnet_lr1e-5", ApmKind::resnet);
  train::Parameters parameters = step.parameters(false);
  const std::array<double, 3> bounds{kLossAbsolute, kLossAbsolute, kLossAbsolute};
  take_steps(step, parameters, "loss", bounds, [&](int done) {
    if (done == 2) return;
    const StepDifference apart =
        step_difference(step, parameters, "step" + std::to_string(done) + ".fz0.", 2e-7);
    CHECK(apart.outside <= 1e-2);
    CHECK(apart.largest <= 6 * step.rate());
  });
}
