// What the tape does with memory: values that share it, passes one after another, and what needs no
// gradient.
#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "finite_difference.hpp"
#include "promiseg/nn/conv_norm.hpp"
#include "promiseg/nn/linear.hpp"
#include "promiseg/nn/norm.hpp"

using namespace promiseg;
using namespace promiseg::conformance;

namespace {

using TestLinear = nn::Linear<TestTape>;

std::shared_ptr<TestLinear> make_linear(TestTape& tape, train::Parameters& weights,
                                        const std::string& name, Index outputs, Index inputs) {
  return std::make_shared<TestLinear>(tape, nn::linear_weights(weights, name, outputs, inputs));
}

/// tokens += second(gelu(first(tokens))), twice, the hidden values in one buffer or in two.
Setup perceptrons(bool shared) {
  return [shared](TestTape& tape, train::Parameters& weights) -> Forward {
    const auto in1 = make_linear(tape, weights, "in1", 6, 4);
    const auto out1 = make_linear(tape, weights, "out1", 4, 6);
    const auto in2 = make_linear(tape, weights, "in2", 6, 4);
    const auto out2 = make_linear(tape, weights, "out2", 4, 6);
    return [=](Pass& pass) {
      const auto tokens = pass.input(Extents<2>{3, 4});
      const auto hidden = pass.tensor(Extents<2>{3, 6});
      const auto other = shared ? hidden : pass.tensor(Extents<2>{3, 6});
      (*in1)(pass.workspace(), tokens, hidden, Activation::gelu);
      (*out1)(pass.workspace(), hidden, tokens, Activation::none, tokens);
      (*in2)(pass.workspace(), tokens, other, Activation::gelu);
      (*out2)(pass.workspace(), other, tokens, Activation::none, tokens);
      pass.output(tokens);
    };
  };
}

/// The same by layers that take their hidden values in frames of their own. Where `apart`, what is
/// taken between them makes the second use other memory.
Setup framed_perceptrons(bool apart) {
  return [apart](TestTape& tape, train::Parameters& weights) -> Forward {
    const auto layer = [&](const std::string& name) {
      return std::make_shared<nn::Mlp<TestTape>>(
          tape, nn::linear_weights(weights, "in" + name, 6, 4),
          nn::linear_weights(weights, "out" + name, 4, 6), Activation::gelu);
    };
    const auto first = layer("1");
    const auto second = layer("2");
    return [=](Pass& pass) {
      const auto tokens = pass.input(Extents<2>{3, 4});
      (*first)(pass.workspace(), tokens, tokens, tokens);
      if (apart) pass.tensor(Extents<2>{3, 6});
      (*second)(pass.workspace(), tokens, tokens, tokens);
      pass.output(tokens);
    };
  };
}

/// Convolution, batch norm, layer norm and perceptron one after another.
Setup network() {
  return [](TestTape& tape, train::Parameters& weights) -> Forward {
    const nn::ConvNormWeights conv_weights{nn::conv_weights(weights, "conv", {4, 2, 3, 3}, 0),
                                           nn::batch_norm_weights(weights, "batch", 4)};
    const auto conv =
        std::make_shared<nn::ConvNorm<TestTape>>(tape, conv_weights, Index{2}, Index{1});
    const auto norm = std::make_shared<nn::LayerNorm<TestTape>>(
        tape, nn::norm_weights(weights, "layer", 4, 1e-5F));
    const auto linear = make_linear(tape, weights, "linear", 3, 4);
    return [=](Pass& pass) {
      const auto in = pass.input(Extents<4>{2, 4, 4, 2});
      const auto features = pass.tensor(conv->output(in.extents()));
      (*conv)(pass.workspace(), in, features, Activation::gelu);
      const auto rows = features.reshaped(Extents<2>{features.size() / 4, 4});
      (*norm)(pass.workspace(), rows, rows);
      const auto out = pass.tensor(Extents<2>{rows.extent(0), 3});
      (*linear)(pass.workspace(), rows, out, Activation::gelu);
      pass.output(out);
    };
  };
}

train::Role statistics_apart(const std::string& name) {
  return name.find(".running_") != std::string::npos ? train::Role::statistics
                                                     : train::Role::trained;
}

/// Counts what training costs.
struct Counting : ReferenceTrainingBackend {
  int copies = 0;
  int gradients = 0;

  void copy(TensorView<const float, 4> from, TensorView<float, 4> to) {
    ++copies;
    ReferenceTrainingBackend::copy(from, to);
  }
  void accumulate(TensorView<const float, 4> from, float scale, TensorView<float, 4> to) {
    ++gradients;
    ReferenceTrainingBackend::accumulate(from, scale, to);
  }
  void activation_gradient(TensorView<const float, 1> in, Activation activation,
                           TensorView<float, 1> gradient) {
    ++gradients;
    ReferenceTrainingBackend::activation_gradient(in, activation, gradient);
  }
  void conv2d_weight_gradient(TensorView<const float, 4> in, ConvGeometry geometry,
                              TensorView<const float, 4> gradient, float scale,
                              TensorView<float, 2> weights) {
    ++gradients;
    ReferenceTrainingBackend::conv2d_weight_gradient(in, geometry, gradient, scale, weights);
  }
  void layer_norm_gradient(TensorView<const float, 2> in, TensorView<const float, 1> gamma,
                           float epsilon, TensorView<const float, 2> gradient,
                           TensorView<float, 2> in_gradient, TensorView<float, 1> gamma_gradient,
                           TensorView<float, 1> beta_gradient) {
    ++gradients;
    ReferenceTrainingBackend::layer_norm_gradient(in, gamma, epsilon, gradient, in_gradient,
                                                  gamma_gradient, beta_gradient);
  }
};

}  // namespace

