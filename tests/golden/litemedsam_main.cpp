// Runs the tests of the real LiteMedSAM where its weights are, and says so where they are not.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>

#include "command.hpp"

namespace {

/// What CTest takes as "skipped".
constexpr int kExitSkipped = 77;

bool has_model() {
  try {
    const std::filesystem::path model = promiseg::cli::find_model("");
    if (std::filesystem::exists(model)) return true;
    std::printf("skipped: no model at %s\n", model.c_str());
  } catch (const promiseg::cli::UsageError& error) {
    std::printf("skipped: %s\n", error.what());
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (!has_model()) return kExitSkipped;
  return doctest::Context(argc, argv).run();
}
