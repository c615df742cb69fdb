// Whole models, by the names of the cases that other engines are timed on, and their stages.
#include "model_bench.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "measure.hpp"
#include "promiseg/adapt/pack.hpp"
#include "promiseg/eigen/backend.hpp"
#include "promiseg/sam/predictor.hpp"
#include "synth.hpp"
#include "unit/temporary_folder.hpp"

namespace promiseg::bench {
namespace {

Tensor<float, 3> synthetic_features(const Extents<3>& extents, std::uint64_t seed) {
  const std::vector<float> values = tools::synth_tensor("features", extents, seed);
  Tensor<float, 3> features(extents);
  std::copy(values.begin(), values.end(), features.data());
  return features;
}

/// A backend and a model with synthetic weights on it; time does not depend on the weights.
struct BenchModel {
  BenchModel(const std::string& arch, const EigenOptions& options) : backend(options) {
    const ModelConfig config = published_config(arch);
    tools::SynthWeights weights(kSeed);
    model = std::make_unique<SamModel<EigenBackend>>(backend, config, sam_weights(weights, config));
    const Tensor<float, 3> image = tools::synth_image(config.image_size, config.image_size, kSeed);
    input = Tensor<float, 3>(image.view().permuted({1, 2, 0}));
  }

  EigenBackend backend;
  std::unique_ptr<SamModel<EigenBackend>> model;
  Tensor<float, 3> input;
};

/// How a benchmark runs.
struct Setting {
  Machine machine;
  Precision precision = Precision::fp32;

  EigenOptions options() const { return {.threads = machine.threads, .precision = precision}; }
};

/// Work of `macs` multiply-adds; what it moves depends on the caches.
conformance::Work work_of(double macs) { return {2 * macs, 0}; }

void encode(benchmark::State& state, const std::string& arch, const Setting& setting, double macs) {
  BenchModel bench(arch, setting.options());
  const auto run = [&] {
    benchmark::DoNotOptimize(bench.model->encode(bench.input, {}, [](const EncoderStage&) {}));
  };
  run();  // the first call allocates
  measure(state, setting.machine, setting.precision, work_of(macs), run);
}

/// Sixteen points on an embedding that is new in every iteration, so nothing can be kept.
void decode(benchmark::State& state, const Setting& setting, Index prompts) {
  constexpr Index kPoints = 16;
  constexpr double kMacs = 1.9e9;
  BenchModel bench("vit_b", setting.options());
  const ModelConfig& config = bench.model->config();
  Prompts batch(static_cast<std::size_t>(prompts));
  for (Index i = 0; i < prompts * kPoints; ++i) {
    const auto at = static_cast<float>(i * 397 % 1024);
    batch[static_cast<std::size_t>(i / kPoints)].points.push_back(
        {at, 1023.0F - at, i % kPoints < kPoints / 2 ? 1 : 0});
  }
  const Extents<3> extents{config.grid(), config.grid(), config.prompt_embed_dim};
  std::vector<Tensor<float, 3>> embeddings;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    embeddings.push_back(synthetic_features(extents, seed));
  }
  std::size_t turn = 0;
  const auto run = [&] {
    benchmark::DoNotOptimize(bench.model->decode(embeddings[++turn % 4].view(), batch));
  };
  run();
  measure(state, setting.machine, setting.precision, work_of(kMacs * static_cast<double>(prompts)),
          run);
}

/// The paper's APM on ViT-B: three taps of 768 channels, a ResNet-34, sixteen points.
void predict_points(benchmark::State& state, const Setting& setting) {
  constexpr double kMacs = 28e9;
  EigenBackend backend(setting.options());
  const ModelConfig model = published_config("vit_b");
  const PackConfig config = tools::published_pack_config("promise_resnet34", model);
  tools::SynthWeights weights(kSeed);
  Adapter<EigenBackend> adapter(backend, config, model, pack_weights(weights, config, model));
  std::map<Index, Tensor<float, 3>> taps;
  for (Index tap : config.tap_blocks) {
    taps[tap] = synthetic_features({model.grid(), model.grid(), tap_channels(model, tap)},
                                   static_cast<std::uint64_t>(tap));
  }
  const auto run = [&] { benchmark::DoNotOptimize(adapter.predict_points(taps)); };
  run();
  measure(state, setting.machine, setting.precision, work_of(kMacs), run);
}

/// One block of the ViT-B encoder: windowed, or over the whole grid.
void vit_block(benchmark::State& state, const Setting& setting, bool global) {
  EigenBackend backend(setting.options());
  ModelConfig config = published_config("vit_b");
  config.encoder_depth = 1;
  config.global_attn_indexes.clear();
  if (global) config.global_attn_indexes.push_back(0);
  tools::SynthWeights weights(kSeed);
  const VitWeights views = vit_weights(weights, config);
  const VitBlock<EigenBackend> block(backend, views.blocks[0], config.encoder_num_heads,
                                     global ? 0 : config.window_size, config.grid());
  nn::Workspace<EigenBackend> workspace(backend);
  const Extents<3> extents{config.grid(), config.grid(), config.encoder_embed_dim};
  const Tensor<float, 3> input = synthetic_features(extents, kSeed);
  Tensor<float, 3> tokens(extents);
  const auto run = [&] {
    std::copy(input.elements().begin(), input.elements().end(), tokens.data());
    block(workspace, tokens.view());
  };
  run();
  measure(state, setting.machine, setting.precision, work_of(0), run);
}

/// From a file, which the system has in its cache, to a model that can run.
void load(benchmark::State& state, const std::string& arch, const Setting& setting) {
  const promiseg_test::TemporaryFolder folder;
  const std::filesystem::path file = folder / "model.safetensors";
  tools::synth_model(published_config(arch), kSeed, file);
  const auto run = [&] {
    const ModelFile opened(file);
    const Predictor<EigenBackend> predictor(EigenBackend(setting.options()), opened);
    benchmark::DoNotOptimize(&predictor);
  };
  run();
  const auto bytes = static_cast<double>(std::filesystem::file_size(file));
  measure(state, setting.machine, setting.precision, {0, bytes}, run);
}

}  // namespace

void register_model_benchmarks(const Machine& machine) {
  const auto add = [](const std::string& name, auto body) {
    benchmark::RegisterBenchmark(name.c_str(), body)->Unit(benchmark::kMillisecond);
  };
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    const Setting setting{machine, precision};
    const std::string suffix = "/" + std::string(to_string(precision));
    add("model/vit_b_encoder" + suffix,
        [=](benchmark::State& state) { encode(state, "vit_b", setting, 469e9); });
    add("model/litemedsam_encoder" + suffix,
        [=](benchmark::State& state) { encode(state, "litemedsam", setting, 36e9); });
    add("model/decoder" + suffix, [=](benchmark::State& state) { decode(state, setting, 1); });
    add("model/apm_resnet34" + suffix,
        [=](benchmark::State& state) { predict_points(state, setting); });
    for (const std::string arch : {"vit_b", "litemedsam"}) {
      add("stage/load/" + arch + suffix,
          [=](benchmark::State& state) { load(state, arch, setting); });
    }
    for (const Index prompts : {8, 64}) {
      add("stage/decoder/batch_" + std::to_string(prompts) + suffix,
          [=](benchmark::State& state) { decode(state, setting, prompts); });
    }
    add("stage/vit_b/block_windowed" + suffix,
        [=](benchmark::State& state) { vit_block(state, setting, false); });
    add("stage/vit_b/block_global" + suffix,
        [=](benchmark::State& state) { vit_block(state, setting, true); });
  }
}

}  // namespace promiseg::bench