TEST_CASE("tape: layers that share a buffer have the gradients of layers that do not") {
  Experiment shared(perceptrons(true));
  Experiment separate(perceptrons(false));
  check_gradients(shared);
  CHECK((shared.differentiate() == separate.differentiate()));
}

TEST_CASE("tape: frames that share memory have the gradients of frames that do not") {
  Experiment shared(framed_perceptrons(false));
  Experiment separate(framed_perceptrons(true));
  check_gradients(shared);
  CHECK((shared.differentiate() == separate.differentiate()));
}

TEST_CASE("tape: a residual keeps its gradient when its memory holds other values later") {
  // What lies there at the end of the pass needs no gradient, or does.
  for (const bool needed : {false, true}) {
    CAPTURE(needed);
    check_gradients([needed](TestTape& tape, train::Parameters& weights) -> Forward {
      const auto first = make_linear(tape, weights, "first", 5, 4);
      const auto second = make_linear(tape, weights, "second", 5, 4);
      return [=](Pass& pass) {
        const auto in = pass.input(Extents<2>{3, 4});
        const auto out = pass.tensor(Extents<2>{3, 5});
        const auto around = pass.tensor(Extents<2>{3, 5});
        (*first)(pass.workspace(), in, around);
        (*second)(pass.workspace(), in, out, Activation::gelu, around);
        const std::vector<float> other(15, 0.5F);
        const auto later = pass.constant(Extents<2>{3, 5}, other);
        const auto from = needed ? out : later;
        pass.tape().copy(nn::detail::as_rank4(from), nn::detail::as_rank4(around));
        pass.output(out);
        pass.output(around);
      };
    });
  }
}

TEST_CASE("tape: a second pass gives the same gradients, bit for bit") {
  Experiment experiment(network(), statistics_apart);
  const Gradients first = experiment.differentiate();
  REQUIRE(first.size() == 8);  // the input's, and those of seven weights
  CHECK((experiment.differentiate() == first));
  experiment.loss();  // a pass that is not run backwards leaves nothing behind
  CHECK((experiment.differentiate() == first));
}

TEST_CASE("tape: gradients of weights grow from pass to pass") {
  Experiment experiment(network(), statistics_apart);
  const Gradients once = experiment.differentiate();
  const Gradients twice = experiment.differentiate_further();
  for (const auto& entry : once) {
    const std::string& name = entry.first;
    CAPTURE(name);
    const double passes = name == "input 0" ? 1 : 2;
    for (std::size_t i = 0; i < entry.second.size(); ++i) {
      const double expected = passes * double{entry.second[i]};
      CHECK(std::abs(double{twice.at(name)[i]} - expected) <= 1e-6 + 1e-6 * std::abs(expected));
    }
  }
}

TEST_CASE("tape: frozen weights have no gradient, and pass it on") {
  const auto role_of = [](const std::string& name) {
    return name.starts_with("in") ? train::Role::frozen : train::Role::trained;
  };
  Experiment experiment(perceptrons(true), role_of);
  check_gradients(experiment);  // of the input and of what trains
  const Gradients gradients = experiment.differentiate();
  CHECK(gradients.count("out1.weight") == 1);
  CHECK(gradients.count("in1.weight") == 0);
  CHECK(experiment.parameters().all().size() == 4);
  CHECK_THROWS_AS(experiment.parameters().at("in1.weight"), Error);
}

TEST_CASE("tape: values that need no gradient cost none") {
  Counting backend;
  TestWeights source;
  train::Parameters parameters(source, [](const std::string&) { return train::Role::frozen; });
  train::Tape<Counting> tape(backend, parameters);
  nn::Workspace<train::Tape<Counting>> workspace(tape);
  const nn::Linear<train::Tape<Counting>> linear(tape,
                                                 nn::linear_weights(parameters, "linear", 5, 4));
  const nn::LayerNorm<train::Tape<Counting>> norm(tape,
                                                  nn::norm_weights(parameters, "norm", 5, 1e-5F));
  const std::vector<float> values = pseudo_random(12, 1);
  const auto in = workspace.tensor(Extents<2>{3, 4});
  const auto out = workspace.tensor(Extents<2>{3, 5});
  const auto write_input = [&] {
    tape.upload(TensorView<const float, 1>(values.data(), {12}), in.reshaped(Extents<1>{12}));
  };
  const auto run = [&](bool watched) {
    tape.reset();
    write_input();
    if (watched) tape.watch(in);
    linear(workspace, in, out, Activation::gelu);
    norm(workspace, out, out);
  };

  run(false);
  CHECK_FALSE(tape.needs(in));
  CHECK_FALSE(tape.needs(out));
  CHECK(backend.copies == 0);
  tape.run_backwards();
  CHECK(backend.copies == 0);
  CHECK(backend.gradients == 0);

  run(true);
  CHECK(tape.needs(in));
  CHECK(tape.needs(out));
  CHECK(backend.copies == 1);  // frozen weights need no input kept, a norm does
  tape.run_backwards();
  CHECK(backend.gradients == 2);  // of the norm and of the activation

  run(true);
  write_input();  // new values, which nobody watches
  CHECK_FALSE(tape.needs(in));
  CHECK(tape.needs(out));
}
