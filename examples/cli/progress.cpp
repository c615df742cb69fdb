#include "progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace promiseg::cli {

ProgressBar::ProgressBar(std::string title, bool enabled)
    : title_(std::move(title)), enabled_(enabled && ::isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() { clear(); }

void ProgressBar::clear() {
  if (drawn_) std::fprintf(stderr, "\r\033[K");
  drawn_ = false;
}

void ProgressBar::update(Index done, Index total, const std::string& note) {
  if (!enabled_ || total <= 0) return;
  const auto now = std::chrono::steady_clock::now();
  if (!first_.has_value()) {
    first_ = done;
    started_ = now;
  }
  constexpr Index kWidth = 30;
  const Index filled = std::clamp<Index>(kWidth * done / total, 0, kWidth);
  const std::string bar = std::string(static_cast<std::size_t>(filled), '#') +
                          std::string(static_cast<std::size_t>(kWidth - filled), '.');
  std::string left;
  if (done > *first_ && done < total) {
    const double elapsed = std::chrono::duration<double>(now - started_).count();
    const auto seconds = static_cast<long>(elapsed * static_cast<double>(total - done) /
                                           static_cast<double>(done - *first_));
    if (seconds >= 60) {
      left = "  " + std::to_string(seconds / 60) + " min left";
    } else {
      left = "  " + std::to_string(seconds) + " s left";
    }
  }
  std::fprintf(stderr, "\r\033[K%s [%s] %3d %%%s%s%s", title_.c_str(), bar.c_str(),
               static_cast<int>(100 * done / total), left.c_str(), note.empty() ? "" : "  ",
               note.c_str());
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace promiseg::cli
