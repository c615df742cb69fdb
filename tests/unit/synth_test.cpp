#include "synth.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "promiseg/core/random.hpp"
#include "promiseg/sam/model_file.hpp"
#include "promiseg/sam/sam_weights.hpp"
#include "sha256.hpp"
#include "temporary_folder.hpp"

using namespace promiseg;
using namespace promiseg::tools;
using promiseg_test::TemporaryFolder;

namespace {

ModelConfig small_config() {
  ModelConfig config = published_config("vit_b");
  config.image_size = 64;
  config.encoder_embed_dim = 32;
  config.encoder_depth = 2;
  config.encoder_num_heads = 2;
  config.global_attn_indexes = {1};
  config.window_size = 3;
  config.prompt_embed_dim = 16;
  config.decoder_num_heads = 2;
  config.decoder_mlp_dim = 24;
  return config;
}

SafetensorsFile fixture() {
  return SafetensorsFile(std::filesystem::path(PROMISEG_TEST_DATA) / "fixtures" /
                         "vit_small_synth.safetensors");
}

}  // namespace

TEST_CASE("the hashes behind the rule") {
  CHECK(fnv1a64("image_encoder.pos_embed") == 0xa4072ec91ebcd2b3U);
  CHECK(mix_bits(0) == 0xe220a8397b1dcdafU);
}

TEST_CASE("published test values of tensors, bit by bit") {
  struct Case {
    const char* name;
    std::vector<Index> shape;
    std::size_t element;
    std::uint32_t bits;
  };
  const std::vector<Case> cases = {
      {"image_encoder.patch_embed.proj.weight", {768, 3, 16, 16}, 0, 0xbb150c40},
      {"image_encoder.patch_embed.proj.weight", {768, 3, 16, 16}, 589823, 0x3d15424e},
      {"image_encoder.pos_embed", {1, 64, 64, 768}, 12345, 0x3d40067b},
      {"image_encoder.blocks.0.norm1.weight", {768}, 7, 0x3f803be6},
      {"apm_resnet.bn1.running_var", {64}, 63, 0x3f842cfb},
      {"mask_decoder.output_upscaling.0.weight", {256, 64, 2, 2}, 100, 0xbcbd93ed},
      {"mask_decoder.iou_token.weight", {1, 256}, 255, 0x3d26bd4b},
      {"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", {2, 128}, 200, 0x3ee775c0},
      {"ips_ffn.lin2.bias", {1024}, 1, 0xbc5f0453},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const std::vector<float> values = synth_tensor(c.name, c.shape, 111);
    CHECK(std::bit_cast<std::uint32_t>(values.at(c.element)) == c.bits);
  }
}

TEST_CASE("the beginnings of tensors that the reference generator wrote") {
  const SafetensorsFile file = fixture();
  const std::vector<TensorSpec> tensors = {
      {"apm_feature_map.fusion_conv1.weight", {256, 192, 3, 3}},
      {"apm_resnet.bn1.running_var", {64}},
      {"apm_resnet.bn1.weight", {64}},
      {"apm_resnet.layer2.0.shortcut.0.weight", {128, 64, 1, 1}},
      {"image_encoder.blocks.0.attn.qkv.weight", {192, 64}},
      {"image_encoder.blocks.0.norm1.weight", {64}},
      {"image_encoder.blocks.2.attn.rel_pos_h", {63, 16}},
      {"image_encoder.neck.1.weight", {256}},
      {"image_encoder.patch_embed.proj.bias", {64}},
      {"image_encoder.patch_embed.proj.weight", {64, 3, 32, 32}},
      {"image_encoder.pos_embed", {1, 32, 32, 64}},
      {"ips_ffn.lin2.weight", {1024, 1024}},
      {"mask_decoder.mask_tokens.weight", {4, 256}},
      {"mask_decoder.output_upscaling.0.weight", {256, 64, 2, 2}},
      {"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", {2, 128}},
      {"prompt_encoder.point_embeddings.1.weight", {1, 256}},
  };
  for (const TensorSpec& tensor : tensors) {
    CAPTURE(tensor.name);
    const auto expected = file.view<float, 1>("check." + tensor.name);
    const std::vector<float> values = synth_tensor(tensor.name, tensor.shape, 101);
    REQUIRE(expected.size() == 8);
    for (Index i = 0; i < 8; ++i) CHECK(values[static_cast<std::size_t>(i)] == expected(i));
  }
}

TEST_CASE("published test values of the image, bit by bit") {
  const Tensor<float, 3> image = synth_image(1024, 1024, 112);
  const auto bits = [&](Index c, Index y, Index x) {
    return std::bit_cast<std::uint32_t>(image.view()(c, y, x));
  };
  CHECK(bits(0, 0, 0) == 0x3fb2f513);
  CHECK(bits(1, 17, 300) == 0xbe88fed5);
  CHECK(bits(2, 1023, 1023) == 0x3eb5311f);
  CHECK(bits(0, 512, 511) == 0xbf1ba975);
  CHECK(bits(2, 255, 256) == 0xbfa8468b);
  const auto values = image.elements();
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  CHECK(double{*low} == doctest::Approx(-1.510605).epsilon(1e-6));
  CHECK(double{*high} == doctest::Approx(1.778586).epsilon(1e-6));
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  CHECK(sum / static_cast<double>(values.size()) == doctest::Approx(-0.016801).epsilon(1e-4));
}

