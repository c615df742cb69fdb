#include "promiseg/nn/token_projections.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>

#include "error_message.hpp"
#include "promiseg/backend/reference.hpp"
#include "random_tensor.hpp"

using namespace promiseg;
using promiseg_test::random_tensor;

namespace {

constexpr Index kTokens = 5;
constexpr Index kChannels = 7;
constexpr Index kOutputs = 3;

}  // namespace

TEST_CASE("token projections are those of the layers one by one") {
  ReferenceBackend backend;
  nn::Workspace<ReferenceBackend> workspace(backend);
  std::array<Tensor<float, 2>, 3> weights;
  std::array<Tensor<float, 1>, 3> biases;
  for (std::size_t i = 0; i < 3; ++i) {
    weights[i] = random_tensor<2>({kOutputs, kChannels}, i);
    biases[i] = random_tensor<1>({kOutputs}, 10 + i);
  }
  const auto layer = [&](std::size_t i) -> nn::LinearWeights {
    if (i == 1) return {weights[i].view(), {}};  // without a bias
    return {weights[i].view(), biases[i].view()};
  };
  const auto position = random_tensor<2>({kTokens, kChannels}, 20);
  const nn::TokenProjections<ReferenceBackend> projections(
      backend, {{layer(0), layer(1)}, {layer(2)}}, position.view());

  const auto check = [&](TensorView<const float, 3> tokens) {
    const auto projected = projections(workspace, tokens);
    REQUIRE(projected.extents() == Extents<3>{tokens.extent(0), kTokens, 3 * kOutputs});
    for (Index i = 0; i < 3; ++i) {
      const auto part = projections.part(projected, i);
      REQUIRE(part.extents() == Extents<3>{tokens.extent(0), kTokens, kOutputs});
      const auto at = static_cast<std::size_t>(i);
      for (Index item = 0; item < tokens.extent(0); ++item) {
        for (Index token = 0; token < kTokens; ++token) {
          for (Index o = 0; o < kOutputs; ++o) {
            double sum = i == 1 ? 0.0 : double{biases[at].view()(o)};
            for (Index c = 0; c < kChannels; ++c) {
              const double moved = i < 2 ? double{position.view()(token, c)} : 0.0;
              sum += (double{tokens(item, token, c)} + moved) * double{weights[at].view()(o, c)};
            }
            CHECK(part(item, token, o) == doctest::Approx(sum).epsilon(1e-5));
          }
        }
      }
    }
    return projected;
  };
  SUBCASE("every item its own tokens") {
    const auto tokens = random_tensor<3>({2, kTokens, kChannels}, 30);
    check(tokens.view());
  }
  SUBCASE("items that share theirs are projected once") {
    const auto tokens = random_tensor<3>({1, kTokens, kChannels}, 31);
    const auto projected = check(tokens.view().broadcast_to({4, kTokens, kChannels}));
    CHECK(projected.stride(0) == 0);
  }
}

TEST_CASE("token projections refuse weights that do not fit together") {
  ReferenceBackend backend;
  const auto weight = random_tensor<2>({kOutputs, kChannels}, 1);
  const auto wider = random_tensor<2>({kOutputs + 1, kChannels}, 2);
  const auto position = random_tensor<2>({kTokens, kChannels}, 3);
  using Projections = nn::TokenProjections<ReferenceBackend>;
  const std::string message = promiseg_test::message_of(ErrorCode::shape_mismatch, [&] {
    Projections(backend, {{{weight.view(), {}}}, {{wider.view(), {}}}}, position.view());
  });
  CHECK(message == "token projections: expected shape [3, 7], got [4, 7]");
  const auto short_bias = random_tensor<1>({kOutputs - 1}, 4);
  CHECK(promiseg_test::message_of(ErrorCode::shape_mismatch, [&] {
          Projections(backend, {{{weight.view(), short_bias.view()}}, {}}, position.view());
        }) == "token projections: bias: expected shape [3], got [2]");
  CHECK(promiseg_test::message_of(ErrorCode::invalid_argument, [&] {
          Projections(backend, {{}, {{weight.view(), {}}}}, position.view());
        }) == "token projections: none of them sees the positions");
}
