// Between host tensors and a workspace's memory.
#pragma once

#include <cstddef>

#include "promiseg/core/tensor.hpp"
#include "promiseg/nn/workspace.hpp"

namespace promiseg::nn {

/// A host tensor of any strides, copied to the workspace; valid until the enclosing frame ends.
template <Backend B, std::size_t Rank>
TensorView<float, Rank> upload(Workspace<B>& workspace, const TensorView<const float, Rank>& host) {
  const auto stored = workspace.tensor(host.extents());
  const Extents<1> flat{host.size()};
  if (host.is_contiguous()) {
    workspace.backend().upload(host.reshaped(flat), stored.reshaped(flat));
  } else {
    const Tensor<float, Rank> ordered(host);
    workspace.backend().upload(ordered.view().reshaped(flat), stored.reshaped(flat));
  }
  return stored;
}

/// A contiguous tensor of the workspace, copied to the host.
template <std::size_t Rank, Backend B>
Tensor<float, Rank> download(Workspace<B>& workspace, const TensorView<const float, Rank>& stored) {
  Tensor<float, Rank> host(stored.extents());
  const Extents<1> flat{stored.size()};
  workspace.backend().download(stored.reshaped(flat), host.view().reshaped(flat));
  return host;
}

}  // namespace promiseg::nn