TEST_CASE("rows of the image that the reference generator wrote") {
  const SafetensorsFile file = fixture();
  const Tensor<float, 3> image = synth_image(1024, 1024, 102);
  const auto first = file.view<float, 2>("check.image_row0");
  const auto middle = file.view<float, 2>("check.image_mid");
  for (Index c = 0; c < 3; ++c) {
    for (Index x = 0; x < 64; ++x) {
      CHECK(image.view()(c, 0, x) == first(c, x));
      CHECK(image.view()(c, 515, 16 * x) == middle(c, x));
    }
  }
}

TEST_CASE("images of odd sizes are refused only when they are impossible") {
  const Tensor<float, 3> image = synth_image(1, 257, 3);
  CHECK(image.extents() == Extents<3>{3, 1, 257});
  CHECK_THROWS_AS(synth_image(0, 4, 1), Error);
  CHECK_THROWS_AS(synth_image(4, -1, 1), Error);
  CHECK_THROWS_AS(synth_image(4, 65537, 1), Error);
}

TEST_CASE("the first matching line of the table decides") {
  const auto range = [](const char* name, std::vector<Index> shape) {
    return synth_range(name, shape);
  };
  CHECK(range("bn.running_mean", {4}).scale == 0.05F);
  CHECK(range("bn.running_mean", {4}).offset == 0.0F);
  CHECK(range("pos_embed", {1, 2, 2, 4}).scale == 0.05F);  // a dot is put before the name
  CHECK(range("xpos_embed", {1, 3}).scale == 1.0F);
  CHECK(range("attn.in_proj_bias", {4}).offset == 0.0F);
  CHECK(range("attn.attention_biases", {4, 3}).scale == 1.0F);
  CHECK(range("norm.weight", {4}).offset == 1.0F);
  CHECK(range("up.deconv.weight", {3, 8, 1, 1}).scale == 1.0F);
  CHECK(range("up.conv.weight", {8, 3, 1, 1}).scale == 1.0F);
  CHECK(range("output_upscaling.0.weight", {3, 5, 1, 1}).scale == 1.0F);
  CHECK(range("conv.weight", {8, 1, 1, 1}).scale == static_cast<float>(std::sqrt(3.0)));
}

TEST_CASE("a tensor may be filled in pieces") {
  const std::vector<Index> shape = {41, 3};
  for (const char* name : {"lin.weight", "norm.running_var"}) {
    CAPTURE(name);
    const std::vector<float> whole = synth_tensor(name, shape, 9);
    std::vector<float> pieces(whole.size());
    const SynthRange range = synth_range(name, shape);
    fill_synth(name, range, 9, 0, std::span(pieces).first(50));
    fill_synth(name, range, 9, 50, std::span(pieces).subspan(50));
    CHECK(pieces == whole);
    CHECK(synth_tensor(name, shape, 10) != whole);
  }
  CHECK_THROWS_WITH_AS(synth_tensor("odd", std::vector<Index>{2, -1}, 1), doctest::Contains("odd"),
                       Error);
}

TEST_CASE("a synthetic model file reads back as the weights in memory") {
  const TemporaryFolder folder;
  const ModelConfig config = small_config();
  const SynthReport report = synth_model(config, 21, folder / "model.safetensors");
  const ModelFile file(folder / "model.safetensors");
  CHECK(file.config().encoder_embed_dim == 32);
  CHECK(file.config().arch == "vit");  // no published size
  CHECK(file.provenance().source == "synth:vit:21");
  CHECK(file.provenance().source_sha256.empty());
  CHECK(file.provenance().licence == "none (synthetic)");
  CHECK(file.provenance().weights_sha256 == report.weights_sha256);
  CHECK(weights_sha256(file.file().tensors()) == report.weights_sha256);

  SynthWeights memory(21);
  const SamWeights weights = sam_weights(memory, config);
  const auto& vit = std::get<VitWeights>(weights.image_encoder);
  const auto stored = file.file().view<float, 4>("image_encoder.patch_embed.proj.weight");
  CHECK(std::equal(stored.data(), stored.data() + stored.size(), vit.patch_embed.weight.data()));
  const auto table = file.file().view<float, 2>("image_encoder.blocks.0.attn.rel_pos_w");
  CHECK(std::equal(table.data(), table.data() + table.size(), vit.blocks.at(0).rel_pos_w.data()));

  const std::vector<TensorSpec> specs = sam_tensor_specs(config);
  CHECK(report.tensors == specs.size());
  CHECK(file.file().tensors().size() == specs.size());
  std::uint64_t values = 0;
  for (const auto& [name, entry] : file.file().tensors()) values += entry.bytes.size() / 4;
  CHECK(report.values == values);
}

TEST_CASE("the number of threads and the file do not change the weights") {
  const TemporaryFolder folder;
  const ModelConfig config = small_config();
  const auto one = synth_model(config, 21, folder / "one", 1);
  const auto three = synth_model(config, 21, folder / "three", 3);
  CHECK(promiseg_test::read_bytes(folder / "one") == promiseg_test::read_bytes(folder / "three"));
  CHECK(synth_model(config, 22, folder / "other").weights_sha256 != one.weights_sha256);
  CHECK(one.weights_sha256 == three.weights_sha256);
}

TEST_CASE("a model that cannot be is refused") {
  const TemporaryFolder folder;
  ModelConfig config = small_config();
  config.encoder_num_heads = 3;
  CHECK_THROWS_AS(synth_model(config, 1, folder / "model"), Error);
  CHECK_THROWS_AS(synth_model(small_config(), 1, folder.path() / "absent" / "model"), Error);
  CHECK(std::filesystem::is_empty(folder.path()));
}
