// A weight matrix that a tape packed, and the gradients through it.
#pragma once

#include <optional>
#include <utility>

#include "promiseg/backend/training_concept.hpp"
#include "promiseg/nn/parameter.hpp"
#include "promiseg/nn/workspace.hpp"

namespace promiseg::train {

/// Frozen or trained; "grows" means that a gradient is added to what is there.
template <TrainingBackend B>
class TrackedWeights {
 public:
  using Packed = typename B::PackedMatrix;

  /// weights [o1, o2, i1, i2], as `nn::pack_weight` takes them; `gradient`, the same view of the
  /// parameter's gradient, is empty if they are frozen. With a geometry they are a convolution's.
  TrackedWeights(B& backend, TensorView<const float, 4> weights, TensorView<float, 4> gradient,
                 std::optional<ConvGeometry> geometry)
      : values_(weights),
        gradient_(gradient),
        packed_(geometry.has_value() ? pack_conv(backend, matrix(), *geometry)
                                     : backend.pack(matrix())) {}

  Index outputs() const { return values_.extent(0) * values_.extent(1); }
  Index inputs() const { return values_.extent(2) * values_.extent(3); }
  bool trains() const { return gradient_.data() != nullptr; }
  const Packed& packed() const { return packed_; }

  /// The weights [inputs, outputs].
  const Packed& transposed(B& backend) {
    if (!backward_.has_value()) {
      const Tensor<float, 2> turned(matrix().permuted({1, 0}));
      backward_.emplace(backend.pack(turned.view()));
    }
    return *backward_;
  }

  /// `in`, the gradient of a convolution's input, grows: by a convolution of stride 1 with the
  /// kernel turned round, over the output's gradient with zeros put between its pixels.
  void grow_conv_input(B& backend, nn::Workspace<B>& scratch, ConvGeometry geometry,
                       TensorView<const float, 4> gradient, float scale, TensorView<float, 4> in) {
    require(geometry.padding < geometry.kernel, ErrorCode::unsupported,
            "conv2d: no gradient where the padding reaches the kernel");
    const ConvGeometry back{geometry.kernel, 1, geometry.kernel - 1 - geometry.padding};
    const Index height = in.extent(1) + 2 * geometry.padding - geometry.kernel + 1;
    const Index width = in.extent(2) + 2 * geometry.padding - geometry.kernel + 1;
    if (geometry.stride > 1) {
      const auto spread =
          scratch.tensor(Extents<4>{in.extent(0), height, width, gradient.extent(3)});
      backend.fill(0.0F, spread);
      Extents<4> strides = spread.strides();
      strides[1] *= geometry.stride;
      strides[2] *= geometry.stride;
      backend.copy(gradient, TensorView<float, 4>(spread.data(), gradient.extents(), strides));
      gradient = spread;
    }
    backend.conv2d(gradient, turned_round(backend, back), back, {{}, in, Activation::none, scale},
                   in);
  }

  /// Adds the gradient of a convolution's or a product's weights to the parameter's.
  void grow_weights(B& backend, nn::Workspace<B>& scratch, ConvGeometry geometry,
                    TensorView<const float, 4> in, TensorView<const float, 4> gradient,
                    float scale) {
    const Extents<2> extents{outputs(), inputs()};
    if (gradient_.is_contiguous()) {
      backend.conv2d_weight_gradient(in, geometry, gradient, scale, gradient_.reshaped(extents));
      return;
    }
    const auto product = scratch.tensor(extents);
    backend.fill(0.0F, nn::detail::as_rank4(product));
    backend.conv2d_weight_gradient(in, geometry, gradient, scale, product);
    backend.accumulate(product.reshaped(gradient_.extents()), 1.0F, gradient_);
  }

  /// The same for a transposed convolution: the two images have changed places, and so have the
  /// matrix's axes.
  void grow_transposed_weights(B& backend, nn::Workspace<B>& scratch, ConvGeometry geometry,
                               TensorView<const float, 4> gradient, TensorView<const float, 4> in) {
    const auto product = scratch.tensor(Extents<2>{inputs(), outputs()});
    backend.fill(0.0F, nn::detail::as_rank4(product));
    backend.conv2d_weight_gradient(gradient, geometry, in, 1.0F, product);
    const Extents<3> parts{inputs(), values_.extent(0), values_.extent(1)};
    backend.accumulate(product.reshaped(parts).permuted({1, 2, 0}).with_unit_axis(2), 1.0F,
                       gradient_);
  }

 private:
  TensorView<const float, 2> matrix() const {
    return values_.view().reshaped(Extents<2>{outputs(), inputs()});
  }

  /// A convolution's weights [O, kernel * kernel * C] as [C, kernel * kernel * O], the kernel
  /// turned round.
  const Packed& turned_round(B& backend, ConvGeometry geometry) {
    if (!backward_.has_value()) {
      const Index taps = geometry.kernel * geometry.kernel;
      const auto values = values_.view().reshaped(Extents<3>{outputs(), taps, inputs() / taps});
      Tensor<float, 3> turned({values.extent(2), taps, values.extent(0)});
      for (Index c = 0; c < values.extent(2); ++c) {
        for (Index tap = 0; tap < taps; ++tap) {
          for (Index o = 0; o < values.extent(0); ++o) {
            turned.view()(c, taps - 1 - tap, o) = values(o, tap, c);
          }
        }
      }
      const Extents<2> matrix{values.extent(2), taps * values.extent(0)};
      backward_.emplace(
          pack_conv(backend, std::as_const(turned).view().reshaped(matrix), geometry));
    }
    return *backward_;
  }

  Tensor<float, 4> values_;
  TensorView<float, 4> gradient_;
  Packed packed_;
  std::optional<Packed> backward_;  ///< for the gradient of the input, packed at the first use
};

}  // namespace promiseg::train
