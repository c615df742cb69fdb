#include "trained_window.hpp"

#include "promiseg/adapt/pack_file.hpp"

namespace promiseg::cli {

void warn_of_other_window(const CommonOptions& options, const std::string& pack,
                          const std::string& window) {
  const PackFile file(pack);
  const Json& training = file.provenance().training;
  if (training.find("config") == nullptr) return;
  const Json* recorded = training.find("window");
  const std::string trained = recorded != nullptr ? recorded->as_string() : "";
  if (trained == window) return;
  options.say("Note: " + pack + " was trained " +
              (trained.empty() ? "without --window" : "with --window " + trained) +
              "; other intensities may give it other objects.");
}

}  // namespace promiseg::cli
