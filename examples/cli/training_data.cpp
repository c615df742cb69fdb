#include "training_data.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <set>
#include <utility>

#include "interrupt.hpp"
#include "labelled_image.hpp"
#include "open_segmenter.hpp"
#include "progress.hpp"
#include "promiseg/io/mask_reader.hpp"
#include "promiseg/train/augmentation.hpp"
#include "promiseg/train/augmentation/jpeg_compression.hpp"

namespace promiseg::cli {
namespace {

/// "12.5 MB".
std::string size_text(std::uint64_t bytes) {
  constexpr double kUnit = 1e6;
  const double megabytes = static_cast<double>(bytes) / kUnit;
  char text[32];
  if (megabytes < 1) {
    std::snprintf(text, sizeof text, "%.1f kB", megabytes * 1000);
  } else {
    std::snprintf(text, sizeof text, megabytes < 1000 ? "%.1f MB" : "%.2f GB",
                  megabytes < 1000 ? megabytes : megabytes / 1000);
  }
  return text;
}

/// The image at its size in the model's frame, its mask with it: what is varied is what the model
/// will see.
LabelledImage to_model_size(const LabelledImage& read, const ModelConfig& model) {
  LabelledImage small;
  small.image = resize_for_model(read.image, model);
  small.mask =
      resize_mask(std::as_const(read.mask).view(), {small.image.extent(0), small.image.extent(1)});
  return small;
}

/// Finds out what has to be encoded, then encodes it; or keeps the pixels.
class Preparation {
 public:
  Preparation(const TrainingOptions& options, const PackConfig& pack,
              const train::FeatureCache& cache, const ModelFile& model)
      : options_(options),
        cache_(cache),
        model_(model),
        taps_(pack.apm == ApmKind::none ? std::vector<Index>{} : pack.tap_blocks),
        augmentation_(options.augmentation()) {
    std::sort(taps_.begin(), taps_.end());
    taps_.erase(std::unique(taps_.begin(), taps_.end()), taps_.end());
    if (!options.window.empty()) window_ = parse_window(options.window);
  }

  TrainingData run(const Dataset& dataset) {
    TrainingData data;
    ContentHash fingerprint;
    std::uint64_t number = 0;
    const auto wanted = static_cast<Index>(dataset.count(Split::train) + dataset.count(Split::val));
    {
      ProgressBar progress("reading images", !options_.common.quiet);
      for (const Sample& sample : dataset.samples) {
        if (sample.split == Split::test) continue;
        auto samples = versions_of(sample, number);
        for (const train::TrainingSample& version : samples) {
          fingerprint.add(to_string(sample.split))
              .add(version.key)
              .add(std::as_bytes(version.target.elements()));
        }
        if (sample.split == Split::train) {
          data.train.push_back(std::move(samples));
        } else {
          data.val.push_back(std::move(samples.front()));
        }
        progress.update(static_cast<Index>(++number), wanted);
        require_not_interrupted("nothing has been written");
      }
    }
    require_prompts(data);
    encode_missing();
    data.fingerprint = fingerprint.text();
    return data;
  }

 private:
  /// Throws `invalid_argument`, naming some of them, if samples show nothing to make the prompts
  /// of.
  void require_prompts(const TrainingData& data) const {
    const train::TrainPrompt prompt = options_.train_prompt();
    std::string names;
    std::size_t count = 0;
    const auto check = [&](const train::TrainingSample& sample) {
      if (train::can_prompt(sample, prompt)) return;
      constexpr std::size_t kNamed = 5;
      if (++count <= kNamed) names += (count > 1 ? ", " : "") + sample.name;
    };
    for (const auto& versions : data.train) {
      for (const train::TrainingSample& sample : versions) check(sample);
    }
    for (const train::TrainingSample& sample : data.val) check(sample);
    require(count == 0, ErrorCode::invalid_argument, count,
            " masks are empty, or too small for the decoder, so there is no prompt to train with: ",
            names, "; leave the images out, or use --train-prompt image");
  }

  /// An image of which the cache has no features.
  struct Missing {
    Sample sample;
    std::uint64_t number;
    Index version;  ///< 0: as it is
    std::string key;
  };

  /// Version `version` of a sample.
  LabelledImage version_of(const LabelledImage& read, std::uint64_t number, Index version) const {
    if (version == 0) return {Image(read.image.view()), Mask(std::as_const(read.mask).view())};
    const LabelledImage small = to_model_size(read, model_.config());
    Random random(options_.train.seed, number << 16 ^ static_cast<std::uint64_t>(version));
    AugmentedImage varied = augment(small.image, std::as_const(small.mask).view(), augmentation_,
                                    random, compress_jpeg);
    return {std::move(varied.image), std::move(varied.mask)};
  }

