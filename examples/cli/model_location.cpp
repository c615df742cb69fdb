#include <cstdlib>

#include "command.hpp"

namespace promiseg::cli {
namespace {

/// A variable of the environment; empty if it is not set.
std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

std::filesystem::path find_model(const std::string& named) {
  if (!named.empty()) return named;
  if (const std::string chosen = environment("PROMISEG_MODEL"); !chosen.empty()) return chosen;
  std::filesystem::path data = environment("XDG_DATA_HOME");
  if (data.empty()) data = std::filesystem::path(environment("HOME")) / ".local" / "share";
  const std::filesystem::path model = data / "promiseg" / "litemedsam.safetensors";
  if (!std::filesystem::exists(model)) {
    throw UsageError(
        "no model: name one with --model or $PROMISEG_MODEL, or run "
        "scripts/fetch_weights.sh, which puts LiteMedSAM at " +
        model.string());
  }
  return model;
}

}  // namespace promiseg::cli
