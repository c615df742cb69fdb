// A progress bar for people who watch; nothing where output is piped.
#pragma once

#include <string>

#include "promiseg/core/tensor_view.hpp"

namespace promiseg::cli {

/// Draws on stderr, in place, and wipes itself away at the end of its scope. Does nothing if stderr
/// is not a terminal or `enabled` is false.
class ProgressBar {
 public:
  ProgressBar(std::string title, bool enabled);
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar();

  /// `done` of `total` steps are finished.
  void update(Index done, Index total);

 private:
  std::string title_;
  bool enabled_;
  bool drawn_ = false;
};

}  // namespace promiseg::cli
