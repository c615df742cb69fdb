// Gradients of layers' weights and inputs, and of what is composed of layers, against finite
// differences.
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "finite_difference.hpp"
#include "promiseg/nn/attention.hpp"
#include "promiseg/nn/conv.hpp"
#include "promiseg/nn/conv_norm.hpp"
#include "promiseg/nn/linear.hpp"
#include "promiseg/nn/norm.hpp"
#include "promiseg/nn/token_projections.hpp"

using namespace promiseg;
using namespace promiseg::conformance;

namespace {

static_assert(!HasGridAttention<TestTape>);  // so the composition is what is checked

/// Which moments a batch norm takes, by the role of its running statistics.
train::Parameters::RoleOf statistics_are(train::Role role) {
  return [role](const std::string& name) {
    return name.find(".running_") != std::string::npos ? role : train::Role::trained;
  };
}

nn::ConvNormWeights conv_norm_weights(train::Parameters& weights, const Extents<4>& shape) {
  return {nn::conv_weights(weights, "conv", shape, 0),
          nn::batch_norm_weights(weights, "norm", shape[0])};
}

/// How a layer with a residual is called.
enum class Around { nothing, an_input, the_output };

}  // namespace

TEST_CASE("finite differences: Linear") {
  for (const Activation activation : {Activation::none, Activation::gelu}) {
    check_gradients([=](TestTape& tape, train::Parameters& weights) -> Forward {
      const auto layer =
          std::make_shared<nn::Linear<TestTape>>(tape, nn::linear_weights(weights, "linear", 5, 7));
      return [=](Pass& pass) {
        const auto in = pass.input(Extents<2>{3, 7});
        const auto residual = pass.input(Extents<2>{3, 5});
        const auto out = pass.tensor(residual.extents());
        (*layer)(pass.workspace(), in, out, activation, residual);
        pass.output(out);
      };
    });
  }
}

TEST_CASE("finite differences: a Linear that is used twice") {
  check_gradients([](TestTape& tape, train::Parameters& weights) -> Forward {
    const auto layer =
        std::make_shared<nn::Linear<TestTape>>(tape, nn::linear_weights(weights, "linear", 4, 4));
    return [layer](Pass& pass) {
      const auto in = pass.input(Extents<2>{3, 4});
      const auto between = pass.tensor(in.extents());
      const auto out = pass.tensor(in.extents());
      (*layer)(pass.workspace(), in, between, Activation::gelu);
      (*layer)(pass.workspace(), between, out);
      pass.output(out);
    };
  });
}

TEST_CASE("finite differences: two layers of one weight") {
  check_gradients([](TestTape& tape, train::Parameters& weights) -> Forward {
    // As the packed projections of an attention: each layer has rows of one matrix.
    const auto weight = weights.get("weight", Extents<2>{6, 4});
    const auto bias = weights.get("bias", Extents<1>{6});
    const auto part = [&](Index begin) {
      const nn::LinearWeights rows{weight.slice(0, begin, 3), bias.slice(0, begin, 3)};
      return std::make_shared<nn::Linear<TestTape>>(tape, rows);
    };
    const auto first = part(0);
    const auto second = part(3);
    return [=](Pass& pass) {
      const auto in = pass.input(Extents<2>{3, 4});
      const auto a = pass.tensor(Extents<2>{3, 3});
      const auto b = pass.tensor(Extents<2>{3, 3});
      (*first)(pass.workspace(), in, a, Activation::gelu);
      (*second)(pass.workspace(), in, b);
      pass.output(a);
      pass.output(b);
    };
  });
}

TEST_CASE("finite differences: Conv2d") {
  for (const Index kernel : {1, 2, 3}) {
    CAPTURE(kernel);
    check_gradients([=](TestTape& tape, train::Parameters& weights) -> Forward {
      const auto layer = std::make_shared<nn::Conv2d<TestTape>>(
          tape, nn::conv_weights(weights, "conv", {3, 2, kernel, kernel}, 3), Index{2}, kernel / 2);
      return [layer](Pass& pass) {
        const auto in = pass.input(Extents<4>{2, 5, 4, 2});
        const auto out = pass.tensor(layer->output(in.extents()));
        (*layer)(pass.workspace(), in, out, Activation::gelu);
        pass.output(out);
      };
    });
  }
}

TEST_CASE("finite differences: ConvTranspose2d") {
  check_gradients([](TestTape& tape, train::Parameters& weights) -> Forward {
    const auto layer = std::make_shared<nn::ConvTranspose2d<TestTape>>(
        tape, nn::conv_weights(weights, "conv", {4, 3, 2, 2}, 3));
    return [layer](Pass& pass) {
      const auto in = pass.input(Extents<4>{2, 2, 3, 4});
      const auto out = pass.tensor(layer->output(in.extents()));
      (*layer)(pass.workspace(), in, out, Activation::gelu);
      pass.output(out);
    };
  });
}

