// The model and packs that a command line names, on the backend that it names.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "command.hpp"
#include "promiseg/segmenter.hpp"

namespace promiseg::cli {

/// A model with packs, which get their numbers in the order of the files. Throws what `ModelFile`,
/// `PackFile`, `Predictor`, `Pack` and `require_enough_memory` throw; `prompts` are decoded at
/// once.
Segmenter open_segmenter(const CommonOptions& options, const std::filesystem::path& model,
                         const std::vector<std::string>& packs, std::size_t prompts = 1);

}  // namespace promiseg::cli