  std::vector<train::TrainingSample> versions_of(const Sample& sample, std::uint64_t number) {
    const LabelledImage read = read_sample(sample, window_);
    const Index count = sample.split == Split::train ? 1 + options_.augment : 1;
    std::vector<train::TrainingSample> samples;
    for (Index version = 0; version < count; ++version) {
      const LabelledImage varied = version_of(read, number, version);
      const std::string key = train::FeatureCache::key(varied.image, model_.config(),
                                                       model_.provenance().weights_sha256);
      train::TrainingSample made = train::make_sample(
          to_string(sample.image), key, std::as_const(varied.mask).view(), model_.config());
      // A version whose object was moved out of the frame leaves nothing to prompt with.
      if (version > 0 && !train::can_prompt(made, options_.train_prompt())) continue;
      samples.push_back(std::move(made));
      if (options_.trains_encoder()) {
        samples.back().pixels = resize_for_model(varied.image, model_.config());
        continue;
      }
      if (!cache_.has(key, taps_) && missing_keys_.insert(key).second) {
        missing_.push_back({sample, number, version, key});
      }
    }
    return samples;
  }

  void require_room() const {
    const std::uint64_t needed =
        missing_.size() * train::FeatureCache::bytes_per_image(model_.config(), taps_);
    options_.common.say("Images to encode: " + std::to_string(missing_.size()) +
                        "; their features take " + size_text(needed) + " in " +
                        cache_.folder().string());
    constexpr double kGigabyte = 1e9;
    const double limit = options_.cache_limit * kGigabyte;
    require(static_cast<double>(needed) <= limit, ErrorCode::unsupported, "the features of ",
            missing_.size(), " images take ", size_text(needed), ", more than the limit of ",
            size_text(static_cast<std::uint64_t>(std::min(limit, 1e18))),
            "; raise --cache-limit, or use fewer images, versions (--augment) or taps");
    std::error_code ignored;
    const auto space = std::filesystem::space(cache_.folder(), ignored);
    require(ignored || needed < space.available, ErrorCode::unsupported, "the features of ",
            missing_.size(), " images take ", size_text(needed), ", but ", cache_.folder().string(),
            " has only ", size_text(space.available), " left");
  }

  void encode_missing() {
    if (missing_.empty()) return;
    require_room();
    Segmenter segmenter = open_segmenter(options_.common, model_.name(), {});
    ProgressBar progress("encoding", !options_.common.quiet);
    for (std::size_t i = 0; i < missing_.size(); ++i) {
      const Missing& missing = missing_[i];
      const LabelledImage varied =
          version_of(read_sample(missing.sample, window_), missing.number, missing.version);
      const ImageEmbedding embedding = segmenter.encode(
          varied.image, [](const EncoderStage&) {}, taps_);
      store(missing, embedding);
      progress.update(static_cast<Index>(i + 1), std::ssize(missing_));
      require_not_interrupted("the features so far are kept: run the same command again");
    }
  }

  void store(const Missing& missing, const ImageEmbedding& embedding) const {
    try {
      cache_.store(missing.key, embedding.features, embedding.taps);
    } catch (const Error& error) {
      fail(error.code(), to_string(missing.sample.image), ": ", error.what());
    }
  }

  const TrainingOptions& options_;
  const train::FeatureCache& cache_;
  const ModelFile& model_;
  std::vector<Index> taps_;
  AugmentationConfig augmentation_;
  std::optional<Window> window_;
  std::vector<Missing> missing_;
  std::set<std::string> missing_keys_;
};

}  // namespace

Dataset open_dataset(const TrainingOptions& options) {
  Dataset dataset = options.data.empty() ? load_dataset_folders(options.images, options.masks)
                                         : load_dataset_csv(options.data);
  const std::string name = options.data.empty() ? options.images : options.data;
  require(dataset.count(Split::train) > 0, ErrorCode::invalid_argument, name,
          ": there are no training images");
  if (dataset.count(Split::val) == 0) {
    require(dataset.count(Split::train) > 1, ErrorCode::invalid_argument, name,
            ": one image is not enough: another must choose the best state");
    split_training(dataset, options.val_fraction, options.train.seed);
    options.common.say("No image is marked val: " + std::to_string(dataset.count(Split::val)) +
                       " of the training images are set aside to choose the best state.");
  }
  return dataset;
}

std::filesystem::path cache_folder(const TrainingOptions& options) {
  if (!options.cache.empty()) return options.cache;
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache != '\0') return std::filesystem::path(cache) / "promiseg";
  const char* home = std::getenv("HOME");
  if (home == nullptr) throw UsageError("name a folder for the features with --cache");
  return std::filesystem::path(home) / ".cache" / "promiseg";
}

TrainingData prepare_data(const TrainingOptions& options, const Dataset& dataset,
                          const PackConfig& pack, const train::FeatureCache& cache,
                          const ModelFile& model) {
  return Preparation(options, pack, cache, model).run(dataset);
}

}  // namespace promiseg::cli
