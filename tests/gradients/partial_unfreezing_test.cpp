// What trains under each setting of `Freeze`, and that an encoder that trains computes what the
// frozen one does: small models of both kinds.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "promiseg/backend/reference_training.hpp"
#include "promiseg/train/trainer.hpp"
#include "small_models.hpp"
#include "synth.hpp"
#include "unit/temporary_folder.hpp"

namespace {

using namespace promiseg;
using train::Freeze;

constexpr Index kItems = 2;
constexpr double kRate = 1e-3;

constexpr std::array<Freeze, 5> kFreezes = {Freeze::fz0, Freeze::fz1, Freeze::fz2, Freeze::fz3,
                                            Freeze::fz4};

/// With a decoder wide enough that no norm is over two values only, which would leave no gradient.
ModelConfig with_wide_decoder(ModelConfig config) {
  config.prompt_embed_dim = 32;
  config.decoder_mlp_dim = 32;
  config.iou_head_hidden_dim = 16;
  config.mask_in_chans = 16;
  return config;
}

/// APM and IPS; one tap is read twice.
PackConfig small_pack(const ModelConfig& model) {
  PackConfig pack;
  pack.apm = ApmKind::cross;
  pack.ips = true;
  pack.tap_blocks =
      model.encoder == EncoderKind::vit ? std::vector<Index>{2, 1, 1} : std::vector<Index>{1, 0, 0};
  pack.point_num = 4;
  pack.point_value = {2, 3, 1, 0};
  pack.point_scale = static_cast<double>(model.image_size);
  pack.cross_num_heads = 2;
  pack.ips_hidden_dim = 8;
  return pack;
}

/// A model with a pack, synthetic weights and a batch, as pixels and as features.
struct Setup {
  explicit Setup(const ModelConfig& config)
      : model(config), pack(small_pack(config)), source(7), specs(sam_tensor_specs(config)) {
    validate(model);
    validate(pack, model);
    for (TensorSpec& spec : pack_tensor_specs(pack, model)) specs.push_back(std::move(spec));
    make_targets();
    const Index grid = model.grid();
    embeddings = Tensor<float, 4>({kItems, grid, grid, model.prompt_embed_dim});
    for (Index tap : pack.tap_blocks) {
      taps.emplace_back(Extents<4>{kItems, grid, grid, tap_channels(model, tap)});
    }
    SamModel<ReferenceTrainingBackend> sam(backend, model, sam_weights(source, model));
    for (Index item = 0; item < kItems; ++item) {
      const Tensor<float, 3> image = tools::synth_image(model.image_size, model.image_size,
                                                        static_cast<std::uint64_t>(item + 3));
      inputs.emplace_back(image.view().permuted({1, 2, 0}));
      const EncodedImage encoded = sam.encode(std::as_const(inputs.back()).view(), pack.tap_blocks,
                                              [](const EncoderStage&) {});
      put(encoded.embedding, item, embeddings);
      for (std::size_t i = 0; i < taps.size(); ++i) {
        put(encoded.taps.at(pack.tap_blocks[i]), item, taps[i]);
      }
    }
  }

  /// Discs, a larger one on the second image.
  void make_targets() {
    const Index side = 4 * model.grid();
    targets = Tensor<float, 3>({kItems, side, side});
    for (Index item = 0; item < kItems; ++item) {
      const Index radius = (item + 1) * side / 6;
      for (Index y = 0; y < side; ++y) {
        for (Index x = 0; x < side; ++x) {
          const Index down = y - side / 2;
          const Index right = x - side / 3;
          targets.view()(item, y, x) = down * down + right * right <= radius * radius ? 1.0F : 0.0F;
        }
      }
    }
  }

  static void put(const Tensor<float, 3>& image, Index item, Tensor<float, 4>& batch) {
    std::copy_n(image.data(), image.size(), batch.data() + item * image.size());
  }

  train::TrainingBatch batch(Freeze freeze) const {
    train::TrainingBatch batch;
    batch.targets = targets.view();
    if (train::trains_encoder(freeze)) {
      for (const auto& input : inputs) batch.inputs.push_back(input.view());
    } else {
      batch.embeddings = embeddings.view();
      for (const auto& tap : taps) batch.taps.push_back(tap.view());
    }
    return batch;
  }

