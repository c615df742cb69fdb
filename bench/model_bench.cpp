// Whole models, by the names of the cases that other engines are timed on, and their stages.
#include "model_bench.hpp"

#include <benchmark/benchmark.h>

#include <memory>
#include <string>

#include "promiseg/eigen/backend.hpp"
#include "promiseg/sam/sam_model.hpp"
#include "synth.hpp"

namespace promiseg::bench {
namespace {

constexpr std::uint64_t kSeed = 111;

/// A backend and a model with synthetic weights on it; time does not depend on the weights.
struct BenchModel {
  BenchModel(const std::string& arch, int threads) : backend({.threads = threads}) {
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

void ignore(const EncoderStage& /*stage*/) {}

void encode(benchmark::State& state, const std::string& arch, int threads, double macs) {
  BenchModel bench(arch, threads);
  bench.model->encode(bench.input, ignore);  // the first call allocates
  for (auto _ : state) benchmark::DoNotOptimize(bench.model->encode(bench.input, ignore));
  state.counters["FLOP/s"] =
      benchmark::Counter(2 * macs, benchmark::Counter::kIsIterationInvariantRate);
}

/// Sixteen points on an embedding that is new in every iteration, so nothing can be kept.
void decode(benchmark::State& state, int threads, Index prompts) {
  constexpr Index kPoints = 16;
  constexpr double kMacs = 1.9e9;
  BenchModel bench("vit_b", threads);
  const ModelConfig& config = bench.model->config();
  Prompts batch(static_cast<std::size_t>(prompts));
  for (Index i = 0; i < prompts * kPoints; ++i) {
    const auto at = static_cast<float>(i * 397 % 1024);
    batch[static_cast<std::size_t>(i / kPoints)].points.push_back(
        {at, 1023.0F - at, i % kPoints < kPoints / 2 ? 1 : 0});
  }
  std::vector<Tensor<float, 3>> embeddings;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    const Extents<3> extents{config.grid(), config.grid(), config.prompt_embed_dim};
    const std::vector<float> values = tools::synth_tensor("embedding", extents, seed);
    std::copy(values.begin(), values.end(), embeddings.emplace_back(extents).data());
  }
  bench.model->decode(embeddings[0].view(), batch);
  std::size_t turn = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(bench.model->decode(embeddings[++turn % 4].view(), batch));
  }
  state.counters["FLOP/s"] = benchmark::Counter(2 * kMacs * static_cast<double>(prompts),
                                                benchmark::Counter::kIsIterationInvariantRate);
}

/// One block of the ViT-B encoder: windowed, or over the whole grid.
void vit_block(benchmark::State& state, int threads, bool global) {
  EigenBackend backend({.threads = threads});
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
  const std::vector<float> values = tools::synth_tensor("tokens", extents, kSeed);
  Tensor<float, 3> tokens(extents);
  for (auto _ : state) {
    state.PauseTiming();
    std::copy(values.begin(), values.end(), tokens.data());
    state.ResumeTiming();
    block(workspace, tokens.view());
  }
}

}  // namespace

void register_model_benchmarks(int threads) {
  const auto add = [](const std::string& name, auto body) {
    benchmark::RegisterBenchmark(name.c_str(), body)
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime()
        ->MeasureProcessCPUTime();
  };
  add("model/vit_b_encoder/fp32",
      [=](benchmark::State& state) { encode(state, "vit_b", threads, 469e9); });
  add("model/litemedsam_encoder/fp32",
      [=](benchmark::State& state) { encode(state, "litemedsam", threads, 36e9); });
  add("model/decoder/fp32", [=](benchmark::State& state) { decode(state, threads, 1); });
  add("stage/decoder/batch_8", [=](benchmark::State& state) { decode(state, threads, 8); });
  add("stage/vit_b/block_windowed",
      [=](benchmark::State& state) { vit_block(state, threads, false); });
  add("stage/vit_b/block_global",
      [=](benchmark::State& state) { vit_block(state, threads, true); });
}

}  // namespace promiseg::bench
