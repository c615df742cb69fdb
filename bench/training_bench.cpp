// Training steps, by the names of the cases that PyTorch is timed on: eight images whose features
// are known, everything of SAM frozen, one step of Adam.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "measure.hpp"
#include "model_bench.hpp"
#include "promiseg/eigen/training_backend.hpp"
#include "promiseg/train/optimiser.hpp"
#include "promiseg/train/training_model.hpp"
#include "synth.hpp"

namespace promiseg::bench {
namespace {

constexpr Index kBatch = 8;

Tensor<float, 4> synthetic_images(const Extents<4>& extents) {
  const std::vector<float> values = tools::synth_tensor("features", extents, kSeed);
  Tensor<float, 4> images(extents);
  std::copy(values.begin(), values.end(), images.data());
  return images;
}

/// SAM's decoder at its own size; with APM the paper's ResNet-34 over three taps of 768 channels,
/// else sixteen given points.
void training_step(benchmark::State& state, const Machine& machine, ApmKind apm) {
  const ModelConfig model = published_config("vit_b");
  PackConfig pack;
  pack.apm = apm;
  pack.ips = true;
  tools::SynthWeights weights(kSeed);
  train::Parameters parameters(weights, [](const std::string& name) {
    if (name.starts_with("mask_decoder.") || name.starts_with("prompt_encoder.")) {
      return train::Role::frozen;
    }
    return name.find(".running_") == std::string::npos ? train::Role::trained
                                                       : train::Role::statistics;
  });
  EigenTrainingBackend backend({.threads = machine.threads});
  train::TrainingModel<EigenTrainingBackend> network(backend, model, pack, parameters);
  train::Adam adam({.rate = 1e-5});

  const Index grid = model.grid();
  const auto embeddings = synthetic_images({kBatch, grid, grid, model.prompt_embed_dim});
  const Tensor<float, 3> targets({kBatch, 4 * grid, 4 * grid});
  train::TrainingBatch batch;
  batch.embeddings = embeddings.view();
  batch.targets = targets.view();
  Tensor<float, 4> tap;
  if (apm == ApmKind::none) {
    for (Index item = 0; item < kBatch; ++item) {
      Prompt& prompt = batch.prompts.emplace_back();
      for (Index i = 0; i < pack.point_num; ++i) {
        const auto at = static_cast<float>((item + i) * 397 % 1024);
        prompt.points.push_back({at, 1023.0F - at, i < pack.point_num / 2 ? 1 : 0});
      }
    }
  } else {
    tap = synthetic_images({kBatch, grid, grid, model.encoder_embed_dim});
    batch.taps.assign(pack.tap_blocks.size(), tap.view());
  }
  const auto run = [&] {
    parameters.clear_gradients();
    benchmark::DoNotOptimize(network.pass(batch, {}).loss);
    adam.step(parameters, adam.config().rate);
    network.refresh();
  };
  run();  // the first call allocates
  measure(state, machine, Precision::fp32, {}, run);
}

}  // namespace

void register_training_benchmarks(const Machine& machine) {
  const auto add = [](const std::string& name, auto body) {
    benchmark::RegisterBenchmark(name.c_str(), body)->Unit(benchmark::kMillisecond);
  };
  add("model/ips_step/fp32",
      [=](benchmark::State& state) { training_step(state, machine, ApmKind::none); });
  add("model/apm_ips_step/fp32",
      [=](benchmark::State& state) { training_step(state, machine, ApmKind::resnet); });
}

}  // namespace promiseg::bench
