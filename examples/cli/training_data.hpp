// From a data set on disk to samples whose features are in the cache.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "promiseg/adapt/pack_config.hpp"
#include "promiseg/io/dataset.hpp"
#include "promiseg/segmenter.hpp"
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
/// that is. Throws `unsupported` if it exceeds the limit or the disk, `shape_mismatch` naming both
/// sizes for a mask of another size than its image, and what the readers throw. Stops with `Error`
/// when interrupted: what is encoded by then stays in the cache.
TrainingData prepare_data(const TrainingOptions& options, const Dataset& dataset,
                          const PackConfig& pack, const train::FeatureCache& cache,
                          Segmenter& segmenter);

}  // namespace promiseg::cli
