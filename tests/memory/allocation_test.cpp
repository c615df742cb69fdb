// Once a model has run, running it again takes no memory: every allocation of the program is
// counted.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <vector>

#include "promiseg/eigen/backend.hpp"
#include "promiseg/sam/sam_model.hpp"
#include "synth.hpp"
#include "unit/command_fixture.hpp"

using namespace promiseg;

namespace {

std::atomic<long> allocations = 0;

void* counted(std::size_t size, std::size_t alignment) {
  ++allocations;
  const std::size_t rounded = (size + alignment - 1) / alignment * alignment;
  if (void* data = std::aligned_alloc(alignment, rounded); data != nullptr) return data;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return counted(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* data) noexcept { std::free(data); }
void operator delete(void* data, std::size_t /*size*/) noexcept { std::free(data); }
void operator delete(void* data, std::align_val_t /*alignment*/) noexcept { std::free(data); }
void operator delete(void* data, std::size_t /*size*/, std::align_val_t /*alignment*/) noexcept {
  std::free(data);
}

namespace {

/// A small model that has everything: windows that do not divide the grid, global blocks.
ModelConfig small(std::string_view arch) {
  ModelConfig config = published_config(arch);
  apply_json(
      Json::parse(arch == "litemedsam" ? promiseg_test::kSmallTinyVit : promiseg_test::kSmallVit),
      config);
  return config;
}

/// Allocations of a second run.
template <class Run>
long of_second_run(const Run& run) {
  run();
  const long before = allocations;
  run();
  return allocations - before;
}

}  // namespace

TEST_CASE("allocations: the counter counts") {
  const long before = allocations;
  const std::vector<int> numbers(100);
  CHECK(allocations == before + 1);
  CHECK(numbers.size() == 100);
}

TEST_CASE("allocations: none after the first run") {
  for (const char* arch : {"vit_b", "litemedsam"}) {
    for (const Precision precision : {Precision::fp32, Precision::bf16}) {
      for (const int threads : {1, 3}) {
        CAPTURE(arch);
        CAPTURE(to_string(precision));
        CAPTURE(threads);
        const ModelConfig config = small(arch);
        EigenBackend backend({.threads = threads, .precision = precision});
        nn::Workspace<EigenBackend> workspace(backend);
        tools::SynthWeights source(1);
        const SamWeights weights = sam_weights(source, config);

        const Index grid = config.grid();
        const Tensor<float, 4> image({1, config.image_size, config.image_size, 3});
        Tensor<float, 3> embedding({grid, grid, config.prompt_embed_dim});
        const EncoderObserver ignore = [](const EncoderStage&) {};
        const auto encode_with = [&](const auto& encoder) {
          return of_second_run([&] { encoder(workspace, image.view(), embedding.view(), ignore); });
        };
        if (const auto* vit = std::get_if<VitWeights>(&weights.image_encoder)) {
          CHECK(encode_with(VitEncoder<EigenBackend>(backend, config, *vit)) == 0);
        } else {
          CHECK(encode_with(TinyVitEncoder<EigenBackend>(
                    backend, config, std::get<TinyVitWeights>(weights.image_encoder))) == 0);
        }

        const MaskDecoder<EigenBackend> decoder(backend, config, weights.mask_decoder,
                                                embedding.view());
        constexpr Index kBatch = 2;
        Tensor<float, 3> tokens({kBatch, decoder.output_tokens() + 3, config.prompt_embed_dim});
        Tensor<float, 4> keys({kBatch, grid, grid, config.prompt_embed_dim});
        Tensor<float, 4> logits({kBatch, config.mask_tokens(), 4 * grid, 4 * grid});
        Tensor<float, 2> iou({kBatch, config.mask_tokens()});
        const auto shared = embedding.view().with_unit_axis(0).broadcast_to(keys.extents());
        CHECK(of_second_run([&] {
                decoder(workspace, shared, keys.view(), tokens.view(), logits.view(), iou.view());
              }) == 0);
      }
    }
  }
}
