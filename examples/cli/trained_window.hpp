// The intensities that a pack has learnt from.
#pragma once

#include <string>

#include "command.hpp"

namespace promiseg::cli {

/// Says so if a pack was trained with another `--window` than images are now shown with: it then
/// sees other pixels than it has learnt from. Packs that do not tell are passed over. Throws what
/// `PackFile` throws.
void warn_of_other_window(const CommonOptions& options, const std::string& pack,
                          const std::string& window);

}  // namespace promiseg::cli
