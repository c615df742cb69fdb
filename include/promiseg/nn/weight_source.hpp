// Where a model's weights come from, by their checkpoint names, and the plain groups of them that
// layers are made from. Everything here is host memory.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "promiseg/core/tensor_view.hpp"

namespace promiseg::nn {

/// Hands out float32 weight tensors by name. A file, the synthetic rule and the recorder that
/// lists what a model needs are all sources, so the names are written once.
class WeightSource {
 public:
  WeightSource() = default;
  WeightSource(const WeightSource&) = delete;
  WeightSource& operator=(const WeightSource&) = delete;
  virtual ~WeightSource() = default;

  /// The tensor `name`, contiguous, valid as long as the source. Throws `bad_weights` if it is
  /// missing or not a floating type, `shape_mismatch` if its shape is another; both name it.
  template <std::size_t Rank>
  TensorView<const float, Rank> get(const std::string& name, const Extents<Rank>& extents) {
    return {find(name, extents), extents};
  }

  /// Asks for a tensor that checkpoints hold but nothing uses, so that it counts as known. It may
  /// be missing; its shape may not be another.
  template <std::size_t Rank>
  void known(const std::string& name, const Extents<Rank>& extents) {
    if (has(name)) find(name, extents);
  }

  /// As `get`, for a table whose number of rows may be other than usual; the columns may not.
  TensorView<const float, 2> table(const std::string& name, Index usual_rows, Index columns) {
    return get(name, Extents<2>{rows(name, usual_rows), columns});
  }

 protected:
  virtual const float* find(const std::string& name, std::span<const Index> shape) = 0;
  virtual Index rows(const std::string& /*name*/, Index usual) { return usual; }
  virtual bool has(const std::string& /*name*/) { return true; }
};

/// `weight` [outputs, inputs], `bias` [outputs] or empty.
struct LinearWeights {
  TensorView<const float, 2> weight;
  TensorView<const float, 1> bias;
};

/// `weight` [outputs, inputs, kernel, kernel], as PyTorch stores it; `bias` [outputs] or empty.
/// For a transposed convolution the first two axes are inputs, outputs.
struct ConvWeights {
  TensorView<const float, 4> weight;
  TensorView<const float, 1> bias;
};

struct NormWeights {
  TensorView<const float, 1> gamma;
  TensorView<const float, 1> beta;
  float epsilon = 0.0F;
};

struct BatchNormWeights {
  TensorView<const float, 1> gamma;
  TensorView<const float, 1> beta;
  TensorView<const float, 1> mean;
  TensorView<const float, 1> variance;
};

/// A convolution and the batch norm behind it.
struct ConvNormWeights {
  ConvWeights conv;
  BatchNormWeights norm;
};

inline LinearWeights linear_weights(WeightSource& source, const std::string& prefix, Index outputs,
                                    Index inputs) {
  return {source.get(prefix + ".weight", Extents<2>{outputs, inputs}),
          source.get(prefix + ".bias", Extents<1>{outputs})};
}

inline ConvWeights conv_weights(WeightSource& source, const std::string& prefix,
                                const Extents<4>& shape, Index biases) {
  ConvWeights weights{source.get(prefix + ".weight", shape), {}};
  if (biases > 0) weights.bias = source.get(prefix + ".bias", Extents<1>{biases});
  return weights;
}

inline NormWeights norm_weights(WeightSource& source, const std::string& prefix, Index channels,
                                float epsilon) {
  return {source.get(prefix + ".weight", Extents<1>{channels}),
          source.get(prefix + ".bias", Extents<1>{channels}), epsilon};
}

inline BatchNormWeights batch_norm_weights(WeightSource& source, const std::string& prefix,
                                           Index channels) {
  const Extents<1> extents{channels};
  return {source.get(prefix + ".weight", extents), source.get(prefix + ".bias", extents),
          source.get(prefix + ".running_mean", extents),
          source.get(prefix + ".running_var", extents)};
}

}  // namespace promiseg::nn