TEST_CASE("finite differences: DepthwiseConv2d") {
  for (const Index stride : {1, 2}) {
    CAPTURE(stride);
    check_gradients([=](TestTape& tape, train::Parameters& weights) -> Forward {
      const auto layer = std::make_shared<nn::DepthwiseConv2d<TestTape>>(
          tape, nn::conv_weights(weights, "conv", {5, 1, 3, 3}, 5), stride, Index{1});
      return [layer](Pass& pass) {
        const auto in = pass.input(Extents<4>{2, 5, 4, 5});
        const auto out = pass.tensor(layer->output(in.extents()));
        (*layer)(pass.workspace(), in, out, Activation::gelu);
        pass.output(out);
      };
    });
  }
}

TEST_CASE("finite differences: LayerNorm") {
  for (const bool in_place : {false, true}) {
    CAPTURE(in_place);
    check_gradients([=](TestTape& tape, train::Parameters& weights) -> Forward {
      const auto layer = std::make_shared<nn::LayerNorm<TestTape>>(
          tape, nn::norm_weights(weights, "norm", 7, 1e-5F));
      return [=](Pass& pass) {
        const auto in = pass.input(Extents<2>{4, 7});
        const auto out = in_place ? in : pass.tensor(in.extents());
        (*layer)(pass.workspace(), in, out, Activation::gelu);
        pass.output(out);
      };
    });
  }
}

TEST_CASE("finite differences: ConvNorm") {
  for (const train::Role role : {train::Role::statistics, train::Role::frozen}) {
    for (const Around around : {Around::nothing, Around::an_input, Around::the_output}) {
      for (const Activation activation : {Activation::none, Activation::relu}) {
        CAPTURE(static_cast<int>(role));
        CAPTURE(static_cast<int>(around));
        CAPTURE(static_cast<int>(activation));
        const Setup setup = [=](TestTape& tape, train::Parameters& weights) -> Forward {
          const auto layer = std::make_shared<nn::ConvNorm<TestTape>>(
              tape, conv_norm_weights(weights, {3, 2, 3, 3}), Index{1}, Index{1});
          return [=](Pass& pass) {
            const auto in = pass.input(Extents<4>{2, 4, 3, 2});
            const auto out = pass.tensor(layer->output(in.extents()));
            if (around == Around::nothing) {
              (*layer)(pass.workspace(), in, out, activation);
            } else {
              const auto residual = pass.input(out.extents());
              if (around == Around::the_output) pass.tape().copy(residual, out);
              (*layer)(pass.workspace(), in, out, activation,
                       around == Around::the_output ? out : residual);
            }
            pass.output(out);
          };
        };
        Experiment experiment(setup, statistics_are(role));
        check_gradients(experiment);
      }
    }
  }
}

TEST_CASE("finite differences: LinearNorm") {
  for (const train::Role role : {train::Role::statistics, train::Role::frozen}) {
    CAPTURE(static_cast<int>(role));
    Experiment experiment(
        [](TestTape& tape, train::Parameters& weights) -> Forward {
          const auto layer = std::make_shared<nn::LinearNorm<TestTape>>(
              tape, conv_norm_weights(weights, {4, 3, 1, 1}));
          return [layer](Pass& pass) {
            const auto in = pass.input(Extents<2>{9, 3});
            const auto out = pass.tensor(Extents<2>{9, layer->outputs()});
            (*layer)(pass.workspace(), in, out, Activation::gelu);
            pass.output(out);
          };
        },
        statistics_are(role));
    check_gradients(experiment);
  }
}

TEST_CASE("finite differences: DepthwiseConvNorm") {
  for (const train::Role role : {train::Role::statistics, train::Role::frozen}) {
    CAPTURE(static_cast<int>(role));
    Experiment experiment(
        [](TestTape& tape, train::Parameters& weights) -> Forward {
          const auto layer = std::make_shared<nn::DepthwiseConvNorm<TestTape>>(
              tape, conv_norm_weights(weights, {4, 1, 3, 3}), Index{2}, Index{1});
          return [layer](Pass& pass) {
            const auto in = pass.input(Extents<4>{2, 5, 4, 4});
            const auto out = pass.tensor(layer->output(in.extents()));
            (*layer)(pass.workspace(), in, out);
            pass.output(out);
          };
        },
        statistics_are(role));
    check_gradients(experiment);
  }
}

TEST_CASE("batch norm: a pass in training moves the running statistics as PyTorch does") {
  constexpr Index kRows = 5;
  constexpr double kCount = 5;
  Experiment experiment(
      [](TestTape& tape, train::Parameters& weights) -> Forward {
        const auto layer = std::make_shared<nn::LinearNorm<TestTape>>(
            tape, conv_norm_weights(weights, {1, 1, 1, 1}));
        return [layer](Pass& pass) {
          const auto in = pass.input(Extents<2>{kRows, 1});
          const auto out = pass.tensor(in.extents());
          (*layer)(pass.workspace(), in, out);
          pass.output(out);
        };
      },
      statistics_are(train::Role::statistics));
  experiment.loss();  // makes the parameters, and moves the statistics once already
  const auto value = [&](const std::string& name) { return double{experiment.values(name)[0]}; };
  const double old_mean = value("norm.running_mean");
  const double old_variance = value("norm.running_var");
  experiment.loss();
  double mean = 0;
  double variance = 0;
  for (const float x : experiment.values("input 0")) mean += value("conv.weight") * double{x};
  mean /= kCount;
  for (const float x : experiment.values("input 0")) {
    const double apart = value("conv.weight") * double{x} - mean;
    variance += apart * apart / (kCount - 1);  // the unbiased one
  }
  CHECK(value("norm.running_mean") == doctest::Approx(0.9 * old_mean + 0.1 * mean).epsilon(1e-6));
  CHECK(value("norm.running_var") ==
        doctest::Approx(0.9 * old_variance + 0.1 * variance).epsilon(1e-6));
}

