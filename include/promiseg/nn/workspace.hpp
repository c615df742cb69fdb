// Where a model runs: a backend, and the scratch memory of its intermediate tensors.
#pragma once

#include <cstddef>

#include "promiseg/backend/concept.hpp"
#include "promiseg/core/arena.hpp"

namespace promiseg::nn {

/// A backend with an arena in its memory. Model code takes every intermediate tensor from here and
/// frees them frame by frame, so a second run of the same shapes allocates nothing.
template <Backend B>
class Workspace {
 public:
  /// The backend must outlive the workspace.
  explicit Workspace(B& backend)
      : backend_(&backend),
        arena_([&backend](std::size_t size) { return backend.allocate(size); }) {}

  B& backend() { return *backend_; }

  /// An uninitialised row-major tensor, valid until the enclosing frame ends.
  template <std::size_t Rank>
  TensorView<float, Rank> tensor(const Extents<Rank>& extents) {
    const auto bytes = static_cast<std::size_t>(element_count(extents)) * sizeof(float);
    return {static_cast<float*>(arena_.take(bytes)), extents, backend_->space()};
  }

  /// Gives back, at the end of its scope, every tensor taken since it was made.
  class Frame {
   public:
    explicit Frame(Arena& arena) : arena_(&arena), mark_(arena.mark()) {}
    Frame(const Frame&) = delete;
    Frame& operator=(const Frame&) = delete;
    ~Frame() { arena_->rewind(mark_); }

   private:
    Arena* arena_;
    Arena::Mark mark_;
  };

  [[nodiscard]] Frame frame() { return Frame(arena_); }

 private:
  B* backend_;
  Arena arena_;
};

}  // namespace promiseg::nn
