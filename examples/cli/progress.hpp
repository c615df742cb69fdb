// A progress bar for people who watch; nothing where output is piped.
#pragma once

#include <chrono>
#include <optional>
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

  /// `done` of `total` steps are finished. The time left follows from those done under this bar;
  /// `note` stands behind it.
  void update(Index done, Index total, const std::string& note = {});

  /// Takes the bar off the line until the next update, so that something else can be said.
  void clear();

 private:
  std::string title_;
  bool enabled_;
  bool drawn_ = false;
  std::optional<Index> first_;  ///< what was done at the first update
  std::chrono::steady_clock::time_point started_;
};

}  // namespace promiseg::cli
