#include "progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace promiseg::cli {

ProgressBar::ProgressBar(std::string title, bool enabled)
    : title_(std::move(title)), enabled_(enabled && ::isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() {
  if (drawn_) std::fprintf(stderr, "\r\033[K");
}

void ProgressBar::update(Index done, Index total) {
  if (!enabled_ || total <= 0) return;
  constexpr Index kWidth = 30;
  const Index filled = std::clamp<Index>(kWidth * done / total, 0, kWidth);
  const std::string bar = std::string(static_cast<std::size_t>(filled), '#') +
                          std::string(static_cast<std::size_t>(kWidth - filled), '.');
  std::fprintf(stderr, "\r\033[K%s [%s] %3d %%", title_.c_str(), bar.c_str(),
               static_cast<int>(100 * done / total));
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace promiseg::cli
