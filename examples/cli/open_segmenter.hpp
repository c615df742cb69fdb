// The model and packs that a command line names, on the backend that it names.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "command.hpp"
#include "promiseg/segmenter.hpp"

namespace promiseg::cli {

/// A model with packs, which get their numbers in the order of the files. Throws what `ModelFile`,
/// `PackFile`, `Predictor` and `Pack` throw.
Segmenter open_segmenter(const CommonOptions& options, const std::filesystem::path& model,
                         const std::vector<std::string>& packs);

}  // namespace promiseg::cli
