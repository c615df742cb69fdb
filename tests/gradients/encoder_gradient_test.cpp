// Gradients of the encoders' weights against finite differences: small encoders of both kinds, with
// windows that do not fit the grid.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <string>

#include "promiseg/backend/reference_training.hpp"
#include "promiseg/sam/sam_weights.hpp"
#include "promiseg/train/tape.hpp"
#include "small_models.hpp"
#include "synth.hpp"

namespace {

using namespace promiseg;
using promiseg_test::small_tiny_vit;
using promiseg_test::small_vit;
using Tape = train::Tape<ReferenceTrainingBackend>;

/// The loss: a weighted sum of the embedding, in double.
double loss_of(TensorView<const float, 3> embedding, TensorView<float, 3> gradient = {}) {
  double sum = 0;
  for (Index y = 0; y < embedding.extent(0); ++y) {
    for (Index x = 0; x < embedding.extent(1); ++x) {
      for (Index c = 0; c < embedding.extent(2); ++c) {
        const double weight = std::sin(static_cast<double>(7 * y + 3 * x + 5 * c));
        sum += weight * double{embedding(y, x, c)};
        if (gradient.data() != nullptr) gradient(y, x, c) = static_cast<float>(weight);
      }
    }
  }
  return sum;
}

template <class Encoder, class Weights>
void check_gradients(const ModelConfig& config, const Weights& weights_of) {
  validate(config);
  tools::SynthWeights source(5);
  train::Parameters parameters(source, [](const std::string& name) {
    return name.find(".running_") == std::string::npos ? train::Role::trained : train::Role::frozen;
  });
  ReferenceTrainingBackend backend;
  Tape tape(backend, parameters);
  nn::Workspace<Tape> workspace(tape);
  const Tensor<float, 3> image = tools::synth_image(config.image_size, config.image_size, 3);
  const Tensor<float, 3> input(image.view().permuted({1, 2, 0}));
  const auto run = [&](bool backwards) {
    tape.forget_weights();
    const Encoder encoder(tape, config, weights_of(parameters));
    tape.reset();
    const auto frame = workspace.frame();
    const auto pixels = workspace.tensor(Extents<4>{1, config.image_size, config.image_size, 3});
    const Extents<1> flat{input.size()};
    tape.upload(input.view().reshaped(flat), pixels.reshaped(flat));
    const auto embedding =
        workspace.tensor(Extents<3>{config.grid(), config.grid(), config.prompt_embed_dim});
    encoder(workspace, pixels, embedding, [](const EncoderStage&) {});
    const double loss =
        loss_of(embedding, backwards ? tape.gradient(embedding) : TensorView<float, 3>{});
    if (backwards) tape.run_backwards();
    return loss;
  };
  run(false);  // makes the parameters
  parameters.clear_gradients();
  run(true);

  // Central differences of float32 results: the step balances their rounding and the curvature.
  constexpr float kStep = 1e-3F;
  double differences = 0;
  double squares = 0;
  std::size_t checked = 0;
  for (auto& entry : parameters.all()) {
    const std::string& name = entry.first;
    train::Parameter& parameter = entry.second;
    if (parameter.role != train::Role::trained) continue;
    CAPTURE(name);
    double apart = 0;
    double norm = 0;
    for (std::size_t i : std::array{std::size_t{0}, parameter.value.size() / 2}) {
      const float value = parameter.value[i];
      parameter.value[i] = value + kStep;
      const double above = run(false);
      parameter.value[i] = value - kStep;
      const double below = run(false);
      parameter.value[i] = value;
      const double expected = (above - below) / (2 * double{kStep});
      const double got = double{parameter.gradient[i]};
      apart += (got - expected) * (got - expected);
      norm += expected * expected;
      ++checked;
    }
    // Each alone within a few parts in a hundred, all together within a few in a thousand.
    CHECK(std::sqrt(apart) <= 0.03 * std::sqrt(norm) + 0.03);
    differences += apart;
    squares += norm;
  }
  CHECK(checked > 50);
  CHECK(std::sqrt(differences) <= 5e-3 * std::sqrt(squares));
}

}  // namespace

TEST_CASE("ViT encoder: gradients of every weight") {
  check_gradients<VitEncoder<Tape>>(small_vit(), [](train::Parameters& parameters) {
    return vit_weights(parameters, small_vit());
  });
}

TEST_CASE("TinyViT encoder: gradients of every weight") {
  check_gradients<TinyVitEncoder<Tape>>(small_tiny_vit(), [](train::Parameters& parameters) {
    return tiny_vit_weights(parameters, small_tiny_vit());
  });
}
