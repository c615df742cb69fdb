// Weights in a backend's memory, and how a backend that trains learns where they came from.
#pragma once

#include <cstddef>
#include <functional>

#include "promiseg/backend/concept.hpp"
#include "promiseg/core/tensor.hpp"

namespace promiseg::nn {

/// A backend that trains must know which weight lies where, to bring its gradient back. Both views
/// of a weight have the same shape; the host's lies in the tensor that the weight source gave out.
template <class B>
concept TracksWeights = Backend<B> &&
    requires(B& backend, TensorView<const float, 4> host, TensorView<const float, 4> stored) {
  backend.track(host, stored);
  { backend.pack_tracked(host) } -> std::same_as<typename B::PackedMatrix>;
  { backend.pack_tracked(host, ConvGeometry()) } -> std::same_as<typename B::PackedMatrix>;
  // For values computed from weights: takes their gradient back to that of the weights.
  backend.track_derived(stored, std::function<void(TensorView<const float, 4>)>());
  { backend.weight_gradient(host) } -> std::same_as<TensorView<float, 4>>;
};

namespace detail {

/// The same view with axes of extent 1 before the others.
template <class T, std::size_t Rank>
TensorView<T, 4> as_rank4(const TensorView<T, Rank>& view) {
  if constexpr (Rank == 4) {
    return view;
  } else {
    return as_rank4(view.with_unit_axis(0));
  }
}

/// `use(matrix)` of a weight [o1, o2, i1, i2] of any strides as a contiguous matrix.
template <class Use>
auto as_matrix(const TensorView<const float, 4>& weight, const Use& use) {
  const Extents<2> matrix{weight.extent(0) * weight.extent(1), weight.extent(2) * weight.extent(3)};
  if (weight.is_contiguous()) return use(weight.reshaped(matrix));
  const Tensor<float, 4> ordered(weight);
  return use(ordered.view().reshaped(matrix));
}

}  // namespace detail

/// Packs a weight matrix given as [o1, o2, i1, i2], of any strides: o1 * o2 outputs by i1 * i2
/// inputs. A checkpoint's weight in another order is a view of it, not a copy.
template <Backend B>
typename B::PackedMatrix pack_weight(B& backend, const TensorView<const float, 4>& weight) {
  if constexpr (TracksWeights<B>) {
    return backend.pack_tracked(weight);
  } else {
    return detail::as_matrix(weight, [&](const auto& matrix) { return backend.pack(matrix); });
  }
}

/// The same for `conv2d`: [1, O, kernel * kernel, C].
template <Backend B>
typename B::PackedMatrix pack_conv_weight(B& backend, const TensorView<const float, 4>& weight,
                                          ConvGeometry geometry) {
  if constexpr (TracksWeights<B>) {
    return backend.pack_tracked(weight, geometry);
  } else {
    return detail::as_matrix(
        weight, [&](const auto& matrix) { return pack_conv(backend, matrix, geometry); });
  }
}

/// Owns a copy of a host tensor, row-major, in the backend's memory space. Empty for an empty view.
template <std::size_t Rank>
class Parameter {
 public:
  Parameter() = default;

  template <Backend B>
  Parameter(B& backend, TensorView<const float, Rank> host) {
    if (host.data() == nullptr) return;
    buffer_ = backend.allocate(static_cast<std::size_t>(host.size()) * sizeof(float));
    const TensorView<float, Rank> stored(static_cast<float*>(buffer_.data()), host.extents(),
                                         backend.space());
    const Extents<1> flat{host.size()};
    if (host.is_contiguous()) {
      backend.upload(host.reshaped(flat), stored.reshaped(flat));
    } else {
      const Tensor<float, Rank> ordered(host);
      backend.upload(ordered.view().reshaped(flat), stored.reshaped(flat));
    }
    view_ = stored;
    if constexpr (TracksWeights<B>) {
      backend.track(detail::as_rank4(host), detail::as_rank4(view_));
    }
  }

  /// Values that are computed from weights. `adjoint_for(backend)` is called for backends that
  /// train and returns a function that takes the values' gradient, [1, ..., extents], on to the
  /// weights' own, which `backend.weight_gradient(weight)` gives: a view, empty where the weight is
  /// frozen.
  template <Backend B, class AdjointFor>
  Parameter(B& backend, TensorView<const float, Rank> values, const AdjointFor& adjoint_for)
      : Parameter(backend, values) {
    if constexpr (TracksWeights<B>) {
      backend.track_derived(detail::as_rank4(view_), adjoint_for(backend));
    }
  }

  TensorView<const float, Rank> view() const { return view_; }

 private:
  Buffer buffer_;
  TensorView<const float, Rank> view_;
};

}  // namespace promiseg::nn
