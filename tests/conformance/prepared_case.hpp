// A case of the table on one backend, ready to run.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "array.hpp"

namespace promiseg::conformance {

/// Operands are in the backend's memory, weights are packed. The backend must outlive it.
struct PreparedCase {
  std::function<void()> reset;             ///< restores the destination as it was before any run
  std::function<void()> run;               ///< the primitive, and nothing else
  std::function<Tensor<float, 1>()> read;  ///< the destination's whole allocation
  Placement output;                        ///< where the results are in it
};

/// A destination and what it looks like before a run.
template <std::size_t Rank>
struct Destination {
  HostArray<Rank> before;
  DeviceArray<Rank> array;

  template <Backend B>
  Destination(B& backend, HostArray<Rank> host) : before(std::move(host)), array(backend, before) {}

  TensorView<float, Rank> view() const { return array.view(); }
};

/// The prepared form of operands that have a `Destination` called `out`; `run` gets the operands.
template <Backend B, class Operands, class Run>
PreparedCase make_prepared(B& backend, std::shared_ptr<Operands> operands, const Run& run) {
  PreparedCase prepared;
  prepared.output = operands->out.before.placement();
  prepared.reset = [&backend, operands] {
    backend.upload(operands->out.before.storage(), operands->out.array.storage());
  };
  prepared.run = [operands, run] { run(*operands); };
  prepared.read = [&backend, operands] {
    Tensor<float, 1> storage(operands->out.array.storage().extents());
    backend.download(operands->out.array.storage(), storage.view());
    return storage;
  };
  return prepared;
}

}  // namespace promiseg::conformance
