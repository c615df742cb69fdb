#include "promiseg/nn/strips.hpp"

#include <doctest/doctest.h>

#include <array>

#include "promiseg/backend/reference.hpp"
#include "random_tensor.hpp"

using namespace promiseg;
using promiseg_test::random_tensor;

namespace {

TensorView<const float, 3> rows_of(const Tensor<float, 3>& image, Index first, Index count) {
  return image.view().slice(0, first, count);
}

}  // namespace

TEST_CASE("a depth-wise convolution in strips is that of the whole image") {
  constexpr Index kChannels = 3;
  constexpr Index kWidth = 5;
  ReferenceBackend backend;
  nn::Workspace<ReferenceBackend> workspace(backend);
  const auto vector = [&](std::uint64_t seed) { return random_tensor<1>({kChannels}, seed); };
  const auto gamma = vector(1);
  const auto beta = vector(2);
  const auto mean = vector(3);
  Tensor<float, 1> variance({kChannels});
  for (Index c = 0; c < kChannels; ++c) variance.data()[c] = 1.0F;
  for (const auto& [kernel, stride, height] :
       {std::array<Index, 3>{3, 1, 19}, {3, 2, 37}, {3, 2, 36}, {5, 1, 17}, {3, 1, 8}, {3, 1, 1}}) {
    CAPTURE(kernel);
    CAPTURE(stride);
    CAPTURE(height);
    const auto weight = random_tensor<4>({kChannels, 1, kernel, kernel}, 4);
    const nn::DepthwiseConvNorm<ReferenceBackend> conv(
        backend,
        nn::ConvNormWeights{{weight.view(), {}},
                            {gamma.view(), beta.view(), mean.view(), variance.view()}},
        stride, kernel / 2);
    const auto in = random_tensor<3>({height, kWidth, kChannels}, 5);
    const Extents<4> out = conv.output(in.view().with_unit_axis(0).extents());
    Tensor<float, 4> expected(out);
    conv(workspace, in.view().with_unit_axis(0), expected.view(), Activation::relu);

    Tensor<float, 4> got(out);
    Index asked = 0;
    Index done = 0;
    Index strips = 0;
    nn::depthwise_in_strips(
        workspace, conv, in.view().extents(), Activation::relu,
        [&](Index row, TensorView<float, 3> to) {
          CHECK(row == asked);
          asked += to.extent(0);
          backend.copy(rows_of(in, row, to.extent(0)).with_unit_axis(0), to.with_unit_axis(0));
        },
        [&](Index row, TensorView<float, 3> from) {
          CHECK(row == done);
          done += from.extent(0);
          CHECK((stride > 1 || asked >= done));  // so both may work on the same image
          ++strips;
          backend.copy(from.with_unit_axis(0), got.view().slice(1, row, from.extent(0)));
        },
        1);                  // as few as can be: strips of eight rows
    CHECK(asked <= height);  // a last row may have no part in a result
    CHECK(done == out[1]);
    CHECK(strips == (out[1] + 7) / 8);
    bool same = true;
    for (Index i = 0; i < got.view().size(); ++i) same &= got.data()[i] == expected.data()[i];
    CHECK(same);
  }
}