TEST_CASE("finite differences: MultiHeadAttention, added to its queries") {
  // One number added to all scores of a query changes nothing: the keys' bias has no gradient.
  const DifferenceSettings settings{2 * kStep, {"key.bias"}};
  check_gradients(
      [](TestTape& tape, train::Parameters& weights) -> Forward {
        const nn::AttentionWeights parts{nn::linear_weights(weights, "query", 6, 4),
                                         nn::linear_weights(weights, "key", 6, 4),
                                         nn::linear_weights(weights, "value", 6, 4),
                                         nn::linear_weights(weights, "output", 4, 6), 2};
        const auto layer = std::make_shared<nn::MultiHeadAttention<TestTape>>(tape, parts);
        return [layer](Pass& pass) {
          const auto queries = pass.input(Extents<3>{2, 3, 4});
          const auto keys = pass.input(Extents<3>{2, 5, 4});
          const auto values = pass.input(Extents<3>{2, 5, 4});
          (*layer)(pass.workspace(), queries, keys, values, queries, queries);
          pass.output(queries);
        };
      },
      settings);
}

TEST_CASE("finite differences: TokenProjections, trained and frozen") {
  const Setup setup = [](TestTape& tape, train::Parameters& weights) -> Forward {
    const auto position = std::make_shared<Tensor<float, 2>>(Extents<2>{5, 4});
    for (Index i = 0; i < position->size(); ++i) {
      position->data()[i] = 0.1F * static_cast<float>(i % 7 - 3);
    }
    const nn::TokenProjectionWeights parts{
        {nn::linear_weights(weights, "key", 3, 4), nn::linear_weights(weights, "query", 3, 4)},
        {nn::linear_weights(weights, "value", 3, 4)}};
    const auto layer = std::make_shared<nn::TokenProjections<TestTape>>(
        tape, parts, std::as_const(*position).view());
    return [layer, position](Pass& pass) {
      const auto projected = (*layer)(pass.workspace(), pass.input(Extents<3>{2, 5, 4}));
      for (Index i = 0; i < 3; ++i) pass.output(layer->part(projected, i));
    };
  };
  for (const train::Role role : {train::Role::trained, train::Role::frozen}) {
    CAPTURE(static_cast<int>(role));
    Experiment experiment(setup, [role](const std::string&) { return role; });
    check_gradients(experiment);
  }
}

TEST_CASE("finite differences: grid_attention, composed") {
  for (const Index window : {0, 2}) {
    CAPTURE(window);
    const DifferenceSettings settings{2 * kStep, {}};
    check_gradients(
        without_layers([window](Pass& pass) {
          constexpr Index kHeads = 2;
          constexpr Index kDepth = 3;
          const Index side = window > 0 ? window : 3;
          const Extents<4> tokens{3, 3, kHeads, kDepth};
          const auto q = pass.input(tokens);
          const auto k = pass.input(tokens);
          const auto v = pass.input(tokens);
          GridAttention attention;
          attention.window = window;
          attention.scale = 0.5F;
          if (window > 0) {
            attention.padding_key = pass.input(Extents<2>{kHeads, kDepth});
            attention.padding_value = pass.input(Extents<2>{kHeads, kDepth});
          }
          attention.bias = pass.input(Extents<3>{kHeads, side * side, side * side});
          attention.relative_position.rows = pass.input(Extents<3>{side, side, kDepth});
          attention.relative_position.columns = pass.input(Extents<3>{side, side, kDepth});
          const auto out = pass.tensor(tokens);
          nn::grid_attention<TestTape>(pass.workspace(), q, k, v, attention, out);
          pass.output(out);
        }),
        settings);
  }
}

TEST_CASE("finite differences: Mlp, twice over the same tokens") {
  for (const Activation activation : {Activation::relu, Activation::gelu}) {
    CAPTURE(static_cast<int>(activation));
    check_gradients([=](TestTape& tape, train::Parameters& weights) -> Forward {
      const auto layer = [&](const std::string& name) {
        return std::make_shared<nn::Mlp<TestTape>>(
            tape, nn::linear_weights(weights, name + ".lin1", 6, 4),
            nn::linear_weights(weights, name + ".lin2", 4, 6), activation);
      };
      const auto first = layer("first");
      const auto second = layer("second");
      return [=](Pass& pass) {
        const auto tokens = pass.input(Extents<2>{3, 4});
        (*first)(pass.workspace(), tokens, tokens, tokens);
        (*second)(pass.workspace(), tokens, tokens, tokens);
        pass.output(tokens);
      };
    });
  }
}
