// Several projections of the same tokens, side by side: one product where their weights are frozen,
// one each where they train.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "promiseg/nn/linear.hpp"

namespace promiseg::nn {

namespace detail {

/// True if training changes the weights.
template <Backend B>
bool trains(B& backend, const LinearWeights& weights) {
  if constexpr (TracksWeights<B>) {
    return backend.weight_gradient(as_rank4(weights.weight)).data() != nullptr ||
           (weights.bias.data() != nullptr &&
            backend.weight_gradient(as_rank4(weights.bias)).data() != nullptr);
  } else {
    return false;
  }
}

}  // namespace detail

/// The weights of projections that work on the same tokens and have as many outputs.
struct TokenProjectionWeights {
  std::vector<LinearWeights> positioned;  ///< these see the tokens with their positions added
  std::vector<LinearWeights> plain;       ///< these see the tokens alone
};

/// `(tokens + position) W^T + b` or `tokens W^T + b`. As the positions never change, frozen weights
/// meet them when the layer is made: what is left for later is one product of all, with
/// `position W^T + b` as its residual.
template <Backend B>
class TokenProjections {
 public:
  /// position [M, C], in the backend's memory, must outlive the layer. At least one projection
  /// is positioned. Throws `shape_mismatch` or `invalid_argument`.
  TokenProjections(B& backend, const TokenProjectionWeights& weights,
                   TensorView<const float, 2> position)
      : position_(position), positioned_(static_cast<Index>(weights.positioned.size())) {
    require(positioned_ > 0, ErrorCode::invalid_argument,
            "token projections: none of them sees the positions");
    outputs_ = weights.positioned.front().weight.extent(0);
    std::vector<LinearWeights> all = weights.positioned;
    all.insert(all.end(), weights.plain.begin(), weights.plain.end());
    for (const LinearWeights& part : all) {
      require_shape(part.weight, Extents<2>{outputs_, position.extent(1)}, "token projections");
      if (part.bias.data() != nullptr) {
        require_shape(part.bias, Extents<1>{outputs_}, "token projections: bias");
      }
    }
    count_ = static_cast<Index>(all.size());
    const bool trains = std::any_of(all.begin(), all.end(), [&](const LinearWeights& part) {
      return detail::trains(backend, part);
    });
    if (trains) {
      for (const LinearWeights& part : all) layers_.emplace_back(backend, part);
    } else {
      prepare(backend, all);
    }
  }

  /// tokens [B, M, C], which may be broadcast over B, to [B, M, all outputs], broadcast as they
  /// are. The result lives in the caller's frame.
  TensorView<float, 3> operator()(Workspace<B>& workspace,
                                  TensorView<const float, 3> tokens) const {
    if (tokens.extent(0) > 1 && tokens.stride(0) == 0) {
      const auto once = (*this)(workspace, tokens.slice(0, 0, 1));
      return once.broadcast_to(Extents<3>{tokens.extent(0), once.extent(1), once.extent(2)});
    }
    const auto out =
        workspace.tensor(Extents<3>{tokens.extent(0), tokens.extent(1), count_ * outputs_});
    if (layers_.empty()) {
      for (Index item = 0; item < tokens.extent(0); ++item) {
        workspace.backend().gemm(tokens.select(0, item), *weight_, {{}, offset_},
                                 out.select(0, item));
      }
    } else {
      project_apart(workspace, tokens, out);
    }
    return out;
  }

  /// The outputs of one projection, [B, M, outputs], in the result; the positioned ones come first.
  TensorView<float, 3> part(const TensorView<float, 3>& projected, Index index) const {
    return projected.slice(2, index * outputs_, outputs_);
  }

 private:
  /// One matrix of all weights, and what the positions and the biases add to its products.
  void prepare(B& backend, std::span<const LinearWeights> all) {
    Tensor<float, 2> weight({count_ * outputs_, position_.extent(1)});
    Tensor<float, 1> bias({count_ * outputs_});
    float* to = weight.data();
    float* to_bias = bias.data();
    for (const LinearWeights& part : all) {
      const Tensor<float, 2> rows(part.weight);
      to = std::copy_n(rows.data(), rows.size(), to);
      for (Index o = 0; o < outputs_; ++o, ++to_bias) {
        if (part.bias.data() != nullptr) *to_bias = part.bias(o);
      }
    }
    weight_.emplace(backend.pack(std::as_const(weight).view()));
    const Parameter<1> stored_bias(backend, std::as_const(bias).view());
    const Extents<2> extents{position_.extent(0), bias.extent(0)};
    buffer_ = backend.allocate(static_cast<std::size_t>(element_count(extents)) * sizeof(float));
    const TensorView<float, 2> offset(static_cast<float*>(buffer_.data()), extents,
                                      backend.space());
    backend.gemm(position_, *weight_, {stored_bias.view(), {}}, offset);
    const auto plain = [&](const auto& columns) {
      return detail::as_rank4(
          columns.slice(1, positioned_ * outputs_, (count_ - positioned_) * outputs_));
    };
    backend.copy(plain(stored_bias.view().with_unit_axis(0).broadcast_to(extents)), plain(offset));
    offset_ = offset;
  }

  void project_apart(Workspace<B>& workspace, TensorView<const float, 3> tokens,
                     TensorView<float, 3> out) const {
    const auto frame = workspace.frame();
    const auto moved =
        sum<B>(workspace, tokens, position_.with_unit_axis(0).broadcast_to(tokens.extents()));
    const Extents<2> rows{out.extent(0) * out.extent(1), out.extent(2)};
    for (Index i = 0; i < count_; ++i) {
      const TensorView<const float, 3> in = i < positioned_ ? moved : tokens;
      layers_[static_cast<std::size_t>(i)](workspace, as_rows(in),
                                           out.reshaped(rows).slice(1, i * outputs_, outputs_));
    }
  }

  TensorView<const float, 2> position_;
  Index positioned_ = 0;
  Index count_ = 0;
  Index outputs_ = 0;
  std::vector<Linear<B>> layers_;  ///< where weights train
  std::optional<typename B::PackedMatrix> weight_;
  Buffer buffer_;
  TensorView<const float, 2> offset_;  ///< [M, all outputs], in the buffer
};

}  // namespace promiseg::nn
