// A weight tensor in a backend's memory.
#pragma once

#include <cstddef>

#include "promiseg/backend/concept.hpp"

namespace promiseg::nn {

/// Owns a copy of a host tensor in the backend's memory space. Empty for an empty view.
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
    backend.upload(host.reshaped(flat), stored.reshaped(flat));
    view_ = stored;
  }

  TensorView<const float, Rank> view() const { return view_; }

 private:
  Buffer buffer_;
  TensorView<const float, Rank> view_;
};

}  // namespace promiseg::nn
