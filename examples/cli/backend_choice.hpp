// From a backend's name to a backend.
#pragma once

#include "command.hpp"
#include "promiseg/backend/reference.hpp"
#include "promiseg/eigen/backend.hpp"

namespace promiseg::cli {

/// The CPU backend's options.
inline EigenOptions eigen_options(const CommonOptions& options) {
  return {.threads = options.threads, .precision = parse_precision(options.precision)};
}

/// Calls `use` with the backend that the options name; `auto` is the fastest there is.
template <class Use>
auto with_backend(const CommonOptions& options, const Use& use) {
  if (options.backend == "reference") {
    return use(ReferenceBackend(parse_precision(options.precision)));
  }
  return use(EigenBackend(eigen_options(options)));
}

}  // namespace promiseg::cli
