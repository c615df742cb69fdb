// From a data set on disk to samples whose features are in the cache, or that keep their pixels.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "promiseg/adapt/pack_config.hpp"
#include "promiseg/io/dataset.hpp"
#include "promiseg/sam/model_file.hpp"
#include "promiseg/train/feature_cache.hpp"
#include "promiseg/train/training_sample.hpp"
#include "training_options.hpp"

namespace promiseg::cli {

/// What a run learns from and what it is judged by.
struct TrainingData {
  std::vector<std::vector<train::TrainingSample>> train;  ///< an image each, in its versions
  std::vector<train::TrainingSample> val;
  std::string fingerprint;  ///< changes with any pixel of any of them
};

/// The samples that the options name; says so where it has to split the training images.
Dataset open_dataset(const TrainingOptions& options);

/// Where features are kept if nothing else is said.
std::filesystem::path cache_folder(const TrainingOptions& options);

/// Reads every image, varies it if asked to, and encodes what the cache lacks. Says first how much
/// that is. Where the encoder trains nothing is encoded: the samples keep their pixels. Throws
/// `unsupported` if the features exceed the limit or the disk, `shape_mismatch` naming both sizes
/// for a mask of another size than its image, and what the readers throw. Stops with `Error` when
/// interrupted: what is encoded by then stays in the cache.
TrainingData prepare_data(const TrainingOptions& options, const Dataset& dataset,
                          const PackConfig& pack, const train::FeatureCache& cache,
                          const ModelFile& model);

}  // namespace promiseg::cli