  ModelConfig model;
  PackConfig pack;
  tools::SynthWeights source;
  std::vector<TensorSpec> specs;  ///< of the model and the pack
  ReferenceTrainingBackend backend;
  std::vector<Tensor<float, 3>> inputs;
  Tensor<float, 4> embeddings;
  std::vector<Tensor<float, 4>> taps;
  Tensor<float, 3> targets;
};

using Values = std::map<std::string, std::vector<float>>;

/// Every tensor of the model and the pack as it is now. Asks for all of them, so the encoder trains
/// where it may.
Values values_of(train::Parameters& parameters, const std::vector<TensorSpec>& specs) {
  Values values;
  for (const TensorSpec& spec : specs) {
    Index count = 1;
    for (Index extent : spec.shape) count *= extent;
    const float* data = train::fetch(parameters, spec.name, spec.shape);
    values[spec.name].assign(data, data + count);
  }
  return values;
}

/// "image_encoder" of "image_encoder.neck.0.weight".
std::string group_of(const std::string& name) { return name.substr(0, name.find('.')); }

std::set<std::string> expected_groups(Freeze freeze) {
  std::set<std::string> groups = {"apm_cross", "apm_cross_prompt", "ips_ffn"};
  if (freeze == Freeze::fz1 || freeze >= Freeze::fz3) groups.insert("prompt_encoder");
  if (freeze >= Freeze::fz2) groups.insert("mask_decoder");
  if (freeze == Freeze::fz4) groups.insert("image_encoder");
  return groups;
}

struct Step {
  double loss = 0;
  Values before;
  Values after;
};

/// One step of Adam from the synthetic weights.
Step take_step(Setup& setup, Freeze freeze) {
  train::Parameters parameters(
      setup.source, [freeze](const std::string& name) { return train::role_of(name, freeze); });
  Step step;
  step.before = values_of(parameters, setup.specs);
  train::TrainingModel<ReferenceTrainingBackend> network(setup.backend, setup.model, setup.pack,
                                                         parameters);
  parameters.clear_gradients();
  step.loss = network.pass(setup.batch(freeze), {}).loss;
  train::Adam adam(train::OptimiserConfig{});
  adam.step(parameters, kRate);
  network.refresh();
  step.after = values_of(parameters, setup.specs);
  return step;
}

void check_what_trains(const ModelConfig& model) {
  Setup setup(model);
  for (const Freeze freeze : kFreezes) {
    CAPTURE(static_cast<int>(freeze));
    const Step step = take_step(setup, freeze);
    std::set<std::string> groups;
    std::size_t encoder_tensors = 0;
    for (const auto& before : step.before) {
      const std::string& name = before.first;
      CAPTURE(name);
      const bool changed = step.after.at(name) != before.second;
      if (changed) groups.insert(group_of(name));
      if (name.ends_with("gaussian_matrix")) CHECK_FALSE(changed);
      if (group_of(name) != "image_encoder") continue;
      // All of the encoder's tensors train, but for the statistics of its batch norms.
      const bool statistics = name.find(".running_") != std::string::npos;
      CHECK(changed == (freeze == Freeze::fz4 && !statistics));
      ++encoder_tensors;
    }
    CHECK(groups == expected_groups(freeze));
    CHECK(encoder_tensors > 30);
  }
}

void check_same_loss(const ModelConfig& model) {
  Setup setup(model);
  const double frozen = take_step(setup, Freeze::fz0).loss;
  const double trained = take_step(setup, Freeze::fz4).loss;
  CHECK(std::isfinite(frozen));
  CHECK(std::abs(trained - frozen) <= 1e-4 * std::abs(frozen));
}

/// A labelled image with its pixels: a bright disc.
train::TrainingSample disc_sample(const ModelConfig& model, Index radius) {
  const Index side = model.image_size;
  Image image({side, side, 1});
  Mask mask({side, side});
  for (Index y = 0; y < side; ++y) {
    for (Index x = 0; x < side; ++x) {
      const Index down = y - side / 2;
      const Index right = x - side / 2;
      const bool inside = down * down + right * right <= radius * radius;
      image.view()(y, x, 0) = static_cast<std::uint8_t>((inside ? 200 : 20) + (x + 3 * y) % 17);
      mask.view()(y, x) = inside ? 255 : 0;
    }
  }
  train::TrainingSample sample =
      train::make_sample("disc", "disc", std::as_const(mask).view(), model);
  sample.pixels = resize_for_model(image.view(), model);
  return sample;
}

}  // namespace

TEST_CASE("partial unfreezing, ViT: a step changes what the setting names and nothing else") {
  check_what_trains(with_wide_decoder(promiseg_test::small_vit()));
}

TEST_CASE("partial unfreezing, TinyViT: a step changes what the setting names and nothing else") {
  check_what_trains(with_wide_decoder(promiseg_test::small_tiny_vit()));
}

TEST_CASE("partial unfreezing: the encoder that trains gives the frozen one's features") {
  check_same_loss(with_wide_decoder(promiseg_test::small_vit()));
  check_same_loss(with_wide_decoder(promiseg_test::small_tiny_vit()));
}

TEST_CASE("partial unfreezing: a run from pixels, nothing frozen") {
  const promiseg_test::TemporaryFolder folder;
  const train::FeatureCache cache(folder / "cache");
  for (const ModelConfig& model : {with_wide_decoder(promiseg_test::small_vit()),
                                   with_wide_decoder(promiseg_test::small_tiny_vit())}) {
    CAPTURE(model.arch);
    const PackConfig pack = small_pack(model);
    train::TrainConfig config;
    config.freeze = Freeze::fz4;
    config.epochs = 2;
    config.batch = 2;
    tools::SynthWeights weights(7);
    std::vector<std::vector<train::TrainingSample>> images = {{disc_sample(model, 3)},
                                                              {disc_sample(model, 5)}};
    const std::vector<train::TrainingSample> val = {disc_sample(model, 4)};
    ReferenceTrainingBackend backend;
    train::Trainer<ReferenceTrainingBackend> trainer(
        backend, {model, pack, config, weights, weights, cache, images, val, "test"});
    const train::Parameter& trained = trainer.parameters().all().at("image_encoder.neck.0.weight");
    const auto first = trained.value;
    CHECK(trainer.run(folder / "state", {}));
    CHECK(trained.value != first);
    CHECK(trainer.position().records.size() == 2);
    for (const train::EpochRecord& record : trainer.position().records) {
      CHECK(record.val_dice >= 0);
      CHECK(record.val_dice <= 1);
    }
    // Without pixels there is nothing to train on.
    for (auto& versions : images) versions.front().pixels = Image();
    train::Trainer<ReferenceTrainingBackend> blind(
        backend, {model, pack, config, weights, weights, cache, images, val, "test"});
    CHECK_THROWS_AS(blind.run(folder / "blind", {}), Error);
  }
}
