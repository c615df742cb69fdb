// From a backend's name to a backend.
#pragma once

#include "command.hpp"
#include "promiseg/backend/reference.hpp"
#include "promiseg/eigen/backend.hpp"

namespace promiseg::cli {

/// Calls `use` with the backend that the options name; `auto` is the fastest there is.
template <class Use>
auto with_backend(const CommonOptions& options, const Use& use) {
  if (options.backend == "reference") return use(ReferenceBackend());
  return use(EigenBackend({.threads = options.threads}));
}

}  // namespace promiseg::cli
